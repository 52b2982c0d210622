"""Convex primitives: a box intersected with a quadric, in the primitive's own frame.

With u = frame @ (p - centre), the solid is { p : |u_i| <= 1 and sum(square_i u_i^2 + linear_i u_i) + constant <= 0 }.
Boxes, wedges, ellipsoids, cylinders, cones and boat hulls are all of this form, and a ray meets each analytically.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class Primitives(NamedTuple):
    """A table of K solids.

    Attributes:
      centre: float32 [K, 3], world units.
      frame: float32 [K, 3, 3], world to unit box.
      square: float32 [K, 3], quadratic coefficients.
      linear: float32 [K, 3], linear coefficients.
      constant: float32 [K]; +1 with zero coefficients is the empty solid (padding).
      colour: float32 [K, 3], linear RGB albedo.
      gloss: float32 [K], strength of the highlight, 0 to 1.
      stripes: float32 [K, 4], frequency vector in the unit box (periods a half side) and depth of a stripe pattern.
    """

    centre: jax.Array
    frame: jax.Array
    square: jax.Array
    linear: jax.Array
    constant: jax.Array
    colour: jax.Array
    gloss: jax.Array
    stripes: jax.Array

    @property
    def num(self) -> int:
        return self.centre.shape[-2]


class Part(NamedTuple):
    """One solid while an object is being put together; scalars may be traced.

    Attributes:
      quadric: (square [3], linear [3], constant).
      centre: three scalars, object units.
      half: three half extents along the part's own axes.
      colour: [3] linear RGB.
      turn: rotations in radians about x, then y, then z.
      gloss: highlight strength.
      stripes: (frequency x, y, z, depth).
      exists: false makes the part empty.
    """

    quadric: tuple
    centre: tuple
    half: tuple
    colour: ArrayLike
    turn: tuple = (0.0, 0.0, 0.0)
    gloss: float | jax.Array = 0.0
    stripes: tuple = (0.0, 0.0, 0.0, 0.0)
    exists: bool | jax.Array = True


BOX = ((0, 0, 0), (0, 0, 0), -1.0)
ELLIPSOID = ((1, 1, 1), (0, 0, 0), -1.0)
CYLINDER_X = ((0, 1, 1), (0, 0, 0), -1.0)
CYLINDER_Y = ((1, 0, 1), (0, 0, 0), -1.0)
CYLINDER_Z = ((1, 1, 0), (0, 0, 0), -1.0)
DOME = ((1, 1, 0), (0, 0, 1), -1.0)  # a paraboloid: full width at the bottom half, a rounded top


def cone(bottom: float | jax.Array, top: float | jax.Array) -> tuple:
    """Quadric of a cone about z: radius `bottom` at u_z = -1, `top` at u_z = 1, in fractions of the half extents."""
    mean, slope = (bottom + top) / 2, (top - bottom) / 2
    return (1, 1, -(slope**2)), (0, 0, -2 * mean * slope), -(mean**2)


def taper_x(bottom: float | jax.Array, top: float | jax.Array) -> tuple:
    """Quadric of a box whose x extent goes from `bottom` at u_z = -1 to `top` at u_z = 1."""
    mean, slope = (bottom + top) / 2, (top - bottom) / 2
    return (1, 0, -(slope**2)), (0, 0, -2 * mean * slope), -(mean**2)


def taper_y(bottom: float, top: float) -> tuple:
    """Quadric of a box whose y extent goes from `bottom` at u_z = -1 to `top` at u_z = 1."""
    mean, slope = (bottom + top) / 2, (top - bottom) / 2
    return (0, 1, -(slope**2)), (0, 0, -2 * mean * slope), -(mean**2)


def cut(x: float, y: float, z: float, limit: float) -> tuple:
    """Quadric of a box cut by the plane x u_x + y u_y + z u_z = limit."""
    return (0, 0, 0), (x, y, z), -limit


def hull(flare: float | jax.Array) -> tuple:
    """Quadric of a boat's hull, bow at u_x = 1; `flare` narrows the keel (0 none, 0.6 strong)."""
    return (0, 1, 0), (1, 0, -flare), flare - 1.0


def rotation(turn: jax.Array) -> jax.Array:
    """Rotation matrices from angles.

    Args:
      turn: float32 [K, 3], radians about x, then y, then z.

    Returns:
      float32 [K, 3, 3], local to world.
    """
    (cx, cy, cz), (sx, sy, sz) = jnp.cos(turn).T, jnp.sin(turn).T
    return jnp.stack(
        [
            jnp.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
            jnp.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
            jnp.stack([-sy, cy * sx, cy * cx], -1),
        ],
        -2,
    )


def _rows(values: Sequence) -> jax.Array:
    return jnp.stack([jnp.stack([jnp.asarray(x, jnp.float32) for x in row]) for row in values])


def assemble(parts: Sequence[Part], num: int) -> Primitives:
    """Builds a table of `num` primitives from parts, padded with empty ones.

    Raises:
      ValueError: more parts than `num`.
    """
    if len(parts) > num:
        raise ValueError(f"an object has {len(parts)} parts, expected at most {num}")
    empty = Part(((0, 0, 0), (0, 0, 0), 1.0), (0, 0, 0), (1, 1, 1), np.zeros(3, np.float32), exists=False)
    parts = [*parts, *[empty] * (num - len(parts))]
    half = jnp.maximum(_rows([p.half for p in parts]), 1e-4)
    to_local = jnp.swapaxes(rotation(_rows([p.turn for p in parts])), -1, -2)
    exists = jnp.stack([jnp.asarray(p.exists, bool) for p in parts])
    square = _rows([p.quadric[0] for p in parts])
    linear = _rows([p.quadric[1] for p in parts])
    constant = _rows([[p.quadric[2]] for p in parts])[:, 0]
    return Primitives(
        centre=_rows([p.centre for p in parts]),
        frame=to_local / half[:, :, None],
        square=jnp.where(exists[:, None], square, 0.0),
        linear=jnp.where(exists[:, None], linear, 0.0),
        constant=jnp.where(exists, constant, 1.0),
        colour=jnp.stack([jnp.asarray(p.colour, jnp.float32) for p in parts]),
        gloss=_rows([[p.gloss] for p in parts])[:, 0],
        stripes=_rows([p.stripes for p in parts]),
    )


def place(table: Primitives, *, scale=1.0, turn: jax.Array | None = None, shift: jax.Array | None = None) -> Primitives:
    """Scales, rotates (`turn` float32 [3, 3]) and moves (`shift` float32 [3]) a table, in that order."""
    turn = jnp.eye(3) if turn is None else turn
    shift = jnp.zeros(3) if shift is None else shift
    return table._replace(
        centre=scale * table.centre @ turn.T + shift,
        frame=table.frame @ turn.T / scale,
    )


def concatenate(*tables: Primitives) -> Primitives:
    """One table after another."""
    return jax.tree.map(lambda *x: jnp.concatenate(x), *tables)


def corners(table: Primitives) -> jax.Array:
    """float32 [K, 8, 3]: corners of each solid's box (of the centre, where the solid is empty)."""
    unit = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    half_axes = jnp.linalg.inv(table.frame)  # [K, 3, 3], columns are the half axes
    return table.centre[:, None] + jnp.einsum("kij,cj->kci", half_axes, unit)


def is_solid(table: Primitives) -> jax.Array:
    """bool [K]: false for padding."""
    return ~((table.constant > 0) & (jnp.abs(table.square).sum(-1) + jnp.abs(table.linear).sum(-1) == 0))
