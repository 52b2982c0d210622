"""The tables of the results as markdown. Percent here, fractions everywhere else."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fos_jax.evaluation.scores import INTERACTION, PAIR_RANKINGS
from fos_jax.experiments import lost_points as results_losses
from fos_jax.experiments.cell_files import CellId
from fos_jax.experiments.over_seeds import SeedDifference, Spread, spread
from fos_jax.experiments.rows import Comparison, Entry, SizeResults, main_entries

NOT_RUN = "not run"
_NONE = "–"
_NUMBERS = re.compile(r"(not run|[-–+−±\d.,:%\[\] M])*")
_FIGURES = (
    ("mAP", ("figures", "map")),
    ("mAP@20", ("figures", "map_at_20")),
    ("P@10", ("figures", "precision_at_10")),
    ("top pattern fits", ("figures", "pattern_top_1")),
    ("mAP, one pattern fits", ("by_compatible", "one", "map")),
    ("several fit", ("by_compatible", "several", "map")),
)


_SCENES = ("dataset", "size", "version", "split", "pattern_table", "query_ids")


def circumstances(results: SizeResults, *, is_ablation: bool = False) -> str:
    """Convention, data, split, seeds, commits and hardware of the main table's cells, or of the ablations'.

    Ablations are compared with the student, so its cells count among both.
    """
    grouped = {method["name"]: bool(method["group"]) for method in results.plan["methods"]}
    own = {cell_id: cell for cell_id, cell in results.cells.items() if grouped[cell_id.method] == is_ablation}
    if not own:
        return "" if is_ablation else "Nothing of this size was run."
    compared = results.of_method("student").values() if is_ablation else ()
    cells = [*own.values(), *compared]

    def every(values: Sequence[Any]) -> str:
        return ", ".join(sorted({str(value) for value in values if value}))

    data = every([f"{c['data']['dataset']} {c['data']['size']} {c['data']['version']}" for c in cells])
    counts = every([f"{c['counts']['queries']} queries, {c['counts']['foregrounds']} foregrounds" for c in cells])
    trained = [training for cell in cells for training in cell["trainings"]]
    # a training in stages that was stopped between them has several commits
    commits = [part for of in [*cells, *trained] if of["commit"] for part in of["commit"].split(", ")]
    note = " (-dirty: with changes that were not committed)" if any(c.endswith("-dirty") for c in commits) else ""
    trained_on, evaluated_on = every([t["hardware"] for t in trained]), every([c["hardware"] for c in cells])
    lines = [
        f"- Convention: {every([c['convention'] for c in cells])}. Data: {data}, split "
        f"{every([c['data']['split'] for c in cells])}: {counts}.",
        f"- Seeds: {_run_seeds(results, own)}.",
        f"- Commit: {every(commits) or 'unknown'}{note}.",
        f"- Trained on {trained_on}; evaluated on {evaluated_on}.",
    ]
    return "\n".join([*lines, *_on_other_data([c["data"] for c in cells])])


def _on_other_data(data: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines where cells were evaluated on other scenes, on other renderings of them, or on one that is not known."""
    if len({tuple(of[name] for name in _SCENES) for of in data}) > 1:
        return ["- **The cells were not evaluated on the same data: their figures cannot be compared.**"]
    rendered = collections.Counter(of["checksum"] for of in data)
    unknown = rendered.pop(None, 0)
    lines = []
    if len(rendered) > 1:
        shares = ", ".join(f"{number} with checksum {checksum}" for checksum, number in sorted(rendered.items()))
        lines.append(
            "- **The cells were not evaluated on the same pictures: they cannot be compared more finely than the "
            "ablation *noise* tells.** Scenes, patterns and version agree; of the pictures there are "
            f"{len(rendered)} renderings: {shares}. Another processor is enough for that "
            "(datasets/fos_synthetic/README.md)."
        )
    if unknown:
        lines.append(
            f"- **Of {unknown} cells it is not known which rendering of the scenes they were evaluated on: they cannot "
            "be compared with the others more finely than the ablation *noise* tells.** Scenes, patterns and version "
            "agree; their JSON has no checksum of the pictures."
        )
    return lines


def _run_seeds(results: SizeResults, cell_ids: Iterable[CellId]) -> str:
    run = sorted({cell_id.seed for cell_id in cell_ids})
    text = ", ".join(map(str, run))
    return text if run == sorted(results.seeds) else f"{text} of {', '.join(map(str, results.seeds))}"


def methods(results: SizeResults) -> str:
    """The main table: one line a method and ranking."""
    header = ["method", "kind", "ranking", *(title for title, _ in _FIGURES), "fosd", "seeds"]
    lines = []
    for entry in results.entries():
        figures = [spread_text(entry.spread(*path)) for _, path in _FIGURES]
        if not entry.by_seed:
            figures = [NOT_RUN, *[""] * (len(_FIGURES) - 1)]
        fosd = entry.spread("fosd_map")
        last = f"{fosd.mean:.1f}" if fosd else _NONE if entry.by_seed else ""
        lines.append([entry.title, entry.kind, entry.ranking_title or _NONE, *figures, last, _seeds(entry, results)])
    notes = dict.fromkeys(f"- *{entry.title}*: {entry.note}." for entry in results.entries() if entry.note)
    return table_text(header, lines) + "\n\n" + "\n".join(notes)


