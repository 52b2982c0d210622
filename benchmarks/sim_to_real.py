"""From rendered queries to real photographs: ETH-80's cut-outs as the gallery of fos_synthetic's test queries.

    python benchmarks/sim_to_real.py --bundle=runs/demo/student/bundle --data_dir=data --size=demo \\
        [--compare="rectangle only=runs/demo/rectangle_only/bundle"] [--seeds=0,1,2] [--workdir=FOLDER] \\
        [--output=FILE.json] [--pictures=FOLDER]

With --seeds a bundle's path has {seed} for the number and a * for the rest of a name, as in
runs/results/demo/seed_{seed}/student-*/bundle.

Categories: those that both have (car; in the full size dog too, of which ETH-80's all stand). No photograph is trained
on. A real cut-out fits a query if it shows the object from the view of one of the query's compatible patterns; light is
left aside, since a photograph's is unknown:
  yaw        90 - ETH-80's azimuth (0: heading right, 90: into the camera; looked at for all seven cars and dogs), the
             nearest of the category's yaws; half-way between two: left out of the gallery
  elevation  90 - ETH-80's polar angle: 0 is low (rendered: 9 to 15 degrees), 45 and 55 are high (rendered: 29 to 40);
             22 and 24 lie between and are left out; 68 and 90 stay in the gallery and fit nothing
  state      standing
Of each fitting view the gallery has one cut-out of each of the seven objects.

Rankings (standard AP over the whole gallery of the category, ties: expected value):
  chance, shape        nothing; how much of the rectangle the cut-out's bounding box fills
  NAME, cosine         of the embeddings
  NAME, posterior      sum over patterns of p(p|q) p(p|f), as a search does it
  NAME, view           the same over views: both posteriors summed over the light
  own foreground       oracle: the teacher sees the removed object as it was rendered; cosine, view
  true view            oracle: the teacher's posterior of the views that fit
  experts, view        two linear heads on frozen public features that saw the rendered world alone, with a photograph's
                       features centred by other photographs (rendered_experts.py)
"rendered": the same queries with a gallery of rendered cut-outs, as many of each fitting view.

One JSON line per seed, gallery and ranking, one per bundle with the share of cut-outs whose view its foreground encoder
names rightly; then the same over seeds, mean and deviation, and the differences between the student's and the experts'
ranking by view and every other on the real gallery, with 95 % intervals over queries and seeds, paired (the gallery's
objects are few and fixed, and no interval speaks of others). A path without {seed} is the same bundle for all seeds;
the experts are trained for each. Figures: docs/photographs.md.
"""

import functools
import glob
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from eth80 import ANNOTATIONS, QUERY, RIGHT, WRONG, Objects, framed, read_eth80
from rendered_experts import RenderedExperts, photograph_mean, rendered_again, train_rendered
from reporting import Report, interval, make_parser, work_folder

from fos_jax import metrics
from fos_jax.evaluation import bootstrap
from fos_jax.evaluation.conventions import box_aspects, foreground_aspects
from fos_jax.experiments import over_seeds
from fos_jax.experts.features import FeatureCache, FrozenBackbone
from fos_jax.images import encode_png, prepare_cutout
from fos_jax.patterns.proposal_report import contact_sheet
from fos_jax.scenes.attributes import YAW_RAD

if TYPE_CHECKING:
    from fos_jax.data.arrays import Queries
    from fos_jax.encoders.bundle import Bundle
    from fos_jax.pattern_table import PatternTable

ELEVATION = {0: "low", 22: None, 24: None, 45: "high", 55: "high"}  # degrees above the ground; others fit nothing
STATE = "standing"
STUDENT, BY_VIEW, BY_EXPERTS = "student", "student, view", "experts, view"
NOTHING, LEFT_OUT = -1, -2
HALF_WAY = 3.0  # degrees around the middle between two yaws


