"""Training of experts on examples: closed-form correlations, two pattern heads, weights chosen on validation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.experts.canonical import fit_canonical, scores
from fos_jax.experts.examples import Examples
from fos_jax.experts.features import FrozenBackbone
from fos_jax.experts.heads import Head, fit_head
from fos_jax.experts.model import EXPERTS, Encoding, Experts, expert_blocks
from fos_jax.pattern_table import PatternTable

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # of appearance, where geometry has 1
OVERALL = (0.03, 0.1, 0.3, 1.0, 3.0)  # of both experts, where the posterior has 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a training; the defaults were chosen by cross-validation on the animals' training and validation splits.

    Attributes:
      shrinkage: expert -> how far its covariances are drawn to the identity; see `canonical.fit_canonical`.
      size: expert -> numbers of its vectors.
      foreground_strength, query_strength: penalties of the pattern heads.
      distil: learn queries' patterns from what the foreground head says of their own foreground; False: from labels.
      components: most principal components per block of features.
    """

    shrinkage: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"geometry": 0.1, "appearance": 5.0})
    size: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"geometry": 32, "appearance": 48})
    foreground_strength: float = 1e-3
    query_strength: float = 1e-2
    distil: bool = True
    components: int = 256


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Examples with their classes.

    Attributes:
      examples: n of them.
      category: int [n], class ids, -1 for categories that the table lacks.
      pattern: int [n], -1 where unknown.
    """

    examples: Examples
    category: np.ndarray
    pattern: np.ndarray

    def of(self, rows: np.ndarray) -> "Labelled":
        """Some rows."""
        return Labelled(self.examples.of(rows), self.category[rows], self.pattern[rows])


def train_experts(
    train: Labelled,
    validation: Labelled,
    table: PatternTable,
    backbone: FrozenBackbone,
    settings: Settings = Settings(),
    *,
    description: Mapping[str, Any] | None = None,
) -> Experts:
    """Trains everything; deterministic.

    Args:
      train: examples to learn from, mirrored ones among them where wanted.
      validation: on which the weights of the experts are chosen, by the mean place of queries' own foregrounds.
      table: the patterns. backbone: whose features the examples hold.
      settings: see `Settings`.
      description: what the bundle's config says of the training.

    Source: decisions 34, 35.
    """
    edges = [s.stop for s in backbone.blocks.slices[:-1]]
    real = ~np.char.startswith(train.examples.source_id, "rendered/")
    pairs = train.of(train.examples.has_mask & real)  # light and tone of the rendered world are its own
    config = {
        "backbone": {"name": backbone.name, "weights": backbone.weights, "digest": backbone.digest, "edges": edges},
        "expert_weights": dict.fromkeys(EXPERTS, 1.0),
        "training": {**dataclasses.asdict(settings), **(description or {})},
    }
    blocks = {side: _blocks(pairs, side, edges) for side in ("query", "foreground")}
    names = np.unique(pairs.examples.category, return_inverse=True)[1]
    # Compared with each other: what is of one pattern, or else of one category.
    group = np.where(pairs.pattern >= 0, pairs.pattern, table.num_patterns + names)
    projections = {
        name: fit_canonical(
            blocks["query"][name],
            blocks["foreground"][name],
            names if name == "geometry" else group,
            pairs.category,
            num_categories=len(table.categories),
            shrinkage=settings.shrinkage[name],
            size=settings.size[name],
            components=settings.components,
        )
        for name in EXPERTS
    }
    heads = _heads(train, table, edges, settings)
    model = Experts(config, table, heads, projections, np.zeros((table.num_patterns, 1)), backbone=backbone)
    weights = choose_weights(model, validation)
    model = Experts(
        {**config, "expert_weights": weights}, table, heads, projections, model.prototypes, backbone=backbone
    )
    prototypes = _prototypes(model, train.of(train.examples.has_mask))
    return Experts(model.config, table, heads, projections, prototypes, backbone=backbone)


def encode(model: Experts, data: Labelled, side: str) -> Encoding:
    """The encoding of one side of examples, of features that are there already."""
    features, shape, tone = getattr(data.examples, side)
    return model.from_features(side, features, shape, tone, data.category)


def choose_weights(model: Experts, validation: Labelled) -> dict[str, float]:
    """Weights of the experts that put own foregrounds first on validation, beside the posterior with weight 1."""
    data = validation.of(validation.examples.has_mask)
    query, foreground = encode(model, data, "query"), encode(model, data, "foreground")
    posterior = np.exp(query.log_posterior) @ np.exp(foreground.log_posterior).T
    best: tuple[float, dict[str, float]] | None = None
    for appearance in WEIGHTS:
        for overall in OVERALL:
            weights = {"geometry": overall, "appearance": round(overall * appearance, 4)}
            total = posterior + scores(query.experts, foreground.experts, weights)
            place = float(own_percentile(total, data.examples.category).mean())
            if best is None or place < best[0] - 1e-9:
                best = place, weights
    assert best is not None
    return best[1]


def own_percentile(similarity: np.ndarray, category: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Where each query's own foreground stands among the foregrounds of its category.

    Args:
      similarity: float [q, g]. category: [g] of the foregrounds; of the queries it is that of their own.
      own: int [q], column of each query's own foreground; by default query i owns column i.

    Returns:
      float64 [q], the share of the category's others that score higher, ties half; 0 is best, chance is .5.
    """
    own = np.arange(len(similarity)) if own is None else own
    value = similarity[np.arange(len(own)), own][:, None]
    other = category[None, :] == category[own][:, None]
    other[np.arange(len(own)), own] = False
    higher = ((similarity > value) + 0.5 * (similarity == value)) * other
    return higher.sum(1) / np.maximum(other.sum(1), 1)