def differences(rows: Sequence[Comparison]) -> str:
    """Ours minus each rival and control, in points of mAP, and relative to it."""
    if not rows:
        return NOT_RUN
    header = ["ours", "ranking", "against", "its ranking", "points [95 %]", "relative", "better in", "by seed"]
    lines = [
        [
            row.ours.title,
            row.ours.ranking_title,
            row.theirs.title,
            row.theirs.ranking_title,
            interval_text(row.result),
            f"{_signed(row.result.relative)} %",
            f"{100 * row.result.probability_above_zero:.1f} %",
            ", ".join(f"{seed}: {_signed(value)}" for seed, value in row.result.by_seed.items()),
        ]
        for row in rows
    ]
    note = '"Better in" is the share of resamples in which ours is ahead. The paper reports +10.42 points, +24.06 %, '
    return table_text(header, lines) + "\n\n" + note + "on its own data, over the best method before it."


def by_category(results: SizeResults) -> str:
    """mAP by category: cosine and main ranking of each method."""
    entries = _run_entries(results)
    names = list(dict.fromkeys(name for e in entries for row in e.by_seed.values() for name in row["by_category"]))
    lines = [
        [e.title, e.ranking_title or _NONE, *(spread_text(e.spread("by_category", n)) for n in names)] for e in entries
    ]
    return table_text(["method", "ranking", *names], lines) if lines else NOT_RUN


def by_attribute(results: SizeResults) -> str:
    """mAP of each factor, mean over the categories that have it."""
    entries = _run_entries(results)
    rows = [row for e in entries for row in e.by_seed.values()]
    names = list(dict.fromkeys(a for row in rows for of in row["by_attribute"].values() for a in of))
    lines = []
    for e in entries:
        cells = [spread_text(spread([_of_attribute(row, name) for row in e.by_seed.values()])) for name in names]
        lines.append([e.title, e.ranking_title or _NONE, *cells])
    if not names:
        return NOT_RUN
    note = (
        "A factor's mAP is that of the same ranking among the foregrounds that fit in all other factors; mean over the "
    )
    return table_text(["method", "ranking", *names], lines) + "\n\n" + note + "categories that have the factor."


def losses(results: SizeResults) -> str:
    """What the teacher, the student and ranking by one vector each lose, in points of mAP."""
    found = results_losses.losses(results)
    if found is None:
        return NOT_RUN
    note = "In points of mAP, from 100 down. The teacher's is what an oracle misses that is told which patterns fit; a "
    note += "factor's column is the same among foregrounds that fit in all other factors."
    return table_text(*found) + "\n\n" + note


def cost(results: SizeResults) -> str:
    """Training time and the cost of a query."""
    header = ["method", "training, min", "encoder, parameters", "GFLOP a query", "encoding one, ms", "in a batch, ms"]
    header += ["ranking, µs", "hardware"]
    lines = []
    for method in results.plan["methods"]:
        cells = list(results.of_method(method["name"]).values())
        if method["group"] or not method["rankings"]:
            continue
        if not cells:
            lines.append([method["title"], NOT_RUN, *[""] * (len(header) - 2)])
            continue
        lines += _cost_lines(method, cells)
    note = (
        "Training is all that a method needs, the teacher too, with start, compilation and validation; a teacher that "
        "several methods share counts for each; one that was killed outright counts from its last start. Ranking is "
        "exact search over the query's category, its last ranking above; a network that judges pairs has a line of its "
        "own, with the operations of all pairs of a query, beside those of encoding it for an interaction. Times are "
        "what the machine gave while other work may have run on it; GFLOP and parameters are exact."
    )
    return table_text(header, lines) + "\n\n" + note


