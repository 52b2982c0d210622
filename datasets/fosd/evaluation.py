"""A built test split of S-FOSD or R-FOSD as truth, and the figures of both conventions side by side.

"fosd" reproduces FOSD's own counting, in percent; "standard" is this project's, in fractions: full ranking within the
category, divided by all relevant foregrounds, ties by expectation. They are not comparable with each other.
"""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fos_jax import metrics
from fos_jax.boxes import box_yxyx_norm_to_xyxy_px
from fos_jax.data.splits import load_split, open_split, version_directory
from fos_jax.encoders.bundle import Bundle
from fos_jax.errors import InputError
from fos_jax.evaluation import conventions

AT = (1, 5, 10, 20)


@dataclasses.dataclass(frozen=True)
class TestTruth:
    """What a test set says, in stored order: Q queries, G foregrounds.

    Attributes:
      benchmark: "sfosd" (test set 1) or "rfosd" (test set 2).
      categories: names; the index is the class id.
      query_ids: str [Q]. foreground_ids: str [G].
      query_category: int32 [Q]. foreground_category: int32 [G].
      relevant: bool [Q, G].
      box_aspect: float64 [Q], width / height of the box in whole pixels.
      foreground_aspect: float64 [G], the same of FOSD's crop.
    """

    __test__ = False  # not a test case, whatever its name

    benchmark: str
    categories: tuple[str, ...]
    query_ids: np.ndarray
    foreground_ids: np.ndarray
    query_category: np.ndarray
    foreground_category: np.ndarray
    relevant: np.ndarray
    box_aspect: np.ndarray
    foreground_aspect: np.ndarray


def read_test(data_dir: str | Path, benchmark: str, *, split: str = "test") -> TestTruth:
    """Reads labels and sizes of a built split; of the images only the headers.

    The rows are those of `fos_jax.data.load_split(data_dir, dataset="fosd", size=benchmark, split=split)`.

    Args:
      data_dir: TFDS data directory. benchmark: "sfosd" or "rfosd". split: "test"; another is measured by its rules.

    Raises:
      InputError: not built.
    """
    roots = [version_directory(data_dir, "fosd", f"{benchmark}_{kind}") for kind in ("foregrounds", "queries")]
    (features, foregrounds), (_, queries) = (open_split(root, split) for root in roots)
    foreground_rows = [foregrounds[i] for i in range(len(foregrounds))]
    column = {_text(row["id"]): i for i, row in enumerate(foreground_rows)}
    query_ids, query_category, box_aspect = [], [], []
    relevant = np.zeros((len(queries), len(foregrounds)), bool)
    for i in range(len(queries)):
        row = queries[i]
        query_ids.append(_text(row["id"]))
        query_category.append(int(row["category"]))
        x0, y0, x1, y1 = box_yxyx_norm_to_xyxy_px(np.asarray(row["box"]).tolist(), *_size(row["image"]))
        box_aspect.append((x1 - x0) / (y1 - y0))
        relevant[i, [column[_text(name)] for name in row["relevant_foregrounds"]]] = True
    sizes = [_size(row["image"]) for row in foreground_rows]
    return TestTruth(
        benchmark=benchmark,
        categories=tuple(features["category"].names),
        query_ids=np.array(query_ids, np.str_),
        foreground_ids=np.array(list(column), np.str_),
        query_category=np.array(query_category, np.int32),
        foreground_category=np.array([int(row["category"]) for row in foreground_rows], np.int32),
        relevant=relevant,
        box_aspect=np.array(box_aspect, np.float64),
        foreground_aspect=np.array([width / height for width, height in sizes], np.float64),
    )


def evaluate_test(truth: TestTruth, scores: np.ndarray, *, lowest: float = -1.0) -> dict[str, Any]:
    """Both conventions of one ranking.

    Args:
      truth: of the test set.
      scores: float [Q, G], higher fits better; only a category's own foregrounds are ranked for its queries.
      lowest: least score possible (-1 for cosines, 0 for probabilities); FOSD's filter needs scores above 0.

    Returns:
      {"benchmark", "fosd": {"overall", "by_category"}, "standard": {"overall", "by_category"}}, each a mapping of
      metric to figure; overall is the unweighted mean over categories. "fosd" is in percent, "standard" in fractions.

    Raises:
      InputError: scores of another shape, NaN, or below `lowest`.
    """
    scores = np.asarray(scores)
    if scores.shape != truth.relevant.shape:
        raise InputError(f"scores: shape {scores.shape}, expected {truth.relevant.shape}")
    if not (scores >= lowest - 1e-4).all():  # NaN too
        raise InputError(f"scores: {np.min(scores)} is the least, expected numbers of at least {lowest}")
    fosd, standard = {}, {}
    for category in np.unique(truth.query_category):
        q = np.flatnonzero(truth.query_category == category)
        g = np.flatnonzero(truth.foreground_category == category)
        of_category, relevant = scores[np.ix_(q, g)], truth.relevant[np.ix_(q, g)]
        name = truth.categories[category]
        standard[name] = _standard(of_category, relevant)
        if truth.benchmark == "sfosd":
            fosd[name] = conventions.fosd_set1_category(of_category, relevant, at=AT)
        else:
            fosd[name] = conventions.fosd_set2_category(
                np.maximum(of_category - lowest, 0), relevant, truth.box_aspect[q], truth.foreground_aspect[g]
            )
    return {
        "benchmark": truth.benchmark,
        conventions.FOSD: {"overall": conventions.fosd_overall(fosd), "by_category": fosd},
        conventions.STANDARD: {"overall": conventions.fosd_overall(standard), "by_category": standard},
    }


def evaluate_bundle(
    bundle: Bundle, data_dir: str | Path, benchmark: str, *, split: str = "test", batch_size: int = 256
) -> dict[str, Any]:
    """Both conventions of a bundle's cosine ranking; its categories must be FOSD's.

    Args:
      bundle: with a query encoder. data_dir: TFDS data directory. benchmark: "sfosd" or "rfosd".
      split: "test"; another is measured by its rules. batch_size: of encoding.

    Returns: that of `evaluate_test`, and the bundle's "fingerprint".

    Raises:
      InputError: not built, no query encoder, or trained on other categories.
    """
    truth = read_test(data_dir, benchmark, split=split)
    if bundle.table.categories != truth.categories:
        raise InputError(
            f"bundle: its categories are {', '.join(bundle.table.categories)}, expected {', '.join(truth.categories)}"
        )
    foregrounds, queries, _ = load_split(
        data_dir,
        dataset="fosd",
        size=benchmark,
        split=split,
        foreground_size=bundle.foreground_size,
        query_size=bundle.query_size,
    )
    gallery = bundle.encode_foregrounds(foregrounds.image, foregrounds.category, batch_size=batch_size)
    encoded = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category, batch_size=batch_size)
    cosine = np.maximum(encoded.embedding @ gallery.embedding.T, -1.0)
    return {"fingerprint": bundle.fingerprint, **evaluate_test(truth, cosine)}


def _standard(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    """Means over one category's queries."""
    ranks = metrics.rank_relevant(scores, relevant)
    figures = {
        "map": metrics.average_precision(ranks),
        "map_at_20": metrics.average_precision(ranks, at=20),
        **{f"precision_at_{k}": metrics.precision_at_k(ranks, k) for k in AT},
        **{f"recall_at_{k}": metrics.recall_at_k(ranks, k) for k in AT},
        "reciprocal_rank": metrics.reciprocal_rank(ranks),
    }
    return {name: float(np.nanmean(values)) for name, values in figures.items()}


def _size(encoded: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(encoded)) as image:
        return image.size


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
