"""Interchangeable retrieval of real objects that no training saw: ETH-80, leaving objects out.

    python benchmarks/leave_objects_out.py [--skip_teacher] [--workdir=FOLDER] [--output=FILE.json] [--pictures=FOLDER]

A pattern is a category and a viewpoint bin (25 bins, `agreement.viewpoint_bins`). Of each category's seven objects one
is for validation in all splits; in each of three splits two others are tested, every time different ones, and four
train. Every test cut-out queries the test cut-outs of its category that show another object; relevant are those of its
viewpoint bin. Standard AP over the whole ranking, mean within each category, then over categories.

Rankings, by what they know:
  nothing          chance (all scores alike)
  no labels        pixels (64 px), gradients, shape and both (blocks centred and scaled as for proposals), all by
                   cosine; "photograph features, cosine": frozen features of EfficientNet-Lite0's stages 3 and 5,
                   standardised within the category
  viewpoint labels of the training objects: teacher (the project's foreground encoder and training; cosine of its
                   embeddings, and posterior), linear (logistic regression on gradients+shape, also of the mirrored
                   cut-outs; posterior), "photograph features, linear" (a linear head in each category on the same
                   frozen features, also of the mirrored cut-outs; posterior)
The teacher's checkpoint and the linear models' regularisation are chosen on the validation objects of the split. So
were the stage and the number of components of the frozen features, once. --skip_teacher leaves the teacher out, which
takes most of the time.

One JSON line per split and ranking, then one per ranking over all splits, then teacher and "photograph features,
linear" against the others, paired and bootstrapped over the fifteen pairs of test objects (queries of one pair are not
independent). Figures: docs/photographs.md.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import ml_collections
import numpy as np
from eth80 import (
    ANNOTATIONS,
    NUM_BINS,
    QUERY,
    RIGHT,
    SPLITS,
    WRONG,
    Objects,
    as_foregrounds,
    framed,
    read_eth80,
    split_objects,
    viewpoint_table,
)
from reporting import Report, interval, make_parser, work_folder

from fos_jax import metrics
from fos_jax.data.arrays import Foregrounds
from fos_jax.evaluation import bootstrap
from fos_jax.experts.canonical import join_reduced, reduce_block
from fos_jax.experts.features import FeatureCache, FrozenBackbone
from fos_jax.experts.heads import fit_head
from fos_jax.images import encode_png, prepare_cutout
from fos_jax.patterns.descriptors import describe_pictures
from fos_jax.patterns.grouping import combine, default_config
from fos_jax.patterns.proposal_report import contact_sheet

if TYPE_CHECKING:
    from fos_jax.encoders.bundle import Bundle

DEFORMED = 7  # deformed copies of each training cut-out that the teacher sees beside it
TEACHER, PHOTOGRAPHS, SIMILAR = "teacher, posterior", "photograph features, linear", "photograph features, cosine"
STAGES, COMPONENTS = (0, 1), 64  # of the frozen features: least cross-entropy on validation of those tried
STRENGTHS = (1e-5, 1e-4, 1e-3)  # penalties tried on the validation objects
REGULARISATION = (1.0, 10.0, 100.0)  # inverse strengths tried on the validation objects
WITHOUT_LABELS = {"gradients": ["gradients"], "shape": ["shape"], "gradients+shape": ["gradients", "shape"]}


def precision_among_other_objects(
    scores: np.ndarray, category: np.ndarray, objects: np.ndarray, viewpoint: np.ndarray
) -> np.ndarray:
    """Average precision of each cut-out as a query among those of its category that show other objects.

    Args:
      scores: float [n, n], of query and cut-out; relevant is what has the query's viewpoint.
      category, objects, viewpoint: [n].

    Returns:
      float64 [n], NaN where no other object is seen from there.
    """
    same_category, same_object, same_view = (a[:, None] == a[None, :] for a in (category, objects, viewpoint))
    valid = same_category & ~same_object
    return metrics.average_precision(metrics.rank_relevant(scores, same_view & valid, valid))


def teacher_config(split: int) -> ml_collections.ConfigDict:
    """The project's demo settings, but for rate, length and stronger colours: the best of three trials on the
    validation objects of split 0, which no split tests (docs/photographs.md).
    """
    config = {
        "seed": split,
        "foreground": {"backbone": "small", "embedding_size": 128, "image_size": 48, "dtype": "float32"},
        "pretraining": {"scale": 16.0, "margin": 0.1, "contrastive_weight": 0.0, "contrastive_scale": 10.0},
        "augment": {"mirror_probability": 0.5, "brightness": 0.25, "contrast": 0.4, "saturation": 0.5, "hue": 3.0},
        "optimizer": {"learning_rate": 5e-3, "warmup_steps": 50, "weight_decay": 0.05, "clip_norm": 1.0},
        "training": {
            "batch_size": 64,
            "num_steps": 800,
            "log_every_steps": 50,
            "validate_every_steps": 200,
            "ema_decay": 0.0,
            "keep": "best",
        },
    }
    return ml_collections.ConfigDict(config).lock()


def deformed(rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cut-out turned by up to 7 degrees, stretched by up to 1.25 and sheared by up to 0.12: uint8 [h, w, 4].

    Four objects a category are too few to learn that proportions say nothing of the viewpoint. The canvas is large
    enough for every result, and `prepare_cutout` crops it again.
    """
    height, width = rgba.shape[:2]
    turn, stretch = np.deg2rad(rng.uniform(-7, 7)), np.exp(rng.uniform(-0.22, 0.22) / 2)
    shear = rng.uniform(-0.12, 0.12)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([stretch, 1 / stretch])
    side = 2 * max(height, width)
    offset = np.array([side / 2, side / 2]) - matrix @ np.array([width / 2, height / 2])
    alpha = rgba[..., 3:].astype(np.float32) / 255
    premultiplied = np.concatenate([rgba[..., :3] * alpha, 255 * alpha], axis=-1)  # hidden colours must not bleed
    warped = cv2.warpAffine(premultiplied, np.column_stack([matrix, offset]), (side, side))
    warped[..., :3] /= np.maximum(warped[..., 3:], 1) / 255
    return np.clip(np.rint(warped), 0, 255).astype(np.uint8)


