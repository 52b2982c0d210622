"""The model in the package on photographs that no part of it saw: the figures of its card.

    python benchmarks/shipped_model.py [--bundle=FOLDER] [--workdir=FOLDER] [--output=FILE.json]

ETH-80 (real objects on plain blue): share of cut-outs whose whole view (direction and elevation, mapped as in
sim_to_real.py) is named right, learnt from the rendered world alone and without the test set's statistics. Directions
of animals (photographs of the test split of photographs.py, keypoints tell the truth): dogs, and all five species read
as if they were dogs, named front, right, back or left. Controls of both: chance, the most frequent one. Own foregrounds
(the same photographs): mean rank percentile among its category, by the shipped geometry, appearance and both; controls:
chance, rectangle only (shipped geometry), features without training, and a bundle trained on the animals themselves.
Intervals: 95 %, over cut-outs or queries. Figures: the model's card.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import photographs
from eth80 import ANNOTATIONS, read_eth80
from photographs import Task, read_animals, tasks, without_training
from reporting import Report, make_parser, work_folder
from sim_to_real import real_view, views_of

from fos_jax.evaluation import bootstrap
from fos_jax.experts.canonical import scores
from fos_jax.experts.features import FeatureCache
from fos_jax.experts.inputs import cutout_row
from fos_jax.experts.loading import load
from fos_jax.experts.model import Experts
from fos_jax.experts.training import Labelled, encode, own_percentile, train_experts

CATEGORIES = ("car", "dog")


def eth80_views(report: Report, model: Experts, features: FeatureCache, workdir: Path) -> None:
    """How often the whole view is named right, for each category that both have."""
    data = read_eth80(workdir / "eth80")
    for category in (c for c in CATEGORIES if c in model.table.categories):
        views = views_of(model.table, category)
        rows = np.flatnonzero(data.category == category)
        told = [real_view(views, data.annotations[i]["polar_deg"], data.annotations[i]["azimuth_deg"]) for i in rows]
        rows, truth = rows[np.array(told) >= 0], np.array([t for t in told if t >= 0])
        inputs = [cutout_row(data.pictures[i], (), features.backbone.size) for i in rows]
        image, shape, tone = (np.stack(column) for column in zip(*inputs, strict=True))
        class_id = np.full(len(rows), model.table.category_id(category))
        found = model.from_features("foreground", features(image), shape, tone, class_id)
        posterior = np.exp(found.log_posterior[:, views.patterns]) @ views.of_pattern
        right = posterior.argmax(1) == truth
        most = float(np.max(np.bincount(truth)) / len(truth))
        controls = {"chance": round(1 / len(views.names), 4), "most_frequent": round(most, 4)}
        report({"data": "ETH-80", "category": category, "views": len(views.names), **shares(right, truth), **controls})


def animal_directions(report: Report, model: Experts, features: FeatureCache) -> None:
    """How often a rendered dog's head names the direction of real animals right."""
    test = read_animals(features, 0).test
    views = views_of(model.table, "dog")
    directions = list(dict.fromkeys(view["yaw"] for view in views.names))
    told = np.array([entry.get("animal_view", "") for entry in test.examples.attributes])
    rows = np.flatnonzero(test.examples.has_mask & np.isin(told, directions))
    data = dataclasses.replace(test.of(rows), category=np.full(len(rows), model.table.category_id("dog")))
    posterior = np.exp(encode(model, data, "foreground").log_posterior[:, views.patterns]) @ views.of_pattern
    of_view = np.array([[view["yaw"] == name for name in directions] for view in views.names], float)
    right = (posterior @ of_view).argmax(1) == np.array([directions.index(name) for name in told[rows]])
    for names in (("dog",), tuple(np.unique(data.examples.category))):
        own = np.isin(data.examples.category, names)
        most = float(np.max(np.unique(told[rows][own], return_counts=True)[1]) / own.sum())
        line = {"data": "animals, test, directions", "categories": names, "directions": directions}
        report({**line, **shares(right[own], told[rows][own]), "most_frequent": round(most, 4)})


def shares(right: np.ndarray, group: np.ndarray) -> dict[str, Any]:
    draws = bootstrap.resample(np.zeros(len(right), int))
    low, high = bootstrap.interval(bootstrap.replicate(draws, right.astype(float)))
    return {
        "cutouts": len(right),
        "view_right": round(float(right.mean()), 4),
        "interval_95": [round(low, 4), round(high, 4)],
    }


def animals(report: Report, model: Experts, features: FeatureCache) -> None:
    """Where own foregrounds stand, by the shipped model and by controls."""
    parts = read_animals(features, 0)
    own_model = train_experts(parts.train, parts.validation, parts.table, features.backbone)
    _, own = tasks(parts.test)
    data = own.data.of(own.query)
    names = data.examples.category.tolist()
    category = np.array([model.table.categories.index(c) if c in model.table.categories else -1 for c in names])
    seen = Labelled(data.examples, category, np.full(len(names), -1))
    q, f = encode(model, seen, "query"), encode(model, seen, "foreground")
    theirs = [encode(own_model, data, side) for side in ("query", "foreground")]
    posterior = np.exp(q.log_posterior) @ np.exp(f.log_posterior).T
    similarity = {
        "chance": np.zeros_like(posterior),
        "shipped, rectangle only": scores(q.experts, f.experts, {"geometry": 1.0}),
        "features without training": without_training(parts, own_model, Task(data, *[np.arange(len(names))] * 2)),
        "shipped, appearance": scores(q.experts, f.experts, {"appearance": 1.0}),
        "shipped": posterior + scores(q.experts, f.experts, model.expert_weights),
        "trained on the animals": scores(theirs[0].experts, theirs[1].experts, own_model.expert_weights),
    }
    place = {name: own_percentile(values, data.examples.category) for name, values in similarity.items()}
    draws = bootstrap.resample(np.zeros(len(names), int))
    for name, values in place.items():
        gap = bootstrap.replicate(draws, values - place["shipped"])
        low, high = bootstrap.interval(gap)
        line: dict[str, Any] = {"data": "animals, test", "ranking": name, "percentile": round(float(values.mean()), 4)}
        line |= {"first_10_percent": round(float((values <= 0.1).mean()), 4), "queries": len(values)}
        report(
            line
            | {
                "worse_than_shipped_by": round(float((values - place["shipped"]).mean()), 4),
                "interval_95": [round(low, 4), round(high, 4)],
            }
        )


def main() -> None:
    parser = make_parser(__doc__, "workdir", "output")
    parser.add_argument("--bundle", help="bundle of experts; by default the one in the package")
    args, report = parser.parse_args(), Report("shipped_model")
    if report.lacks(ANNOTATIONS, photographs.REAL / "keypoints.json"):
        return
    with work_folder(args.workdir) as workdir:
        model = load(args.bundle)
        features = FeatureCache(model.backbone, workdir / "features")
        report({"bundle": model.fingerprint, "patterns": model.table.num_patterns, "weights": model.expert_weights})
        eth80_views(report, model, features, workdir)
        animal_directions(report, model, features)
        animals(report, model, features)
    report.write(args.output)


if __name__ == "__main__":
    main()
