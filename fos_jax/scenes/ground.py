"""The ground: one oriented base texture and a table of decals on the plane z = 0.

Every kind of ground (road, paving, planks, beach, snow) is the same arrays with other numbers, so that one compiled
renderer serves every category.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class Ground(NamedTuple):
    """Base texture and D decals.

    Attributes:
      colour: float32 [3], linear RGB.
      frame: float32 [2, 3], world (x, y, 1) to texture coordinates.
      tile: float32 [2], size of a tile along the texture axes; large where there are none.
      joint: float32 [2], width and darkness of the joints.
      variance: float32 [2], brightness differences between tiles, and of the noise.
      water: float32 [], 1 where the base is water.
      decal_frame: float32 [D, 2, 3], world (x, y, 1) to the decal's own coordinates; it covers |u|, |v| <= 1.
      decal_half: float32 [D, 2], half length and half width, world units.
      decal_colour: float32 [D, 3].
      decal_shape: float32 [D, 4]: round (1 for an ellipse), point (1 for a triangle whose tip is at u = 1),
        dash period (world units along u, 0 for none), water.
      decal_alpha: float32 [D], 0 for padding.
      decal_tile: float32 [D, 2], tile size along u and v in world units (large for none).
    """

    colour: jax.Array
    frame: jax.Array
    tile: jax.Array
    joint: jax.Array
    variance: jax.Array
    water: jax.Array
    decal_frame: jax.Array
    decal_half: jax.Array
    decal_colour: jax.Array
    decal_shape: jax.Array
    decal_alpha: jax.Array
    decal_tile: jax.Array


class Decal(NamedTuple):
    """One flat thing on the ground; scalars may be traced. See `Ground` for the fields."""

    centre: tuple
    angle: float | jax.Array
    half: tuple
    colour: ArrayLike
    round: float | jax.Array = 0.0
    point: float | jax.Array = 0.0
    dash: float | jax.Array = 0.0
    water: float | jax.Array = 0.0
    alpha: float | jax.Array = 1.0
    tile: tuple = (1e3, 1e3)


def _f32(x) -> jax.Array:
    return jnp.asarray(x, jnp.float32)


def make_ground(
    colour: jax.Array,
    decals: Sequence[Decal],
    num_decals: int,
    *,
    angle: float | jax.Array = 0.0,
    offset: tuple = (0.0, 0.0),
    tile: tuple = (1e3, 1e3),
    joint: tuple = (0.03, 0.5),
    variance: tuple = (0.0, 0.25),
    water: float | jax.Array = 0.0,
) -> Ground:
    """Builds a ground whose texture axes are turned by `angle` radians; decals are padded to `num_decals`.

    Raises:
      ValueError: more decals than `num_decals`.
    """
    if len(decals) > num_decals:
        raise ValueError(f"a ground has {len(decals)} decals, expected at most {num_decals}")
    nothing = Decal((0.0, 0.0), 0.0, (1.0, 1.0), np.zeros(3, np.float32), alpha=0.0)
    decals = [*decals, *[nothing] * (num_decals - len(decals))]

    def row(values):
        return jnp.stack([_f32(x) for x in values])

    def rows(values):
        return jnp.stack([row(x) for x in values])

    centre, half = rows([d.centre for d in decals]), rows([d.half for d in decals])
    turn = row([d.angle for d in decals])
    c, s = jnp.cos(turn), jnp.sin(turn)
    along = jnp.stack([c, s, -(c * centre[:, 0] + s * centre[:, 1])], -1) / half[:, :1]
    across = jnp.stack([-s, c, s * centre[:, 0] - c * centre[:, 1]], -1) / half[:, 1:]
    ca, sa = jnp.cos(_f32(angle)), jnp.sin(_f32(angle))
    return Ground(
        colour=_f32(colour),
        frame=jnp.stack([jnp.stack([ca, sa, _f32(offset[0])]), jnp.stack([-sa, ca, _f32(offset[1])])]),
        tile=row(tile),
        joint=row(joint),
        variance=row(variance),
        water=_f32(water),
        decal_frame=jnp.stack([along, across], 1),
        decal_half=half,
        decal_colour=row([d.colour for d in decals]),
        decal_shape=rows([(d.round, d.point, d.dash, d.water) for d in decals]),
        decal_alpha=row([d.alpha for d in decals]),
        decal_tile=rows([d.tile for d in decals]),
    )


def _hash(i: jax.Array, j: jax.Array) -> jax.Array:
    """Pseudo-random value in [0, 1) for each lattice point."""
    h = i.astype(jnp.int32).astype(jnp.uint32) * jnp.uint32(374761393)
    h = h + j.astype(jnp.int32).astype(jnp.uint32) * jnp.uint32(668265263)
    h = (h ^ (h >> 13)) * jnp.uint32(1274126177)
    return (h >> 8).astype(jnp.float32) * (1.0 / (1 << 24))


def value_noise(u: jax.Array, v: jax.Array) -> jax.Array:
    """Smooth noise in [-1, 1] on coordinates [N], lattice of one unit. Source: value noise with smoothstep weights."""
    i, j = jnp.floor(u), jnp.floor(v)
    a, b = u - i, v - j
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = _hash(i, j) * (1 - a) + _hash(i + 1, j) * a
    high = _hash(i, j + 1) * (1 - a) + _hash(i + 1, j + 1) * a
    return 2 * (low * (1 - b) + high * b) - 1


def ground_colour(ground: Ground, x: jax.Array, y: jax.Array, footprint: jax.Array) -> tuple[tuple, jax.Array]:
    """Linear RGB albedo (three float32 [N]) and water (float32 [N], 1 where the surface is water).

    Args:
      x, y: float32 [N], world units.
      footprint: float32 [N], width of a pixel on the ground, world units; edges are softened over it.
    """
    f = ground.frame
    u, v = f[0, 0] * x + f[0, 1] * y + f[0, 2], f[1, 0] * x + f[1, 1] * y + f[1, 2]
    i, j = jnp.floor(u / ground.tile[0]), jnp.floor(v / ground.tile[1])
    row_shift = ground.tile[0] * (0.5 * j - jnp.floor(0.5 * j))  # a running bond: every other row is shifted
    i = jnp.floor((u + row_shift) / ground.tile[0])
    in_u, in_v = u + row_shift - i * ground.tile[0], v - j * ground.tile[1]
    edge = jnp.minimum(jnp.minimum(in_u, ground.tile[0] - in_u), jnp.minimum(in_v, ground.tile[1] - in_v))
    fade = 1.0 / (1.0 + (footprint / 0.15) ** 2)  # detail below a pixel turns into its mean
    joint = ground.joint[1] * fade * jnp.clip(1.0 - edge / jnp.maximum(ground.joint[0] + 0.3 * footprint, 1e-4), 0, 1)
    noise = ground.variance[1] * fade * (value_noise(1.3 * u, 1.3 * v) * 0.6 + value_noise(7.1 * u, 7.1 * v) * 0.4)
    shade = 1.0 + (ground.variance[0] * fade) * (2 * _hash(i, j) - 1) + noise - joint
    red, green, blue = (ground.colour[k] * shade for k in range(3))
    water = jnp.broadcast_to(ground.water, x.shape)
    grain = 1.0 + 0.5 * noise

    def paint(carry, d: Ground):  # arrays of one decal
        red, green, blue, water = carry
        m = d.decal_frame
        u, v = m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
        half_u, half_v = d.decal_half[0], d.decal_half[1]
        is_round, is_point, dash, is_water = (d.decal_shape[k] for k in range(4))
        width = half_v * jnp.where(is_point > 0.5, 0.5 - 0.5 * u, 1.0)
        inside_box = jnp.minimum(half_u * (1 - jnp.abs(u)), width - half_v * jnp.abs(v))
        radius = jnp.sqrt(u * u + v * v)
        inside_round = (1 - radius) * jnp.minimum(half_u, half_v)
        inside = jnp.where(is_round > 0.5, inside_round, inside_box)
        cover = jnp.clip(inside / footprint + 0.5, 0.0, 1.0) * d.decal_alpha
        s = u * half_u
        period = jnp.maximum(dash, 1e-3)
        phase = s / period - jnp.floor(s / period)
        stripe = jnp.clip((0.28 - jnp.abs(phase - 0.5)) * period / footprint + 0.5, 0.0, 1.0)
        cover = cover * jnp.where(dash > 0, stripe, 1.0)
        tu, tv = s / d.decal_tile[0], v * half_v / d.decal_tile[1]
        tone = grain * (1.0 + 0.25 * fade * (2 * _hash(jnp.floor(tu), jnp.floor(tv)) - 1) * (d.decal_tile[1] < 100))
        mixed = tuple(c + cover * (d.decal_colour[k] * tone - c) for k, c in enumerate((red, green, blue)))
        return (*mixed, water + cover * (is_water - water))

    decals = {name: value for name, value in ground._asdict().items() if name.startswith("decal_")}
    is_there = ground.decal_alpha > 0
    order = jnp.argsort(~is_there, stable=True)  # the rest is padding, often half of it or more

    def next_decal(k, carry):
        return paint(carry, ground._replace(**{name: value[order[k]] for name, value in decals.items()}))

    red, green, blue, water = jax.lax.fori_loop(0, is_there.sum(), next_decal, (red, green, blue, water))
    return (red, green, blue), water
