"""Names of public weights and where they go: one table per family of backbones.

A row is (pattern of the public name, our name, what is done to the array). Our name None: the array is known and not
wanted (a classifier's head, a counter). Names that no row matches are errors.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One row of a table.

    Attributes:
      public: regular expression that matches the whole public name.
      ours: name of the flax array, with groups of `public` as \\1, \\2; None where the array is not wanted. Names that
        end in #0, #1, #2 are parts of one array, joined along its last axis.
      transform: applied to the array.
    """

    public: str
    ours: str | None
    transform: Callable[[np.ndarray], np.ndarray] = lambda array: array


def convolution(array: np.ndarray) -> np.ndarray:
    """[out, in, h, w] to [h, w, in, out]."""
    return array.transpose(2, 3, 1, 0)


def first_convolution(array: np.ndarray) -> np.ndarray:
    """As `convolution`, with a fourth input channel (alpha or rectangle mask) that starts at zero."""
    kernel = convolution(array)  # [h, w, 3, out]
    return np.pad(kernel, [(0, 0), (0, 0), (0, 4 - kernel.shape[2]), (0, 0)]) if kernel.shape[2] < 4 else kernel


def linear(array: np.ndarray) -> np.ndarray:
    """[out, in] to [in, out]."""
    return array.T


def _batch_norm(public: str, ours: str) -> tuple[Row, ...]:
    return (
        Row(rf"{public}\.weight", f"params/{ours}/scale"),
        Row(rf"{public}\.bias", f"params/{ours}/bias"),
        Row(rf"{public}\.running_mean", f"batch_stats/{ours}/mean"),
        Row(rf"{public}\.running_var", f"batch_stats/{ours}/var"),
        Row(rf"{public}\.num_batches_tracked", None),
    )


def _layer_norm(public: str, ours: str) -> tuple[Row, ...]:
    return (Row(rf"{public}\.weight", f"params/{ours}/scale"), Row(rf"{public}\.bias", f"params/{ours}/bias"))


def _dense(public: str, ours: str, part: str = "") -> tuple[Row, ...]:
    return (
        Row(rf"{public}\.weight", f"params/{ours}/kernel{part}", linear),
        Row(rf"{public}\.bias", f"params/{ours}/bias{part}"),
    )


# torchvision and timm, resnet18 and resnet50.
_LAYER, _OUR_LAYER = r"layer(\d)\.(\d+)", r"layer\1_\2"
RESNET = (
    Row(r"conv1\.weight", "params/conv1/kernel", first_convolution),
    *_batch_norm("bn1", "bn1"),
    Row(rf"{_LAYER}\.conv(\d)\.weight", rf"params/{_OUR_LAYER}/conv\3/kernel", convolution),
    *_batch_norm(rf"{_LAYER}\.bn(\d)", rf"{_OUR_LAYER}/bn\3"),
    Row(rf"{_LAYER}\.downsample\.0\.weight", rf"params/{_OUR_LAYER}/downsample_conv/kernel", convolution),
    *_batch_norm(rf"{_LAYER}\.downsample\.1", f"{_OUR_LAYER}/downsample_bn"),
    Row(r"fc\.(weight|bias)", None),
)

# timm's vision transformers and DINOv2's (without register tokens).
_BLOCK, _OUR_BLOCK = r"blocks\.(\d+)", r"blocks_\1"
VIT = (
    Row("cls_token", "params/cls_token"),
    Row("pos_embed", "params/pos_embed"),
    Row("mask_token", None),
    Row(r"patch_embed\.proj\.weight", "params/patch_embed/kernel", first_convolution),
    Row(r"patch_embed\.proj\.bias", "params/patch_embed/bias"),
    *_layer_norm(rf"{_BLOCK}\.norm1", f"{_OUR_BLOCK}/norm1"),
    *_dense(rf"{_BLOCK}\.attn\.qkv", f"{_OUR_BLOCK}/attn/qkv"),
    *_dense(rf"{_BLOCK}\.attn\.proj", f"{_OUR_BLOCK}/attn/proj"),
    Row(rf"{_BLOCK}\.ls([12])\.gamma", rf"params/{_OUR_BLOCK}/ls\2"),
    *_layer_norm(rf"{_BLOCK}\.norm2", f"{_OUR_BLOCK}/norm2"),
    *_dense(rf"{_BLOCK}\.mlp\.fc1", f"{_OUR_BLOCK}/fc1"),
    *_dense(rf"{_BLOCK}\.mlp\.fc2", f"{_OUR_BLOCK}/fc2"),
    *_layer_norm("norm", "norm"),
    Row(r"head\.(weight|bias)", None),
)

