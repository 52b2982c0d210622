"""The rival without distillation on the embedded benchmark: two encoders, softmax over the batch's negatives.

Paper: Zhao et al., ECCV 2018 (CFO-Search) for task and training pairs; loss and numbers are choices of this project.
It stands for the strongest form of CFO-Search: a softmax over the negatives of the batch, its rate and temperature from
trials on validation (configs/trials.py, RESULTS.md).
Command: python -m fos_jax.launch.train_two_stream --config=launch/configs/two_stream_synthetic.py:demo --workdir=...
Hardware, time, result: see the table at the end of this docstring.

| mode | hardware | time | result |
|---|---|---|---|
| mini | 2 CPU cores | seconds | shows that it runs |
| demo | 2 CPU cores | see RESULTS.md | see RESULTS.md |
| full_small | one GPU, or 2 CPU cores (hours for all) | see RESULTS.md | see RESULTS.md |
| full | one GPU | not run | not run |
"""

import ml_collections

from fos_jax.errors import InputError

MODES = ("mini", "demo", "full_small", "full")


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    if mode not in MODES:
        raise InputError(f"config: unknown mode {mode!r}, expected one of {', '.join(MODES)}")
    config = ml_collections.ConfigDict(
        {
            "seed": 0,
            "data": {"dataset": "fos_synthetic", "size": mode},
            "foreground": {"backbone": "small", "embedding_size": 128, "image_size": 64, "dtype": "float32"},
            "query": {"backbone": "small", "image_size": 64, "views": ("frame",), "dtype": "float32"},
            "two_stream": {"scale": 20.0, "same_category_only": True},
            "augment": {
                "mirror_probability": 0.5,
                "box_expansion": 0.1,
                "brightness": 0.04,
                "contrast": 0.1,
                "saturation": 0.2,
                "hue": 0.1,
            },
            "optimizer": {
                "method": "muon",
                "learning_rate": 3e-3,
                "warmup_steps": 50,
                "weight_decay": 0.05,
                "clip_norm": 1.0,
            },
            "training": {
                "batch_size": 64,
                "num_steps": 500,
                "log_every_steps": 25,
                "validate_every_steps": 250,
                "ema_decay": 0.0,
                "keep": "best",
            },
        }
    )
    if mode == "mini":
        config.data.size = "tiny"
        config.foreground.update(image_size=32, embedding_size=32)
        config.query.update(image_size=32)
        config.training.update(batch_size=16, num_steps=12, log_every_steps=4, validate_every_steps=6)
    if mode == "demo":  # both encoders: 1,300 passes of a batch, where teacher and student take 1,250 together
        config.foreground.image_size = 48
        config.query.image_size = 48
        config.training.update(num_steps=650, validate_every_steps=325)
    if mode == "full_small":  # 5,000 passes of a batch, as teacher and student take together
        config.data.size = "full"
        config.foreground.image_size = 48
        config.query.image_size = 48
        config.training.update(num_steps=2500, validate_every_steps=1250)
    if mode == "full":
        config.foreground.update(backbone="resnet50", image_size=128, dtype="bfloat16")
        config.query.update(backbone="resnet50", image_size=128, dtype="bfloat16")
        config.optimizer.warmup_steps = 500
        config.training.update(batch_size=256, num_steps=20_000, log_every_steps=50, validate_every_steps=2000)
    return config.lock()
