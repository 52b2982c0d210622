"""Two streams on FOSD, from its lists of foregrounds that fit and do not: no patterns, no pretrained weights.

Command: fos train --config=launch/configs/two_streams_fosd.py:sfosd --workdir=runs/fosd
Hardware, time, result: not run; the numbers are untuned.

| mode | data | result |
|---|---|---|
| mini | sfosd, tiny images | shows that it runs |
| sfosd, rfosd | the whole train part | not run |
"""

import ml_collections

from fos_jax.errors import InputError
from fos_jax.launch.configs import base

MODES = ("mini", "sfosd", "rfosd")


def get_config(mode: str = "sfosd") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    if mode not in MODES:
        raise InputError(f"config: unknown mode {mode!r}, expected one of {', '.join(MODES)}")
    network = {"backbone": "resnet50", "image_size": 224, "dtype": "bfloat16", **base.PUBLIC_WEIGHTS}
    config = ml_collections.ConfigDict(
        {
            "task": "two_streams",
            "seed": 0,
            "data": {"dataset": "fosd", "size": "sfosd" if mode == "mini" else mode},
            "foreground": {**network, "embedding_size": 256},
            "query": {**network, "views": ("frame",)},
            "two_stream": {"scale": 10.0, "same_category_only": True},
            "augment": {
                "box_expansion": 0.1,
                "brightness": 0.04,
                "contrast": 0.1,
                "saturation": 0.2,
                "hue": 0.1,
            },
            "optimizer": {"learning_rate": 1e-3, "warmup_steps": 500, "weight_decay": 0.05, "clip_norm": 1.0},
            "training": {
                "batch_size": 128,
                "num_steps": 20_000,
                "log_every_steps": 50,
                "validate_every_steps": 2000,
                "ema_decay": 0.0,
                "keep": "best",
            },
        }
    )
    if mode == "mini":
        config.foreground.update(backbone="small", image_size=32, embedding_size=32, dtype="float32")
        config.query.update(backbone="small", image_size=32, dtype="float32")
        config.optimizer.update(warmup_steps=2)
        config.training.update(batch_size=16, num_steps=12, log_every_steps=4, validate_every_steps=6)
    return config.lock()
