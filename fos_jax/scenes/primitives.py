"""Convex primitives, each a box intersected with a quadric in its own frame, and rays against tables of them.

With u = frame @ (p - centre), the solid is { p : |u_i| <= 1 and sum(square_i u_i^2 + linear_i u_i) + constant <= 0 }.
Boxes, wedges, ellipsoids, cylinders, cones and boat hulls are all of this form, and a ray meets each analytically.
Rays' vectors are tuples of three component arrays [N], so that every operation runs along contiguous memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

FAR = 1e4
_TINY = 1e-7

Vector = tuple[jax.Array, ...]  # x, y, z


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
    return _sloping((1, 1), bottom, top)


def taper_x(bottom: float | jax.Array, top: float | jax.Array) -> tuple:
    """Quadric of a box whose x extent goes from `bottom` at u_z = -1 to `top` at u_z = 1."""
    return _sloping((1, 0), bottom, top)


def taper_y(bottom: float, top: float) -> tuple:
    """Quadric of a box whose y extent goes from `bottom` at u_z = -1 to `top` at u_z = 1."""
    return _sloping((0, 1), bottom, top)


def _sloping(xy: tuple[int, int], bottom: float | jax.Array, top: float | jax.Array) -> tuple:
    mean, slope = (bottom + top) / 2, (top - bottom) / 2
    return (*xy, -(slope**2)), (0, 0, -2 * mean * slope), -(mean**2)


def cut(x: float, y: float, z: float, limit: float) -> tuple:
    """Quadric of a box cut by the plane x u_x + y u_y + z u_z = limit."""
    return (0, 0, 0), (x, y, z), -limit


def hull(flare: float | jax.Array) -> tuple:
    """Quadric of a boat's hull, bow at u_x = 1; `flare` narrows the keel (0 none, 0.6 strong)."""
    return (0, 1, 0), (1, 0, -flare), flare - 1.0


def rotation(turn: jax.Array) -> jax.Array:
    """Rotation matrices float32 [K, 3, 3], local to world, from float32 [K, 3]: radians about x, then y, then z."""
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
    square, linear = (_rows([p.quadric[i] for p in parts]) for i in (0, 1))
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
    return table._replace(centre=scale * table.centre @ turn.T + shift, frame=table.frame @ turn.T / scale)


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


def _apply(matrix: jax.Array, v: Vector) -> Vector:
    return tuple(matrix[i, 0] * v[0] + matrix[i, 1] * v[1] + matrix[i, 2] * v[2] for i in range(3))


def interval(row: Primitives, origin: Vector, direction: Vector) -> tuple[jax.Array, jax.Array]:
    """Entry and exit of rays, float32 [N] in units of `direction`; entry > exit where a ray misses.

    Args:
      row: one primitive (arrays without the leading K).
      origin, direction: components [N] or scalars, world units.

    Source: slab test and quadratic formula.
    """
    o = _apply(row.frame, tuple(a - c for a, c in zip(origin, row.centre, strict=True)))
    d = _apply(row.frame, direction)
    d = tuple(jnp.where(jnp.abs(x) < _TINY, _TINY, x) for x in d)
    entry, exit_ = jnp.float32(-FAR), jnp.float32(FAR)
    for a, b in zip(o, d, strict=True):
        inverse = 1.0 / b
        middle, reach = -a * inverse, jnp.abs(inverse)
        entry, exit_ = jnp.maximum(entry, middle - reach), jnp.minimum(exit_, middle + reach)
    sq, li = row.square, row.linear
    qa = sq[0] * d[0] * d[0] + sq[1] * d[1] * d[1] + sq[2] * d[2] * d[2]
    qb = (sq[0] * o[0] + 0.5 * li[0]) * d[0] + (sq[1] * o[1] + 0.5 * li[1]) * d[1] + (sq[2] * o[2] + 0.5 * li[2]) * d[2]
    qc = (sq[0] * o[0] + li[0]) * o[0] + (sq[1] * o[1] + li[1]) * o[1] + (sq[2] * o[2] + li[2]) * o[2] + row.constant
    discriminant = qb * qb - qa * qc
    root = jnp.sqrt(jnp.maximum(discriminant, 0.0))
    # The stable pair of roots: q never subtracts nearly equal numbers, so qa may be zero (planes).
    q = -(qb + jnp.where(qb < 0, -root, root))
    safe_a = jnp.where(jnp.abs(qa) < 1e-12, 1e-12, qa)
    safe_q = jnp.where(jnp.abs(q) < 1e-12, 1e-12, q)
    one, two = q / safe_a, qc / safe_q
    low, high = jnp.minimum(one, two), jnp.maximum(one, two)
    # qa > 0: inside between the roots. qa < 0: inside before the first or after the second; the box holds one of them.
    # (The longer one: the other nappe of a cone may touch the box at the tip.)
    before, after = jnp.minimum(exit_, low), jnp.maximum(entry, high)
    opens = qa < 0
    use_before = before - entry >= exit_ - after
    new_entry = jnp.where(opens, jnp.where(use_before, entry, after), jnp.maximum(entry, low))
    new_exit = jnp.where(opens, jnp.where(use_before, before, exit_), jnp.minimum(exit_, high))
    # No root: all inside (qc <= 0) or all outside. Same where the quadric is constant.
    no_root = (discriminant < 0) | ((jnp.abs(qa) < 1e-12) & (jnp.abs(qb) < 1e-12))
    miss = no_root & (qc > 0)
    return (
        jnp.where(miss, FAR, jnp.where(no_root, entry, new_entry)),
        jnp.where(miss, -FAR, jnp.where(no_root, exit_, new_exit)),
    )


