"""FFR-like on the embedded benchmark: a student that infers the features of the object that was there.

Paper: Wu et al., WACV 2021, for the idea; every number is a choice of this project, rate and the teacher's
labels from trials on validation (RESULTS.md). Everything that is not named below is `two_stream_synthetic`, so that
rivals differ in their idea alone.
Command: python -m fos_jax.launch.train_two_stream --config=launch/configs/ffr_synthetic.py:demo --workdir=...
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
    config.method = "ffr"
    config.optimizer.learning_rate = 8e-3
    # One encoder a step where two streams have two: as many steps for each, one after the other, cost the same.
    config.ffr = {"labels": "categories", "teacher_steps": config.training.num_steps, "teacher_scale": 16.0}
    config.training.num_steps = 2 * config.training.num_steps
    return config.lock()
