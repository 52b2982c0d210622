"""Relevance of foregrounds to queries, one category at a time: no [all queries, whole gallery] matrix is ever made."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable


@dataclasses.dataclass(frozen=True)
class Block:
    """One category's share: every query of it is ranked against every foreground of it.

    Attributes:
      category: class id.
      queries: int [q], rows of the queries.
      foregrounds: int [g], rows of the foregrounds.
      patterns: int [p], ids of the category's patterns.
    """

    category: int
    queries: np.ndarray
    foregrounds: np.ndarray
    patterns: np.ndarray


@dataclasses.dataclass(frozen=True)
class Truth:
    """Labels of one evaluated split.

    Attributes:
      table: its patterns.
      query_category: int [Q]. is_compatible: bool [Q, P]. own_foreground: int [Q], row of the original, -1 for none.
      foreground_category: int [G]. pattern: int [G], -1 where unknown.
      fitting_pairs: foregrounds labelled as fitting, one by one, beside those of compatible patterns.
      unfitting_pairs: foregrounds labelled as not fitting. Where a data set has such labels, a foreground without any
        label was judged by nobody and is not ranked.
    """

    table: PatternTable
    query_category: np.ndarray
    is_compatible: np.ndarray
    own_foreground: np.ndarray
    foreground_category: np.ndarray
    pattern: np.ndarray
    fitting_pairs: Pairs | None = None
    unfitting_pairs: Pairs | None = None

    def blocks(self) -> Iterator[Block]:
        """Categories that have queries, in the order of their ids."""
        for category in np.unique(self.query_category):
            yield Block(
                int(category),
                np.flatnonzero(self.query_category == category),
                np.flatnonzero(self.foreground_category == category),
                np.flatnonzero(self.table.category_of_pattern == category),
            )

    def relevant(self, block: Block) -> np.ndarray:
        """bool [q, g]: the foreground's pattern is one of the query's compatible ones, or the pair is labelled so."""
        by_pattern = _by_pattern(self.is_compatible[block.queries], self.pattern[block.foregrounds])
        if self.fitting_pairs is None:
            return by_pattern
        return by_pattern | self.fitting_pairs.is_pair(block.queries, block.foregrounds)

    def judged(self, block: Block) -> np.ndarray | None:
        """bool [q, g]: what is known to fit or not, and so is ranked; None where that is everything."""
        if self.unfitting_pairs is None:
            return None
        return self.relevant(block) | self.unfitting_pairs.is_pair(block.queries, block.foregrounds)

    def differs_only_in(self, block: Block, attribute: str) -> np.ndarray:
        """bool [q, g]: the foreground agrees with a compatible pattern in every attribute but, perhaps, this one."""
        patterns = [self.table.patterns[p].attributes for p in block.patterns]
        others = [tuple(value for name, value in sorted(a.items()) if name != attribute) for a in patterns]
        is_near = np.array([[a == b for b in others] for a in others], np.float32).reshape(len(others), len(others))
        by_pattern = np.zeros((len(block.queries), self.table.num_patterns), bool)
        compatible = self.is_compatible[np.ix_(block.queries, block.patterns)]
        by_pattern[:, block.patterns] = compatible.astype(np.float32) @ is_near > 0
        return _by_pattern(by_pattern, self.pattern[block.foregrounds])

    def value_of_pattern(self, block: Block, attribute: str) -> np.ndarray:
        """int [p]: index of each of the category's patterns' value of an attribute."""
        names = list(self.table.attributes[self.table.categories[block.category]][attribute])
        return np.array([names.index(self.table.patterns[p].attributes[attribute]) for p in block.patterns])

    def attributes(self, block: Block) -> tuple[str, ...]:
        """Names of the category's attributes; empty where its patterns carry none."""
        return tuple(self.table.attributes.get(self.table.categories[block.category], {}))


def truth_of(queries: Queries, foregrounds: Foregrounds, table: PatternTable) -> Truth:
    """Labels of a split; `InputError` names the field that does not fit the table."""
    num_categories, num_patterns = len(table.categories), table.num_patterns
    for name, values, limit in (
        ("queries.category", queries.category, num_categories),
        ("foregrounds.category", foregrounds.category, num_categories),
        ("foregrounds.pattern", foregrounds.pattern, num_patterns),
        ("queries.foreground_index", queries.foreground_index, len(foregrounds)),
    ):
        low = -1 if name in ("foregrounds.pattern", "queries.foreground_index") else 0
        if len(values) and not (low <= values.min() and values.max() < limit):
            raise InputError(f"{name}: {values.min()} to {values.max()}, expected {low} to {limit - 1}")
    if queries.is_compatible.shape != (len(queries), num_patterns):
        raise InputError(
            f"queries.is_compatible: shape {queries.is_compatible.shape}, expected {(len(queries), num_patterns)}"
        )
    if not len(queries) or not len(foregrounds):
        raise InputError(f"split: {len(queries)} queries and {len(foregrounds)} foregrounds, expected some of both")
    return Truth(
        table,
        np.asarray(queries.category),
        np.asarray(queries.is_compatible, bool),
        np.asarray(queries.foreground_index),
        np.asarray(foregrounds.category),
        np.asarray(foregrounds.pattern),
        queries.relevant,
        queries.irrelevant,
    )


def _by_pattern(by_pattern: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """bool [q, g] from bool [q, P] and int [g]; pattern -1 is never relevant."""
    return by_pattern[:, pattern] & (pattern >= 0)
