"""Coverage and precision of twenty places: pattern-level search, instance-level search, and MMR re-ranking of it.

    python benchmarks/pattern_search.py --bundle=runs/demo/student/bundle --data_dir=data --size=demo \\
        [--gallery_size=1000] [--workdir=FOLDER] [--output=FILE.json]

Queries are those of fos_synthetic's test split; the gallery holds --gallery_size foregrounds per category of the same
split's stream, the data set's first, so that one pattern alone could fill the places (a car has 32 patterns).
Of the 20 foregrounds shown to each query:
  coverage   share of the query's compatible patterns (of those the gallery has) that are among them
  precision  share of them whose pattern is compatible
Both by the true patterns, mean over categories.

Lists:
  instances  by posterior or by cosine, as `ForegroundSearch.instances`
  MMR        of either: 200 best, scores scaled to 0..1, minus similarity to what is shown, cosine of teacher embeddings
             (Carbonell & Goldstein, SIGIR 1998)
  patterns   the three most probable patterns, as `ForegroundSearch.patterns`: 7, 7 and 6 of their best
  overview   `ForegroundSearch.overview`, with its default weight and with a chosen one
MMR's trade-off and the overview's weight are chosen on the validation split, with a gallery made alike: the most
coverage among the settings whose precision is at most half a point below that of the list without them (less is
noise: 192 queries show 3,840 foregrounds).

One JSON line per list, one per difference of the chosen overview to each other list and of each setting of the grids to
instances by posterior (paired over queries, 95 % bootstrap interval). Figures: docs/benchmarks.md.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from reporting import Report, make_parser, work_folder

from fos_jax.evaluation import bootstrap

if TYPE_CHECKING:
    from fos_jax.gallery.sources import CutoutRecord
    from fos_jax.pattern_table import PatternTable
    from fos_jax.retrieval.queries import EncodedQuery
    from fos_jax.retrieval.search import ForegroundSearch

K, MMR_POOL = 20, 200
TRADE_OFFS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
GRIDS = {"MMR by posterior": TRADE_OFFS, "MMR by cosine": TRADE_OFFS, "overview": (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)}
TOLERANCE = 0.005
OVERVIEW, INSTANCES = "overview, chosen", "instances by posterior"


class RenderedCutouts:
    """The first n foregrounds of each category of a split's stream, as a source of a gallery."""

    def __init__(self, split: str, table: "PatternTable", n: int):
        self.name, self.skipped = f"fos_synthetic {split}, {n} per category", Counter[str]()
        self._split, self._table, self._n = split, table, n

    def __len__(self) -> int:
        return self._n * len(self._table.categories)

    def __iter__(self) -> Iterator["CutoutRecord"]:
        from fos_jax.datasets.fos_synthetic import fos_synthetic_dataset_builder as data
        from fos_jax.gallery.sources import CutoutRecord
        from fos_jax.scenes.streams import cutout_stream

        names = self._table.categories
        first = {name: int(np.flatnonzero(self._table.category_of_pattern == i)[0]) for i, name in enumerate(names)}
        counts, size = dict.fromkeys(names, self._n), data.FOREGROUND_PX
        for row in cutout_stream(data.SEED, self._split, counts, size=size, samples=data.FOREGROUND_SAMPLES):
            category = row["category"]
            name = data.example_id(self._split, category, row["index"])
            yield CutoutRecord(name, category, row["image"], pattern=first[category] + int(row["pattern"]))


class Split(NamedTuple):
    """A split's gallery, its encoded queries, their class ids int [q] and compatible patterns bool [q, P]."""

    search: "ForegroundSearch"
    queries: "Sequence[EncodedQuery]"
    category: np.ndarray
    is_compatible: np.ndarray


