"""Augmentation inside the jitted step: colours, rectangles and mirrors, with the labels that change with them.

One random key per row. Images go in as uint8 and come out as float32 in 0..255, as the encoders take them too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_MEAN = 128.0  # of `images.MEAN_COLOUR`: mats and fillings keep it under any colour jitter
_GREY = np.full((3, 3), 1 / 3)


class ColourJitter(NamedTuple):
    """Ranges of a colour change, each drawn uniformly, the same for the whole image so that the light cue survives.

    brightness: largest shift, in 0..255 units times 1/255. contrast, saturation: largest relative change. hue: largest
    rotation about the grey axis, radians.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


class Augmentation(NamedTuple):
    """What is changed about a training example, drawn anew for each row and step.

    mirror_probability: of showing it mirrored, a query together with its foreground, with the mirrored labels.
    box_expansion: largest growth of the rectangle at each side, in lengths of it.
    jitter: ranges of colour jitter, drawn apart for query and foreground.
    """

    mirror_probability: float = 0.0
    box_expansion: float = 0.0
    jitter: ColourJitter = ColourJitter()


NOTHING = Augmentation()


def from_config(config: Any) -> Augmentation:
    """From a config's `augment`; a training that shows no rectangle, or mirrors nothing, need not name those fields."""
    jitter = ColourJitter(*(float(config[name]) for name in ColourJitter._fields))
    return Augmentation(float(config.get("mirror_probability", 0.0)), float(config.get("box_expansion", 0.0)), jitter)


def jitter_colours(image: jax.Array, keys: jax.Array, jitter: ColourJitter) -> jax.Array:
    """Changes the colours of each image as a whole.

    Colours move about the mean colour, weighted by alpha where there is one, so what is matted on the mean stays
    matted on it: transparent pixels do not change.

    Args:
      image: uint8 or float [B, S, S, 3 or 4].
      keys: random keys [B].
      jitter: ranges.

    Returns:
      float32 of the same shape, colours clipped to 0..255, alpha as it was.

    Source: decision 12.
    """
    image = image.astype(jnp.float32)
    if jitter == ColourJitter():
        return image
    ranges = jnp.array([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0))(keys) * ranges  # [B, 4]
    brightness, contrast, saturation, hue = jnp.split(drawn, 4, axis=1)  # [B, 1]
    matrix = _hue_rotation(hue[:, 0])  # [B, 3, 3]
    keep = (1.0 + saturation)[..., None]
    matrix = (1.0 + contrast)[..., None] * (keep * matrix + (1.0 - keep) * _GREY)
    alpha = image[..., 3:] / 255.0 if image.shape[-1] == 4 else 1.0
    colours = jnp.einsum("bhwc,bdc->bhwd", image[..., :3] - _MEAN, matrix)
    colours = jnp.clip(colours + alpha * (255.0 * brightness)[:, None, None] + _MEAN, 0.0, 255.0)
    return jnp.concatenate([colours, image[..., 3:]], axis=-1)


def _hue_rotation(angle: jax.Array) -> jax.Array:
    """[B] radians -> [B, 3, 3], rotations about the grey axis (Rodrigues)."""
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3.0)
    cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
    return cos * np.eye(3) + sin * cross + (1.0 - cos) * _GREY


def mirror_foregrounds(
    image: jax.Array, pattern: jax.Array, keys: jax.Array, mirror: jax.Array, *, probability: float
) -> tuple[jax.Array, jax.Array]:
    """Flips cut-outs left to right and gives them their mirrored pattern.

    Args:
      image: [B, S, S, 4].
      pattern: int32 [B].
      keys: random keys [B].
      mirror: int32 [P], `PatternTable.mirror`; rows whose pattern has none (-1), or that have no pattern, stay.
      probability: of a flip.

    Returns:
      image and pattern.

    Source: decision 12.
    """
    mirrored = jnp.where(pattern >= 0, mirror[pattern], -1)
    is_flipped = _coins(keys, probability) & (mirrored >= 0)
    return _flip(image, is_flipped), jnp.where(is_flipped, mirrored, pattern)


