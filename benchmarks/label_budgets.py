"""Few labelled foregrounds: a student of the teacher's posteriors on all queries against a student of the labels.

    python benchmarks/label_budgets.py [--data_dir=data] [--size=demo] [--seeds=0,1,2] [--worlds=rendered,animals] \\
        [--workdir=FOLDER] [--output=FILE.json]

A seed draws which 2, 5, 10, 25 or 100 % of the training foregrounds have a label (at least one of each pattern that
training knows, so that every student can name it; mirrored copies go with their original).

  teacher    learns from the labelled foregrounds and reads the gallery for all students
  labels     student of the labelled foregrounds' queries, each with its own foreground's pattern
  distilled  student of all queries: the teacher says the pattern of each query's own foreground, as a distribution
  argmax     the same with the teacher's most probable pattern instead
  oracle     student of all queries and all labels, whatever the budget

All are linear heads on the same frozen EfficientNet-Lite0 features, reduced once for all (the reduction takes no
labels); penalties are chosen on validation, of the teacher by cross-entropy, of students by mAP. Worlds: fos_synthetic
(queries at 128 px and cut-outs at 64 px, enlarged; relevant is what fits the query) and photographs of animals
(as benchmarks/photographs.py, the own foreground left out). Standard AP over the category's whole test gallery, mean
within each category, then over categories.

One JSON line per world, budget and student: mAP with the gallery as the teacher reads it, and with the gallery's true
patterns; the teacher's accuracy on the unlabelled training foregrounds; then differences from the student of labels
with 95 % intervals over queries and seeds, paired. Figures: docs/photographs.md.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import photographs
from rendered_features import rendered_sides
from reporting import Report, interval, make_parser, work_folder

from fos_jax import metrics
from fos_jax.evaluation import bootstrap
from fos_jax.experiments import over_seeds
from fos_jax.experts.canonical import Reduced, join_reduced, reduce_block
from fos_jax.experts.features import FeatureCache, FrozenBackbone
from fos_jax.experts.heads import Head, fit_head
from fos_jax.experts.model import expert_blocks
from fos_jax.experts.training import one_hot

BUDGETS = (0.02, 0.05, 0.1, 0.25, 1.0)
STRENGTHS = (1e-4, 1e-3, 1e-2)
COMPONENTS = 128  # per block of features
STUDENTS = ("labels", "distilled", "argmax", "oracle")


@dataclasses.dataclass(frozen=True)
class Held:
    """Queries and foregrounds of validation or test.

    Attributes:
      query: float [q, K]. query_category: int [q]. foreground: float [f, L]. foreground_category, pattern: int [f].
      relevant, valid: bool [q, f], what fits and what is ranked.
    """

    query: np.ndarray
    query_category: np.ndarray
    foreground: np.ndarray
    foreground_category: np.ndarray
    pattern: np.ndarray
    relevant: np.ndarray
    valid: np.ndarray

    def precision(self, told: np.ndarray, of_foreground: np.ndarray) -> np.ndarray:
        """float [q]: average precision of each query, of posteriors [q, P] and [f, P]."""
        return metrics.average_precision(metrics.rank_relevant(told @ of_foreground.T, self.relevant, self.valid))

    def map(self, told: np.ndarray, of_foreground: np.ndarray) -> float:
        return bootstrap.mean(self.precision(told, of_foreground), self.query_category)


@dataclasses.dataclass(frozen=True)
class World:
    """Training pairs, reduced, and what is held out.

    Attributes:
      query: float [n, K]. foreground: float [n, L]. category: int [n]. pattern: int [n], -1 unknown.
      thing: int [n], pairs of one thing share its label.
      category_of_pattern: int [P].
    """

    query: np.ndarray
    foreground: np.ndarray
    category: np.ndarray
    pattern: np.ndarray
    thing: np.ndarray
    category_of_pattern: np.ndarray
    validation: Held
    test: Held


def draw_labelled(pattern: np.ndarray, thing: np.ndarray, share: float, seed: int) -> np.ndarray:
    """bool [n]: a random share of the things with a known pattern, at least one of each pattern.

    Args:
      pattern: int [n], -1 unknown. thing: int [n]. share: of the things, 0 to 1.
    """
    known = pattern >= 0
    things = np.random.default_rng(seed).permutation(np.unique(thing[known]))
    first = {int(t): int(pattern[known][thing[known] == t][0]) for t in things}
    seen: set[int] = set()
    one_each = [t for t in things.tolist() if not (first[t] in seen or seen.add(first[t]))]  # type: ignore[func-returns-value]
    wanted = max(round(share * len(things)), len(one_each))
    chosen = [*one_each, *(t for t in things.tolist() if t not in set(one_each))][:wanted]
    return known & np.isin(thing, chosen)


def fit_best(world: World, rows: np.ndarray, side: str, target: np.ndarray, loss: Callable[[Head], float]) -> Head:
    """A head on some rows of one side, with the penalty of least `loss`."""
    chosen = getattr(world, side)[rows]
    width = chosen.shape[1]
    reduced = Reduced(np.zeros(width), np.eye(width), chosen)
    columns = target, world.category[rows], world.category_of_pattern
    heads = [fit_head(reduced, *columns, strengths=(strength,)) for strength in STRENGTHS]
    return min(heads, key=loss)


def run_budget(
    world: World, share: float, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """Student -> average precision with the teacher's gallery, and with true patterns; facts about the teacher."""
    of_pattern = world.category_of_pattern
    labelled = np.flatnonzero(draw_labelled(world.pattern, world.thing, share, seed))
    known = np.flatnonzero(world.pattern >= 0)
    truth = one_hot(world.pattern, len(of_pattern))
    held = world.validation

    def entropy(head: Head) -> float:
        rows = np.flatnonzero(held.pattern >= 0)
        log = head.log_posterior(held.foreground[rows], held.foreground_category[rows], of_pattern)
        return -float(np.maximum(log[np.arange(len(rows)), held.pattern[rows]], -50).mean())

    teacher = fit_best(world, labelled, "foreground", truth[labelled], entropy)
    told = np.exp(teacher.log_posterior(world.foreground, world.category, of_pattern))
    everything = np.flatnonzero(np.isin(world.category, of_pattern))
    targets = {
        "labels": (labelled, truth),
        "distilled": (everything, told),
        "argmax": (everything, one_hot(told.argmax(1), len(of_pattern))),
        "oracle": (known, truth),
    }

    def gallery(of: Held) -> np.ndarray:
        return np.exp(teacher.log_posterior(of.foreground, of.foreground_category, of_pattern))

    def asked(head: Head, of: Held) -> np.ndarray:
        return np.exp(head.log_posterior(of.query, of.query_category, of_pattern))

    found, with_truth = {}, {}
    of_validation, of_test = gallery(held), gallery(world.test)
    for name, (rows, target) in targets.items():
        head = fit_best(world, rows, "query", target[rows], lambda h: -held.map(asked(h, held), of_validation))
        found[name] = world.test.precision(asked(head, world.test), of_test)
        with_truth[name] = world.test.precision(asked(head, world.test), one_hot(world.test.pattern, len(of_pattern)))
    others = np.setdiff1d(known, labelled)
    right = told.argmax(1) == world.pattern
    accuracy = round(float(right[others].mean()), 4) if len(others) else None
    return found, with_truth, {"labelled": len(np.unique(world.thing[labelled])), "teachers_accuracy": accuracy}


