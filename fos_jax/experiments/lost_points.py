"""Where the student's mAP is lost: to the teacher, to the student, to ranking by one vector; by factor as well."""

from collections.abc import Mapping, Sequence
from typing import Any

from fos_jax.evaluation.methods import COMPATIBLE_SET
from fos_jax.evaluation.scores import COSINE
from fos_jax.experiments.over_seeds import Spread, spread
from fos_jax.experiments.rows import BEST_INFORMED, Entry, SizeResults

_STEPS = (
    "teacher: which patterns the gallery's foregrounds are of",
    "student: which patterns fit the query",
    "one vector in place of a posterior",
)


def losses(results: SizeResults, *, method: str = "student") -> tuple[list[str], list[list[str]]] | None:
    """The header and lines of the table, or None while the cells it needs were not run.

    The first step is what the compatible-set oracle misses, which is told the patterns that fit and ranks by the
    teacher's posterior; the second is from there to the method's main ranking, the third from that to its cosine. A
    factor's column is the same for the ranking among foregrounds that fit in all other factors.
    """
    oracle = next(
        (e for e in results.entries() if (e.title, e.ranking) == (COMPATIBLE_SET, "posterior") and e.by_seed), None
    )
    posterior = next((e for r in BEST_INFORMED if (e := results.entry(method, r)) and e.ranking != COSINE), None)
    cosine = results.entry(method, COSINE)
    if oracle is None or posterior is None or cosine is None:
        return None
    seeds = sorted(set(oracle.by_seed) & set(posterior.by_seed) & set(cosine.by_seed))
    if not seeds:
        return None
    stages = [oracle, posterior, cosine]
    factors = list(dict.fromkeys(a for of in oracle.by_seed[seeds[0]]["by_attribute"].values() for a in of))
    lines = []
    for step, (title, entry) in enumerate(zip(_STEPS, stages, strict=True)):
        before = stages[step - 1] if step else None
        reached = _points(entry, before, seeds, None)[0]
        cells = [_points(entry, before, seeds, factor)[1] for factor in (None, *factors)]
        lines.append([title, _text(reached), *map(_text, cells)])
    return ["step", "mAP after it", "lost", *(f"lost in {factor}" for factor in factors)], lines


def _points(
    entry: Entry, before: Entry | None, seeds: Sequence[int], factor: str | None
) -> tuple[Spread | None, Spread | None]:
    """(mAP, what was lost since the step before) over seeds; of a factor where one is named."""
    after = [_map(entry.by_seed[seed], factor) for seed in seeds]
    start = [1.0 if before is None else _map(before.by_seed[seed], factor) for seed in seeds]
    lost = [a - b if a is not None and b is not None else None for a, b in zip(start, after, strict=True)]
    return spread(after), spread(lost)


def _map(row: Mapping[str, Any], factor: str | None) -> float | None:
    if factor is None:
        return row["figures"]["map"]
    values = [of[factor]["map"] for of in row["by_attribute"].values() if factor in of]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _text(figure: Spread | None) -> str:
    if figure is None:
        return "–"
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.1f}"
    return f"{100 * figure.mean:.1f}{deviation}".replace("-", "−")
