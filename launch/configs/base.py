"""Base of all training configs on the embedded benchmark; the files beside this one are small changes of it.

Modes: mini (seconds, shows that it runs), demo (two CPU cores, minutes), full_small (all data, small networks), full
(all data, ResNet-50, meant for a GPU).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from fos_jax.errors import InputError

MODES = ("mini", "demo", "full_small", "full")
FULL_STEPS = {"batch_size": 256, "log_every_steps": 50}
# None by default; "package" or a file, and what of the backbone is then trained: see `fos_jax.encoders.config`.
PUBLIC_WEIGHTS = {"init_weights": "", "tuned": "all"}
MINI_STEPS = {"batch_size": 16, "num_steps": 12, "log_every_steps": 4, "validate_every_steps": 6}


def get_config(
    mode: str,
    *,
    task: str,
    encoders: Sequence[str],
    num_steps: Mapping[str, int],
    learning_rate: float,
    **sections: Any,
) -> ml_collections.ConfigDict:
    """A training config of one mode, unlocked.

    Args:
      mode: one of `MODES`.
      task: what is trained: "teacher", "student", or a rival of `fos_jax.rivals.methods`.
      encoders: "foreground", "query": sections of the encoders that are trained.
      num_steps: mode -> steps, of demo, full_small and full; the best of two validations is kept, at full of ten.
      learning_rate: at its highest.
      **sections: further sections, of the task's own.

    Raises:
      InputError: an unknown mode; lists those that there are.
    """
    if mode not in MODES:
        raise InputError(f"config: unknown mode {mode!r}, expected one of {', '.join(MODES)}")
    is_full = mode == "full"
    network = {
        "backbone": "resnet50" if is_full else "small",
        "image_size": {"mini": 32, "full": 128}.get(mode, 48),  # at demo 48 px did better per CPU-second than 64 px
        "dtype": "bfloat16" if is_full else "float32",
        **PUBLIC_WEIGHTS,
    }
    own = {
        "foreground": {**network, "embedding_size": 32 if mode == "mini" else 128},
        "query": {**network, "views": ("frame",)},
    }
    training = {"batch_size": 64, "log_every_steps": 25, "ema_decay": 0.0, "keep": "best"}
    if mode == "mini":
        training |= MINI_STEPS
    else:
        steps = num_steps[mode]
        training |= {"num_steps": steps, "validate_every_steps": steps // (10 if is_full else 2)}
        training |= FULL_STEPS if is_full else {}
    return ml_collections.ConfigDict(
        {
            "task": task,
            "seed": 0,
            "data": {"dataset": "fos_synthetic", "size": "full" if mode == "full_small" else mode},
            **{name: own[name] for name in encoders},
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
                "learning_rate": learning_rate,
                "warmup_steps": 500 if is_full else 50,
                "weight_decay": 0.05,
                "clip_norm": 1.0,
            },
            "training": training,
            **sections,
        }
    )


# Training data made worse on purpose: nothing by default, see `fos_jax.data.limited`.
LIMITS = {"train_share": 1.0, "label_noise": 0.0, "merged_attributes": ()}
