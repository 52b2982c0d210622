"""Training data made worse on purpose: fewer rows, wrong pattern labels, or coarser ones; for ablations."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable

QueriesOrNone = TypeVar("QueriesOrNone", Queries, None)


def limited(
    foregrounds: Foregrounds, queries: QueriesOrNone, table: PatternTable, settings: Any, *, seed: int
) -> tuple[Foregrounds, QueriesOrNone]:
    """A training split as a config's `data` section wants it: `train_share`, `label_noise`, then `merged_attributes`.

    Each may be missing. Teacher and student of one seed get the same rows and the same wrong labels. Source: design
    decision.
    """
    foregrounds, queries = share_of(foregrounds, queries, share=settings.get("train_share", 1.0), seed=seed)
    foregrounds = with_label_noise(foregrounds, table, share=settings.get("label_noise", 0.0), seed=seed)
    return with_merged_patterns(foregrounds, queries, table, attributes=settings.get("merged_attributes", ()))


def share_of(
    foregrounds: Foregrounds, queries: QueriesOrNone, *, share: float, seed: int
) -> tuple[Foregrounds, QueriesOrNone]:
    """A share of each category's foregrounds, and the queries whose own foreground is among them.

    A smaller share is part of a larger one of the same seed. Queries without an own foreground are all kept.

    Args:
      foregrounds, queries: of one split; the queries have no labels of single pairs.
      share: above 0, up to 1; at least one foreground a category is kept.
      seed: of the choice.

    Raises:
      InputError: another share, or queries with labels of pairs.
    """
    if not 0 < share <= 1:
        raise InputError(f"config: data.train_share is {share}, expected above 0 and at most 1")
    if share == 1:
        return foregrounds, queries  # stays memory-mapped
    if queries is not None and (queries.relevant is not None or queries.irrelevant is not None):
        raise InputError("config: data.train_share is set, expected data without labels of single pairs")
    order = np.random.default_rng([seed, 1]).permutation(len(foregrounds))
    kept = []
    for category in np.unique(foregrounds.category):
        rows = order[foregrounds.category[order] == category]
        kept.append(rows[: max(1, round(share * len(rows)))])
    rows = np.sort(np.concatenate(kept))
    fewer = Foregrounds(**{f.name: getattr(foregrounds, f.name)[rows] for f in dataclasses.fields(foregrounds)})
    if queries is None:
        return fewer, None
    new_row = np.full(len(foregrounds) + 1, -1, np.int32)  # the last one for queries without an own foreground
    new_row[rows] = np.arange(len(rows))
    own = new_row[queries.foreground_index]
    asked = np.flatnonzero((own >= 0) | (queries.foreground_index < 0))
    arrays = {name: getattr(queries, name)[asked] for name in ("ids", "image", "box_yxyx_norm", "category")}
    return fewer, Queries(**arrays, is_compatible=queries.is_compatible[asked], foreground_index=own[asked])


def with_label_noise(foregrounds: Foregrounds, table: PatternTable, *, share: float, seed: int) -> Foregrounds:
    """Gives a share of the labelled foregrounds another pattern of their category, each wrong one as likely.

    Queries' labels stay right. Foregrounds of a category with one pattern keep it.

    Args:
      foregrounds: of a split. table: its patterns. share: 0 to 1, of the labelled ones. seed: of rows and labels.

    Raises:
      InputError: another share.
    """
    if not 0 <= share <= 1:
        raise InputError(f"config: data.label_noise is {share}, expected 0 to 1")
    if share == 0:
        return foregrounds
    rng = np.random.default_rng([seed, 2])
    labelled = np.flatnonzero(foregrounds.pattern >= 0)
    pattern = foregrounds.pattern.copy()
    for row in rng.permutation(labelled)[: round(share * len(labelled))]:
        others = np.flatnonzero(table.category_of_pattern == foregrounds.category[row])
        others = others[others != pattern[row]]
        if len(others):
            pattern[row] = rng.choice(others)
    return dataclasses.replace(foregrounds, pattern=pattern)


def with_merged_patterns(
    foregrounds: Foregrounds, queries: QueriesOrNone, table: PatternTable, *, attributes: Sequence[str]
) -> tuple[Foregrounds, QueriesOrNone]:
    """Labels that do not tell some attributes apart: fewer, larger patterns.

    Patterns of a category that differ in those attributes alone become the first of them; the others lose all members
    and queries. The table stays as it is, so models are measured on the patterns that the data set has.

    Args:
      foregrounds, queries: of one split. table: its patterns.
      attributes: names, such as "elevation"; a category that has none of them keeps its patterns.

    Raises:
      InputError: an attribute that no category has, or one that a mirror image changes (yaw, light): what is merged
        would be told apart again by the augmentation.

    Source: decision 32.
    """
    if not attributes:
        return foregrounds, queries
    known = {name for of in table.attributes.values() for name in of}
    if unknown := sorted(set(attributes) - known):
        raise InputError(
            f"config: data.merged_attributes: unknown {', '.join(unknown)}, expected some of {', '.join(sorted(known))}"
        )
    first: dict[tuple, int] = {}
    merged = np.zeros(table.num_patterns, np.int32)
    for p in table.patterns:
        kept = tuple((name, value) for name, value in p.attributes.items() if name not in attributes)
        merged[p.id] = first.setdefault((p.category, kept), p.id)
    has_mirror = table.mirror >= 0
    if (merged[table.mirror[merged]] != table.mirror[merged])[has_mirror[merged]].any():
        raise InputError(
            f"config: data.merged_attributes: {', '.join(attributes)}, expected attributes that a mirror image keeps"
        )
    pattern = np.where(foregrounds.pattern >= 0, merged[foregrounds.pattern], -1).astype(np.int32)
    if queries is not None:
        becomes = merged[:, None] == np.arange(table.num_patterns)  # [P, P]
        queries = dataclasses.replace(queries, is_compatible=queries.is_compatible @ becomes)
    return dataclasses.replace(foregrounds, pattern=pattern), queries
