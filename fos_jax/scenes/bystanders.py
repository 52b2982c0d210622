"""Things that stand around in every scene so that shadows and shading can be read.

Their places are drawn from a law that is symmetric left to right and knows nothing of the light or the camera: only
their shadows and lit faces inform.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Z, ELLIPSOID, Part

SNOW = np.array([0.85, 0.88, 0.95])


class Lane(NamedTuple):
    """A strip that stays free: along `angle` (radians from +x), its middle `offset` to the left of the origin."""

    angle: float | jax.Array
    half: float | jax.Array
    offset: float | jax.Array = 0.0


def _outside(lane: Lane, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Moves a point sideways out of the lane."""
    s, c = jnp.sin(lane.angle), jnp.cos(lane.angle)
    lateral = -s * x + c * y - lane.offset
    moved = jnp.where(lateral < 0, -1.0, 1.0) * jnp.maximum(jnp.abs(lateral), lane.half)
    return x - s * (moved - lateral), y + c * (moved - lateral)


def _one(d: Draws, x, y, *, indoor: bool, snowy) -> list[Part]:
    kind, size = d.unit(), d.uniform(0.9, 1.35)
    colour, top = d.colour(value=(0.2, 0.85)), d.colour(value=(0.2, 0.85))
    green = jnp.where(snowy, SNOW, d.around([0.08, 0.22, 0.05], 0.4))
    turn = d.uniform(0.0, 1.57)
    is_post, is_crate, is_urn = kind < 0.3, (kind >= 0.3) & (kind < 0.5), (kind >= 0.5) & (kind < 0.7)
    is_tree = kind >= 0.7
    bark = jnp.array([0.16, 0.1, 0.06])
    if indoor:  # a column instead of a tree
        is_post, is_tree = is_post | is_tree, is_tree & False
    trunk = jnp.where(is_tree, 0.09, jnp.where(is_post, 0.085, 0.18)) * size
    trunk_half = jnp.where(is_tree, 0.5, jnp.where(is_post, 0.85, 0.36)) * size
    box = (0.27 * size, 0.23 * size, 0.3 * size)
    crown = jnp.where(is_tree, 0.46, jnp.where(is_post, 0.14, 0.24)) * size
    return [
        Part(
            CYLINDER_Z,
            (x, y, trunk_half),
            (trunk, trunk, trunk_half),
            jnp.where(is_tree, bark, colour),
            exists=~is_crate,
        ),
        Part(BOX, (x, y, box[2]), box, colour, (0.0, 0.0, turn), stripes=(0.0, 0.0, 2.0, 0.2), exists=is_crate),
        Part(
            ELLIPSOID,
            (x, y, 2 * trunk_half + jnp.where(is_tree, 0.35 * size, 0.0)),
            (crown, crown, crown * jnp.where(is_tree, 1.25, jnp.where(is_urn, 0.55, 1.0))),
            jnp.where(is_tree, green, top),
            exists=~is_crate,
        ),
    ]


def bystanders(d: Draws, lane: Lane | None, *, indoor: bool = False, snowy=False) -> tuple[list[Part], jax.Array]:
    """Three casters: one to each side, one farther off.

    Returns:
      parts (nine), and float32 [6] the drawn places before the lane pushed them (x, y of each).
    """
    places = [
        (d.uniform(-1.7, -1.05), d.uniform(-0.2, 1.8)),
        (d.uniform(1.05, 1.7), d.uniform(-0.2, 1.8)),
        (d.signed(2.0), d.uniform(2.2, 3.6)),
    ]
    parts: list[Part] = []
    for x, y in places:
        if lane is not None:
            x, y = _outside(lane, x, y)
        parts += _one(d, x, y, indoor=indoor, snowy=snowy)
    return parts, jnp.stack([v for place in places for v in place])
