"""Tables of the results as markdown. Percent here, fractions everywhere else."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fos_jax.evaluation.methods import OURS, RIVAL
from fos_jax.evaluation.scores import COMPOSITE, COSINE, FLAT, INTERACTION, PAIR_RANKINGS
from fos_jax.experiments.over_seeds import SeedDifference, Spread, spread
from fos_jax.experiments.rows import BEST_INFORMED, Comparison, Entry, SizeResults, losses

NOT_RUN = "not run"
_NONE = "–"
_NUMBERS = re.compile(r"(not run|[-–+−±\d.,:%\[\] M])*")
_FIGURES = (
    ("mAP@20", ("figures", "map_at_20")),
    ("P@10", ("figures", "precision_at_10")),
    ("top pattern fits", ("figures", "pattern_top_1")),
    ("one fits", ("by_compatible", "one", "map")),
    ("several fit", ("by_compatible", "several", "map")),
)
_SCENES = ("dataset", "size", "version", "split", "pattern_table", "query_ids")
# (title of the column, ours, its ranking, rankings of the other)
MARGINS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("by cosine, against cosine", "student", COSINE, (COSINE,)),
    ("by posterior, without attribute labels, flat against flat", "student_no_attributes", FLAT, (FLAT,)),
    ("by posterior, with attribute labels", "student", "both", ("both", FLAT)),
    ("by posterior, against networks that judge each pair", "student", "both", (INTERACTION, COMPOSITE)),
)


def provenance(results: SizeResults, *, is_ablation: bool = False) -> str:
    """Convention, data, split, seeds, commits and hardware of the main table's cells, or of the ablations'.

    Ablations are compared with the student, so its cells count among both.
    """
    grouped = {method["name"]: bool(method["group"]) for method in results.plan["methods"]}
    own = {key: cell for key, cell in results.cells.items() if grouped[key[0]] == is_ablation}
    if not own:
        return "No ablation was run." if is_ablation else "Nothing of this size was run."
    cells = [*own.values(), *(results.of_method("student").values() if is_ablation else ())]
    trained = [training for cell in cells for training in cell["trainings"]]
    # a training in stages that was stopped between them has several commits
    commits = [part for of in [*cells, *trained] if of["commit"] for part in of["commit"].split(", ")]
    note = " (-dirty: with changes that were not committed)" if any(c.endswith("-dirty") for c in commits) else ""
    data = _every(f"{c['data']['dataset']} {c['data']['size']} {c['data']['version']}" for c in cells)
    counts = _every(f"{c['counts']['queries']} queries, {c['counts']['foregrounds']} foregrounds" for c in cells)
    seeds = _every(seed for _, seed in own)
    planned = _every(results.seeds)
    text = (
        f"Data: {data}, split {_every(c['data']['split'] for c in cells)}: {counts}; convention "
        f"{_every(c['convention'] for c in cells)}; seeds {seeds}{'' if seeds == planned else f' of {planned}'}; "
        f"commit {_every(commits) or 'unknown'}{note}; trained on {_every(t['hardware'] for t in trained)}, evaluated "
        f"on {_every(c['hardware'] for c in cells)}."
    )
    return "\n\n".join([text, *_on_other_data([c["data"] for c in cells])])


def _every(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))


def _on_other_data(data: Sequence[Any]) -> list[str]:
    """Sentences where cells were evaluated on other scenes, on other renderings of them, or on one not known."""
    if len({tuple(of[name] for name in _SCENES) for of in data}) > 1:
        return ["**The cells were not evaluated on the same data: their figures cannot be compared.**"]
    rendered = collections.Counter(of["checksum"] for of in data)
    unknown = rendered.pop(None, 0)
    lines = []
    if len(rendered) > 1:
        shares = ", ".join(f"{number} with checksum {checksum}" for checksum, number in sorted(rendered.items()))
        lines.append(
            f"**The cells were not evaluated on the same pictures** (there are {len(rendered)} renderings of the same "
            f"scenes, as another processor gives them: {shares}): differences below the ablation *noise* say nothing."
        )
    if unknown:
        lines.append(
            f"**Of {unknown} cells it is not known which rendering of the same scenes they were evaluated on**: "
            "differences below the ablation *noise* say nothing."
        )
    return lines


def methods(results: SizeResults) -> str:
    """The main table: a line per method; the figures beside mAP are those of its main ranking."""
    lines = []
    for title, own in _by_method(results.entries()).items():
        first, main = next(iter(own.values())), _main(own)
        if not any(entry.by_seed for entry in own.values()):
            lines.append([title, first.kind, NOT_RUN, *[""] * (len(_FIGURES) + 2)])
            continue
        figures = [_text(main.spread(*path)) for _, path in _FIGURES]
        lines.append([title, first.kind, *_maps(own), *figures, _seeds(main, results)])
    header = ["method", "kind", "mAP by cosine", "by posterior", *(title for title, _ in _FIGURES), "seeds"]
    pairs = [e for e in results.entries() if e.ranking in PAIR_RANKINGS and e.by_seed]
    notes = [f"{e.title} by its *{e.ranking}* per pair: {_map(e)}." for e in pairs]
    return "\n\n".join(filter(None, [table_text(header, lines), " ".join(notes)]))


def notes(entries: Sequence[Entry]) -> str:
    """A line per method that has a note."""
    return "\n".join(dict.fromkeys(f"- *{entry.title}*: {entry.note}." for entry in entries if entry.note))


def margins(rows: Sequence[Comparison], points: float, relative: float) -> str:
    """A line per margin over the nearest rival, and whether it is as large as the paper's."""
    return "\n".join(
        f"- {title.capitalize()}: {_margin(row, points, relative)}"
        for title, ours, ranking, others in MARGINS
        if (row := best_margin(rows, ours, ranking, others))
    )


