"""GALA-like: the true foreground, transformed, is a negative.

Paper: Zhu et al., ECCV 2022, for the negatives; every number is a choice of this project (decision 20), rate and scale
from trials on validation. What is not named below is as in `two_streams`, so that rivals differ in their idea alone.
Command: fos train --config=launch/configs/gala.py:demo --workdir=runs/gala

| mode | hardware | time | mAP by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 4:23 min | 51.3, 58.5 |
| full_small | NVIDIA H100 | 1:37 min | 57.9, 71.1 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import two_streams

MODES = two_streams.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = two_streams.rival_config(
        mode,
        task="gala",
        gala={
            "scale": 10.0,
            "same_category_only": True,
            "largest_turn_degrees": 45.0,
            "smallest_scale": 0.6,
            "largest_shade": 0.8,
            "smallest_difference": 0.02,
        },
    )
    # Four pictures a row instead of two: half the steps cost about what two_streams costs.
    quarter = config.training.num_steps // 4
    config.training.update(num_steps=2 * quarter, validate_every_steps=2000 if mode == "full" else quarter)
    return config.lock()
