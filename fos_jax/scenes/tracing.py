"""Rays against tables of primitives.

Vectors are tuples of three component arrays [N], so that every operation runs along contiguous memory.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fos_jax.scenes.primitives import Primitives, is_solid

FAR = 1e4
_TINY = 1e-7

Vector = tuple[jax.Array, ...]  # x, y, z


def _apply(matrix: jax.Array, v: Vector) -> Vector:
    return tuple(matrix[i, 0] * v[0] + matrix[i, 1] * v[1] + matrix[i, 2] * v[2] for i in range(3))


def interval(row: Primitives, origin: Vector, direction: Vector) -> tuple[jax.Array, jax.Array]:
    """Where rays are inside one primitive.

    Args:
      row: one primitive (arrays without the leading K).
      origin: components [N] or scalars, world units.
      direction: components [N] or scalars.

    Returns:
      entry, exit: float32 [N], in units of `direction`; entry > exit where a ray misses.

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
      distance: float32 [N], `FAR` where nothing is met.
      index: int32 [N], row of the table (0 where nothing is met).
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
    """Normal and look of the surface at hit points.

    Args:
      table: the primitives.
      index: int32 [N], row hit.
      point: components [N], world units.

    Returns:
      normal (unit vector), colour (linear RGB with stripes), gloss [N].
    """
    packed = jnp.concatenate(
        [
            table.frame.reshape(-1, 9),
            table.centre,
            table.square,
            table.linear,
            table.constant[:, None],
            table.colour,
            table.gloss[:, None],
            table.stripes,
        ],
        -1,
    )  # [K, 27]
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