def best_margin(rows: Sequence[Comparison], ours: str, ranking: str, others: Sequence[str]) -> Comparison | None:
    """Against the rival that comes nearest; None where none was run."""
    found = [row for row in _of_margin(rows, ours, ranking, others) if row.theirs.kind == RIVAL]
    return min(found, key=lambda row: row.result.difference, default=None)


def _of_margin(rows: Sequence[Comparison], ours: str, ranking: str, others: Sequence[str]) -> list[Comparison]:
    return [r for r in rows if (r.ours.method, r.ours.ranking) == (ours, ranking) and r.theirs.ranking in others]


def _margin(row: Comparison, points: float, relative: float) -> str:
    d = row.result
    is_met = d.difference >= points and d.relative >= relative and d.low > 0
    verdict = "as large as the paper's margin"
    if not is_met:
        verdict = "**less than the paper's margin**"
        reached = row.theirs.spread("figures", "map")
        if reached and (most := 1 / reached.mean - 1) < relative:
            verdict += f" (a perfect ranking, 100, would be {100 * most:+.1f} % over this rival)"
    return (
        f"{row.ours.title} {_map(row.ours)}, the nearest rival, {row.theirs.title}"
        f"{'' if row.theirs.ranking in (COSINE, FLAT) else ' (' + row.theirs.ranking + ')'}, {_map(row.theirs)}: "
        f"{interval_text(d)} points, {_signed(d.relative)} % relative, {len(d.by_seed)} "
        f"seed{'s' if len(d.by_seed) > 1 else ''}: {verdict}."
    )


def differences(rows: Sequence[Comparison]) -> str:
    """Points of mAP between the student and each rival and control."""
    by_title: dict[str, list[str]] = {}
    columns = ("by cosine", "flat, without attribute labels", "by posterior")
    for column, (_, ours, ranking, others) in enumerate(MARGINS[: len(columns)]):
        for row in _of_margin(rows, ours, ranking, others):
            by_title.setdefault(row.theirs.title, [_NONE] * len(columns))[column] = interval_text(row.result)
    lines = [[title, *cells] for title, cells in by_title.items()]
    return table_text(["student minus", *columns], lines) if lines else NOT_RUN


