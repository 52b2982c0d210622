"""From the evaluation's result (`evaluation.run.evaluate`, or its JSON) to rows of the report and a verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

from fos_jax.evaluation.scores import RANKING_TITLES
from fos_jax.report.contents import Figure, MetricRow

COLUMNS = {
    "map": "mAP",
    "map_at_20": "mAP@20",
    "precision_at_10": "P@10",
    "recall_at_100": "R@100",
    "pattern_top_1": "pattern top-1",
    "pattern_top_3": "pattern top-3",
}
MIN_RATIO_TO_RECTANGLE = 2.0
_KIND_ORDER = {"ours": 0, "rival": 1, "control": 2, "oracle": 3}


def figure_of(raw: Mapping[str, Any] | None) -> Figure | None:
    """A figure of the evaluation; None where it does not exist (a mean over no queries)."""
    if raw is None or raw.get("value") is None:
        return None
    return Figure(raw["value"], raw.get("low"), raw.get("high"))


def metric_rows(result: Mapping[str, Any]) -> list[MetricRow]:
    """Rows of the table: this method, rivals, controls, oracles; inside each kind and name the best ranking first."""
    rows = []
    for raw in result["rows"]:
        figures = {column: figure_of(raw["figures"].get(metric)) for metric, column in COLUMNS.items()}
        rows.append(
            MetricRow(
                name=raw["name"],
                ranking=RANKING_TITLES.get(raw["ranking"], raw["ranking"]),
                kind=raw["kind"],
                note=raw["note"],
                figures={column: figure for column, figure in figures.items() if figure is not None},
            )
        )
    best = {
        name: max(row.figures["mAP"].value for row in rows if row.name == name and "mAP" in row.figures)
        for name in {row.name for row in rows if "mAP" in row.figures}
    }

    def order(row: MetricRow) -> tuple[int, float, str, float]:
        value = row.figures["mAP"].value if "mAP" in row.figures else -1.0
        return _KIND_ORDER[row.kind], -best.get(row.name, -1.0), row.name, -value

    return sorted(rows, key=order)


def headline_row(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The evaluation's own headline row, raw; `ValueError` where the bundle had no query encoder."""
    headline = result["headline"]
    if headline is None:
        raise ValueError("headline: none, expected the evaluation of a bundle with a query encoder")
    return find_row(result, headline["name"], headline["ranking"])


def find_row(result: Mapping[str, Any], name: str, ranking: str) -> Mapping[str, Any]:
    """The raw row of a method and ranking; `ValueError` lists what there is."""
    for row in result["rows"]:
        if (row["name"], row["ranking"]) == (name, ranking):
            return row
    known = ", ".join(f"{row['name']}/{row['ranking']}" for row in result["rows"])
    raise ValueError(f"row: no {name}/{ranking}, expected one of {known}")


def best_of(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The raw row of a method whose mAP is highest over its rankings: what a rival is fairly compared by."""
    rows = [row for row in result["rows"] if row["name"] == name and row["figures"]["map"]["value"] is not None]
    if not rows:
        raise ValueError(f"row: no figures of {name}, expected some")
    return max(rows, key=lambda row: row["figures"]["map"]["value"])


def breakdowns(result: Mapping[str, Any]) -> dict[str, Sequence[tuple[str, Figure]]]:
    """The headline row by category, by number of compatible patterns and by attribute."""
    row = headline_row(result)

    def named(pairs: Mapping[str, Any]) -> list[tuple[str, Figure]]:
        figures = [(name, figure_of(raw)) for name, raw in pairs.items()]
        return [(name, figure) for name, figure in figures if figure is not None]

    by_category = {name: part["figures"]["map"] for name, part in row["by_category"].items()}
    by_compatible = {
        f"{name} compatible ({part['num_queries']} queries)": part["figures"]["map"]
        for name, part in row["by_compatible"].items()
    }
    by_attribute = {
        f"{category}: {attribute}": part["accuracy"]
        for category, attributes in row["by_attribute"].items()
        for attribute, part in attributes.items()
    }
    parts = {
        "mAP by category": named(by_category),
        "mAP by number of compatible patterns": named(by_compatible),
        "Attribute named rightly by the student": named(by_attribute),
    }
    return {title: figures for title, figures in parts.items() if figures}


def unmet(result: Mapping[str, Any], *, rectangle_only: str, two_streams: str | None) -> list[str]:
    """Sentences on what a demo run should reach and does not; empty where all is met.

    Args:
      result: of `evaluation.run.evaluate`.
      rectangle_only: name of the control that sees no picture; its best ranking counts.
      two_streams: name of the model trained without distillation; its cosine ranking counts. None: not run.
    """
    student = headline_row(result)["figures"]["map"]["value"]
    rectangle = best_of(result, rectangle_only)["figures"]["map"]["value"]
    out = []
    if not student >= MIN_RATIO_TO_RECTANGLE * rectangle:
        out.append(
            f"student mAP is {student:.3f}, expected at least {MIN_RATIO_TO_RECTANGLE:g} times the rectangle-only "
            f"control's {rectangle:.3f}"
        )
    if two_streams is not None:
        rival = find_row(result, two_streams, "cosine")["figures"]["map"]["value"]
        if not student > rival:
            out.append(
                f"student mAP is {student:.3f}, expected more than {rival:.3f}, the cosine ranking of the model "
                "without distillation"
            )
    return out
