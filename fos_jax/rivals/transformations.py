"""Cut-outs changed so that they no longer fit: turned, scaled, mirrored, or lit from elsewhere. All inside the step."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

_MEAN = 128.0  # of `images.MEAN_COLOUR`, which cut-outs are matted on
_LEAST_TURN = 1 / 3  # of the largest: a smaller one would hardly be wrong


def change_geometry(
    image: jax.Array, keys: jax.Array, *, largest_turn_degrees: float, smallest_scale: float
) -> jax.Array:
    """Mirrors, turns or scales each cut-out, one of the three with equal chances.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255, matted on the mean colour.
      keys: random keys [B].
      largest_turn_degrees: turns are drawn from a third of it to all of it, to either side.
      smallest_scale: scales are drawn from it to halfway between it and 1.

    Returns:
      float32 of the same shape; what comes from outside is transparent mean colour.

    Source: design decision.
    """

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        kind_key, size_key, side_key = jax.random.split(key, 3)
        kind = jax.random.randint(kind_key, (), 0, 3)
        amount = jax.random.uniform(size_key)
        side = jnp.where(jax.random.bernoulli(side_key), 1.0, -1.0)
        turn = side * jnp.radians(largest_turn_degrees) * (_LEAST_TURN + (1 - _LEAST_TURN) * amount)
        scale = smallest_scale + amount * (1 - smallest_scale) / 2
        return kind == 0, jnp.where(kind == 1, turn, 0.0), jnp.where(kind == 2, scale, 1.0)

    return transform(image, *jax.vmap(draw)(keys))


def transform(image: jax.Array, is_mirrored: jax.Array, turn: jax.Array, scale: jax.Array) -> jax.Array:
    """Mirrors cut-outs left to right, then turns and scales them about their centre, bilinearly.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255.
      is_mirrored: bool [B]. turn: float [B], radians, clockwise as seen. scale: float [B], below 1 makes them smaller.

    Returns:
      float32 of the same shape.

    Source: design decision.
    """
    image = image.astype(jnp.float32)
    image = jnp.where(is_mirrored[:, None, None, None], image[:, :, ::-1], image)
    centre = (image.shape[1] - 1) / 2
    y, x = jnp.meshgrid(*(jnp.arange(image.shape[1]) - centre,) * 2, indexing="ij")

    def one(image: jax.Array, turn: jax.Array, scale: jax.Array) -> jax.Array:
        cos, sin = jnp.cos(turn) / scale, jnp.sin(turn) / scale
        from_y, from_x = cos * y - sin * x + centre, sin * y + cos * x + centre

        def channel(values: jax.Array, outside: float) -> jax.Array:
            return map_coordinates(values, [from_y, from_x], order=1, mode="constant", cval=outside)

        colours = [channel(image[..., c], _MEAN) for c in range(3)]
        return jnp.stack([*colours, channel(image[..., 3], 0.0)], axis=-1)

    return jax.vmap(one)(image, turn, scale)


def change_light(image: jax.Array, keys: jax.Array, *, largest_shade: float) -> jax.Array:
    """Shades each cut-out from one side, the direction drawn at random: brighter there, darker opposite.

    A change of colour or brightness as a whole would contradict the colour jitter, under which a foreground stays its
    query's own.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255.
      keys: random keys [B].
      largest_shade: shades are drawn from half of it to all of it.

    Returns:
      float32 of the same shape; alpha as it was, transparent pixels do not change.

    Source: design decision.
    """

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        direction_key, shade_key = jax.random.split(key)
        return (
            jax.random.uniform(direction_key, maxval=2 * jnp.pi),
            largest_shade * jax.random.uniform(shade_key, minval=0.5, maxval=1.0),
        )

    return shade(image, *jax.vmap(draw)(keys))


def shade(image: jax.Array, direction: jax.Array, strength: jax.Array) -> jax.Array:
    """Multiplies colours by 1 + strength * place, place from -1 to 1 along a direction (0: right, pi / 2: down).

    Args:
      image: float or uint8 [B, S, S, 4], 0..255, matted on the mean colour. direction: float [B], radians.
      strength: float [B], 0..1.

    Returns:
      float32 of the same shape, colours clipped to 0..255.

    Source: design decision.
    """
    image = image.astype(jnp.float32)
    place = jnp.linspace(-1.0, 1.0, image.shape[1])
    along = jnp.cos(direction)[:, None, None] * place[None, None, :]
    along += jnp.sin(direction)[:, None, None] * place[None, :, None]  # [B, S, S]
    alpha = image[..., 3:] / 255.0
    object_colour = image[..., :3] - (1 - alpha) * _MEAN  # the object's share of the matted pixel
    change = strength[:, None, None] * jnp.clip(along, -1.0, 1.0)
    colours = jnp.clip(image[..., :3] + object_colour * change[..., None], 0.0, 255.0)
    return jnp.concatenate([colours, image[..., 3:]], axis=-1)


def difference(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean absolute difference of two pictures each, in 0..1: [B, S, S, 4] twice to float32 [B]."""
    return jnp.mean(jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)), axis=(1, 2, 3)) / 255.0