def breakdown(results: SizeResults) -> str:
    """mAP of ours and rivals by category and by factor, each by its main ranking."""
    by_method = _by_method([e for e in results.entries() if e.by_seed and e.kind in (OURS, RIVAL)])
    entries = [_main(own) for own in by_method.values()]
    rows = [row for entry in entries for row in entry.by_seed.values()]
    categories = list(dict.fromkeys(name for row in rows for name in row["by_category"]))
    factors = list(dict.fromkeys(a for row in rows for of in row["by_attribute"].values() for a in of))
    lines = []
    for e in entries:
        figures = [*(e.spread("by_category", name) for name in categories), *map(e.factor, factors)]
        lines.append([e.title, *(_plain(f and f.mean, 1, 100) for f in figures)])
    header = ["method", *categories, *(f"*{name}*" for name in factors)]
    return table_text(header, lines) if lines else NOT_RUN


def lost_points(results: SizeResults) -> str:
    """What the teacher, the student and ranking by one vector each lose, in points of mAP."""
    found = losses(results)
    if found is None:
        return NOT_RUN
    factors, steps = found
    lines = [[title, *(_text(figure).replace("-", "−") for figure in figures)] for title, figures in steps]
    return table_text(["lost to", "mAP after it", "lost", *(f"in {factor}" for factor in factors)], lines)


def cost(results: SizeResults) -> str:
    """Training time and the cost of a query of ours and rivals."""
    lines = []
    for method in results.plan["methods"]:
        cells = list(results.of_method(method["name"]).values())
        if cells and not method["group"] and method["kind"] in (OURS, RIVAL):
            lines += _cost_lines(method, cells)
    header = ["method", "training, min", "parameters", "GFLOP per query", "encoding one, ms", "in a batch, ms"]
    return table_text([*header, "ranking, µs"], lines) if lines else NOT_RUN


def _cost_lines(method: Any, cells: Sequence[Any]) -> list[list[str]]:
    """The line of a method's encoding and search, and one for each network that judges pairs."""
    costs = [cell["cost"] for cell in cells]

    def mean(values: Sequence[float | None], digits: int) -> str:
        figure = spread(values)
        return _plain(figure and figure.mean, digits)

    def ranking_us(ranking: str) -> str:
        rows = [next(row for row in cell["rows"] if row["ranking"] == ranking) for cell in cells]
        return mean([1000 * row["ranking_ms"] for row in rows], 1)

    minutes = mean([sum(t["seconds"] for t in cell["trainings"]) / 60 for cell in cells], 1)
    if None in costs:  # no query encoder: it is shown the removed object
        return [[method["title"], minutes, *[_NONE] * 5]]
    plain = [ranking for ranking in method["rankings"] if ranking not in PAIR_RANKINGS]
    size, gflop = f"{costs[0]['parameters'] / 1e6:.2f} M", mean([c["gflop"] for c in costs], 3)
    times = mean([c["one_ms"] for c in costs], 1), mean([c["batch_ms"] for c in costs], 2)
    lines = [[method["title"], minutes, size, gflop, *times, ranking_us(plain[-1])]]
    for name, pair in costs[0].get("pairs", {}).items():
        parts = [costs[0]["gflop"] if name == INTERACTION else 0.0, pair["pair_gflop"]]
        gflop = _plain(None if None in parts else parts[0] + pair["pairs"] * parts[1], 3)
        lines.append(
            [f"{method['title']}, {name}", "", f"{pair['parameters'] / 1e6:.2f} M", gflop, "", "", ranking_us(name)]
        )
    return lines


def ablations(results: SizeResults, rows: Sequence[Comparison]) -> str:
    """Change of mAP against the student in points, by group; what was not run is listed below."""
    by_method: dict[str, dict[str, Comparison]] = {}
    for row in rows:
        by_method.setdefault(row.ours.method, {})[row.ours.ranking] = row
    groups: dict[str, list[list[str]]] = {}
    missing = []
    for method in (m for m in results.plan["methods"] if m["group"]):
        own = by_method.get(method["name"], {})
        if not own:
            missing.append(f"{method['group']}: {method['title']}")
            continue
        best = next((own[r] for r in BEST_INFORMED if r in own and r != COSINE), None)
        cells = [interval_text(row.result) if row else _NONE for row in (own.get(COSINE), best)]
        lines = groups.setdefault(method["group"], [])
        seeds = _seeds(next(iter(own.values())).ours, results)
        lines.append(["" if lines else method["group"], method["title"], *cells, seeds])
    lines = [line for of in groups.values() for line in of]
    table = table_text(["group", "change", "by cosine", "by posterior", "seeds"], lines) if lines else ""
    return "\n\n".join(filter(None, [table, f"Not run: {'; '.join(missing)}." if missing and lines else ""]))