def reduced_blocks(blocks: list[np.ndarray]) -> Reduced:
    return join_reduced([reduce_block(block, components=COMPONENTS) for block in blocks])


def animal_worlds(features: FeatureCache, seeds: list[int]) -> Iterator[tuple[int, World]]:
    """Photographs of animals; the rectangles of mirrored pairs are drawn anew for each seed."""
    edges = [s.stop for s in features.backbone.blocks.slices[:-1]]
    for seed in seeds:
        parts = photographs.read_animals(features, seed, progress=False)
        train = parts.train.of(parts.train.examples.has_mask & (parts.train.category >= 0))
        maps = {}
        for side in ("query", "foreground"):
            blocks = expert_blocks(side, *getattr(train.examples, side), edges)["patterns"]
            maps[side] = reduced_blocks(blocks)

        def held(data, maps=maps) -> Held:
            task, _ = photographs.tasks(data)
            sides = {}
            for side, of in (("query", task.query), ("foreground", task.foreground)):
                blocks = expert_blocks(side, *getattr(data.examples.of(of), side), edges)["patterns"]
                sides[side] = maps[side].apply(blocks)
            q, f = task.query, task.foreground
            valid = (data.category[q][:, None] == data.category[f][None]) & (q[:, None] != f[None])
            relevant = valid & (data.pattern[q][:, None] == data.pattern[f][None])
            return Held(
                sides["query"],
                data.category[q],
                sides["foreground"],
                data.category[f],
                data.pattern[f],
                relevant,
                valid,
            )

        thing = np.unique(train.examples.id, return_inverse=True)[1]
        of_pattern = parts.table.category_of_pattern
        columns = maps["query"].rows, maps["foreground"].rows, train.category, train.pattern, thing, of_pattern
        yield seed, World(*columns, held(parts.validation), held(parts.test))


