"""From stored images to what the encoders see: normalised colours, the filled rectangle, its mask, the context crop.

Pure jax.numpy, done inside the jitted step: data pipelines carry uint8 images only, and a jittered rectangle is filled
where it lies.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fos_jax.errors import InputError

# The mean colour becomes exactly 0, so that filling, matting and zero padding are one and the same thing. One mean
# and deviation for all channels, close to the ImageNet figures that public weights were trained with.
MEAN = 128.0
DEVIATION = 58.0
VIEWS = ("frame", "crop")


def check_views(views: Sequence[str]) -> tuple[str, ...]:
    """Returns the views as a tuple; `InputError` for an unknown or repeated one."""
    views = tuple(views)
    for view in views:
        if view not in VIEWS:
            raise InputError(f"query.views: unknown view {view!r}, expected some of {', '.join(VIEWS)}")
    if len(set(views)) != len(views):
        raise InputError(f"query.views: {', '.join(views)} repeats a view, expected each at most once")
    return views


def normalise(image: jax.Array) -> jax.Array:
    """Colours [..., 3] (uint8, or float in 0..255) to float32 with the mean colour at 0. Source: decision 1."""
    return (image.astype(jnp.float32) - MEAN) / DEVIATION


def foreground_input(image: jax.Array) -> jax.Array:
    """Model input of cut-outs.

    Args:
      image: uint8 (or float in 0..255) [B, S, S, 4], RGBA matted on the mean colour.

    Returns:
      float32 [B, S, S, 4]: normalised colours, 0 wherever alpha is 0, and alpha in 0..1.

    Source: decision 1.
    """
    alpha = image[..., 3:].astype(jnp.float32) / 255.0
    return jnp.concatenate([normalise(image[..., :3]) * (alpha > 0), alpha], axis=-1)


def rectangle_mask(box_yxyx_norm: jax.Array, size: int) -> jax.Array:
    """Pixels that a rectangle touches; at least one.

    Args:
      box_yxyx_norm: float32 [B, 4], fractions of the image.
      size: side of the image in pixels.

    Returns:
      float32 [B, size, size], 1 inside and 0 outside.

    Source: decision 2: a pixel that is touched is filled, so that nothing inside the rectangle is seen.
    """
    slack_px = 1e-3  # a box made of whole pixels must not reach the next one by rounding
    box_px = jnp.clip(box_yxyx_norm.astype(jnp.float32), 0.0, 1.0) * size
    low = jnp.minimum(jnp.floor(box_px[:, :2] + slack_px), size - 1)  # [B, 2]
    high = jnp.maximum(jnp.ceil(box_px[:, 2:] - slack_px), low + 1)  # [B, 2]
    position = jnp.arange(size)
    inside = (position >= low[..., None]) & (position < high[..., None])  # [B, 2, size]
    return (inside[:, 0, :, None] & inside[:, 1, None, :]).astype(jnp.float32)


def query_input(
    image: jax.Array,
    box_yxyx_norm: jax.Array,
    *,
    views: Sequence[str] = ("frame",),
    crop_size: int | None = None,
    crop_context: float = 2.0,
) -> dict[str, jax.Array]:
    """Model input of queries, by view.

    Args:
      image: uint8 (or float in 0..255) [B, S, S, 3].
      box_yxyx_norm: float32 [B, 4], the rectangles.
      views: "frame" is the whole image; "crop" is a square window around the rectangle, filled with the mean colour
        where it leaves the frame. Empty: nothing of the image is used.
      crop_size: side of the crop in pixels; S where None.
      crop_context: side of the window in lengths of the rectangle's longer side.

    Returns:
      view -> float32 [B, size, size, 4]: normalised colours with the rectangle filled by 0, and the rectangle's mask.

    Raises:
      InputError: an unknown view.

    Source: decision 2.
    """
    views = check_views(views)
    if not views:
        return {}
    size = image.shape[1]
    mask = rectangle_mask(box_yxyx_norm, size)[..., None]  # [B, S, S, 1]
    frame = jnp.concatenate([normalise(image) * (1.0 - mask), mask], axis=-1)  # [B, S, S, 4]
    made = {"frame": frame}
    if "crop" in views:
        made["crop"] = crop_around(frame, box_yxyx_norm, size=crop_size or size, context=crop_context)
    return {view: made[view] for view in views}


def crop_around(frame: jax.Array, box_yxyx_norm: jax.Array, *, size: int, context: float) -> jax.Array:
    """A square window around each rectangle, antialiased and bilinear, 0 where it leaves the frame.

    Args:
      frame: float [B, h, h, C], images or feature maps.
      box_yxyx_norm: float32 [B, 4].
      size: side of the result in pixels.
      context: side of the window in lengths of the rectangle's longer side.

    Returns:
      float [B, size, size, C].

    Source: decision 2.
    """
    full = frame.shape[1]
    box_px = box_yxyx_norm.astype(jnp.float32) * full
    centre = (box_px[:, :2] + box_px[:, 2:]) / 2  # [B, 2]
    longer = jnp.max(box_px[:, 2:] - box_px[:, :2], axis=-1)  # [B]
    window = context * jnp.maximum(longer, 1.0)
    scale = jnp.broadcast_to((size / window)[:, None], centre.shape)
    translation = size / 2 - centre * scale

    def one(image, scale, translation):
        shape = (size, size, image.shape[-1])
        return jax.image.scale_and_translate(image, shape, (0, 1), scale, translation, method="linear")

    return jax.vmap(one)(frame, scale, translation)
