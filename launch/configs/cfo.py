"""CFO-Search: bilinear fusion, triplets, triplet extension.

Paper: Zhao et al., ECCV 2018, for the method; every number is a choice of this project (decision 20), rate and margin
from trials on validation. What is not named below is as in `two_streams`, so that rivals differ in their idea alone.
Command: fos train --config=launch/configs/cfo.py:demo --workdir=runs/cfo

| mode | hardware | time | mAP by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 5:30 min | 41.5, 45.9 |
| full_small | NVIDIA H100 | 3:19 min | 37.8, 43.5 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import two_streams

MODES = two_streams.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = two_streams.rival_config(mode, task="cfo", triplets={"margin": 0.3, "same_category_only": True})
    for encoder in (config.foreground, config.query):
        encoder.fusion = "bilinear"
        encoder.fusion_size = {"mini": 256, "full": 8192}.get(mode, 2048)
    config.extension = {
        "first_steps": config.training.num_steps // 2,  # the two stages together take the steps of two_streams
        "num_contexts": 50,
        "smallest_overlap": 0.8,
        "largest_number": 4,
    }
    if mode != "full":
        config.training.validate_every_steps = config.training.num_steps // 2
    return config.lock()