def mirror_queries(
    image: jax.Array,
    box_yxyx_norm: jax.Array,
    is_compatible: jax.Array,
    keys: jax.Array,
    mirror: jax.Array,
    *,
    probability: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Flips queries left to right, with their rectangle and their compatible patterns.

    Args:
      image: [B, S, S, 3].
      box_yxyx_norm: float32 [B, 4].
      is_compatible: bool [B, P]; a row is flipped only if all of its patterns have a mirror image.
      keys: random keys [B].
      mirror: int32 [P].
      probability: of a flip.

    Returns:
      image, box and is_compatible.

    Source: decision 12.
    """
    is_flipped = _coins(keys, probability) & ~jnp.any(is_compatible & (mirror < 0), axis=1)
    y0, x0, y1, x1 = jnp.split(box_yxyx_norm, 4, axis=1)
    mirrored_box = jnp.concatenate([y0, 1.0 - x1, y1, 1.0 - x0], axis=1)
    moved = jax.nn.one_hot(mirror, mirror.shape[0], dtype=jnp.float32)  # [P, P]; a row of zeros for -1
    mirrored_patterns = is_compatible.astype(jnp.float32) @ moved > 0.5
    rows = is_flipped[:, None]
    return (
        _flip(image, is_flipped),
        jnp.where(rows, mirrored_box, box_yxyx_norm),
        jnp.where(rows, mirrored_patterns, is_compatible),
    )


def mirror_pairs(
    image: jax.Array, box_yxyx_norm: jax.Array, foreground: jax.Array, keys: jax.Array, *, probability: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Flips queries together with a foreground each: one coin for both, since a flipped scene needs a flipped object.

    Labels play no part, so any row may flip.

    Args:
      image: [B, S, S, 3]. box_yxyx_norm: float32 [B, 4]. foreground: [B, S, S, 4].
      keys: random keys [B].
      probability: of a flip.

    Returns:
      image, box and foreground.

    Source: decision 12.
    """
    none = jnp.zeros(1, int)
    image, box, _ = mirror_queries(
        image, box_yxyx_norm, jnp.zeros((len(image), 1), bool), keys, none, probability=probability
    )
    pattern = jnp.zeros(len(image), int)
    return image, box, mirror_foregrounds(foreground, pattern, keys, none, probability=probability)[0]


def augment_pairs(
    image: jax.Array,
    box_yxyx_norm: jax.Array,
    foreground: jax.Array,
    keys: jax.Array,
    augmentation: Augmentation,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """All of it, for queries with a foreground each.

    Args:
      image: [B, S, S, 3]. box_yxyx_norm: float32 [B, 4]. foreground: [B, S, S, 4].
      keys: random keys [B].
      augmentation: which.

    Returns:
      image, box and foreground.

    Source: decision 12.
    """
    flip_keys, box_keys, query_keys, foreground_keys = split_keys(keys, 4)
    probability, expansion, jitter = augmentation
    image, box, foreground = mirror_pairs(image, box_yxyx_norm, foreground, flip_keys, probability=probability)
    box = expand_boxes(box, box_keys, largest=expansion)
    return jitter_colours(image, query_keys, jitter), box, jitter_colours(foreground, foreground_keys, jitter)


def expand_boxes(box_yxyx_norm: jax.Array, keys: jax.Array, *, largest: float) -> jax.Array:
    """Moves each side of a rectangle outwards by up to `largest` of its length, never out of the image.

    Only outwards: a smaller rectangle would show pixels that a user's rectangle hides. float32 [B, 4] to [B, 4].

    Source: CFO-Search jitters boxes (Zhao et al., ECCV 2018); decision 12 (ranges).
    """
    if largest == 0.0:
        return box_yxyx_norm
    drawn = jax.vmap(lambda key: jax.random.uniform(key, (4,), maxval=largest))(keys)  # [B, 4]
    size = box_yxyx_norm[:, 2:] - box_yxyx_norm[:, :2]
    outwards = jnp.array([-1.0, -1.0, 1.0, 1.0])
    return jnp.clip(box_yxyx_norm + outwards * drawn * jnp.tile(size, (1, 2)), 0.0, 1.0)


def split_keys(keys: jax.Array, number: int) -> jax.Array:
    """Keys [B] -> keys [number, B], independent of each other."""
    return jax.vmap(lambda key: jax.random.split(key, number))(keys).T


def _coins(keys: jax.Array, probability: float) -> jax.Array:
    return jax.vmap(lambda key: jax.random.uniform(key))(keys) < probability  # bool [B]


def _flip(image: jax.Array, is_flipped: jax.Array) -> jax.Array:
    return jnp.where(is_flipped[:, None, None, None], image[:, :, ::-1], image)