def rendered_worlds(
    features: FeatureCache, seeds: list[int], data_dir: str, size: str, folder: Path
) -> Iterator[tuple[int, World]]:
    """fos_synthetic; only the draw of labels depends on the seed."""
    edges = [s.stop for s in features.backbone.blocks.slices[:-1]]
    maps: dict[str, Any] = {}

    def reduced(side: str, blocks: list[np.ndarray]) -> np.ndarray:
        if side not in maps:
            maps[side] = reduced_blocks(blocks)
            return maps[side].rows
        return maps[side].apply(blocks)

    splits = {}
    for split in ("train", "validation", "test"):
        foregrounds, queries, table, sides = rendered_sides(features, data_dir, size, split, folder)
        own = queries.foreground_index
        if split == "train":
            sides["foreground"] = sides["foreground"].of(own)
        rows = {
            side: reduced(side, expert_blocks(side, *sides[side], edges)["patterns"])
            for side in ("query", "foreground")
        }
        if split == "train":
            splits[split] = (
                rows["query"],
                rows["foreground"],
                queries.category,
                foregrounds.pattern[own],
                np.arange(len(own)),
            )
            continue
        valid = queries.category[:, None] == foregrounds.category[None]
        relevant = valid & np.asarray(queries.is_compatible)[:, foregrounds.pattern]
        held = (foregrounds.category, foregrounds.pattern, relevant, valid)
        splits[split] = Held(rows["query"], queries.category, rows["foreground"], *held)
    world = World(*splits["train"], table.category_of_pattern, splits["validation"], splits["test"])
    for seed in seeds:
        yield seed, world


def report_world(report: Report, name: str, worlds: Iterator[tuple[int, World]]) -> None:
    """All budgets and seeds of a world."""
    precision: dict[float, dict[str, dict[int, np.ndarray]]] = {b: {s: {} for s in STUDENTS} for b in BUDGETS}
    with_truth: dict[float, dict[str, dict[int, np.ndarray]]] = {b: {s: {} for s in STUDENTS} for b in BUDGETS}
    facts: dict[float, list[dict[str, Any]]] = {b: [] for b in BUDGETS}
    names = np.array([])
    for seed, world in worlds:
        names = world.test.query_category
        for share in BUDGETS:
            found, true_gallery, of_teacher = run_budget(world, share, seed)
            facts[share].append(of_teacher)
            for student in STUDENTS:
                precision[share][student][seed] = found[student]
                with_truth[share][student][seed] = true_gallery[student]
            maps = {s: round(bootstrap.mean(v, names), 4) for s, v in found.items()}
            report({"world": name, "seed": seed, "budget": share, **maps, **of_teacher})
    for share in BUDGETS:
        accuracy = [of["teachers_accuracy"] for of in facts[share] if of["teachers_accuracy"] is not None]
        mean = round(float(np.mean(accuracy)), 4) if accuracy else None
        common = {"world": name, "budget": share, "labelled": facts[share][0]["labelled"], "teachers_accuracy": mean}
        for student in STUDENTS:
            line = {"student": student, "seeds": len(facts[share])}
            for key, of in (("map", precision), ("map_true_gallery", with_truth)):
                line[key] = round(float(np.mean([bootstrap.mean(v, names) for v in of[share][student].values()])), 4)
            report(common | line)
        for student in STUDENTS[1:]:
            for key, of in (("teacher's", precision), ("true", with_truth)):
                gap = over_seeds.precision_difference(of[share][student], of[share]["labels"], names)
                line = {"difference_of": student, "minus": "labels", "gallery": key, **interval(gap)}
                report({"world": name, "budget": share, **line})


def main() -> None:
    parser = make_parser(__doc__, "data_dir", "size", "workdir", "output")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--worlds", default="rendered,animals", help="rendered, animals, or both")
    args, report = parser.parse_args(), Report("label_budgets")
    seeds, wanted = [int(text) for text in args.seeds.split(",")], args.worlds.split(",")
    with work_folder(args.workdir) as workdir:
        features = FeatureCache(FrozenBackbone(), workdir / "features")
        if "rendered" in wanted and not report.lacks(Path(args.data_dir) / "fos_synthetic" / f"{args.size}_queries"):
            report_world(report, "rendered", rendered_worlds(features, seeds, args.data_dir, args.size, workdir))
        if "animals" in wanted and not report.lacks(photographs.REAL / "keypoints.json"):
            report_world(report, "animals", animal_worlds(features, seeds))
    report.write(args.output, strengths=STRENGTHS, components=COMPONENTS)


if __name__ == "__main__":
    main()
