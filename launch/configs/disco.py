"""DiscoFOS: a discriminator of composites, distilled into two encoders and an interaction.

Paper: Zhang et al., ICCV 2023, for the method; every number is a choice of this project (decision 20), rate and scale
from trials on validation. What is not named below is as in `two_streams`, so that rivals differ in their idea alone.
Command: fos train --config=launch/configs/disco.py:demo --workdir=runs/disco

| mode | hardware | time | mAP by cosine, by posterior, by interaction, by composite |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 5:00 min | 43.1, 49.3, 42.4, 16.6 |
| full_small | NVIDIA H100 | 3:03 min | 37.9, 41.9, 38.0, 19.7 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import two_streams

MODES = two_streams.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = two_streams.rival_config(mode, task="disco")
    # Passes of a backbone per row, there and back: two in two_streams; here three composites for the teacher, then the
    # two encoders, two composites forth only (a third each) and an interaction of about half a pass. Both stages with
    # a third of its steps cost about what two_streams costs.
    twelfth = config.training.num_steps // 12
    config.training.update(num_steps=8 * twelfth, validate_every_steps=(1 if mode == "full" else 2) * twelfth)
    config.composite = {"backbone": config.query.backbone, "feature_size": 128, "dtype": config.query.dtype}
    config.interaction = {"feature_size": 128, "hidden_size": 96, "side": 4 if mode == "mini" else 6}
    config.disco = {
        "teacher_steps": 4 * twelfth,
        "teacher_negatives": 2,
        "negatives": 3 if mode == "mini" else 8,
        "distilled_negatives": 1,
        "distillation_weight": 1.0,
        "classification_weight": 1.0,
        "cosine_weight": 1.0,
        "scale": 20.0,
    }
    return config.lock()
