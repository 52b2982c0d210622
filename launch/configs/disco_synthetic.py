"""DiscoFOS on the embedded benchmark: a discriminator of composites, distilled into two encoders and an interaction.

Paper: Zhang et al., ICCV 2023, for the method; every number is a choice of this project, rate and
scale from trials on validation (RESULTS.md). Everything that is not named
below is `two_stream_synthetic`, so that rivals differ in their idea alone.
Command: python -m fos_jax.launch.train_two_stream --config=launch/configs/disco_synthetic.py:demo --workdir=...
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
    config.method = "disco"
    config.optimizer.learning_rate = 8e-3
    config.composite = {"backbone": config.query.backbone, "feature_size": 128, "dtype": config.query.dtype}
    config.interaction = {"feature_size": 128, "hidden_size": 96, "side": 6}
    # Passes of a backbone a row, there and back: two in two_stream_synthetic; here three composites for the teacher,
    # then the two encoders, two composites forth only (a third each) and an interaction of about half a pass. Both
    # stages with a third of its steps cost about what two_stream_synthetic costs.
    twelfth = config.training.num_steps // 12
    config.training.update(num_steps=8 * twelfth, validate_every_steps=2 * twelfth)
    config.disco = {
        "teacher_steps": 4 * twelfth,
        "teacher_negatives": 2,
        "negatives": 8,
        "distilled_negatives": 1,
        "distillation_weight": 1.0,
        "classification_weight": 1.0,
        "cosine_weight": 1.0,
        "scale": 20.0,
    }
    if mode == "mini":
        config.interaction.side = 4
        config.disco.negatives = 3
    if mode == "full":
        config.training.validate_every_steps = twelfth
    return config.lock()