# The vision tower of transformers' CLIPModel or CLIPVisionModel.
_TOWER = r"(?:vision_model\.)?"
_CLIP_BLOCK, _ATTENTION = rf"{_TOWER}encoder\.layers\.(\d+)", r"self_attn"
CLIP = (
    Row(rf"{_TOWER}embeddings\.class_embedding", "params/cls_token", lambda array: array.reshape(1, 1, -1)),
    Row(rf"{_TOWER}embeddings\.position_embedding\.weight", "params/pos_embed", lambda array: array[None]),
    Row(rf"{_TOWER}embeddings\.position_ids", None),
    Row(rf"{_TOWER}embeddings\.patch_embedding\.weight", "params/patch_embed/kernel", first_convolution),
    *_layer_norm(rf"{_TOWER}pre_layrnorm", "pre_norm"),  # spelt so in the public weights
    *_layer_norm(rf"{_CLIP_BLOCK}\.layer_norm1", f"{_OUR_BLOCK}/norm1"),
    *_dense(rf"{_CLIP_BLOCK}\.{_ATTENTION}\.q_proj", f"{_OUR_BLOCK}/attn/qkv", "#0"),
    *_dense(rf"{_CLIP_BLOCK}\.{_ATTENTION}\.k_proj", f"{_OUR_BLOCK}/attn/qkv", "#1"),
    *_dense(rf"{_CLIP_BLOCK}\.{_ATTENTION}\.v_proj", f"{_OUR_BLOCK}/attn/qkv", "#2"),
    *_dense(rf"{_CLIP_BLOCK}\.{_ATTENTION}\.out_proj", f"{_OUR_BLOCK}/attn/proj"),
    *_layer_norm(rf"{_CLIP_BLOCK}\.layer_norm2", f"{_OUR_BLOCK}/norm2"),
    *_dense(rf"{_CLIP_BLOCK}\.mlp\.fc1", f"{_OUR_BLOCK}/fc1"),
    *_dense(rf"{_CLIP_BLOCK}\.mlp\.fc2", f"{_OUR_BLOCK}/fc2"),
    *_layer_norm(rf"{_TOWER}post_layernorm", "norm"),
    Row(r"(text_model\..*|text_projection\.weight|visual_projection\.weight|logit_scale)", None),
)

# EfficientNet-Lite in the layout of efficientnet-lite-pytorch.
_LITE, _OUR_LITE = r"_blocks\.(\d+)", r"block\1"
EFFICIENTNET = (
    Row(r"_conv_stem\.weight", "params/stem_conv/kernel", first_convolution),
    *_batch_norm("_bn0", "stem_bn"),
    Row(rf"{_LITE}\._(expand|depthwise|project)_conv\.weight", rf"params/{_OUR_LITE}/\2_conv/kernel", convolution),
    *_batch_norm(rf"{_LITE}\._bn(\d)", rf"{_OUR_LITE}/bn\2"),
    Row(r"_conv_head\.weight", "params/head_conv/kernel", convolution),
    *_batch_norm("_bn1", "head_bn"),
    Row(r"_fc\.(weight|bias)", None),
)


def table_of(backbone: str) -> tuple[Row, ...] | None:
    """The table of a backbone's family; None where there are no public weights for it."""
    families = {"resnet": RESNET, "vit_": VIT, "dinov2_": VIT, "clip_": CLIP, "efficientnet_": EFFICIENTNET}
    return next((table for prefix, table in families.items() if backbone.startswith(prefix)), None)
