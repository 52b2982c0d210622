"""Real photographs: animals that annotators described, with frozen public features for every method.

    python benchmarks/photographs.py [--seeds=0,1,2] [--workdir=FOLDER] [--output=FILE.json] [--leaks]

Photographs of dogs, cats, horses, cows and sheep with boxes and keypoints, and masks where they passed checks; splits
as they come. Patterns: category x view (keypoints) x truncation, with at least 8 members in training.
Features: EfficientNet-Lite0, frozen, of the surroundings (rectangle filled, window of twice its side) and of the
cut-out (a rim of its mask taken off). A seed draws the movements of the mirrored training rectangles, and a rival's
initial weights and batches; rectangles of validation and test are the ones that people drew.

(a) pattern mAP: test queries of known pattern, among the category's test foregrounds of known pattern, the own one left
    out; standard AP over the whole ranking, mean within each category, then over categories.
(b) own foreground among the category's test foregrounds: mean rank percentile (0 best, .5 chance), share in the first
    5 % and 10 %.

Rows: chance; rectangle only (the geometry expert; and a network on rectangle and cut-out); frozen features without
training (cosine); the earlier methods on the same features, each with the best of four trials on validation (by (b)),
and for (a) by cosine or by posteriors from pattern means, whichever is better there on validation; ours: student
(pattern posterior), appearance, and both with geometry (weights chosen on validation); oracles.

--leaks: appearance and the sum with changed cut-outs: rim kept; JPEG-compressed again off the grid; enlarged from half
the resolution. One JSON line per row, then differences of ours from each other row with 95 % intervals over queries and
seeds, paired. Figures: docs/photographs.md.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import photograph_leaks as leaks
import photograph_rivals as rivals
import reporting
from reporting import Report, interval, make_parser, work_folder

from fos_jax import metrics
from fos_jax.evaluation import bootstrap
from fos_jax.experiments import over_seeds
from fos_jax.experts.canonical import scores
from fos_jax.experts.examples import Examples, joined_examples, photograph_examples
from fos_jax.experts.features import FeatureCache, FrozenBackbone
from fos_jax.experts.model import Experts, expert_blocks
from fos_jax.experts.training import Labelled, Settings, encode, one_hot, own_percentile, train_experts
from fos_jax.pattern_table import PatternTable
from fos_jax.patterns.annotations.grouping import group_by_attributes, pattern_table

REAL = reporting.REAL / "animals"
ATTRIBUTES = ("animal_view", "truncation")
MIN_MEMBERS = 8
OURS = "student, geometry and appearance"
PROTOTYPE_SCALES = (4.0, 16.0, 64.0)


class Parts(NamedTuple):
    """Labelled examples by split; training has the mirrored ones too."""

    train: Labelled
    validation: Labelled
    test: Labelled
    table: PatternTable
    mirrored: dict[str, int]  # id of a training example -> row of its mirror image


def source() -> dict[str, Any]:
    return {
        "kind": "coco",
        "annotations": str(REAL / "keypoints.json"),
        "more_annotations": [str(REAL / "instances.json")],
        "images": str(REAL / "images"),
        "maskless": "keep",
        "skip_defects": True,
    }


def read_animals(
    features: FeatureCache, seed: int, *, attributes=ATTRIBUTES, plain: Examples | None = None, progress: bool = True
) -> Parts:
    """All examples of a seed, with patterns as category x attributes; `plain`: those of an earlier seed."""
    plain = plain or photograph_examples(source(), features, names=attributes, progress=progress)
    flipped = photograph_examples(
        source(), features, names=attributes, mirror=True, jitter=0.04, splits=("train",), seed=seed, progress=progress
    )
    return labelled_parts(plain, flipped, attributes)


def labelled_parts(plain: Examples, flipped: Examples, attributes) -> Parts:
    both = joined_examples([plain, flipped])
    member = (both.split == "train") & both.has_mask & ~both.mirrored
    grouped = group_by_attributes(
        both.category.tolist(), both.attributes, attributes, min_members=MIN_MEMBERS, is_member=member
    )
    counts = {
        (int(p), "train"): int(n) for p, n in zip(*np.unique(grouped.pattern[member], return_counts=True), strict=True)
    }
    table = pattern_table(grouped.patterns, counts, ("train",))
    category = np.array([table.categories.index(c) if c in table.categories else -1 for c in both.category])
    data = Labelled(both, category, grouped.pattern)
    train = data.of(both.split == "train")
    rows = {f"{i}": row for row, (i, m) in enumerate(zip(train.examples.id, train.examples.mirrored, strict=True)) if m}
    return Parts(train, data.of(both.split == "validation"), data.of(both.split == "test"), table, rows)


def blocks(model: Experts, data: Labelled, side: str) -> list[np.ndarray]:
    """What rivals see: all that ours see of that side."""
    features, shape, tone = getattr(data.examples, side)
    found = expert_blocks(side, features, shape, tone, model.config["backbone"]["edges"])
    extra = found["geometry"][:1] if side == "query" else []
    return [*found["appearance"], *extra]


class Task(NamedTuple):
    """One measure's queries and foregrounds: rows of a split's examples."""

    data: Labelled
    query: np.ndarray
    foreground: np.ndarray


def tasks(data: Labelled) -> tuple[Task, Task]:
    """(a) known patterns; (b) own foregrounds."""
    masked = np.flatnonzero(data.examples.has_mask)
    known = np.flatnonzero(data.pattern >= 0)
    return Task(data, known, np.intersect1d(known, masked)), Task(data, masked, masked)


def pattern_precision(similarity: np.ndarray, task: Task) -> np.ndarray:
    """float [q]: average precision of each query of (a), NaN without a relevant foreground."""
    q, f = task.query, task.foreground
    valid = (task.data.examples.category[q][:, None] == task.data.examples.category[f][None]) & (q[:, None] != f[None])
    relevant = valid & (task.data.pattern[q][:, None] == task.data.pattern[f][None])
    return metrics.average_precision(metrics.rank_relevant(similarity, relevant, valid))


def our_scores(model: Experts, task: Task) -> dict[str, np.ndarray]:
    """Ranking -> float [q, g]."""
    q = encode(model, task.data.of(task.query), "query")
    f = encode(model, task.data.of(task.foreground), "foreground")
    told, of_foreground = np.exp(q.log_posterior), np.exp(f.log_posterior)
    posterior = told @ of_foreground.T
    num, weights = model.table.num_patterns, model.expert_weights
    out = {
        "chance": np.zeros_like(posterior),
        "rectangle only (geometry)": scores(q.experts, f.experts, {"geometry": 1.0}),
        "student": posterior,
        "appearance": scores(q.experts, f.experts, {"appearance": 1.0}),
        "student and appearance": posterior + scores(q.experts, f.experts, {"appearance": weights["appearance"]}),
        "geometry and appearance": scores(q.experts, f.experts, weights),
        OURS: posterior + scores(q.experts, f.experts, weights),
        "oracle: true pattern": one_hot(task.data.pattern[task.query], num) @ of_foreground.T,
    }
    has = task.data.examples.has_mask[task.query]
    own = encode(model, task.data.of(task.query), "foreground")
    told_by_own = np.where(has[:, None], np.exp(own.log_posterior), told)
    return out | {"oracle: teacher on the own foreground": told_by_own @ of_foreground.T}


def without_training(parts: Parts, model: Experts, task: Task) -> np.ndarray:
    """Cosine of middle features, standardised by what training shows and centred per category."""
    sides = []
    for side, rows in (("query", task.query), ("foreground", task.foreground)):
        train = parts.train.of(parts.train.examples.has_mask)
        middle = [blocks(model, d, side)[1] for d in (train, task.data.of(rows))]
        deviation = middle[0].std(0) + 1e-3
        names, theirs = train.examples.category, task.data.examples.category[rows]
        vectors = np.stack(
            [(x - middle[0][names == c].mean(0)) / deviation for x, c in zip(middle[1], theirs, strict=True)]
        )
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    return sides[0] @ sides[1].T


def rival_pairs(parts: Parts, model: Experts, *, rectangle_only: bool = False) -> rivals.Pairs:
    """Training pairs, mirrored ones included; each with its foreground's mirror image."""
    rows = np.flatnonzero(parts.train.examples.has_mask)
    partner = {
        (i, bool(m)): r
        for r, i, m in zip(rows, parts.train.examples.id[rows], parts.train.examples.mirrored[rows], strict=True)
    }
    rows = np.array([r for (i, m), r in partner.items() if (i, not m) in partner])
    other = np.array([partner[parts.train.examples.id[r], not parts.train.examples.mirrored[r]] for r in rows])
    query = blocks(model, parts.train.of(rows), "query")
    names = np.unique(parts.train.examples.category[rows], return_inverse=True)[1]
    things = np.unique(parts.train.examples.id[rows], return_inverse=True)[1]
    return rivals.Pairs(
        query[-1:] if rectangle_only else query,
        blocks(model, parts.train.of(rows), "foreground"),
        blocks(model, parts.train.of(other), "foreground"),
        names,
        things,
    )


