"""Features of a classifier of categories on the embedded benchmark: the teacher's config with other labels.

Command: python -m fos_jax.launch.pretrain_foreground --config=launch/configs/category_features_synthetic.py:demo
Hardware, time, result: as the teacher's; see RESULTS.md.
"""

import ml_collections

from fos_jax.launch.configs import pretrain_synthetic

MODES = pretrain_synthetic.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = pretrain_synthetic.get_config(mode)
    config.labels = "categories"
    return config