def train_teacher(
    data: Objects, part: np.ndarray, config: ml_collections.ConfigDict, workdir: Path
) -> tuple["Bundle", Foregrounds]:
    """The bundle of a teacher trained on the training objects, and all n cut-outs as it sees them."""
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.training.loop import train
    from fos_jax.training.teacher import teacher_task

    foregrounds, table = as_foregrounds(data, config.foreground.image_size)
    fields = {f.name: getattr(foregrounds, f.name) for f in dataclasses.fields(Foregrounds)}
    training, held_out = (
        Foregrounds(**{name: values[part == wanted] for name, values in fields.items()})
        for wanted in ("train", "validation")
    )
    task = teacher_task(config, training, held_out, table, bundle_path=workdir / "bundle")
    train(task, config, workdir, progress=False)
    return load_bundle(workdir / "bundle"), foregrounds


def linear_posterior(
    described: Mapping[str, np.ndarray], mirrored: Mapping[str, np.ndarray], data: Objects, part: np.ndarray
) -> np.ndarray:
    """p(viewpoint bin | descriptors) by logistic regression in each category: float64 [n, 25]."""
    from sklearn.linear_model import LogisticRegression

    table = viewpoint_table([""])
    out = np.zeros((len(data.category), NUM_BINS))
    for name in np.unique(data.category):
        rows = np.flatnonzero(data.category == name)
        n, is_train = len(rows), part[rows] == "train"
        both = {b: np.concatenate([described[b][rows], mirrored[b][rows]]) for b in described}
        features = combine(both, default_config().weights, components=128)
        view = data.viewpoint[rows]
        use = np.flatnonzero(np.concatenate([is_train, is_train & (table.mirror[view] >= 0)]))
        labels = np.concatenate([view, table.mirror[view]])
        found = []
        for inverse in REGULARISATION:
            model = LogisticRegression(C=inverse, max_iter=2000).fit(features[use], labels[use])
            probability = np.zeros((n, NUM_BINS))
            probability[:, model.classes_] = model.predict_proba(features[:n])
            held_out = np.flatnonzero(part[rows] == "validation")
            loss = -np.mean(np.log(np.maximum(probability[held_out, view[held_out]], 1e-12)))
            found.append((loss, probability))
        out[rows] = min(found, key=lambda entry: entry[0])[1]
    return out