def nearest(table: Primitives, origin: Vector, direction: Vector) -> tuple[jax.Array, jax.Array]:
    """First surface that rays meet in front of their origin.

    Returns:
      Distance float32 [N] and row of the table int32 [N]; `FAR` and 0 where nothing is met.
    """

    def step(carry, i, row):
        best, index = carry
        entry, exit_ = interval(row, origin, direction)
        closer = (entry <= exit_) & (entry > 1e-3) & (entry < best)
        return jnp.where(closer, entry, best), jnp.where(closer, i, index)

    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (*origin, *direction)))
    return _over_solids(step, (jnp.full(shape, FAR), jnp.zeros(shape, jnp.int32)), table)


def is_blocked(table: Primitives, origin: Vector, direction: Vector) -> jax.Array:
    """bool [N]: whether rays meet anything at all in front of their origin."""

    def step(blocked, _, row):
        entry, exit_ = interval(row, origin, direction)
        return blocked | ((entry <= exit_) & (exit_ > 1e-3))

    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in (*origin, *direction)))
    return _over_solids(step, jnp.zeros(shape, bool), table)


def _over_solids(step: Callable, start: Any, table: Primitives) -> Any:
    """Folds `step(carry, number, row)` over the rows that are no padding: half of a context's table or more is."""
    solid = is_solid(table)
    order = jnp.argsort(~solid, stable=True).astype(jnp.int32)

    def body(k, carry):
        i = order[k]
        return step(carry, i, jax.tree.map(lambda x: x[i], table))

    return jax.lax.fori_loop(0, solid.sum(), body, start)


def surface(table: Primitives, index: jax.Array, point: Vector) -> tuple[Vector, Vector, jax.Array]:
    """Normal (unit vector), colour (linear RGB with stripes) and gloss [N] of the surface at hit points.

    Args:
      index: int32 [N], row hit.
      point: components [N], world units.
    """
    quadric = (table.square, table.linear, table.constant[:, None])
    look = (table.colour, table.gloss[:, None], table.stripes)
    packed = jnp.concatenate([table.frame.reshape(-1, 9), table.centre, *quadric, *look], -1)  # [K, 27]
    is_row = (jnp.arange(table.num)[:, None] == index).astype(jnp.float32)  # [K, N]
    rows = packed.T @ is_row  # [27, N]; a product with one-hot rows is faster than a gather here
    f, c, sq, li, k = rows[0:9], rows[9:12], rows[12:15], rows[15:18], rows[18]
    v = tuple(point[i] - c[i] for i in range(3))
    u = tuple(f[3 * i] * v[0] + f[3 * i + 1] * v[1] + f[3 * i + 2] * v[2] for i in range(3))
    slope = tuple(2 * sq[i] * u[i] + li[i] for i in range(3))
    value = sum((sq[i] * u[i] + li[i]) * u[i] for i in range(3)) + k
    off_quadric = jnp.abs(value) / jnp.maximum(jnp.sqrt(slope[0] ** 2 + slope[1] ** 2 + slope[2] ** 2), 1e-6)
    off_face = tuple(jnp.abs(jnp.abs(x) - 1.0) for x in u)
    closest_face = jnp.minimum(jnp.minimum(*off_face[:2]), off_face[2])
    on_quadric = off_quadric < closest_face
    local = tuple(
        jnp.where(on_quadric, slope[i], jnp.where(off_face[i] == closest_face, jnp.sign(u[i]), 0.0)) for i in range(3)
    )
    n = tuple(f[i] * local[0] + f[3 + i] * local[1] + f[6 + i] * local[2] for i in range(3))
    scale = jax.lax.rsqrt(jnp.maximum(n[0] ** 2 + n[1] ** 2 + n[2] ** 2, 1e-12))
    phase = 0.5 * (rows[23] * u[0] + rows[24] * u[1] + rows[25] * u[2])
    stripe = 1.0 - rows[26] * (phase - jnp.floor(phase) < 0.5)
    colour = tuple(rows[19 + i] * stripe for i in range(3))
    return tuple(x * scale for x in n), colour, rows[22]