def one_hot(pattern: np.ndarray, num_patterns: int) -> np.ndarray:
    """float32 [n, P] of known patterns int [n]."""
    return (np.asarray(pattern)[:, None] == np.arange(num_patterns)).astype(np.float32)


def _blocks(data: Labelled, side: str, edges: Sequence[int]) -> dict[str, list[np.ndarray]]:
    features, shape, tone = getattr(data.examples, side)
    return expert_blocks(side, features, shape, tone, edges)


def _heads(train: Labelled, table: PatternTable, edges: Sequence[int], settings: Settings) -> dict[str, Head]:
    known = train.of(train.pattern >= 0)
    if not table.num_patterns or not len(known.pattern):
        empty = {
            side: sum(b.shape[1] for b in _blocks(train.of(np.arange(1)), side, edges)["patterns"])
            for side in ("query", "foreground")
        }
        zeros = np.zeros((0,))
        return {side: Head(np.zeros(f), np.zeros((f, 0)), zeros) for side, f in empty.items()}
    of_pattern = table.category_of_pattern
    labels = one_hot(known.pattern, table.num_patterns)
    seen = known.of(known.examples.has_mask)
    foreground = fit_head(
        _blocks(seen, "foreground", edges)["patterns"],
        one_hot(seen.pattern, table.num_patterns),
        seen.category,
        of_pattern,
        strength=settings.foreground_strength,
        components=settings.components,
    )
    data, target = known, labels
    if settings.distil:  # also of queries whose pattern nobody labelled
        data = train.of((train.category >= 0) & (train.examples.has_mask | (train.pattern >= 0)))
        rows = np.concatenate(_blocks(data, "foreground", edges)["patterns"], axis=1)
        told = np.exp(foreground.log_posterior(rows, data.category, of_pattern))
        target = np.where(data.examples.has_mask[:, None], told, one_hot(data.pattern, table.num_patterns))
        keep = target.sum(1) > 0
        data, target = data.of(keep), target[keep]
    query = fit_head(
        _blocks(data, "query", edges)["patterns"],
        target,
        data.category,
        of_pattern,
        strength=settings.query_strength,
        components=settings.components,
    )
    return {"query": query, "foreground": foreground}


def _prototypes(model: Experts, pairs: Labelled) -> np.ndarray:
    """float32 [P, D], unit: the mean embedding of each pattern's foregrounds."""
    embedding = encode(model, pairs, "foreground").embedding
    total = one_hot(pairs.pattern, model.table.num_patterns).T @ embedding
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