def read_split(args: argparse.Namespace, split: str, workdir: Path) -> Split:
    """Encodes the split's queries and renders its gallery, or opens the one that an earlier run left."""
    from fos_jax.boxes import box_yxyx_norm_to_xyxy_px
    from fos_jax.data.splits import load_split
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.gallery.building import build_gallery
    from fos_jax.retrieval.queries import EncodedQuery
    from fos_jax.retrieval.search import ForegroundSearch

    bundle = load_bundle(args.bundle)
    sides = {"foreground_size": bundle.foreground_size, "query_size": bundle.query_size}
    _, queries, table = load_split(args.data_dir, size=args.size, split=split, progress=False, **sides)
    path = workdir / f"gallery-{split}-{args.gallery_size}-{bundle.fingerprint}"
    if not path.exists():
        build_gallery(RenderedCutouts(split, table, args.gallery_size), bundle, path, bundle_path=args.bundle)
    encoded = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
    made = []
    for i, category in enumerate(queries.category):
        own = encoded.log_posterior_both[i, table.category_of_pattern == category]
        box = box_yxyx_norm_to_xyxy_px(queries.box_yxyx_norm[i], bundle.query_size, bundle.query_size)
        made.append(EncodedQuery(queries.image[i], box, table.categories[category], encoded.embedding[i], own))
    return Split(ForegroundSearch.open(path, bundle), made, queries.category, np.asarray(queries.is_compatible))


def mmr(relevance: np.ndarray, embedding: np.ndarray, k: int, trade_off: float) -> list[int]:
    """Maximal marginal relevance: the places of k rows in the order they are chosen.

    Args:
      relevance: float [n], scaled to 0..1 here. embedding: float [n, D], unit.
      k: how many. trade_off: 1 ranks by relevance, 0 by dissimilarity to what is chosen already.
    """
    span = max(float(np.ptp(relevance)), 1e-12)
    worth = trade_off * (relevance - relevance.min()) / span
    nearest, chosen = np.zeros(len(relevance)), list[int]()
    for _ in range(min(k, len(relevance))):
        marginal = worth - (1 - trade_off) * nearest
        marginal[chosen] = -np.inf
        chosen.append(int(marginal.argmax()))
        similarity = embedding @ embedding[chosen[-1]]
        nearest = similarity if len(chosen) == 1 else np.maximum(nearest, similarity)
    return chosen


def round_robin(lists: Sequence[Sequence[int]], k: int) -> list[int]:
    """One of each list in turn, until k are taken or all are used up."""
    longest = max(map(len, lists), default=0)
    return [values[i] for i in range(longest) for values in lists if i < len(values)][:k]


def shown_rows(split: Split, name: str, setting: float | None = None) -> list[list[int]]:
    """Gallery rows that a kind of list shows to each query, best first; setting: the trade-off or the weight."""
    return [_shown(split.search, query, name, setting) for query in split.queries]


def _shown(search: "ForegroundSearch", query: "EncodedQuery", name: str, setting: float | None) -> list[int]:
    from fos_jax.retrieval.groups import COVERAGE_WEIGHT, overview_groups, probable_groups
    from fos_jax.retrieval.rules import Filters

    gallery, prototypes = search.gallery.snapshot(), search.bundle.prototypes
    options = {"representatives": 1, "filters": Filters()}
    if name == "overview":
        weight = COVERAGE_WEIGHT if setting is None else setting
        groups = overview_groups(gallery, prototypes, query, total=K, coverage_weight=weight, **options)
        return [hit.row for group in groups for hit in group.hits]
    if name == "patterns":
        groups = probable_groups(gallery, prototypes, query, k=3, instances=K, ranking="posterior", **options)
        return round_robin([[hit.row for hit in group.hits] for group in groups], K)
    ranking = "cosine" if name.endswith("cosine") else "posterior"
    hits = search.search_encoded(query, k=K if setting is None else MMR_POOL, ranking=ranking)
    rows = [hit.row for hit in hits]
    if setting is None:
        return rows
    order = mmr(np.array([hit.score for hit in hits]), gallery.embeddings(rows), K, setting)
    return [rows[i] for i in order]


