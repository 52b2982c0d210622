"""Features of a classifier of categories: the teacher's config with other labels; a control.

Command: fos train --config=launch/configs/category_features.py:demo --workdir=runs/category_features

| mode | hardware | time | mAP of the own foreground's features, by cosine, by posterior |
|---|---|---|---|
| mini | 2 CPU cores | seconds | none: shows that it runs |
| demo | 2 CPU cores | 1:31 min | 30.3, 20.1 |
| full_small | NVIDIA H100 | 0:53 min | 21.4, 23.1 |
| full | GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import teacher

MODES = teacher.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = teacher.get_config(mode)
    config.labels = "categories"
    return config
