"""Teacher on the embedded benchmark.

Paper: Li et al., ECCV 2020 (arXiv 2007.09867) names a foreground encoder that represents interchangeable foregrounds;
backbone, loss and every number here are choices of this project.
Command: python -m fos_jax.launch.pretrain_foreground --config=launch/configs/pretrain_synthetic.py:demo --workdir=...
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
            "labels": "patterns",
            "data": {
                "dataset": "fos_synthetic",
                "size": mode,
                "train_share": 1.0,
                "label_noise": 0.0,
                "merged_attributes": (),
            },
            "foreground": {"backbone": "small", "embedding_size": 128, "image_size": 64, "dtype": "float32"},
            "pretraining": {"scale": 16.0, "margin": 0.0, "contrastive_weight": 0.0, "contrastive_scale": 10.0},
            "augment": {
                "mirror_probability": 0.5,
                "brightness": 0.08,
                "contrast": 0.15,
                "saturation": 0.2,
                "hue": 0.1,
            },
            "optimizer": {
                "method": "muon",
                "learning_rate": 8e-3,
                "warmup_steps": 50,
                "weight_decay": 0.05,
                "clip_norm": 1.0,
            },
            "training": {
                "batch_size": 64,
                "num_steps": 1500,
                "log_every_steps": 25,
                "validate_every_steps": 500,
                "ema_decay": 0.0,
                "keep": "best",
            },
        }
    )
    if mode == "mini":
        config.data.size = "tiny"
        config.foreground.update(image_size=32, embedding_size=32)
        config.training.update(batch_size=16, num_steps=12, log_every_steps=4, validate_every_steps=6)
    if mode == "demo":  # 48 px did better per CPU-second than 64 px, one trial each at another rate and length
        config.foreground.image_size = 48
        config.training.update(num_steps=550, validate_every_steps=275)
    if mode == "full_small":  # the demo's numbers, more steps
        config.data.size = "full"
        config.foreground.image_size = 48
        config.training.update(num_steps=1500, validate_every_steps=750)
    if mode == "full":
        config.foreground.update(backbone="resnet50", image_size=128, dtype="bfloat16")
        config.optimizer.warmup_steps = 500
        config.training.update(batch_size=256, num_steps=10_000, log_every_steps=50, validate_every_steps=1000)
    return config.lock()
