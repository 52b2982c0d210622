"""The results in short: a small table and the margins over the best rivals, for README and the head of RESULTS.md."""

from collections.abc import Sequence
from pathlib import Path

from fos_jax.errors import InputError
from fos_jax.evaluation.methods import ORACLE, OURS, RIVAL
from fos_jax.evaluation.scores import COMPOSITE, COSINE, FLAT, INTERACTION
from fos_jax.experiments.rows import BEST_INFORMED, Comparison, Entry, SizeResults, comparisons
from fos_jax.experiments.tables import circumstances, interval_text, spread_text, table_text
from fos_jax.files import write_whole

BEGIN, END = "<!-- results: rendered from results/ by fos results render, do not edit -->", "<!-- end of results -->"
PAPER_POINTS, PAPER_RELATIVE = 0.1042, 0.2406
# (words, ours, its ranking, rankings of the rivals)
_MARGINS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("By cosine, against cosine", "student", "cosine", (COSINE,)),
    ("By posterior, without attribute labels, flat against flat", "student_no_attributes", "flat", (FLAT,)),
    ("By posterior, with attribute labels", "student", "both", (FLAT,)),
    ("By posterior, against networks that judge each pair", "student", "both", (INTERACTION, COMPOSITE)),
)


def headline(results: SizeResults) -> str:
    """Table of cosine and posterior mAP a method, and a line a margin; empty where ours was not run."""
    entries = [entry for entry in results.entries() if entry.by_seed]
    if not any(entry.kind == OURS for entry in entries):
        return ""
    lines = []
    for title in dict.fromkeys(entry.title for entry in entries):
        own = {entry.ranking: entry for entry in entries if entry.title == title}
        kind = next(iter(own.values())).kind
        posterior = next((own[r] for r in BEST_INFORMED if r in own and r not in (COSINE, INTERACTION)), None)
        if kind == ORACLE:
            posterior = own.get("posterior")
        alone = own.get("")  # chance and controls that rank in one way only
        cells = [_map(alone), ""] if alone else [_map(own.get(COSINE)), _map(posterior)]
        pairs = ", ".join(f"{own[r].ranking}: {_map(own[r])}" for r in (INTERACTION, COMPOSITE) if r in own)
        lines.append([title, kind, *cells, pairs])
    table = table_text(["method", "kind", "mAP by cosine", "mAP by posterior", "by a network a pair"], lines)
    rows = comparisons(results)
    margins = [text for margin in _MARGINS if (text := _margin(*margin, rows))]
    return "\n\n".join(filter(None, [table, "\n".join(margins)]))


def readme_block(all_results: Sequence[SizeResults], folder: str = "results") -> str:
    """The headline of every size that says something, its plot of methods, and its circumstances.

    `folder` is that of the results as the README sees it, for links.
    """
    parts = []
    for results in all_results:
        if results.size != "mini" and (text := headline(results)):
            plot = f"![mAP by method, a dot each seed]({folder}/{results.size}/methods.svg)"
            parts += [f"### Size {results.size}", text, plot, circumstances(results)]
    return "\n\n".join(parts)


def write_readme(readme: str | Path, block: str) -> None:
    """Puts the block between the two marks of a file; `InputError` where it has none."""
    text = Path(readme).read_text("utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise InputError(f"{readme}: no lines {BEGIN!r} and {END!r} in this order, expected them around the results")
    write_whole(readme, text[: begin + len(BEGIN)] + "\n" + block + "\n" + text[end:])


def best_margin(rows: Sequence[Comparison], ours: str, ranking: str, others: Sequence[str]) -> Comparison | None:
    """Against the rival that comes nearest; None where none was run."""
    found = [
        row
        for row in rows
        if (row.ours.method, row.ours.ranking) == (ours, ranking)
        and row.theirs.kind == RIVAL
        and row.theirs.ranking in others
    ]
    return min(found, key=lambda row: row.result.difference, default=None)


def _margin(words: str, ours: str, ranking: str, others: Sequence[str], rows: Sequence[Comparison]) -> str:
    row = best_margin(rows, ours, ranking, others)
    if row is None:
        return ""
    d = row.result
    is_met = d.difference >= PAPER_POINTS and d.relative >= PAPER_RELATIVE and d.low > 0
    verdict = "as large as the paper's margin" if is_met else "**less than the paper's margin**" + _limit(row.theirs)
    seeds = f"{len(d.by_seed)} seed{'s' if len(d.by_seed) > 1 else ''}"
    return (
        f"- {words}: {row.ours.title} {_map(row.ours)}, the nearest rival, {row.theirs.title}"
        f"{'' if row.theirs.ranking in (COSINE, FLAT) else ' (' + row.theirs.ranking + ')'}, {_map(row.theirs)}: "
        f"{interval_text(d)} points, {f'{100 * d.relative:+.1f}'.replace('-', '−')} % relative, {seeds}: {verdict}."
    )


def _limit(rival: Entry) -> str:
    """What a perfect ranking would be over a rival that leaves less room than the paper's relative margin."""
    reached = rival.spread("figures", "map")
    if reached is None or (most := 1 / reached.mean - 1) >= PAPER_RELATIVE:
        return ""
    return f" (a perfect ranking, 100, would be {100 * most:+.1f} % over this rival)"


def _map(entry: Entry | None) -> str:
    return "–" if entry is None else spread_text(entry.spread("figures", "map"))
