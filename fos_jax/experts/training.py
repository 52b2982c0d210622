"""Training of experts on examples: closed-form correlations, two pattern heads, weights chosen on validation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fos_jax.experts.canonical import Projection, Reduced, fit_canonical, join_reduced, reduce_block, scores
from fos_jax.experts.examples import Examples
from fos_jax.experts.features import FrozenBackbone, joined
from fos_jax.experts.heads import Head, fit_head
from fos_jax.experts.model import EXPERTS, Encoding, Experts, expert_blocks
from fos_jax.pattern_table import PatternTable

SIDES = ("query", "foreground")
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)  # weights of appearance to try, where geometry has 1
OVERALL = (0.03, 0.1, 0.3, 1.0)  # of both experts, where the posterior has 1: patterns keep their say
FOLDS = 3
RECTANGLE_GAIN = 16.0  # in the query's pattern head: few numbers that say much are penalised less than many


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of a training; the numbers were chosen in trials on training and validation photographs of animals, whose
    rectangles people drew (where they are the masks' own bounding boxes, the aspect alone finds the cut-out).

    Attributes:
      shrinkage: expert -> how far its covariances are drawn to the identity; see `canonical.fit_canonical`.
      size: expert -> numbers of its vectors.
      strengths: penalties of the pattern heads, of which validation chooses.
      distil: learn queries' patterns from what the foreground head says of their own foreground; False: from labels.
      components: most principal components per block of features, by expert, and of the pattern heads.
    """

    shrinkage: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"geometry": 0.003, "appearance": 5.0})
    size: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"geometry": 12, "appearance": 48})
    strengths: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2)
    distil: bool = True
    components: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"geometry": 64, "appearance": 256, "patterns": 512}
    )


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
    config = {
        "backbone": {"name": backbone.name, "weights": backbone.weights, "digest": backbone.digest, "edges": edges},
        "expert_weights": dict.fromkeys(EXPERTS, 1.0),
        "training": {**dataclasses.asdict(settings), **(description or {})},
    }
    blocks = {side: _training_blocks(train, side, edges) for side in SIDES}
    reduced = {side: _reduced(train, blocks[side], side, settings) for side in SIDES}
    rendered = np.char.startswith(train.examples.source_id, "rendered/")
    pairs = np.flatnonzero(train.examples.has_mask & ~rendered)  # light and tone of the rendered world are its own
    told_of = joined(blocks["foreground"]["patterns"])
    heads = _heads(train, validation, table, edges, reduced, told_of, settings)
    projections = _projections(train, table, reduced, pairs, settings)
    ratio = _ratio(train, table, edges, reduced, pairs, settings)
    blank = np.zeros((table.num_patterns, 1))
    model = Experts(config, table, heads, projections, blank, backbone=backbone)
    config |= {"expert_weights": choose_weights(model, validation, ratio)}
    model = Experts(config, table, heads, projections, blank, backbone=backbone)
    prototypes = _prototypes(model, train.of(train.examples.has_mask))
    return Experts(config, table, heads, projections, prototypes, backbone=backbone)


def encode(model: Experts, data: Labelled, side: str) -> Encoding:
    """The encoding of one side of examples, of features that are there already."""
    features, shape, tone = getattr(data.examples, side)
    return model.from_features(side, features, shape, tone, data.category)


def choose_weights(model: Experts, validation: Labelled, ratio: float) -> dict[str, float]:
    """Weights of the experts beside the posterior, which has 1: what puts own foregrounds first on validation.

    Args:
      ratio: weight of appearance where geometry has 1.
    """
    data = validation.of(validation.examples.has_mask)
    query, foreground = encode(model, data, "query"), encode(model, data, "foreground")
    posterior = np.exp(query.log_posterior) @ np.exp(foreground.log_posterior).T
    choices = [{"geometry": overall, "appearance": round(overall * ratio, 4)} for overall in OVERALL]

    def place(weights: Mapping[str, float]) -> float:
        total = posterior + scores(query.experts, foreground.experts, weights)
        return float(own_percentile(total, data.examples.category).mean())

    return min(choices, key=place)


def _ratio(
    train: Labelled,
    table: PatternTable,
    edges: Sequence[int],
    reduced: Mapping[str, Mapping[str, Reduced]],
    pairs: np.ndarray,
    settings: Settings,
) -> float:
    """Weight of appearance where geometry has 1, by cross-validation over photographs."""
    sources = np.unique(train.examples.source_id[pairs])
    fold_of = np.random.default_rng(0).permutation(len(sources)) % FOLDS
    fold = fold_of[np.searchsorted(sources, train.examples.source_id[pairs])]
    places: dict[float, list[np.ndarray]] = {ratio: [] for ratio in RATIOS}
    for number in range(FOLDS):
        held_out = pairs[(fold == number) & ~train.examples.mirrored[pairs]]
        if not len(held_out):
            continue
        projections = _projections(train, table, reduced, pairs[fold != number], settings)
        category = train.category[held_out]
        vectors = []
        for index, side in enumerate(SIDES):
            blocks = _blocks(train.of(held_out), side, edges)
            vectors.append({n: projections[n][index](joined(blocks[n]), category) for n in EXPERTS})
        for ratio in RATIOS:
            total = scores(vectors[0], vectors[1], {"geometry": 1.0, "appearance": ratio})
            places[ratio].append(own_percentile(total, train.examples.category[held_out]))
    return min(RATIOS, key=lambda ratio: np.concatenate(places[ratio]).mean() if places[ratio] else 0.0)


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


