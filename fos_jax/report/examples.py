"""Queries of a test split and what search returns for them, with the truth beside it."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fos_jax import boxes, images
from fos_jax.compose.layers import paste_cutout
from fos_jax.data.arrays import Queries
from fos_jax.pattern_table import PatternTable
from fos_jax.report.contents import Example, Hit, PatternRow
from fos_jax.retrieval.groups import PatternGroup
from fos_jax.retrieval.search import ForegroundSearch


def pick_queries(category: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """int64 [min(count, n)]: rows of queries, their categories (int [n]) in turn, drawn by a seed, not by results."""
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(category == c)) for c in np.unique(category)]
    rounds = max((len(group) for group in groups), default=0)
    rows = [group[i] for i in range(rounds) for group in groups if i < len(group)]
    return np.array(rows[:count], np.int64)


def fitting_values(is_compatible: np.ndarray, table: PatternTable, category: str) -> dict[str, frozenset[str]]:
    """attribute name -> the values that some compatible pattern (bool [P]) has."""
    patterns = [table.patterns[i] for i in np.flatnonzero(is_compatible)]
    return {
        name: frozenset(p.attributes[name] for p in patterns if name in p.attributes)
        for name in table.attributes.get(category, {})
    }


def truth_in_words(fitting: Mapping[str, frozenset[str]], table: PatternTable, category: str) -> str:
    """What fits a query, e.g. "yaw front or back; light left"; attributes of which every value fits read "any"."""
    parts = []
    for name, values in table.attributes.get(category, {}).items():
        fits = [value for value in values if value in fitting[name]]
        parts.append(f"{name} {'any' if len(fits) == len(values) else ' or '.join(fits)}")
    return "; ".join(parts)


def make_example(
    search: ForegroundSearch,
    queries: Queries,
    row: int,
    *,
    true_pattern: Mapping[str, int],
    num_patterns: int = 3,
    num_hits: int = 6,
    side_px: int = 288,
) -> Example:
    """Searches for query `row` of a labelled split in the gallery of the same split.

    Args:
      true_pattern: foreground id -> pattern by the data set's label.
      num_patterns, num_hits: patterns shown, and foregrounds in each.
      side_px: of the pictures; the search sees the query as it is, only pictures are enlarged.
    """
    table, image, is_compatible = search.table, queries.image[row], queries.is_compatible[row]
    category = table.categories[int(queries.category[row])]
    height, width = image.shape[:2]
    box = boxes.box_yxyx_norm_to_xyxy_px(queries.box_yxyx_norm[row], width, height)
    groups = search.patterns(np.asarray(image), box, category, k=num_patterns, instances=num_hits)
    photo = cv2.resize(np.asarray(image), (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    photo_box = boxes.box_yxyx_norm_to_xyxy_px(queries.box_yxyx_norm[row], side_px, side_px)
    fitting = fitting_values(is_compatible, table, category)
    return Example(
        id=str(queries.ids[row]),
        category=category,
        image=photo,
        box_yxyx_norm=[float(v) for v in queries.box_yxyx_norm[row]],
        truth=truth_in_words(fitting, table, category),
        rows=[_pattern_row(group, photo, photo_box, fitting, is_compatible, true_pattern) for group in groups],
    )


def _pattern_row(
    group: PatternGroup,
    photo: np.ndarray,
    box_xyxy_px: Sequence[int],
    fitting: Mapping[str, frozenset[str]],
    is_compatible: np.ndarray,
    true_pattern: Mapping[str, int],
) -> PatternRow:
    best = group.hits[0]
    return PatternRow(
        name=group.description,
        attributes=dict(group.attributes),
        fitting_values=fitting,
        posterior=group.probability,
        is_compatible=bool(is_compatible[group.id]),
        hits=[
            Hit(hit.id, _square(np.asarray(hit.thumbnail())), hit.score, bool(is_compatible[true_pattern[hit.id]]))
            for hit in group.hits
        ],
        composite=paste_cutout(photo, np.asarray(best.cutout()), box_xyxy_px),
        why=best.why,
    )


def _square(image: np.ndarray, *, side_px: int = 112) -> np.ndarray:
    """uint8 [side, side, 4]: the picture scaled to fit, centred, transparent around."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    scaled = images.resize_rgba(image, max(1, round(width * scale)), max(1, round(height * scale)))
    out = np.zeros((side_px, side_px, 4), np.uint8)
    y, x = (side_px - scaled.shape[0]) // 2, (side_px - scaled.shape[1]) // 2
    out[y : y + scaled.shape[0], x : x + scaled.shape[1]] = scaled
    return out