def figures(split: Split, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """ "coverage" and "precision" of each query, float64 [q]; NaN where nothing of the gallery fits."""
    pattern = split.search.gallery.column("true_pattern")
    in_gallery = np.isin(np.arange(split.is_compatible.shape[1]), pattern)
    coverage, precision = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for i, own in enumerate(rows):
        wanted = np.flatnonzero(split.is_compatible[i] & in_gallery)
        shown = pattern[own]
        if len(wanted):
            coverage[i], precision[i] = np.isin(wanted, shown).mean(), np.isin(shown, wanted).mean()
    return {"coverage": coverage, "precision": precision}


def choose_setting(found: dict[float, dict[str, float]], base: float) -> float:
    """The setting with most coverage whose precision is not `TOLERANCE` below `base`'s; of equals the nearest to it."""
    allowed = [s for s, of in found.items() if of["precision"] >= found[base]["precision"] - TOLERANCE]
    return max(allowed, key=lambda s: (found[s]["coverage"], -abs(s - base)))


def query_groups(split: Split) -> dict[str, np.ndarray]:
    """bool [q]: all queries, those that fit one pattern and those that fit several."""
    several = split.is_compatible.sum(axis=1) > 1
    return {"all": np.ones(len(several), bool), "one": ~several, "several": several}


def summary(split: Split, of: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Means over categories of each group of queries."""
    return {
        name: {k: round(bootstrap.mean(np.where(rows, v, np.nan), split.category), 4) for k, v in of.items()}
        for name, rows in query_groups(split).items()
    }


def differences(split: Split, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Of each group of queries and figure: the mean of ours minus theirs, and its interval."""
    draws, out = bootstrap.resample(split.category), dict[str, Any]()
    for group, rows in query_groups(split).items():
        for metric, values in ours.items():
            gap = np.where(rows, values - theirs[metric], np.nan)
            found = bootstrap.paired_difference(draws, gap, np.zeros_like(gap), split.category)
            out[f"{metric}, {group}"] = [round(v, 4) for v in (found.difference, found.low, found.high)]
    return out


def run(validation: Split, test: Split, report: Report) -> None:
    """Chooses on validation, shows on test, reports lists, differences and grids."""
    plain = {INSTANCES: INSTANCES, "instances by cosine": "instances by cosine", "patterns, three": "patterns"}
    results = {title: figures(test, shown_rows(test, name)) for title, name in plain.items()}
    results["overview, default"] = figures(test, shown_rows(test, "overview"))
    chosen: dict[str, float] = {}
    for name, settings in GRIDS.items():
        found = {s: summary(validation, figures(validation, shown_rows(validation, name, s)))["all"] for s in settings}
        on_test = {setting: figures(test, shown_rows(test, name, setting)) for setting in settings}
        for setting, of in on_test.items():
            gap = differences(test, of, results[INSTANCES])
            line = {"grid": name, "setting": setting, "validation": found[setting], "test": summary(test, of)["all"]}
            report(line | {"minus": INSTANCES, "difference_low_high": gap})
        chosen[f"{name}, chosen"] = choose_setting(found, settings[0])
        results[f"{name}, chosen"] = on_test[chosen[f"{name}, chosen"]]
    for name, of in results.items():
        report({"list": name, "setting": chosen.get(name), **summary(test, of)})
    for name, of in results.items():
        if name != OVERVIEW:
            gap = differences(test, results[OVERVIEW], of)
            report({"list": OVERVIEW, "minus": name, "difference_low_high": gap})


def main() -> None:
    parser = make_parser(__doc__, "bundle", "data_dir", "size", "workdir", "output")
    parser.add_argument("--gallery_size", type=int, default=1000, help="foregrounds per category")
    args, report = parser.parse_args(), Report("pattern_search")
    if report.lacks(args.bundle):
        return
    with work_folder(args.workdir) as workdir:
        validation, test = (read_split(args, split, workdir) for split in ("validation", "test"))
        run(validation, test, report)
    made = {"bundle": test.search.bundle.fingerprint, "gallery_size": args.gallery_size, "k": K}
    report.write(args.output, **made, queries=len(test.queries))


if __name__ == "__main__":
    main()