def frozen_features(data: Objects, folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frozen features of all cut-outs and of their mirror images: of each stage float32 [n, F]."""
    backbone = FrozenBackbone()
    cache, slices = FeatureCache(backbone, folder), backbone.blocks.slices
    images = np.stack([prepare_cutout(picture, backbone.size) for picture in data.pictures])
    both = [np.asarray(cache(x), np.float32) for x in (images, np.ascontiguousarray(images[:, :, ::-1]))]
    plain, mirrored = ([x[:, slices[stage]] for stage in STAGES] for x in both)
    return plain, mirrored


def frozen_posterior(
    plain: Sequence[np.ndarray], mirrored: Sequence[np.ndarray], data: Objects, part: np.ndarray
) -> np.ndarray:
    """p(viewpoint bin | frozen features) by a linear head in each category: float64 [n, 25]."""
    table, bins = viewpoint_table([""]), np.zeros(NUM_BINS, int)
    out = np.zeros((len(data.category), NUM_BINS))
    for name in np.unique(data.category):
        rows = np.flatnonzero(data.category == name)
        view, is_train, held_out = data.viewpoint[rows], part[rows] == "train", part[rows] == "validation"
        has_mirror = is_train & (table.mirror[view] >= 0)
        blocks = [
            np.concatenate([a[rows[is_train]], b[rows[has_mirror]]]) for a, b in zip(plain, mirrored, strict=True)
        ]
        labels = np.concatenate([view[is_train], table.mirror[view[has_mirror]]])
        reduced = join_reduced([reduce_block(block, components=COMPONENTS) for block in blocks])
        everything = np.concatenate([block[rows] for block in plain], axis=1)
        zeros, held = np.zeros(len(rows), int), np.flatnonzero(held_out)
        told = (everything[held], np.eye(NUM_BINS)[view[held]], zeros[held])
        targets = np.eye(NUM_BINS)[labels], np.zeros(len(labels), int)
        head = fit_head(reduced, *targets, bins, strengths=STRENGTHS, held_out=told)
        out[rows] = np.exp(head.log_posterior(everything, zeros, bins))
    return out


def frozen_similarity(plain: np.ndarray, category: np.ndarray) -> np.ndarray:
    """Cosines of frozen features, standardised within each category: float [n, F] and [n] -> [n, n]."""
    scores = np.zeros((len(category), len(category)))
    for name in np.unique(category):
        here = np.flatnonzero(category == name)
        rows = plain[here]
        scores[np.ix_(here, here)] = cosine((rows - rows.mean(0)) / (rows.std(0) + 1e-3))
    return scores


def unlabelled_scores(described: Mapping[str, np.ndarray], data: Objects, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Ranking -> scores, float [m, m], of those that know no viewpoints."""
    pixels = np.stack([prepare_cutout(data.pictures[i], 64)[..., :3].reshape(-1) for i in rows]).astype(np.float32)
    result = {"chance": np.zeros((len(rows), len(rows))), "pixels": cosine(pixels - 128)}
    for name, blocks in WITHOUT_LABELS.items():
        scores = np.zeros((len(rows), len(rows)))
        for category in np.unique(data.category):
            here = np.flatnonzero(data.category[rows] == category)
            parts = {block: described[block][rows[here]] for block in blocks}
            vectors = combine(parts, default_config().weights, components=10_000)
            scores[np.ix_(here, here)] = cosine(vectors)
        result[name] = scores
    return result


def cosine(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows: float [n, k] -> [n, n]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit @ unit.T


def mean_by_category(values: np.ndarray, category: np.ndarray) -> dict[str, float]:
    return {str(c): round(float(np.nanmean(values[category == c])), 4) for c in np.unique(category)}


def retrieval_sheet(
    data: Objects, rows: np.ndarray, scores: Mapping[str, np.ndarray], precision: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Of each category two queries, at the first method's quartiles; right hits green, wrong ones red."""
    first, *others = (m for m in (TEACHER, PHOTOGRAPHS, "linear, posterior", "gradients+shape") if m in scores)
    category, objects, view = data.category[rows], data.object[rows], data.viewpoint[rows]
    small = [prepare_cutout(data.pictures[row], 58)[..., :3] for row in rows]
    sheet = []
    for name in np.unique(category):
        here = np.flatnonzero((category == name) & np.isfinite(precision[first]))
        here = here[np.argsort(precision[first][here], kind="stable")]
        for query in (here[len(here) // 4], here[3 * len(here) // 4]):
            gallery = np.flatnonzero((category == name) & (objects != objects[query]))
            for method in (first, *others):
                best = gallery[np.argsort(-scores[method][query, gallery], kind="stable")]
                hits = [framed(small[i], RIGHT if view[i] == view[query] else WRONG) for i in best[:15]]
                label = f"{objects[query]}\n{method}\nAP {precision[method][query]:.2f}"
                sheet.append((label, [framed(small[query], QUERY), *hits]))
    return contact_sheet(sheet)


def run_split(
    data: Objects, described, mirrored, frozen, split: int, config: ml_collections.ConfigDict, workdir: Path | None
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
    """Rows of the test, scores and average precisions of each ranking, and facts about the teacher's training.

    `frozen` has the features of `frozen_features`; without a `workdir` there is no teacher.
    """
    part = split_objects(data.category, data.object, split)
    rows = np.flatnonzero(part == "test")
    linear = linear_posterior(described, mirrored, data, part)[rows]
    named = frozen_posterior(*frozen, data, part)[rows]
    scores = unlabelled_scores(described, data, rows) | {
        SIMILAR: frozen_similarity(np.concatenate(frozen[0], axis=1)[rows], data.category[rows]),
        "linear, posterior": linear @ linear.T,
        PHOTOGRAPHS: named @ named.T,
    }
    training: dict[str, Any] = {}
    if workdir:
        started = time.perf_counter()
        bundle, foregrounds = train_teacher(data, part, config, workdir)
        training = {"training_s": round(time.perf_counter() - started, 1), **bundle.metrics["validation"]}
        encoded = bundle.encode_foregrounds(foregrounds.image[rows], foregrounds.category[rows])
        posterior = np.exp(encoded.log_posterior)
        scores |= {"teacher, cosine": encoded.embedding @ encoded.embedding.T, TEACHER: posterior @ posterior.T}
    labels = data.category[rows], data.object[rows], data.viewpoint[rows]
    precision = {name: precision_among_other_objects(values, *labels) for name, values in scores.items()}
    return rows, scores, precision, training


def compare(precision: Mapping[str, np.ndarray], category: np.ndarray, split: np.ndarray) -> list[dict[str, Any]]:
    """Teacher and linear on frozen features minus each other ranking, paired over means of split and category.

    The two objects tested together are each other's gallery, so the pair is what is drawn, within its category.

    Args:
      precision: ranking -> average precision of all queries of all splits, float [n].
      category, split: [n], of the queries.
    """
    units, unit = np.unique(np.stack([np.unique(category, return_inverse=True)[1], split]), axis=1, return_inverse=True)
    class_id, unit = units[0], unit.reshape(-1)
    draws = bootstrap.resample(class_id)
    means = {k: np.array([np.nanmean(v[unit == i]) for i in range(len(class_id))]) for k, v in precision.items()}
    lines = []
    for ours, name in ((ours, name) for ours in (TEACHER, PHOTOGRAPHS) if ours in means for name in means):
        if name == ours:
            continue
        gap = bootstrap.paired_difference(draws, means[ours], means[name], class_id)
        verdict = "won" if gap.low > 0 else "lost" if gap.high < 0 else "undecided"
        pairs = {"pairs_better": int(np.sum(means[ours] > means[name])), "pairs": len(class_id)}
        lines.append({"ours": ours, "against": name, **interval(gap), **pairs, "verdict": verdict})
    return lines


def main() -> None:
    parser = make_parser(__doc__, "workdir", "output", "pictures")
    parser.add_argument("--skip_teacher", action="store_true", help="train no teacher")
    args = parser.parse_args()
    report = Report("leave_objects_out")
    if report.lacks(ANNOTATIONS):
        return
    pooled: dict[str, list[np.ndarray]] = {}
    maps: dict[str, list[float]] = {}
    tested = []
    with work_folder(args.workdir) as workdir:
        data = read_eth80(workdir / "cutouts")
        blocks = ["gradients", "shape"]
        described = describe_pictures(enumerate(data.pictures), data.category, blocks)
        flipped = (np.ascontiguousarray(picture[:, ::-1]) for picture in data.pictures)
        mirrored = describe_pictures(enumerate(flipped), data.category, blocks)
        frozen = frozen_features(data, workdir / "features")
        for split in range(SPLITS):
            config, directory = teacher_config(split), None if args.skip_teacher else workdir / f"teacher_{split}"
            rows, scores, precision, training = run_split(data, described, mirrored, frozen, split, config, directory)
            tested.append(rows)
            for name, values in precision.items():
                by_category = mean_by_category(values, data.category[rows])
                mean = round(float(np.mean(list(by_category.values()))), 4)
                pooled.setdefault(name, []).append(values)
                maps.setdefault(name, []).append(mean)
                queries = int(np.isfinite(values).sum())
                line = {"split": split, "ranking": name, "map": mean, "by_category": by_category, "queries": queries}
                report(line | ({"training": training} if name.startswith("teacher") else {}))
            if args.pictures:
                args.pictures.mkdir(parents=True, exist_ok=True)
                sheet = retrieval_sheet(data, rows, scores, precision)
                (args.pictures / f"leave_objects_out_{split}.png").write_bytes(encode_png(sheet))
    for name, values in maps.items():
        spread = {"map_mean": round(float(np.mean(values)), 4), "map_sd": round(float(np.std(values, ddof=1)), 4)}
        report({"ranking": name, "splits": SPLITS, **spread, "map_by_split": values})
    everything = {name: np.concatenate(parts) for name, parts in pooled.items()}
    splits = np.repeat(np.arange(SPLITS), [len(rows) for rows in tested])
    for line in compare(everything, data.category[np.concatenate(tested)], splits):
        report(line)
    report.write(args.output, config=teacher_config(0).to_dict())


if __name__ == "__main__":
    main()
