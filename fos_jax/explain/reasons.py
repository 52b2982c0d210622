"""Reasons of a score: the patterns it comes from, and how probable their attributes are for the query."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fos_jax.pattern_table import Pattern, PatternTable, attribute_phrase

_NO_EXPERTS: Mapping[str, float] = {}
_NO_NOTES: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Term:
    """One pattern's part of a score.

    Attributes:
      pattern: id. description: for people. attributes: name -> value.
      query_probability: p(pattern | query). foreground_probability: p(pattern | foreground).
      share: of the score that this pattern brings, 0..1.
    """

    pattern: int
    description: str
    attributes: dict[str, str]
    query_probability: float
    foreground_probability: float
    share: float


@dataclasses.dataclass(frozen=True)
class SharedAttribute:
    """One attribute's most probable value for the foreground, and how probable it is on both sides.

    Attributes:
      name, value: as in the pattern table.
      query_probability: of the value, summed over the patterns that have it, for the query.
      foreground_probability: the same for the foreground.
    """

    name: str
    value: str
    query_probability: float
    foreground_probability: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a score is what it is.

    Attributes:
      score: sum over patterns of p(pattern | query) p(pattern | foreground) plus what experts add, or the cosine.
      ranking: "posterior" or "cosine".
      parts: what adds up to the score by posterior, also under "cosine": "pattern", where the category has any, and
        each expert's weighted cosine.
      terms: the patterns that carry most of the score, largest share first. Under "cosine", which is no sum over
        patterns, shares are those the posteriors would give.
      attributes: what the foreground shows, in the table's order; empty where patterns carry no attributes.
      text: the same in one or two sentences.
    """

    score: float
    ranking: str
    parts: Mapping[str, float]
    terms: tuple[Term, ...]
    attributes: tuple[SharedAttribute, ...]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        return dataclasses.asdict(self)


def explain(
    query_log_posterior: np.ndarray,
    foreground_log_posterior: np.ndarray,
    table: PatternTable,
    *,
    patterns: np.ndarray | None = None,
    category: str = "",
    cosine: float | None = None,
    experts: Mapping[str, float] = _NO_EXPERTS,
    notes: Mapping[str, str] = _NO_NOTES,
    fit: str = "",
    max_terms: int = 3,
    min_share: float = 0.05,
) -> Explanation:
    """Takes apart score(query, foreground) = sum over patterns of p(pattern | query) p(pattern | foreground) + experts.

    Args:
      query_log_posterior: float [p], log p(pattern | query), -inf where impossible. Empty where the category has no
        patterns: then there must be experts.
      foreground_log_posterior: float [p], of the foreground, of the same category.
      table: the pattern table.
      patterns: int [p], ids of the patterns the two arrays are over; None where they are over all patterns.
      category: its name, for a category without patterns.
      cosine: the score where it was ranked by cosine; None where by posterior.
      experts: name -> what each adds to the score. notes: name -> half a sentence on what the expert speaks of.
      fit: a sentence that follows the reason.
      max_terms: patterns to name at most. min_share: least share of a pattern beyond the first to be named.

    Raises: ValueError where shapes do not fit.

    Source: decision 28.
    """
    foreground = np.exp(np.asarray(foreground_log_posterior, np.float64))
    reasoner = Reasoner(query_log_posterior, table, patterns=patterns, category=category, notes=notes)
    return reasoner.explain(
        foreground, cosine=cosine, experts=experts, fit=fit, max_terms=max_terms, min_share=min_share
    )


