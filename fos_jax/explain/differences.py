"""Differences between two patterns: the attributes that a query would have to speak for, so that the other one wins."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fos_jax.pattern_table import PatternTable, attribute_phrase


@dataclasses.dataclass(frozen=True)
class DifferingAttribute:
    """An attribute of which two patterns have different values.

    Attributes:
      name: as in the pattern table. mine, other: the value of either pattern.
      p_mine, p_other: p(value | query), summed over the patterns that have it.
    """

    name: str
    mine: str
    other: str
    p_mine: float
    p_other: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """What would have to differ for the less probable of two patterns to win.

    Attributes:
      pattern, other: ids. attributes: those that differ, in the table's order. text: the same in one sentence.
    """

    pattern: int
    other: int
    attributes: tuple[DifferingAttribute, ...]
    text: str


def attribute_marginals(
    query_log_posterior: np.ndarray, table: PatternTable, patterns: Sequence[int] | np.ndarray
) -> dict[str, dict[str, float]]:
    """Name -> value -> p(value | query), in the table's order; empty where the patterns carry no attributes.

    Args:
      query_log_posterior: float [p], log p(pattern | query).
      table: the pattern table.
      patterns: int [p], the ids that the posterior is over, of one category.
    """
    query = np.exp(np.asarray(query_log_posterior, np.float64))
    names = table.attributes.get(table.patterns[patterns[0]].category, {}) if len(patterns) else {}
    found = {name: dict.fromkeys(values, 0.0) for name, values in names.items()}
    for number, probability in zip(patterns, query.tolist(), strict=True):
        for name, value in table.patterns[number].attributes.items():
            found[name][value] += probability
    return found


def difference(
    query_log_posterior: np.ndarray,
    pattern: int,
    other: int,
    table: PatternTable,
    patterns: Sequence[int] | np.ndarray,
) -> Difference:
    """Compares two patterns of one category for a query.

    Args:
      query_log_posterior, table, patterns: as `attribute_marginals`.
      pattern, other: ids, of `patterns`.
    """
    marginals = attribute_marginals(query_log_posterior, table, patterns)
    mine, theirs = table.patterns[pattern], table.patterns[other]
    pairs = [(name, mine.attributes[name], theirs.attributes[name]) for name in marginals]
    differing = tuple(
        DifferingAttribute(name, a, b, marginals[name][a], marginals[name][b]) for name, a, b in pairs if a != b
    )
    probability = dict(zip(map(int, patterns), np.exp(np.asarray(query_log_posterior, np.float64)), strict=True))
    wins = probability[pattern] >= probability[other]
    # (name, the loser's value and its probability, the winner's)
    lost = [(d.name, d.other, d.p_other, d.mine, d.p_mine) for d in differing]
    if not wins:
        lost = [(d.name, d.mine, d.p_mine, d.other, d.p_other) for d in differing]
    who = f"The next pattern, “{theirs.description}”," if wins else f"“{mine.description}”"
    against = "" if wins else f" over “{theirs.description}”"
    behind = [
        f"for {attribute_phrase(name, value)} ({p:.0%}) rather than {attribute_phrase(name, better)} ({q:.0%})"
        for name, value, p, better, q in lost
        if p < q
    ]
    if behind:
        text = f"{who} would win{against} if the place spoke {_and(behind)}."
    elif lost:
        said = _and([f"{attribute_phrase(name, value)} ({p:.0%})" for name, value, p, _, _ in lost])
        text = f"{who} would win{against} if {said} were as probable together with the rest as alone."
    else:
        low, high = sorted((probability[pattern], probability[other]))
        text = f"{who} has {low:.0%}, {'this one' if wins else 'the other'} {high:.0%}; no attribute tells them apart."
    return Difference(pattern, other, differing, text.replace("%", " %"))


def _and(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
