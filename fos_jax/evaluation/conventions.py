"""FOSD's own measures, beside the standard ones of `metrics`; percent, as FOSD prints them.

It is not the standard definition: what falls behind the cut is never counted as missed, so its mAP is higher. Every
figure made here must be printed with the name "fosd".
Source: docs/field.md section 3 (read in FOSD's public evaluation code) and decision 16.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fos_jax.data.arrays import Queries

STANDARD = "standard"
FOSD = "fosd"
MAX_ASPECT_DIFFERENCE = 1.2
RECALL_AT = (1, 5, 10, 20)
PRECISION_AT = (1, 5, 10, 20)


def fosd_set1_category(scores: np.ndarray, relevant: np.ndarray, *, at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """Pooled recall of one category in percent, each rounded to two decimals: S-FOSD, test set 1.

    Args:
      scores: float [n, g]; ties keep the gallery's order (FOSD's sort leaves them undefined).
      relevant: bool [n, g], in S-FOSD exactly one per query.
      at: the k of recall@k.

    Returns: `recall_at_{k}_pooled`: relevant foregrounds among the first k, summed over queries, over all relevant.
    """
    in_order = _in_order(scores, relevant)
    total = _positives(in_order)
    return {f"recall_at_{k}_pooled": round(float(in_order[:, :k].sum() / total * 100), 2) for k in at}


def fosd_set2_category(
    scores: np.ndarray,
    relevant: np.ndarray,
    box_aspect: np.ndarray,
    foreground_aspect: np.ndarray,
    *,
    max_aspect_difference: float = MAX_ASPECT_DIFFERENCE,
    precision_at: Sequence[int] = PRECISION_AT,
) -> dict[str, float]:
    """mAP, mAP-20 and precision@k of one category in percent, each rounded to two decimals: R-FOSD, test set 2.

    A foreground whose width / height differs from the box's by `max_aspect_difference` or more gets score 0, and each
    ranked list is cut to as many foregrounds as remain. AP is the mean of the precisions (in percent, each rounded to
    two decimals first) at the relevant ranks inside that list, 0 where there is none; mAP-20 truncates to 20 as well.
    Precision@k is pooled: hits over min(k, length of the list), each summed over queries.

    Args:
      scores: float [n, g], none negative: a foreground that is filtered gets 0 and must not rise by it. Add 1
        to a cosine. Ties keep the gallery's order.
      relevant: bool [n, g].
      box_aspect: float [n], width / height of the query's box in pixels.
      foreground_aspect: float [g], width / height of the cut-out in pixels.

    Raises: ValueError for negative scores.
    """
    if (np.asarray(scores) < 0).any():
        raise ValueError("scores are negative, expected 0 or more: a filtered foreground gets 0 (add 1 to cosines)")
    is_kept = np.abs(box_aspect[:, None] - foreground_aspect[None, :]) < max_aspect_difference  # [n, g]
    in_order = _in_order(np.where(is_kept, scores, 0), relevant)
    num_kept = is_kept.sum(axis=1)
    rank = np.arange(1, in_order.shape[1] + 1)
    is_hit = in_order & (rank <= num_kept[:, None])
    precision = np.round(np.cumsum(in_order, axis=1) / rank * 100, 2)  # [n, g]

    def mean_average_precision(at: int | None) -> float:
        counted = is_hit[:, :at]
        total = np.where(counted, precision[:, :at], 0).sum(axis=1)
        return round(float(np.mean(total / np.maximum(counted.sum(axis=1), 1))), 2)

    out = {"map": mean_average_precision(None), "map_at_20": mean_average_precision(20)}
    for k in precision_at:
        places = np.minimum(num_kept, k).sum()
        out[f"precision_at_{k}_pooled"] = round(float(is_hit[:, :k].sum() / places * 100), 2) if places else 0.0
    return out


def fosd_overall(categories: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Unweighted mean over categories of each metric, not rounded again."""
    if not categories:
        raise ValueError("categories is empty, expected at least one")
    names = next(iter(categories.values())).keys()
    return {name: float(np.mean([values[name] for values in categories.values()])) for name in names}


def _in_order(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """bool [n, g]: relevance by rank."""
    return np.take_along_axis(np.asarray(relevant, bool), np.argsort(-scores, axis=1, kind="stable"), axis=1)


def _positives(in_order: np.ndarray) -> int:
    total = int(in_order.sum())
    if not total:
        raise ValueError("no query has a relevant foreground, recall is undefined")
    return total


def foreground_aspects(image: np.ndarray) -> np.ndarray:
    """float64 [n]: width / height of each cut-out's opaque part, from uint8 [n, S, S, 4]; 1 where nothing is opaque."""
    is_opaque: np.ndarray = np.asarray(image)[..., 3] >= 128  # [n, S, S]
    width = _extent(np.asarray(is_opaque.any(axis=1)))
    height = _extent(np.asarray(is_opaque.any(axis=2)))
    return np.where((width > 0) & (height > 0), width / np.maximum(height, 1), 1.0)


def _extent(line: np.ndarray) -> np.ndarray:
    """int [n]: from the first true entry of each row of bool [n, S] to the last one, 0 where there is none."""
    size = line.shape[1]
    return np.where(line.any(axis=1), size - line[:, ::-1].argmax(axis=1) - line.argmax(axis=1), 0)


def box_aspects(queries: Queries) -> np.ndarray:
    """float64 [n]: width / height of each query's rectangle; query images are square, so fractions do."""
    y0, x0, y1, x1 = np.asarray(queries.box_yxyx_norm, np.float64).T
    return (x1 - x0) / np.maximum(y1 - y0, 1e-9)