def tuning(results: SizeResults) -> str:
    """A line per training: the scores of its trials on validation, and what was set in the one that is in use."""
    by_training: dict[str, list[tuple[Any, Any]]] = {}
    for plan, trial in zip(results.plan["trials"], results.trials, strict=True):
        by_training.setdefault(plan["training"], []).append((plan, trial))
    lines = []
    for name, own in by_training.items():
        scores = [NOT_RUN if t is None else f"{t['score']:.3f}" for _, t in own]
        used: Mapping[str, Any] = next((plan["changes"] for plan, _ in own if plan["is_chosen"]), {})
        words = ", ".join(f"{field.split('.')[1]} {value}" for field, value in used.items())
        lines.append([name, " ".join(scores), words or _NONE])
    return table_text(["training", "scores of its trials", "in use"], lines)


def short_table(all_results: Sequence[SizeResults]) -> str:
    """Six rows for README: student, two streams, the best other rival, and what figures must be seen against."""
    found = [_by_method([e for e in results.entries() if e.by_seed]) for results in all_results]
    rivals = [main for title, own in found[0].items() if (main := _main(own)).kind == RIVAL and title != "two streams"]
    best = max(rivals, key=lambda e: e.spread("figures", "map") or (0.0,), default=None)
    titles = ("student", "two streams", best.title if best else "", "rectangle only", "chance", "own-foreground oracle")
    lines = [[title, *(text for of in found for text in _maps(of.get(title, {})))] for title in titles if title]
    header = ["mAP, percent", *(f"{r.size}, {by}" for r in all_results for by in ("by cosine", "by posterior"))]
    return table_text(header, lines)


def _by_method(entries: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Title -> ranking -> entry."""
    out: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        out.setdefault(entry.title, {})[entry.ranking] = entry
    return out


def _main(own: Mapping[str, Entry]) -> Entry:
    """The entry of a method's main ranking; an oracle's by posterior."""
    order = ("posterior", *(r for r in BEST_INFORMED if r not in PAIR_RANKINGS), "")
    return next(own[ranking] for ranking in order if ranking in own)


def _maps(own: Mapping[str, Entry]) -> list[str]:
    """mAP by cosine and by the main ranking; a method that ranks in one way only has the second."""
    main = _main(own) if own else None
    return ["" if "" in own else _map(own.get(COSINE)), _map(main if main is not own.get(COSINE) else None)]


def _seeds(entry: Entry, results: SizeResults) -> str:
    num, planned = len(entry.by_seed), len(results.seeds)
    return str(num) if num == planned else f"{num} of {planned}"


def _map(entry: Entry | None) -> str:
    return _NONE if entry is None else _text(entry.spread("figures", "map"))


def _text(figure: Spread | None) -> str:
    """Mean and deviation in percent; a dash for nothing."""
    if figure is None:
        return _NONE
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.1f}"
    return f"{100 * figure.mean:.1f}{deviation}"


def _plain(value: float | None, digits: int, scale: float = 1) -> str:
    return _NONE if value is None else f"{scale * value:.{digits}f}"


def interval_text(d: SeedDifference) -> str:
    """Difference and interval in points."""
    return f"{_signed(d.difference)} [{_signed(d.low)}, {_signed(d.high)}]"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")


def table_text(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table; columns of numbers are set to the right."""
    numbers = [i > 0 and all(_NUMBERS.fullmatch(line[i]) for line in lines) for i in range(len(header))]
    rows = [header, ["--:" if is_number else "---" for is_number in numbers], *lines]
    return "\n".join("|" + "|".join(cell.replace("|", "\\|") for cell in row) + "|" for row in rows)
