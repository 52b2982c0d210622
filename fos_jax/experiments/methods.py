"""Methods of the comparison and ablations, each an entry below; `make results` runs them.

A rival is added by one entry of `METHODS`: its config file in launch/configs, and where it reads another
training's bundle, the flag for it. An ablation is one entry of `ABLATIONS`: the config fields it changes in the
teacher's or the student's training; everything else stays the student's. Results go to
results/<size>.jsonl, a line per method and seed, and are rendered into docs/results.md.

Command: fos results --size=full --seeds=0,1,2
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fos_jax.evaluation.methods import CONTROL, ORACLE, OURS, RIVAL
from fos_jax.evaluation.scores import COSINE, FLAT, PAIR_RANKINGS
from fos_jax.experiments.cells import RANKINGS, Method, Training

SEEDS = (0, 1, 2)

TEACHER = Training("teacher", "teacher")
STUDENT = Training("student", "student", reads={"--teacher": TEACHER})
NO_ATTRIBUTES = {"distillation.attribute_weight": 0.0, "distillation.combined_weight": 0.0}

METHODS = (
    Method("student", "student", OURS, STUDENT, note="distilled from the teacher"),
    Method(
        "student_no_attributes",
        "student without attribute labels",
        OURS,
        dataclasses.replace(STUDENT, name="student_no_attributes", changes=NO_ATTRIBUTES),
        rankings=(COSINE, FLAT),
        note="no attribute head: patterns are classes without a structure",
    ),
    Method(
        "two_streams",
        "two streams",
        RIVAL,
        Training("two_streams", "two_streams"),
        rankings=(COSINE, FLAT),
        note="CFO-Search in a modern form: both encoders trained jointly, softmax over the batch's negatives",
    ),
    *(
        Method(
            name,
            title,
            RIVAL,
            Training(name, name),
            rankings=(COSINE, FLAT),
            note=note,
        )
        for name, title, note in (
            ("cfo", "CFO-Search", "bilinear fusion with the category, triplets, triplet extension"),
            ("ufo", "UFO-Search", "no category in the encoders, a discriminator that finds more positives, triplets"),
            ("gala", "GALA-like", "the true foreground, transformed, is a negative"),
            (
                "ffr",
                "FFR-like",
                "a student infers features of the own foreground, whose teacher knows no patterns",
            ),
        )
    ),
    Method(
        "disco",
        "DiscoFOS",
        RIVAL,
        Training("disco", "disco"),
        rankings=(COSINE, FLAT, *PAIR_RANKINGS),
        note="a discriminator of composites, which ranks as *composite*, distilled into two encoders and their "
        "*interaction*, its own ranking",
    ),
    Method(
        "hard_labels",
        "student on hard labels",
        CONTROL,
        dataclasses.replace(STUDENT, name="hard_labels", changes={"distillation.response_target": "labels"}),
        note="learns the labels of the patterns that fit instead of the teacher's posterior; in the teacher's space",
    ),
    Method(
        "no_distillation",
        "student without distillation",
        CONTROL,
        dataclasses.replace(
            STUDENT,
            name="no_distillation",
            changes={
                "distillation.response_target": "labels",
                "distillation.gallery_weight": 0.0,
                "query.readout": "head",
            },
        ),
        rankings=tuple(r for r in RANKINGS if r != COSINE),
        note="classifies patterns by their labels; its embedding learns nothing, so it has no cosine",
    ),
    Method(
        "rectangle_only",
        "rectangle only",
        CONTROL,
        dataclasses.replace(STUDENT, name="rectangle_only", suffix="_rectangle_only"),
        note="a student that sees rectangle and category, no picture",
    ),
    Method(
        "category_features",
        "classification features of the own foreground",
        CONTROL,
        Training("category_features", "category_features"),
        rankings=(COSINE, FLAT),
        note="an encoder that learnt categories, no patterns; it is shown the removed object, which no query shows",
    ),
    Method("teacher", "teacher", ORACLE, TEACHER, rankings=(), note="chance, and oracles that are told the truth"),
)


Changes = Mapping[str, Any]


def _ablation(group: str, title: str, student: Changes | None = None, *, teacher: Changes | None = None) -> Method:
    """One change of the student (fields of its config), of its teacher, or of both; the changed ones are trained anew.

    `group` is the heading it stands under; names follow from the key in `ABLATIONS`.
    """
    changed = dataclasses.replace(TEACHER, changes=teacher or {})
    return Method(
        "", title, OURS, dataclasses.replace(STUDENT, changes=student or {}, reads={"--teacher": changed}), group=group
    )


def _on_both(group: str, title: str, changes: Changes) -> Method:
    """A change of the data that teacher and student are both trained on."""
    return _ablation(group, title, changes, teacher=changes)


ABLATIONS = {
    "repeat": _ablation("noise", "nothing: the same cell once more"),
    "feature": _ablation(
        "loss terms",
        "feature loss instead of the gallery's",
        {"distillation.feature_weight": 1.0, "distillation.gallery_weight": 0.0},
    ),
    "embedding_response": _ablation(
        "loss terms",
        "response through cosines to pattern means instead of the gallery loss",
        {"distillation.embedding_response_weight": 1.0, "distillation.gallery_weight": 0.0},
    ),
    "no_response": _ablation("loss terms", "no response loss", {"distillation.response_weight": 0.0}),
    "combined": _ablation("loss terms", "loss on both heads together", {"distillation.combined_weight": 1.0}),
    "head": _ablation("embedding", "from a head of its own", {"query.readout": "head"}),
    "head_feature": _ablation(
        "embedding",
        "from a head of its own, with the feature loss alone",
        {"query.readout": "head", "distillation.feature_weight": 1.0, "distillation.gallery_weight": 0.0},
    ),
    "mean_response": _ablation(
        "response", "half the teacher's posterior, half the labels", {"distillation.response_target": "mean"}
    ),
    "temperature_half": _ablation("temperature", "0.5", {"distillation.temperature": 0.5}),
    "temperature_2": _ablation("temperature", "2", {"distillation.temperature": 2.0}),
    "temperature_4": _ablation("temperature", "4", {"distillation.temperature": 4.0}),
    "crop": _ablation("views", "crop", {"query.views": ("crop",)}),
    "frame_crop": _ablation("views", "frame and crop", {"query.views": ("frame", "crop")}),
    "no_jitter": _ablation("rectangle jitter", "none", {"augment.box_expansion": 0.0}),
    "wide_jitter": _ablation("rectangle jitter", "0.3", {"augment.box_expansion": 0.3}),
    "no_mirror": _ablation("augmentation", "never mirrored", {"augment.mirror_probability": 0.0}),
    "strong_colours": _ablation(
        "augmentation",
        "the teacher's cut-outs in any hue, with strong changes of brightness, contrast and saturation",
        teacher={"augment.brightness": 0.25, "augment.contrast": 0.4, "augment.saturation": 0.5, "augment.hue": 3.0},
    ),
    "adamw": _on_both("optimiser", "AdamW", {"optimizer.method": "adamw", "optimizer.learning_rate": 2e-3}),
    "teacher_instances": _ablation(
        "teacher",
        "on instances, each cut-out a class of its own",
        teacher={"labels": "instances", "training.keep": "last"},
    ),
    "teacher_categories": _ablation("teacher", "on categories", teacher={"labels": "categories"}),
    "teacher_none": _ablation(
        "teacher",
        "none: random weights",
        teacher={
            "labels": "instances",
            "training.keep": "last",
            "training.num_steps": 1,
            "training.validate_every_steps": 1,
            "optimizer.learning_rate": 0.0,
        },
    ),
    "margin": _ablation("teacher", "with a margin of 0.1", teacher={"pretraining.margin": 0.1}),
    "contrastive": _ablation(
        "teacher", "with supervised contrastive loss", teacher={"pretraining.contrastive_weight": 1.0}
    ),
    "noise_5": _on_both("wrong pattern labels", "5 % of the foregrounds", {"data.label_noise": 0.05}),
    "noise_10": _on_both("wrong pattern labels", "10 %", {"data.label_noise": 0.1}),
    "noise_20": _on_both("wrong pattern labels", "20 %", {"data.label_noise": 0.2}),
    "merged_elevation": _on_both(
        "number of patterns", "elevations not told apart", {"data.merged_attributes": ("elevation",)}
    ),
    "merged_yaw": _on_both("number of patterns", "yaws not told apart", {"data.merged_attributes": ("yaw",)}),
    "train_12": _on_both("training set", "an eighth", {"data.train_share": 0.125}),
    "train_25": _on_both("training set", "a quarter", {"data.train_share": 0.25}),
    "train_50": _on_both("training set", "half", {"data.train_share": 0.5}),
    "embedding_32": _ablation("embedding size", "32", teacher={"foreground.embedding_size": 32}),
    "embedding_512": _ablation("embedding size", "512", teacher={"foreground.embedding_size": 512}),
}


def ablated(name: str) -> Method:
    """An ablation as a method; a teacher that it does not change is the student's own."""
    method = ABLATIONS[name]
    teacher = method.training.reads["--teacher"]
    if teacher.changes:
        teacher = dataclasses.replace(teacher, name=f"teacher_{name}")
    student = dataclasses.replace(method.training, name=f"student_{name}", reads={"--teacher": teacher})
    return dataclasses.replace(method, name=f"ablation_{name}", training=student)


def methods(*, is_ablated: bool) -> list[Method]:
    """The main table's methods, or the ablations."""
    return [ablated(name) for name in ABLATIONS] if is_ablated else list(METHODS)
