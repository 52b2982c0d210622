"""Two streams: the rival without distillation, two encoders trained jointly, a softmax over the batch's negatives.

Paper: Zhao et al., ECCV 2018 (CFO-Search) for task and training pairs. It stands for the strongest form of CFO-Search;
loss and numbers are choices of this project (decision 20), rate and temperature from trials on validation.
Command: fos train --config=launch/configs/two_streams.py:demo --workdir=runs/two_streams

| mode | hardware | time | mAP by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 4:01 min | 61.8, 73.6 |
| full_small | NVIDIA H100 | 1:39 min | 69.7, 82.1 |
| full | GPU | not run | not run |
"""

from typing import Any

import ml_collections

from fos_jax.launch.configs import base

MODES = base.MODES
# Both encoders: 2 x 650 passes of a batch at demo, where teacher and student take 550 + 700; the same at the others.
NUM_STEPS = {"demo": 650, "full_small": 2500, "full": 20_000}


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    softmax = {"scale": 20.0, "same_category_only": True}
    return rival_config(mode, task="two_streams", learning_rate=3e-3, two_stream=softmax).lock()


def rival_config(mode: str, *, learning_rate: float = 8e-3, **more: Any) -> ml_collections.ConfigDict:
    """What all rivals share, unlocked; `task` and the rival's own sections are given."""
    return base.get_config(
        mode, encoders=["foreground", "query"], num_steps=NUM_STEPS, learning_rate=learning_rate, **more
    )
