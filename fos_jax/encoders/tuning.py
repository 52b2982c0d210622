"""Arrays of an encoder that training leaves as they are: backbones with public weights, frozen wholly or in part."""

from collections.abc import Mapping
from typing import Any

from flax import traverse_util

from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.config import FOREGROUND_DEFAULTS

ArrayPath = tuple[str, ...]


def frozen_arrays(
    params: Mapping[str, Any], fields: Mapping[str, Any], *, inside: ArrayPath = ()
) -> frozenset[ArrayPath]:
    """Paths of the arrays that the config field `tuned` freezes.

    Args:
      params: of one encoder; what is not in a backbone is trained.
      fields: `config.foreground` or `config.query`, complete or not.
      inside: path of the encoder among the arrays of a joint training.

    Returns:
      with `tuned` "all" none; with "last" those of the backbones but for their last stage (EfficientNet, ResNet) or
      their last two blocks and final normalisation (vision transformers); with "none" those of the backbones.
    """
    fields = {**FOREGROUND_DEFAULTS, **fields}
    if fields["tuned"] == "all":
        return frozenset()
    kept = make_backbone(fields["backbone"]).last_modules if fields["tuned"] == "last" else ()
    paths = traverse_util.flatten_dict(params)
    return frozenset((*inside, *path) for path in paths if path[0].startswith("backbone") and path[1] not in kept)
