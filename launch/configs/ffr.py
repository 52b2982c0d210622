"""FFR-like: a student that infers the features of the object that was there.

Paper: Wu et al., WACV 2021, for the idea; every number is a choice of this project (decision 20), rate and the
teacher's labels from trials on validation. What is not named below is as in `two_streams`, so that rivals differ in
their idea alone.
Command: fos train --config=launch/configs/ffr.py:demo --workdir=runs/ffr

| mode | hardware | time | mAP by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 4:31 min | 19.2, 18.3 |
| full_small | NVIDIA H100 | 2:18 min | 18.1, 23.4 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import two_streams

MODES = two_streams.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = two_streams.rival_config(mode, task="ffr")
    # One encoder per step where two streams have two: as many steps for each, one after the other, cost the same.
    steps = config.training.num_steps
    config.ffr = {"labels": "categories", "teacher_steps": steps, "teacher_scale": 16.0}
    config.training.num_steps = 2 * steps
    return config.lock()
