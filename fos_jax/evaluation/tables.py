"""Results as tables: for a terminal (rich) and for a README (markdown). Percent here, fractions everywhere else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fos_jax.evaluation.measure import HEADLINE

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = (
    ("mAP@20", "map_at_20"),
    ("mAP@100", "map_at_100"),
    ("P@10", "precision_at_10"),
    ("R@100", "recall_at_100"),
    ("top-1", "pattern_top_1"),
    ("top-3", "pattern_top_3"),
)
_ATTRIBUTE_NOTE = "An attribute's mAP is that of the same ranking among foregrounds that fit in all other attributes."
_NONE = "–"


def table_cells(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the main table: one line a row of the results, percent, the interval in brackets."""
    level = round(100 * results["bootstrap"]["level"])
    header = ["method", "ranking", f"mAP [{level} %]", "over queries", *(title for title, _ in _COLUMNS)]
    header += ["mAP, one pattern", "several", "mAP (fosd)"]
    cells = []
    for row in results["rows"]:
        figures, split = row["figures"], row["by_compatible"]
        main = figures[HEADLINE]
        bounds = "" if main["low"] is None else f" [{percent(main['low'])}, {percent(main['high'])}]"
        cells.append(
            [
                row["name"],
                row["ranking"] or _NONE,
                percent(main["value"]) + bounds,
                percent(main["over_queries"]),
                *(percent(figures.get(metric, {}).get("value")) for _, metric in _COLUMNS),
                *(percent(split[which]["figures"][HEADLINE]["value"]) for which in ("one", "several")),
                _NONE if row["fosd"] is None else f"{row['fosd']['map']:.1f}",
            ]
        )
    return header, cells


def category_cells(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the headline row by category: mAP, pattern accuracy, and each attribute's accuracy."""
    row = headline_row(results)
    header = ["category", "queries", "gallery", "mAP", "top-1", "top-3", "attribute accuracy (mAP)"]
    cells = []
    for category, of in row["by_category"].items():
        attributes = row["by_attribute"].get(category, {})
        cells.append(
            [
                category,
                str(of["num_queries"]),
                str(results["counts"]["by_category"][category]["foregrounds"]),
                *(
                    percent(of["figures"].get(metric, {}).get("value"))
                    for metric in (HEADLINE, "pattern_top_1", "pattern_top_3")
                ),
                ", ".join(
                    f"{name} {percent(a['accuracy'] and a['accuracy']['value'])} ({percent(a['map']['value'])})"
                    for name, a in attributes.items()
                )
                or _NONE,
            ]
        )
    return header, cells


def headline_row(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row the headline is taken from; the last one (an oracle) where a teacher alone was evaluated."""
    chosen = results["headline"]
    for row in results["rows"]:
        if chosen and (row["name"], row["ranking"]) == (chosen["name"], chosen["ranking"]):
            return row
    return results["rows"][-1]


def caption(results: Mapping[str, Any]) -> str:
    """One paragraph that names convention, data, counts, bundle and seeds of the table."""
    counts, data, run = results["counts"], results.get("data", {}), results.get("metadata", {})
    parts = [
        f"Convention: {results['convention']['name']} (AP over the full ranking in the category, divided by all "
        "relevant; mean over categories)",
        f"data {data['dataset']} {data['size']} {data['version']}, split {data['split']}" if data else "",
        f"{counts['queries']} queries, {counts['foregrounds']} foregrounds",
        f"{counts['queries_without_relevant']} queries without a relevant foreground left out",
        f"bundle {results['bundle']['fingerprint']}" if "bundle" in results else "",
        f"bootstrap over queries, {results['bootstrap']['resamples']} resamples, seed {results['bootstrap']['seed']}",
        f"commit {run['commit']}" if run.get("commit") else "",
    ]
    return "; ".join(filter(None, parts)) + "."


def markdown(results: Mapping[str, Any]) -> str:
    """Both tables and the caption as GitHub markdown."""
    row = headline_row(results)
    fosd = "The fosd column has FOSD's own convention (test set 2) and is not to be compared with the others."
    parts = (
        _markdown_table(*table_cells(results)),
        f"{caption(results)} {fosd}",
        f"### By category: {row['name']}, {row['ranking']}",
        _markdown_table(*category_cells(results)),
        _ATTRIBUTE_NOTE,
    )
    return "\n\n".join(parts) + "\n"


def rich_tables(results: Mapping[str, Any]) -> "RenderableType":
    """The same for a terminal."""
    from rich.console import Group
    from rich.text import Text

    row = headline_row(results)
    return Group(
        _rich_table("Percent", *_narrow(*table_cells(results))),
        Text(caption(results), style="dim"),
        _rich_table(f"By category: {row['name']}, {row['ranking']}; percent", *category_cells(results)),
        Text(_ATTRIBUTE_NOTE, style="dim"),
    )


def percent(fraction: float | None) -> str:
    """A fraction as percent with one decimal; a dash for None."""
    return _NONE if fraction is None else f"{100 * fraction:.1f}"


def _narrow(header: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The columns that fit a terminal of 80 characters; a method's name stands at the first of its rows only."""
    pick = [0, 1, 2, *(header.index(name) for name in ("mAP@20", "top-1", "top-3"))]
    lines = [[line[i] for i in pick] for line in cells]
    for above, line in zip(reversed(cells[:-1]), reversed(lines[1:]), strict=True):
        line[0] = "" if line[0] == above[0] else line[0]
    return [header[i] for i in pick], lines


def _markdown_table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    rule = ["---" if i < 2 else "---:" for i in range(len(header))]
    lines = [header, rule, *cells]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _rich_table(title: str, header: Sequence[str], cells: Sequence[Sequence[str]]) -> "RenderableType":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if 1 < i < len(header) - 1 or "-" in name else "left", overflow="fold")
    for line in cells:
        table.add_row(*line)
    return table