def _cost_lines(method: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The line of a method's encoding and search, and one for each network that judges pairs."""
    costs, hardware = [cell["cost"] for cell in cells], ", ".join(sorted({cell["hardware"] for cell in cells}))

    def ranking_us(ranking: str) -> str:
        rows = [next(row for row in cell["rows"] if row["ranking"] == ranking) for cell in cells]
        return _plain(spread([1000 * row["ranking_ms"] for row in rows]), 1)

    def line(
        title: str, minutes: Spread | None, parameters: int, gflop: Sequence[float | None], ranking: str
    ) -> list[str]:
        times = [_plain(spread([c[key] for c in costs]), digits) for key, digits in (("one_ms", 1), ("batch_ms", 2))]
        return [
            title,
            _plain(minutes, 1) if minutes else "",
            f"{parameters / 1e6:.2f} M",
            _plain(spread(gflop), 3),
            *(times if minutes else ["", ""]),
            ranking_us(ranking),
            hardware,
        ]

    minutes = spread([sum(t["seconds"] for t in cell["trainings"]) / 60 for cell in cells])
    if None in costs:  # no query encoder: it is shown the removed object
        return [[method["title"], _plain(minutes, 1), *[_NONE] * 5, hardware]]
    plain = [ranking for ranking in method["rankings"] if ranking not in PAIR_RANKINGS]
    lines = [line(method["title"], minutes, costs[0]["parameters"], [c["gflop"] for c in costs], plain[-1])]
    for name, pair in costs[0].get("pairs", {}).items():
        parts = [costs[0]["gflop"] if name == INTERACTION else 0.0, pair["pair_gflop"]]
        gflop = None if None in parts else parts[0] + pair["pairs"] * parts[1]
        lines.append(line(f"{method['title']}, {name}", None, pair["parameters"], [gflop], name))
    return lines


def ablations(results: SizeResults, rows: Sequence[tuple[str, Entry, SeedDifference]]) -> str:
    """Change of mAP against the student, by group; what was not run is listed."""
    header = ["group", "change", "ranking", "mAP", "points against the student [95 %]", "seeds"]
    lines = [
        [group, e.title, e.ranking_title, spread_text(e.spread("figures", "map")), interval_text(d), _seeds(e, results)]
        for group, e, d in rows
    ]
    done = {entry.method for _, entry, _ in rows}
    for method in results.plan["methods"]:
        if method["group"] and method["name"] not in done:
            lines.append([method["group"], method["title"], "", NOT_RUN, "", ""])
    order = list(dict.fromkeys(method["group"] for method in results.plan["methods"]))
    note = (
        "An interval over one seed knows nothing of how far trainings lie apart. The group *noise* does: it is the "
        "student's cell trained and evaluated once more, on another processor (on the same one it gives the same "
        "bundle, bit by bit); differences no larger than that say little."
    )
    return table_text(header, sorted(lines, key=lambda line: order.index(line[0]))) + "\n\n" + note


def tuning(results: SizeResults) -> str:
    """Every trial on validation, and which of them the configs have."""
    header = ["training", "what was set", "validation score", "in use", "minutes", "commit"]
    lines = []
    for plan, trial in zip(results.plan["trials"], results.trials, strict=True):
        set_to = ", ".join(f"{field} {value}" for field, value in plan["changes"].items())
        used = "yes" if plan["is_chosen"] else ""
        run = [NOT_RUN, used, "", ""]
        if trial is not None:
            run = [f"{trial['score']:.4f}", used, f"{trial['seconds'] / 60:.1f}", str(trial["commit"])]
        lines.append([plan["training"], set_to, *run])
    note = (
        "As many trials for each training, one seed, half the steps of the config, measured on the validation split: "
    )
    note += "mAP by cosine for rivals, by the main ranking for the student, negated cross-entropy for the teacher."
    return table_text(header, lines) + "\n\n" + note


def cells(results: SizeResults) -> str:
    """Every cell that was run: what it can be traced to."""
    lines = []
    for (_, method, seed), cell in results.cells.items():
        runs = "; ".join(f"{t['folder']} {t['commit']}, {t['seconds'] / 60:.1f} min" for t in cell["trainings"])
        lines.append([f"{method}-{seed}", cell["definition"], str(cell["commit"]), cell["bundle"], runs, cell["time"]])
    if not lines:
        return NOT_RUN
    header = ["cell", "definition", "evaluated at", "bundle", "trainings (folder, commit, time)", "time"]
    note = "Definition and the folders' last part are digests of the resolved config; the JSON holds the config itself."
    return table_text(header, lines) + "\n\n" + note


def _run_entries(results: SizeResults) -> list[Entry]:
    return [entry for entry in main_entries(results.entries()) if entry.by_seed]


def _of_attribute(row: Mapping[str, Any], name: str) -> float | None:
    values = [of[name]["map"] for of in row["by_attribute"].values() if name in of and of[name]["map"] is not None]
    return sum(values) / len(values) if values else None


def _seeds(entry: Entry, results: SizeResults) -> str:
    num, planned = len(entry.by_seed), len(results.seeds)
    return str(num) if num == planned else f"{num} of {planned}"


def spread_text(figure: Spread | None) -> str:
    """Mean and deviation in percent; a dash for nothing."""
    if figure is None:
        return _NONE
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.1f}"
    return f"{100 * figure.mean:.1f}{deviation}"


def _plain(figure: Spread | None, digits: int) -> str:
    return _NONE if figure is None else f"{figure.mean:.{digits}f}"


def interval_text(d: SeedDifference) -> str:
    """Difference and interval in points."""
    return f"{_signed(d.difference)} [{_signed(d.low)}, {_signed(d.high)}]"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")


def table_text(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table; columns of numbers are set to the right."""
    numbers = [i > 1 and all(_NUMBERS.fullmatch(line[i]) for line in lines) for i in range(len(header))]
    rule = ["---:" if is_number else "---" for is_number in numbers]
    rows = [header, rule, *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