class Views(NamedTuple):
    """The views of a category: a pattern's attributes without the light.

    Attributes:
      names: of each view, attribute -> value. patterns: int [p], ids of the category's patterns.
      of_pattern: bool [p, views].
    """

    names: list[dict[str, str]]
    patterns: np.ndarray
    of_pattern: np.ndarray


class Gallery(NamedTuple):
    """Cut-outs of one category: name, uint8 [g, S, S, 4] as the bundle wants them, int [g] view or `NOTHING`.

    `rows` says which of those that it was chosen from, int [g].
    """

    name: str
    image: np.ndarray
    view: np.ndarray
    rows: np.ndarray = np.zeros(0, int)


def views_of(table: "PatternTable", category: str) -> Views:
    """The category's views, in the order of its patterns."""
    patterns = np.flatnonzero(table.category_of_pattern == table.category_id(category))
    without = [{k: v for k, v in table.patterns[p].attributes.items() if k != "light"} for p in patterns]
    names = [a for i, a in enumerate(without) if a not in without[:i]]
    return Views(names, patterns, np.array([[a == b for b in names] for a in without]))


def real_view(views: Views, polar_deg: float, azimuth_deg: float) -> int:
    """Index of the view that an ETH-80 annotation stands for, or `NOTHING`, or `LEFT_OUT`."""
    elevation = ELEVATION.get(round(90 - polar_deg), "")
    if elevation is None:
        return LEFT_OUT
    angles = {name: np.degrees(YAW_RAD[name]) for name in dict.fromkeys(v["yaw"] for v in views.names)}
    away = {name: abs((90 - azimuth_deg - angle + 180) % 360 - 180) for name, angle in angles.items()}
    nearest = min(away, key=lambda name: away[name])
    if away[nearest] > 180 / len(angles) - HALF_WAY:
        return LEFT_OUT
    wanted = {"yaw": nearest, "elevation": elevation}
    if "state" in views.names[0]:
        wanted["state"] = STATE
    return views.names.index(wanted) if wanted in views.names else NOTHING


def rendered_gallery(image: np.ndarray, view: np.ndarray, real: Gallery) -> Gallery:
    """As many rendered cut-outs (uint8 [n, S, S, 4], views int [n]) of each fitting view as the real gallery has."""
    rows = [np.flatnonzero(view == v)[: np.count_nonzero(real.view == v)] for v in np.unique(real.view[real.view >= 0])]
    chosen = np.concatenate(rows)
    return Gallery("rendered", np.asarray(image)[chosen], view[chosen], chosen)