class Reasoner:
    """`explain` for many foregrounds of one query."""

    def __init__(
        self,
        query_log_posterior: np.ndarray,
        table: PatternTable,
        *,
        patterns: np.ndarray | None = None,
        category: str = "",
        notes: Mapping[str, str] = _NO_NOTES,
    ):
        """Arguments as of `explain`; `ValueError` where their shapes do not fit."""
        self._ids = np.arange(table.num_patterns) if patterns is None else np.asarray(patterns)
        self._query = np.exp(np.asarray(query_log_posterior, np.float64))
        self._table, self._category, self._notes = table, category, notes
        self._values: dict[str, _Values] = {}
        self._check("query", self._query)

    def _check(self, name: str, posterior: np.ndarray) -> None:
        ids = self._ids
        if posterior.shape != ids.shape or ids.ndim != 1 or not (len(ids) or self._category):
            raise ValueError(f"{name}: posterior has shape {posterior.shape}, expected {ids.shape} and a category")

    def explain(
        self,
        foreground: np.ndarray,
        *,
        cosine: float | None = None,
        experts: Mapping[str, float] = _NO_EXPERTS,
        fit: str = "",
        max_terms: int = 3,
        min_share: float = 0.05,
    ) -> Explanation:
        """The explanation of float [p], p(pattern | foreground); other arguments and errors as of `explain`."""
        self._check("foreground", foreground)
        table, ids, query = self._table, self._ids, self._query
        products = query * foreground
        score = float(products.sum())
        order = (-products).argsort(kind="stable")[:max_terms].tolist()
        terms: list[Term] = []
        for i in order:
            share = products.item(i) / score if score > 0 else 0.0
            if terms and share < min_share:
                break
            pattern = table.patterns[ids.item(i)]
            attributes = dict(pattern.attributes)
            terms.append(Term(pattern.id, pattern.description, attributes, query.item(i), foreground.item(i), share))
        shared = self._shared_attributes(foreground) if len(ids) else ()
        parts = ({"pattern": score} if len(ids) else {}) | dict(experts)
        total = sum(parts.values())
        said = [] if cosine is None else [f"Cosine {cosine:.2f}."]
        if experts and cosine is None:
            said.append(_parts_sentence(parts, total, self._notes))
        said.append(
            _sentence(terms, shared, score, bool(experts)) if len(ids) else f"N{no_patterns(self._category)[1:]}."
        )
        text = " ".join([*said, *([fit] if fit else [])])
        ranking = "posterior" if cosine is None else "cosine"
        return Explanation(total if cosine is None else float(cosine), ranking, parts, tuple(terms), shared, text)

    def _shared_attributes(self, foreground: np.ndarray) -> tuple[SharedAttribute, ...]:
        category = self._table.patterns[self._ids.item(foreground.argmax())].category
        if category not in self._values:
            self._values[category] = _Values.of(self._table, category, self._ids, self._query)
        known, shared = self._values[category], []
        marginal = (known.has @ foreground).tolist()
        for name, start, stop in known.attributes:
            best = max(range(start, stop), key=marginal.__getitem__)
            shared.append(SharedAttribute(name, known.values[best], known.query[best], marginal[best]))
        return tuple(shared)


class _Values(NamedTuple):
    """The values of a category's attributes, end to end.

    Attributes:
      attributes: name, first value and the one behind its last.
      values: their names.
      has: float64 [v, p], 1 where a pattern has the value. query: p(value | query).
    """

    attributes: Sequence[tuple[str, int, int]]
    values: Sequence[str]
    has: np.ndarray
    query: Sequence[float]

    @classmethod
    def of(cls, table: PatternTable, category: str, ids: np.ndarray, query: np.ndarray) -> "_Values":
        named = table.attributes.get(category, {})
        stops = list(itertools.accumulate(map(len, named.values()), initial=0))
        held = [_has(table, ids, name, value) for name, values in named.items() for value in values]
        has = np.array(held, np.float64).reshape(-1, len(ids))
        values = [value for of_name in named.values() for value in of_name]
        return cls([*zip(named, stops, stops[1:], strict=False)], values, has, (has @ query).tolist())


def no_patterns(category: str) -> str:
    """What stands for the reason of a pattern where a category has none."""
    return f"no patterns are known for {category}"


def pattern_reason(query_log_posterior: np.ndarray, pattern: Pattern, table: PatternTable, patterns: np.ndarray) -> str:
    """How probable each attribute of a pattern is for a query, in words: "facing away 73 %, lit from the left 93 %".

    Args:
      query_log_posterior: float [p], log p(pattern | query). patterns: int [p], the ids that it is over.
      pattern: the pattern; its description is the answer where it has no attributes.
      table: the pattern table.
    """
    query = np.exp(np.asarray(query_log_posterior, np.float64))
    names = table.attributes.get(pattern.category, {})
    held = [(name, pattern.attributes[name]) for name in names]
    parts = [(name, value, float(query[_has(table, patterns, name, value)].sum())) for name, value in held]
    return _said(parts) or pattern.description


def _has(table: PatternTable, ids: np.ndarray, name: str, value: str) -> np.ndarray:
    """bool [p]: whether each pattern has the value."""
    return np.array([table.patterns[i].attributes.get(name) == value for i in ids])


def _parts_sentence(parts: Mapping[str, float], total: float, notes: Mapping[str, str]) -> str:
    """ "Pattern 0.42 of 0.81, geometry 0.25 (a tall rectangle ...), appearance 0.14.", largest first."""
    named = []
    for i, (name, value) in enumerate(sorted(parts.items(), key=lambda part: -part[1])):
        note = f" ({notes[name]})" if notes.get(name) else ""
        named.append(f"{name if i else name.capitalize()} {value:.2f}{'' if i else f' of {total:.2f}'}{note}")
    return f"{', '.join(named)}."


def _sentence(terms: Sequence[Term], attributes: Sequence[SharedAttribute], score: float, has_experts: bool) -> str:
    if score <= 0:
        return "No pattern is possible for both this place and this foreground."
    whole = "the pattern part" if has_experts else "the score"
    named = " or ".join(f"“{term.description}” ({_percent(term.share)} of {whole})" for term in terms)
    said = _said((a.name, a.value, a.query_probability) for a in attributes)
    return f"Both are probably {named}{said and f'; this place suggests: {said}'}."


def _said(parts: Iterable[tuple[str, str, float]]) -> str:
    return ", ".join(f"{attribute_phrase(name, value)} {_percent(p)}" for name, value, p in parts)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
