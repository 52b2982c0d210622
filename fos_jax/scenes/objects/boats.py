"""Boats."""

import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Z, Part, cone, cut, hull, taper_x


def boat(d: Draws, *, ashore) -> list[Part]:
    """A sailing or motor boat, bow toward +x: 16 parts, about 2 long.

    Afloat (`ashore` false) it lies in the water to its draught with sails set; ashore it rests on two cradles with
    bare mast, whole hull and keel showing.
    """
    ashore = jnp.asarray(ashore)
    half_length, half_beam, depth = d.uniform(0.85, 1.05), d.uniform(0.27, 0.36), d.uniform(0.17, 0.24)
    paint = d.colour(saturation=(0.0, 0.9), value=(0.3, 0.95))
    bottom = d.colour(saturation=(0.5, 0.95), value=(0.08, 0.5))
    band = d.colour(value=(0.1, 0.9))
    deck = d.around([0.5, 0.33, 0.16], 0.3)
    sail = jnp.where(d.flag(0.6), d.around([0.9, 0.88, 0.82], 0.08), d.colour(value=(0.5, 0.95)))
    flare = d.uniform(0.35, 0.6)
    mast_x, mast_half = d.uniform(0.0, 0.2), d.uniform(0.65, 0.85)
    is_motor = d.flag(0.35)
    cabin = d.around([0.85, 0.85, 0.82], 0.12)
    cabin_half = d.uniform(0.22, 0.34)
    draught = d.uniform(0.5, 0.9) * depth
    keel_depth = 0.13
    base = jnp.where(ashore, keel_depth + depth + 0.06, depth - draught)  # height of the hull's middle
    gunwale = base + depth
    set_sail = ~ashore & ~is_motor
    mast_z = gunwale + mast_half
    boom_z = gunwale + 0.2
    sail_half = (half_length * 0.78 + mast_x) / 2
    sail_height = (mast_half * 2 - 0.3) / 2
    stock = d.around([0.4, 0.28, 0.14], 0.2)
    seam = (0.0, 0.0, d.uniform(1.5, 3.0), d.uniform(0.0, 0.2))
    return [
        Part(hull(flare), (0.0, 0.0, base), (half_length, half_beam, depth), paint, stripes=seam, gloss=0.2),
        Part(hull(0.02), (0.0, 0.0, gunwale), (half_length * 1.02, half_beam * 1.05, 0.03), band),
        Part(
            hull(0.02),
            (-0.01, 0.0, gunwale + 0.01),
            (half_length * 0.94, half_beam * 0.88, 0.025),
            deck,
            stripes=(0.0, 4.0, 0.0, 0.2),
        ),
        Part(BOX, (-half_length - 0.01, 0.0, gunwale - 0.08), (0.025, half_beam * 0.8, 0.1), deck * 0.7),
        Part(
            BOX,
            (-0.05, 0.0, keel_depth / 2 + 0.06),
            (half_length * 0.7, 0.03, keel_depth / 2 + 0.04),
            bottom,
            exists=ashore,
        ),
        Part(BOX, (-0.5 * half_length, 0.0, 0.08), (0.06, half_beam * 0.9, 0.08), stock, exists=ashore),
        Part(BOX, (0.35 * half_length, 0.0, 0.08), (0.06, half_beam * 0.9, 0.08), stock, exists=ashore),
        Part(
            hull(flare),
            (0.0, 0.0, base - 0.45 * depth),
            (half_length * 0.97, half_beam * 0.93, depth * 0.56),
            bottom,
            exists=ashore,
        ),
        Part(CYLINDER_Z, (mast_x, 0.0, mast_z), (0.025, 0.025, mast_half), stock, exists=~is_motor),
        Part(BOX, (mast_x - sail_half, 0.0, boom_z), (sail_half, 0.022, 0.022), stock, exists=~is_motor),
        Part(
            cut(-1.0, 0.0, 1.0, 0.0),
            (mast_x - sail_half, 0.0, boom_z + sail_height + 0.02),
            (sail_half, 0.015, sail_height),
            sail,
            exists=set_sail,
        ),
        Part(
            cut(1.0, 0.0, 1.0, 0.0),
            (mast_x + 0.36 * half_length, 0.0, boom_z + sail_height * 0.8),
            (half_length * 0.33, 0.012, sail_height * 0.85),
            sail,
            exists=set_sail,
        ),
        Part(
            cone(1.0, 0.8),
            (mast_x - sail_half, 0.0, boom_z + 0.05),
            (0.05, 0.05, sail_half * 0.95),
            sail,
            (0.0, np.pi / 2, 0.0),
            exists=ashore & ~is_motor,
        ),
        Part(
            taper_x(1.0, 0.8), (0.0, 0.0, gunwale + 0.16), (cabin_half, half_beam * 0.66, 0.16), cabin, exists=is_motor
        ),
        Part(
            taper_x(1.0, 0.9),
            (0.0, 0.0, gunwale + 0.2),
            (cabin_half * 0.95, half_beam * 0.675, 0.07),
            np.array([0.03, 0.05, 0.08]),
            gloss=0.6,
            exists=is_motor,
        ),
        Part(
            BOX,
            (-half_length - 0.06, 0.0, gunwale - 0.02),
            (0.06, 0.06, 0.14),
            np.array([0.05, 0.05, 0.06]),
            exists=is_motor,
        ),
    ]