def rankings(
    bundles: Mapping[str, "Bundle"], queries: "Queries", own_image: np.ndarray, gallery: Gallery, views: Views
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Ranking -> scores float [q, g]; relevant bool [q, g]; bundle -> p(view | cut-out) float [g, views].

    Args:
      bundles: name -> student; all at the sizes of the first, which gives the oracles.
      queries: of the category. own_image: uint8 [q, S, S, 4], their rendered own foregrounds.
    """
    category = np.full(len(gallery.view), queries.category[0])
    fits = (queries.is_compatible[:, views.patterns].astype(float) @ views.of_pattern) > 0  # [q, views]
    scores = {
        "chance": np.zeros((len(queries), len(category))),
        "shape": _fill(box_aspects(queries), foreground_aspects(gallery.image)),
    }
    named = {}
    for name, bundle in bundles.items():
        found = bundle.encode_foregrounds(gallery.image, category)
        asked = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
        of_gallery, of_query = (np.exp(x[:, views.patterns]) for x in (found.log_posterior, asked.log_posterior_both))
        scores[f"{name}, cosine"] = asked.embedding @ found.embedding.T
        scores[f"{name}, posterior"] = of_query @ of_gallery.T
        scores[f"{name}, view"] = (of_query @ views.of_pattern) @ (of_gallery @ views.of_pattern).T
        named[name] = of_gallery @ views.of_pattern
    first = next(iter(bundles))
    found = bundles[first].encode_foregrounds(gallery.image, category)
    own = bundles[first].encode_foregrounds(own_image, queries.category)
    of_gallery, of_own = named[first], np.exp(own.log_posterior[:, views.patterns]) @ views.of_pattern
    scores["own foreground, cosine"] = own.embedding @ found.embedding.T
    scores["own foreground, view"] = of_own @ of_gallery.T
    scores["true view"] = fits @ of_gallery.T
    relevant = np.where(gallery.view >= 0, fits[:, gallery.view], False)
    return scores, relevant, named


def _fill(box_aspect: np.ndarray, aspect: np.ndarray) -> np.ndarray:
    ratio = box_aspect[:, None] / aspect[None, :]
    return np.minimum(ratio, 1 / ratio)


def retrieval_sheet(
    queries: "Queries", gallery: Gallery, scores: np.ndarray, relevant: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    """Eight queries over the whole range of precision and their best hits: green fits, red another view."""
    known = np.flatnonzero(np.isfinite(precision))
    known = known[np.argsort(precision[known], kind="stable")]
    sheet = []
    for row in known[np.linspace(0, len(known) - 1, 8).astype(int)]:
        image = np.array(queries.image[row])
        y0, x0, y1, x1 = (queries.box_yxyx_norm[row] * len(image)).astype(int)
        image = cv2.rectangle(np.ascontiguousarray(image), (x0, y0), (x1, y1), (230, 30, 30), 1)
        best = np.argsort(-scores[row], kind="stable")[:14]
        hits = [framed(gallery.image[i][..., :3], RIGHT if relevant[row, i] else WRONG) for i in best]
        sheet.append((f"AP {precision[row]:.2f}", [framed(image, QUERY), *hits]))
    return contact_sheet(sheet)


def views_sheet(views: Views, real: Gallery, rendered: Gallery) -> np.ndarray:
    """Each view's rendered and real cut-outs, one line each, to check the mapping of angles by eye."""
    sheet = []
    for view in np.unique(real.view[real.view >= 0]):
        for gallery in (rendered, real):
            rows = np.flatnonzero(gallery.view == view)[:7]
            label = f"{' '.join(views.names[view].values())}\n{gallery.name}"
            sheet.append((label, [framed(gallery.image[i][..., :3], QUERY) for i in rows]))
    return contact_sheet(sheet)


def of_rows(split: Any, rows: np.ndarray) -> Any:
    """Some rows of `Queries` without labels of pairs."""
    names = ("ids", "image", "box_yxyx_norm", "category", "is_compatible", "foreground_index")
    return type(split)(**{name: np.asarray(getattr(split, name))[rows] for name in names})


def run(
    bundles: Mapping[str, "Bundle"],
    photographed: Objects,
    report: Callable[[Mapping[str, Any]], None],
    *,
    data_dir: str,
    size: str,
    pictures: Path | None,
    experts: Callable[[str, Views], RenderedExperts] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Reports every category, gallery and ranking of one seed; category -> ranking -> precision on the real gallery.

    `experts` trains those of a category.
    """
    from fos_jax.data.splits import load_split

    student = bundles[STUDENT]
    sides = {"foreground_size": student.foreground_size, "query_size": student.query_size}
    foregrounds, everything, table = load_split(data_dir, size=size, split="test", progress=False, **sides)
    found_precision = {}
    for category in (name for name in table.categories if name in photographed.category):
        views, class_id = views_of(table, category), table.category_id(category)
        queries = of_rows(everything, np.flatnonzero(everything.category == class_id))
        own = np.asarray(foregrounds.image)[queries.foreground_index]
        rows = np.flatnonzero(photographed.category == category)
        angles = [(photographed.annotations[i]["polar_deg"], photographed.annotations[i]["azimuth_deg"]) for i in rows]
        found = np.array([real_view(views, *pair) for pair in angles])
        image = np.stack([prepare_cutout(photographed.pictures[i], student.foreground_size) for i in rows])
        kept = np.flatnonzero(found != LEFT_OUT)
        real = Gallery("real", image[kept], found[kept], rows[kept])
        local = np.flatnonzero(foregrounds.category == class_id)
        view = views.of_pattern.argmax(axis=1)[foregrounds.pattern[local] - views.patterns[0]]
        rendered = rendered_gallery(np.asarray(foregrounds.image)[local], view, real)
        trained = experts(category, views) if experts else None
        asked = trained.ask(*stored_queries(data_dir, size, queries.ids)) if trained else np.zeros(0)
        for gallery in (rendered, real):
            scores, relevant, named = rankings(bundles, queries, own, gallery, views)
            if trained:
                is_real = gallery is real
                shown = (
                    [photographed.pictures[i] for i in gallery.rows]
                    if is_real
                    else rendered_again(foregrounds.ids[local[gallery.rows]].tolist())
                )
                named["experts"] = trained.name(shown, is_real=is_real)
                scores[BY_EXPERTS] = asked @ named["experts"].T
            precision = report_gallery(category, gallery, scores, relevant, report)
            for name, posterior in named.items():
                right = named_rightly(views, gallery, posterior)
                report({"category": category, "gallery": gallery.name, "foreground_encoder_of": name, "names": right})
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                sheet = retrieval_sheet(queries, gallery, scores[BY_VIEW], relevant, precision[BY_VIEW])
                (pictures / f"{category}_{gallery.name}.png").write_bytes(encode_png(sheet))
            found_precision[category] = precision  # in the end the real gallery's
        if pictures:
            (pictures / f"{category}_views.png").write_bytes(encode_png(views_sheet(views, real, rendered)))
    return found_precision


def stored_queries(data_dir: str, size: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test queries as the data set stores them, uint8 [q, 128, 128, 3], and their rectangles float [q, 4]."""
    from fos_jax.data.splits import load_split

    sizes = {"foreground_size": 64, "query_size": 128}
    with tempfile.TemporaryDirectory() as folder:
        _, queries, _ = load_split(data_dir, size=size, split="test", progress=False, cache_dir=folder, **sizes)
        row = {name: i for i, name in enumerate(queries.ids.tolist())}
        chosen = np.array([row[name] for name in ids.tolist()])
        return np.array(queries.image)[chosen], np.array(queries.box_yxyx_norm)[chosen]


def named_rightly(views: Views, gallery: Gallery, posterior: np.ndarray) -> dict[str, float]:
    """Share of the cut-outs of known view whose most probable view is right: whole, in each attribute, and in the yaw
    if the opposite one counts as well.
    """
    rows = np.flatnonzero(gallery.view >= 0)
    found, truth = ([views.names[v] for v in of] for of in (posterior[rows].argmax(axis=1), gallery.view[rows]))
    angle = [[YAW_RAD[v["yaw"]] for v in of] for of in (found, truth)]
    right = {"view": [a == b for a, b in zip(found, truth, strict=True)]}
    right |= {k: [a[k] == b[k] for a, b in zip(found, truth, strict=True)] for k in truth[0]}
    right["yaw or its opposite"] = np.isclose(np.sin(np.subtract(*angle)), 0, atol=1e-6).tolist()
    return {name: round(float(np.mean(of)), 4) for name, of in right.items()}


def report_gallery(
    category: str,
    gallery: Gallery,
    scores: Mapping[str, np.ndarray],
    relevant: np.ndarray,
    report: Callable[[Mapping[str, Any]], None],
) -> dict[str, np.ndarray]:
    """Reports each ranking; returns the average precision of each query."""
    one, precision = np.zeros(len(relevant), int), {}
    for name, values in scores.items():
        precision[name] = metrics.average_precision(metrics.rank_relevant(values, relevant))
        figures = {"map": round(bootstrap.mean(precision[name], one), 4)}
        counts = {"queries": int(np.isfinite(precision[name]).sum()), "foregrounds": len(gallery.view)}
        report({"category": category, "gallery": gallery.name, "ranking": name, **figures, **counts})
    return precision


def report_over_seeds(lines: Sequence[Mapping[str, Any]], report: Callable[[Mapping[str, Any]], None]) -> None:
    """Mean and deviation of what the seeds' `lines` say, in their order."""
    groups: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for line in lines:
        kind = "ranking" if "ranking" in line else "foreground_encoder_of"
        figures = line.get("names", {"map": line.get("map")})
        groups.setdefault((line["category"], line["gallery"], kind, line[kind]), []).append(figures)
    for (category, gallery, kind, name), of in groups.items():
        line = {"category": category, "gallery": gallery, kind: name, "num_seeds": len(of)}
        for figure in of[0]:
            spread = over_seeds.spread([figures[figure] for figures in of])
            line[figure] = round(spread.mean, 4)
            line[f"{figure} deviation"] = spread.deviation and round(spread.deviation, 4)
        report(line)


def report_differences(
    precision: Mapping[int, Mapping[str, Mapping[str, np.ndarray]]], report: Callable[[Mapping[str, Any]], None]
) -> None:
    """Student and experts by view minus the others, from seed -> category -> ranking -> precision."""
    first = next(iter(precision.values()))
    for category, rankings_of in first.items():
        pairs = [(of, name) for of in (BY_VIEW, BY_EXPERTS) if of in rankings_of for name in rankings_of if name != of]
        for of_ours, name in pairs:
            ours, theirs = ({seed: of[category][n] for seed, of in precision.items()} for n in (of_ours, name))
            gap = over_seeds.precision_difference(ours, theirs, np.zeros(len(rankings_of[name])))
            line = {"category": category, "gallery": "real", "difference_of": of_ours, "minus": name, **interval(gap)}
            report(line | {"by_seed": {seed: round(value, 4) for seed, value in gap.by_seed.items()}})


def bundle_path(pattern: str, seed: int) -> Path:
    """The one folder that a path with {seed} and * names; `SystemExit` where there is none or more than one."""
    text = pattern.replace("{seed}", str(seed))
    found = sorted(glob.glob(text))
    if len(found) != 1:
        raise SystemExit(f"error: {text}: {len(found)} folders, expected one bundle")
    return Path(found[0])


def main() -> None:
    from fos_jax.encoders.bundle import load_bundle

    parser = make_parser(__doc__, "bundle", "data_dir", "size", "workdir", "output", "pictures")
    parser.add_argument("--compare", action="append", default=[], help="bundle of the same sizes: NAME=DIRECTORY")
    parser.add_argument("--seeds", default="0", help="training seeds, to put into paths with {seed}")
    args, report = parser.parse_args(), Report("sim_to_real")
    if report.lacks(ANNOTATIONS, *([] if "{" in args.bundle or glob.glob(args.bundle) else [args.bundle])):
        return
    paths = {STUDENT: args.bundle, **dict(text.split("=", 1) for text in args.compare)}
    precision: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    with work_folder(args.workdir) as workdir:
        photographed = read_eth80(workdir / "eth80")
        features = FeatureCache(FrozenBackbone(), workdir / "features")
        shared = {"data_dir": args.data_dir, "size": args.size}
        of_experts = {**shared, "folder": workdir, "real_mean": photograph_mean(features, workdir / "coco_sample")}
        for seed in (int(text) for text in args.seeds.split(",")):
            bundles = {name: load_bundle(bundle_path(pattern, seed)) for name, pattern in paths.items()}
            pictures = None if precision else args.pictures  # of the first seed

            def report_seed(line: Mapping[str, Any], seed: int = seed) -> None:
                report({"seed": seed, **line})

            experts = functools.partial(train_rendered, features, **of_experts, seed=seed)
            precision[seed] = run(bundles, photographed, report_seed, **shared, pictures=pictures, experts=experts)
    report_over_seeds(list(report.lines), report)
    report_differences(precision, report)
    report.write(args.output)


if __name__ == "__main__":
    main()