class Rival:
    """One earlier method: trials on validation with the first seed, then one training per seed."""

    def __init__(self, name: str, loss: str, *, rectangle_only: bool = False):
        self.name, self.loss, self.rectangle_only = name, loss, rectangle_only
        self.trial: dict[str, Any] | None = None
        self.scale: float | None = None

    def run(self, parts: Parts, model: Experts, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the two tasks on test."""
        pairs = rival_pairs(parts, model, rectangle_only=self.rectangle_only)
        trained = {}
        if self.trial is None:
            places = []
            for number, trial in enumerate(rivals.TRIALS):
                trained[number] = rivals.train(self.loss, pairs, seed=seed, **trial)
                _, own = tasks(parts.validation)
                similarity = self._scores(trained[number], model, own)
                places.append(own_percentile(similarity, parts.validation.examples.category[own.query]).mean())
            self.trial = rivals.TRIALS[int(np.argmin(places))]
        number = rivals.TRIALS.index(self.trial)
        towers = trained.get(number) or rivals.train(self.loss, pairs, seed=seed, **self.trial)
        by_pattern, own = tasks(parts.test)
        return self._pattern_scores(towers, parts, model, by_pattern), self._scores(towers, model, own)

    def _sides(self, towers: rivals.Towers, model: Experts, task: Task) -> tuple[np.ndarray, np.ndarray]:
        query = blocks(model, task.data.of(task.query), "query")
        return (
            towers.query(query[-1:] if self.rectangle_only else query),
            towers.foreground(blocks(model, task.data.of(task.foreground), "foreground")),
        )

    def _scores(self, towers: rivals.Towers, model: Experts, task: Task) -> np.ndarray:
        return towers.score(*self._sides(towers, model, task))

    def _pattern_scores(self, towers: rivals.Towers, parts: Parts, model: Experts, task: Task) -> np.ndarray:
        """By cosine, or by posteriors from cosines to the patterns' means: what validation prefers."""
        if self.loss == "two streams":
            return self._scores(towers, model, task)
        seen = parts.train.of(parts.train.examples.has_mask & (parts.train.pattern >= 0))
        vectors = towers.foreground(blocks(model, seen, "foreground"))
        means = one_hot(seen.pattern, parts.table.num_patterns).T @ vectors
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)

        def by_means(of: Task, scale: float) -> np.ndarray:
            out = []
            for vectors, rows in zip(self._sides(towers, model, of), (of.query, of.foreground), strict=True):
                logits = scale * vectors @ means.T
                allowed = parts.table.category_of_pattern[None] == of.data.category[rows][:, None]
                logits = np.where(allowed, logits, -np.inf)
                p = np.exp(logits - logits.max(1, keepdims=True))
                out.append(p / p.sum(1, keepdims=True))
            return out[0] @ out[1].T

        if self.scale is None:
            held_out, _ = tasks(parts.validation)
            found = {0.0: self._scores(towers, model, held_out)} | {s: by_means(held_out, s) for s in PROTOTYPE_SCALES}
            names = held_out.data.examples.category[held_out.query]
            self.scale = max(found, key=lambda s: bootstrap.mean(pattern_precision(found[s], held_out), names))
        return by_means(task, self.scale) if self.scale else self._scores(towers, model, task)