def _training_blocks(train: Labelled, side: str, edges: Sequence[int]) -> dict[str, list[np.ndarray]]:
    """Blocks of all training rows; rendered ones are moved, category by category, to the mean of the photographs.

    What a bundle is asked about are photographs.
    """
    names = train.examples.category
    rendered = np.char.startswith(train.examples.source_id, "rendered/")
    real = ~rendered & (train.examples.has_mask if side == "foreground" else True)
    blocks = _blocks(train, side, edges)
    if not rendered.any() or not real.any():
        return blocks
    moved: dict[int, np.ndarray] = {}
    for block in (block for parts in blocks.values() for block in parts):
        if id(block) not in moved:
            centred = block.copy()
            for name in np.unique(names[rendered]):
                own = rendered & (names == name)
                centred[own] += block[real].mean(0) - block[own].mean(0)
            moved[id(block)] = centred
    return {name: [moved[id(block)] for block in parts] for name, parts in blocks.items()}


def _reduced(
    train: Labelled, blocks: Mapping[str, list[np.ndarray]], side: str, settings: Settings
) -> dict[str, Reduced]:
    """What each expert and the pattern head see of all training rows; what several see is reduced once.

    Rows of foregrounds without a mask are no rows to learn from; their maps come from the others.
    """
    use = train.examples.has_mask if side == "foreground" else np.ones(len(train.category), bool)
    once: dict[tuple[int, int], Reduced] = {}

    def reduce(block: np.ndarray, components: int) -> Reduced:
        key = id(block), components
        if key not in once:
            found = reduce_block(block[use], components=components)
            once[key] = found._replace(rows=found.apply([block]))
        return once[key]

    gains = {"patterns": [1.0, RECTANGLE_GAIN]} if side == "query" else {}
    return {
        name: join_reduced([reduce(b, settings.components[name]) for b in parts], gains.get(name))
        for name, parts in blocks.items()
    }


def _projections(
    train: Labelled,
    table: PatternTable,
    reduced: Mapping[str, Mapping[str, Reduced]],
    pairs: np.ndarray,
    settings: Settings,
) -> dict[str, tuple[Projection, Projection]]:
    names = np.unique(train.examples.category[pairs], return_inverse=True)[1]
    # Compared with each other: what is of one pattern, or else of one category; geometry tells patterns apart too.
    group = np.where(train.pattern[pairs] >= 0, train.pattern[pairs], table.num_patterns + names)
    return {
        name: fit_canonical(
            reduced["query"][name].of(pairs),
            reduced["foreground"][name].of(pairs),
            names if name == "geometry" else group,
            train.category[pairs],
            num_categories=len(table.categories),
            shrinkage=settings.shrinkage[name],
            size=settings.size[name],
        )
        for name in EXPERTS
    }


def _heads(
    train: Labelled,
    validation: Labelled,
    table: PatternTable,
    edges: Sequence[int],
    reduced: Mapping[str, Mapping[str, Reduced]],
    foregrounds: np.ndarray,
    settings: Settings,
) -> dict[str, Head]:
    of_pattern, number = table.category_of_pattern, table.num_patterns
    if not number:
        zeros = {side: np.zeros(len(reduced[side]["patterns"].mean)) for side in SIDES}
        return {side: Head(mean, np.zeros((len(mean), 0)), np.zeros(0)) for side, mean in zeros.items()}

    def rows_of(data: Labelled, side: str) -> np.ndarray:
        return joined(_blocks(data, side, edges)["patterns"])

    def fit(side: str, rows: np.ndarray, target: np.ndarray) -> Head:
        told = validation.of(validation.pattern >= 0)
        told = told.of(told.examples.has_mask) if side == "foreground" else told
        held_out = rows_of(told, side), one_hot(told.pattern, number), told.category
        has_any = len(told.pattern) > 0
        return fit_head(
            reduced[side]["patterns"].of(rows),
            target,
            train.category[rows],
            of_pattern,
            strengths=settings.strengths if has_any else (1e-3,),
            held_out=held_out if has_any else None,
        )

    labels, has_mask = one_hot(train.pattern, number), train.examples.has_mask
    seen = np.flatnonzero((train.pattern >= 0) & has_mask)
    foreground = fit("foreground", seen, labels[seen])
    target = labels
    if settings.distil:  # also queries whose pattern nobody labelled
        told = np.exp(foreground.log_posterior(foregrounds, train.category, of_pattern))
        target = np.where(has_mask[:, None], told, labels)
    rows = np.flatnonzero(target.sum(1) > 0)
    return {"query": fit("query", rows, target[rows]), "foreground": foreground}


def _prototypes(model: Experts, pairs: Labelled) -> np.ndarray:
    """float32 [P, D], unit: the mean embedding of each pattern's foregrounds."""
    embedding = encode(model, pairs, "foreground").embedding
    total = one_hot(pairs.pattern, model.table.num_patterns).T @ embedding
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
