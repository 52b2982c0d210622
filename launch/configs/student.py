"""Student: the query encoder, distilled from a teacher on the embedded benchmark; and its control, rectangle only.

Paper: Li et al., ECCV 2020 (arXiv 2007.09867) trains a query encoder by knowledge distillation into the foreground
encoder's space; inputs, heads, losses and every number are choices of this project (docs/method.md, decisions 2 to 9).
Command: fos train --config=launch/configs/student.py:demo --teacher=runs/teacher/bundle --workdir=runs/student
With _rectangle_only behind the mode: a student that sees rectangle and category and nothing of the picture.

| mode | hardware | time | mAP by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 2:57 min | 90.1, 92.8 |
| full_small | NVIDIA H100 | 1:48 min | 96.1, 97.7 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import base

RECTANGLE_ONLY = "_rectangle_only"
MODES = (*base.MODES, *(mode + RECTANGLE_ONLY for mode in base.MODES))


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = base.get_config(
        mode.removesuffix(RECTANGLE_ONLY),
        task="student",
        encoders=["query"],
        num_steps={"demo": 700, "full_small": 3500, "full": 20_000},
        learning_rate=8e-3,
        distillation={
            "feature_weight": 0.0,
            "response_weight": 1.0,
            "attribute_weight": 1.0,
            "combined_weight": 0.0,
            "embedding_response_weight": 0.0,
            "embedding_scale": 16.0,
            "gallery_weight": 1.0,
            "gallery_scale": 16.0,
            "temperature": 1.0,
            "feature_target": "mean",
            "response_target": "teacher",
        },
    )
    config.data.update(base.LIMITS)
    config.query.readout = "patterns"
    if mode.endswith(RECTANGLE_ONLY):
        config.query.views = ()
    return config.lock()