RIVALS = (
    Rival("rectangle only (network)", "one network", rectangle_only=True),
    Rival("one network on all", "one network"),
    Rival("two streams", "two streams"),
    Rival("CFO", "CFO"),
    Rival("GALA-like", "GALA-like"),
    Rival("UFO", "UFO"),
    Rival("DiscoFOS by embedding", "DiscoFOS by embedding"),
)


def run_seed(
    parts: Parts, backbone: FrozenBackbone, seed: int
) -> tuple[Experts, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The model; ranking -> average precision of (a); ranking -> percentile of (b)."""
    model = train_experts(parts.train, parts.validation, parts.table, backbone, Settings())
    labels = train_experts(parts.train, parts.validation, parts.table, backbone, Settings(distil=False))
    by_pattern, own = tasks(parts.test)
    found = [our_scores(model, task) for task in (by_pattern, own)]
    for scored, task in zip(found, (by_pattern, own), strict=True):
        scored["student of labels"] = our_scores(labels, task)["student"]
        scored["features without training"] = without_training(parts, model, task)
    for rival in RIVALS:
        for scored, similarity in zip(found, rival.run(parts, model, seed), strict=True):
            scored[rival.name] = similarity
    category = own.data.examples.category[own.foreground]
    precision = {name: pattern_precision(s, by_pattern) for name, s in found[0].items()}
    place = {name: own_percentile(s, category) for name, s in found[1].items() if not name.startswith("oracle: true")}
    return model, precision, place


def report_rows(
    report: Report,
    precision: Mapping[int, Mapping[str, np.ndarray]],
    place: Mapping[int, Mapping[str, np.ndarray]],
    names_a: np.ndarray,
    names_b: np.ndarray,
) -> None:
    """One line per ranking, then ours minus each."""
    first = next(iter(precision.values()))
    for name in first:
        line: dict[str, Any] = {"ranking": name, "seeds": len(precision)}
        values = [bootstrap.mean(of[name], names_a) for of in precision.values()]
        line |= {"map": round(float(np.mean(values)), 4), "map_by_seed": np.round(values, 4).tolist()}
        if name in next(iter(place.values())):
            values = [float(of[name].mean()) for of in place.values()]
            shares = {
                k: round(float(np.mean([(of[name] <= k).mean() for of in place.values()])), 4) for k in (0.05, 0.1)
            }
            line |= {"percentile": round(float(np.mean(values)), 4), "percentile_by_seed": np.round(values, 4).tolist()}
            line |= {"first_5_percent": shares[0.05], "first_10_percent": shares[0.1]}
        report(line)
    for measure, of_seed, names, ours in (
        ("map", precision, names_a, "student"),
        ("map", precision, names_a, OURS),
        ("percentile", place, names_b, OURS),
    ):
        for name in next(iter(of_seed.values())):
            if name == ours:
                continue
            a, b = ({seed: of[n] for seed, of in of_seed.items()} for n in (ours, name))
            better = (a, b) if measure == "map" else (b, a)  # above zero: ours is better
            gap = over_seeds.precision_difference(*better, names)
            report({"measure": measure, "ours": ours, "against": name, **interval(gap)})


def main() -> None:
    parser = make_parser(__doc__, "workdir", "output")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--leaks", action="store_true", help="measure changed cut-outs too")
    args, report = parser.parse_args(), Report("photographs")
    if report.lacks(REAL / "keypoints.json", REAL / "instances.json"):
        return
    precision: dict[int, dict[str, np.ndarray]] = {}
    place: dict[int, dict[str, np.ndarray]] = {}
    with work_folder(args.workdir) as workdir:
        backbone = FrozenBackbone()
        features = FeatureCache(backbone, Path(workdir) / "features")
        plain = photograph_examples(source(), features, names=ATTRIBUTES)
        for seed in (int(text) for text in args.seeds.split(",")):
            parts = read_animals(features, seed, plain=plain)
            model, precision[seed], place[seed] = run_seed(parts, backbone, seed)
            if args.leaks and len(precision) == 1:
                leaks.report_rows(report, features, model, parts)
        by_pattern, own = tasks(parts.test)
        counts = {
            "patterns": parts.table.num_patterns,
            "queries_a": len(by_pattern.query),
            "foregrounds_a": len(by_pattern.foreground),
        }
        trained = int((parts.train.examples.has_mask & ~parts.train.examples.mirrored).sum())
        report({**counts, "queries_b": len(own.query), "training_cutouts": trained, "weights": model.expert_weights})
        report({"trials": {rival.name: {**(rival.trial or {}), "scale": rival.scale} for rival in RIVALS}})
        names = own.data.examples.category
        report_rows(report, precision, place, names[by_pattern.query], names[own.query])
    report.write(args.output, settings=dataclasses.asdict(Settings()))


if __name__ == "__main__":
    main()
