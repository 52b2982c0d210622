"""CFO-Search on the embedded benchmark: bilinear fusion, triplets, triplet extension.

Paper: Zhao et al., ECCV 2018, for the method; every number is a choice of this project, rate and
margin from trials on validation (RESULTS.md). Everything that is not named
below is `two_stream_synthetic`, so that rivals differ in their idea alone.
Command: python -m fos_jax.launch.train_two_stream --config=launch/configs/cfo_synthetic.py:demo --workdir=...
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
    config.method = "cfo"
    config.optimizer.learning_rate = 8e-3
    for encoder in (config.foreground, config.query):
        encoder.fusion = "bilinear"
        encoder.fusion_size = 2048
    config.triplets = {"margin": 0.3, "same_category_only": True}
    # The two stages together take the steps of two_stream_synthetic.
    config.extension = {
        "first_steps": config.training.num_steps // 2,
        "num_contexts": 50,
        "smallest_overlap": 0.8,
        "largest_number": 4,
    }
    config.training.validate_every_steps = config.training.num_steps // 2
    if mode == "mini":
        config.foreground.fusion_size = config.query.fusion_size = 256
    if mode == "full":
        config.foreground.fusion_size = config.query.fusion_size = 8192
        config.training.validate_every_steps = 2000
    return config.lock()
