"""Teacher: the foreground encoder, on patterns of the embedded benchmark.

Paper: Li et al., ECCV 2020 (arXiv 2007.09867) names a foreground encoder that represents interchangeable foregrounds;
backbone, loss and every number are choices of this project (docs/method.md, decisions 3, 7, 13).
Command: fos train --config=launch/configs/teacher.py:demo --workdir=runs/teacher

| mode | hardware | time | pattern accuracy, test split |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 1:13 min | 94.0 % |
| full_small | NVIDIA H100 | 1:30 min | 96.8 % |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import base

MODES = base.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = base.get_config(
        mode,
        task="teacher",
        encoders=["foreground"],
        num_steps={"demo": 550, "full_small": 1500, "full": 10_000},
        learning_rate=8e-3,
        labels="patterns",
        pretraining={"scale": 16.0, "margin": 0.0, "contrastive_weight": 0.0, "contrastive_scale": 10.0},
    )
    config.data.update(base.LIMITS)
    del config.augment.box_expansion  # cut-outs have no rectangle
    config.augment.update(brightness=0.08, contrast=0.15)
    return config.lock()
