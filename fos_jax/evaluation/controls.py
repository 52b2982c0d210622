"""Rankings that need no query encoder, to see figures against.

The floor is chance; the oracles are told the answer and show what the teacher and the way of scoring leave possible.
"""

import numpy as np

from fos_jax.evaluation import scores
from fos_jax.evaluation.truth import Block, Truth


def chance(truth: Truth) -> scores.Ranking:
    """Every foreground and every pattern scores alike; the metrics' rule for ties makes that the expected value."""
    table = truth.table
    in_category = truth.query_category[:, None] == table.category_of_pattern[None, :]  # [Q, P]
    size = in_category.sum(axis=1, keepdims=True)
    uniform = np.where(in_category, -np.log(np.maximum(size, 1)), -np.inf).astype(np.float32)
    return scores.Ranking(
        lambda block: np.zeros((len(block.queries), len(block.foregrounds)), np.float32),
        lambda block: np.zeros((len(block.queries), len(block.patterns)), np.float32),
        log_posterior=uniform,
    )


def box_overlap(box_aspect: np.ndarray, foreground_aspect: np.ndarray) -> scores.Ranking:
    """Ranks by how much of the rectangle a foreground fills, fitted into it whole: all that a shape alone can tell.

    A query shows a rectangle and no object, so its mask is not to be had; the score is the intersection over union of
    the rectangle and the foreground's bounding box at the largest scale at which it lies inside.

    Args:
      box_aspect: float [Q], width / height. foreground_aspect: float [G], of what is opaque.
    """

    def foregrounds(block: Block) -> np.ndarray:
        ratio = box_aspect[block.queries][:, None] / foreground_aspect[block.foregrounds][None, :]
        return np.minimum(ratio, 1 / ratio).astype(np.float32)

    return scores.Ranking(foregrounds)


def own_mask_overlap(truth: Truth, silhouettes: np.ndarray) -> scores.Ranking:
    """Ranks by intersection over union with the silhouette of the query's own foreground, itself in the gallery.

    Args:
      truth: labels; queries without an own foreground are left out.
      silhouettes: bool [G, k], all cropped to the object and scaled alike.

    Source: mask overlap as in CFO-Search's triplet extension, Zhao et al., ECCV 2018.
    """

    def foregrounds(block: Block) -> np.ndarray:
        own, gallery = (
            silhouettes[rows].astype(np.float32)
            for rows in (np.maximum(truth.own_foreground[block.queries], 0), block.foregrounds)
        )
        both = own @ gallery.T  # [q, g]
        either = own.sum(axis=1)[:, None] + gallery.sum(axis=1)[None, :] - both
        return both / np.maximum(either, 1)

    return scores.Ranking(foregrounds, has_query=truth.own_foreground >= 0)


def own_foreground_cosine(truth: Truth, embedding: np.ndarray, prototypes: np.ndarray) -> scores.Ranking:
    """Ranks by the teacher's embedding (float32 [G, D]) of the query's own foreground, which is itself in the gallery.

    Queries without an own foreground are left out.
    """
    return scores.cosine(*_own(truth, embedding), prototypes, has_query=truth.own_foreground >= 0)


def own_foreground_posterior(truth: Truth, log_posterior: np.ndarray) -> scores.Ranking:
    """Ranks by the teacher's pattern posterior (float32 [G, P], log) of the query's own foreground."""
    return scores.posterior(*_own(truth, log_posterior), has_query=truth.own_foreground >= 0)


def compatible_set_cosine(truth: Truth, embedding: np.ndarray, prototypes: np.ndarray) -> scores.Ranking:
    """Ranks by the largest cosine to a prototype of a compatible pattern.

    The maximum, not the mean: a query that fits opposite views has prototypes whose mean stands for neither.

    Args:
      truth: labels. embedding: float32 [G, D]. prototypes: float32 [P, D].
    """
    has_query = np.asarray(truth.is_compatible.any(axis=1))

    def foregrounds(block: Block) -> np.ndarray:
        return _best(block, embedding[block.foregrounds] @ prototypes[block.patterns].T)

    def patterns(block: Block) -> np.ndarray:
        return _best(block, prototypes[block.patterns] @ prototypes[block.patterns].T)

    def _best(block: Block, cosine: np.ndarray) -> np.ndarray:
        fits = truth.is_compatible[np.ix_(block.queries, block.patterns)]  # [q, p]
        out = np.full((len(fits), len(cosine)), -1, np.float32)
        for column in range(fits.shape[1]):  # one pattern at a time: no [q, g, p]
            np.maximum(out, cosine[:, column], out=out, where=fits[:, column : column + 1])
        return out

    return scores.Ranking(foregrounds, patterns, has_query=has_query, lowest=-1.0)


def compatible_set_posterior(truth: Truth, log_posterior: np.ndarray) -> scores.Ranking:
    """Ranks by the teacher's mean posterior over the gallery's foregrounds of the compatible patterns.

    What a student that matches its target exactly would reach: the target of response distillation, made from this
    gallery. Queries of which no compatible pattern has a foreground are left out.

    Args:
      truth: labels. log_posterior: float32 [G, P].
    """
    member = np.zeros((len(truth.pattern), truth.table.num_patterns), np.float32)
    known = np.flatnonzero(truth.pattern >= 0)
    member[known, truth.pattern[known]] = 1
    total = member.T @ np.exp(log_posterior)  # [P, P], sum of members' posteriors
    weight = truth.is_compatible @ member.sum(axis=0)  # [Q]
    mean = (truth.is_compatible @ total) / np.maximum(weight, 1)[:, None]
    with np.errstate(divide="ignore"):
        return scores.posterior(np.log(mean), log_posterior, has_query=weight > 0)


def _own(truth: Truth, of_foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return of_foreground[np.maximum(truth.own_foreground, 0)], of_foreground
