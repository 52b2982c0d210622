"""GALA-like training on the embedded benchmark: the true foreground, transformed, is a negative.

Paper: Zhu et al., ECCV 2022, for the negatives; every number is a choice of this project, rate and
scale from trials on validation (RESULTS.md). Everything that is not named
below is `two_stream_synthetic`, so that rivals differ in their idea alone.
Command: python -m fos_jax.launch.train_two_stream --config=launch/configs/gala_synthetic.py:demo --workdir=...
Hardware, time, result: see the table at the end of this docstring.

| mode | hardware | time | result |
|---|---|---|---|
| mini | 2 CPU cores | seconds | shows that it runs |
| demo | 2 CPU cores | see RESULTS.md | see RESULTS.md |
| full_small | one GPU, or 2 CPU cores (hours for all) | see RESULTS.md | see RESULTS.md |
| full | one GPU | not run | not run |
"""

import ml_collections

from fos_jax.launch.configs import two_stream_synthetic

MODES = two_stream_synthetic.MODES


def get_config(mode: str = "demo") -> ml_collections.ConfigDict:
    """Config of one mode; `InputError` lists the modes."""
    config = ml_collections.ConfigDict(two_stream_synthetic.get_config(mode).to_dict())
    del config.two_stream
    config.method = "gala"
    config.optimizer.learning_rate = 8e-3
    config.gala = {
        "scale": 10.0,
        "same_category_only": True,
        "largest_turn_degrees": 45.0,
        "smallest_scale": 0.6,
        "largest_shade": 0.8,
        "smallest_difference": 0.02,
    }
    # Four pictures a row instead of two: half the steps cost about what two_stream_synthetic costs.
    config.training.validate_every_steps = config.training.num_steps // 4
    config.training.num_steps = 2 * config.training.validate_every_steps
    if mode == "full":
        config.training.validate_every_steps = 2000
    return config.lock()
