"""Cars, trucks and boats."""

import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Y, CYLINDER_Z, Part, cone, cut, hull, taper_x

GLASS = np.array([0.03, 0.05, 0.08])
RUBBER = np.array([0.02, 0.02, 0.025])
LAMP_WHITE = np.array([0.95, 0.9, 0.7])
LAMP_RED = np.array([0.75, 0.02, 0.02])
DARK = np.array([0.05, 0.05, 0.055])
PLATE = np.array([0.8, 0.8, 0.75])
SIDES = (1, -1)


def _wheels(x_positions, half_track, radius, rim) -> list[Part]:
    parts = []
    for x in x_positions:
        parts.append(Part(CYLINDER_Y, (x, 0, radius), (radius, half_track, radius), RUBBER))
        parts.append(Part(CYLINDER_Y, (x, 0, radius), (0.55 * radius, half_track + 0.012, 0.55 * radius), rim))
    return parts


def car(d: Draws) -> list[Part]:
    """A saloon, hatchback or van: at most 17 parts, about 1.9 long."""
    half_length, half_width = d.uniform(0.86, 1.02), d.uniform(0.37, 0.42)
    clearance, radius = d.uniform(0.10, 0.14), d.uniform(0.15, 0.19)
    belt, roof_height = d.uniform(0.36, 0.44), d.uniform(0.2, 0.34)
    paint = d.colour(saturation=(0.0, 0.95), value=(0.12, 0.9))
    gloss, rim = d.uniform(0.3, 0.9), d.around([0.5, 0.5, 0.52], 0.3)
    tail = d.uniform(0.02, 0.42)  # length of the boot: little for a hatchback
    nose = d.uniform(0.42, 0.62)
    cabin_half = (2 * half_length - tail - nose) / 2
    cabin_x = -half_length + tail + cabin_half
    rake = d.uniform(0.68, 0.85)
    body_half, roof_half = (belt - clearance) / 2, roof_height / 2
    cabin_z = belt + roof_half
    lamp_y, lamp_z = 0.68 * half_width, belt - 0.1
    two_tone = d.flag(0.25)
    roof = jnp.where(two_tone, d.colour(value=(0.1, 0.9)), paint)
    lamp = d.uniform(0.07, 0.11)
    raked, wide = taper_x(1.0, rake), half_width * 0.93
    window = (cabin_half * 0.86, half_width * 0.95, roof_height * 0.36)
    return [
        Part(BOX, (0, 0, clearance + body_half), (half_length, half_width, body_half), paint, gloss=gloss),
        Part(raked, (cabin_x, 0, cabin_z), (cabin_half, wide, roof_half), GLASS, gloss=0.8),
        Part(BOX, (cabin_x, 0, belt + roof_height), (cabin_half * rake, wide, 0.025), roof, gloss=gloss),
        Part(taper_x(1.0, 0.97), (cabin_x, 0, cabin_z), (0.035, half_width * 0.945, roof_half), paint),
        *[
            Part(raked, (cabin_x, s * half_width * 0.9, cabin_z), (cabin_half * 1.03, 0.03, roof_half), paint)
            for s in SIDES
        ],
        Part(raked, (cabin_x, 0, cabin_z - 0.01), window, GLASS, gloss=0.6),
        Part(BOX, (0, 0, clearance + 0.05), (half_length + 0.03, half_width * 0.97, 0.05), DARK),
        *[Part(BOX, (half_length, s * lamp_y, lamp_z), (0.02, lamp, 0.05), LAMP_WHITE, gloss=0.5) for s in SIDES],
        Part(BOX, (half_length, 0, lamp_z - 0.01), (0.018, half_width * 0.38, 0.045), DARK),
        *[Part(BOX, (-half_length, s * lamp_y, lamp_z), (0.02, lamp * 0.9, 0.06), LAMP_RED, gloss=0.5) for s in SIDES],
        Part(BOX, (-half_length, 0, lamp_z - 0.04), (0.02, 0.1, 0.035), PLATE),
        *_wheels((0.62 * half_length, -0.6 * half_length), half_width + 0.008, radius, rim),
    ]


def truck(d: Draws) -> list[Part]:
    """A cab with a box, tank or tipper behind it: at most 17 parts, about 2.2 long."""
    half_length, half_width = d.uniform(1.0, 1.18), d.uniform(0.36, 0.42)
    radius = d.uniform(0.13, 0.16)
    cab_half, cab_height = d.uniform(0.24, 0.3), d.uniform(0.62, 0.78)
    paint = d.colour(saturation=(0.2, 0.95), value=(0.2, 0.9))
    load = d.colour(saturation=(0.0, 0.7), value=(0.25, 0.95))
    load_half = (2 * half_length - 2 * cab_half - 0.08) / 2
    load_x = -half_length + load_half
    load_height = d.uniform(0.5, 0.85)
    cab_x, front, low = half_length - cab_half, half_length, 0.24  # low: height of the chassis
    kind = d.unit()
    is_box, is_open = kind < 0.6, kind >= 0.6
    ribs, wall, cargo = d.uniform(3.0, 9.0), d.uniform(0.24, 0.34), d.around([0.35, 0.25, 0.15], 0.5)
    glass_z, load_wide = low + 0.66 * cab_height, half_width * 1.03
    screen, side_window = (
        (0.02, half_width * 0.86, 0.2 * cab_height),
        (cab_half * 0.55, half_width + 0.008, 0.17 * cab_height),
    )
    box, walls = (load_half, load_wide, load_height / 2), (load_half, load_wide, wall / 2)
    heap, seam = (load_half * 0.93, half_width * 0.9, 0.16), (load_half + 0.012, 0.012, load_height / 2 - 0.03)
    box_z, walls_z, seam_z = low + 0.04 + load_height / 2, low + 0.04 + wall / 2, low + 0.05 + load_height / 2
    return [
        Part(BOX, (0, 0, low - 0.03), (half_length, half_width * 0.8, 0.05), DARK),
        Part(
            taper_x(1.0, 0.9),
            (cab_x, 0, low + cab_height / 2 - 0.05),
            (cab_half, half_width, cab_height / 2),
            paint,
            gloss=0.4,
        ),
        Part(BOX, (front - 0.02, 0, glass_z), screen, GLASS, gloss=0.8),
        Part(BOX, (cab_x + 0.05, 0, glass_z), side_window, GLASS, gloss=0.6),
        Part(BOX, (front + 0.01, 0, low - 0.02), (0.03, half_width, 0.06), DARK),
        Part(BOX, (front, 0, low + 0.2 * cab_height), (0.015, half_width * 0.5, 0.07), DARK, stripes=(0, 0, 3.0, 0.6)),
        *[
            Part(BOX, (front + 0.02, s * 0.75 * half_width, low + 0.08), (0.02, 0.07, 0.05), LAMP_WHITE, gloss=0.5)
            for s in SIDES
        ],
        Part(BOX, (load_x, 0, box_z), box, load, stripes=(ribs, 0, 0, 0.15), exists=is_box),
        Part(BOX, (load_x, 0, walls_z), walls, load, stripes=(ribs, 0, 0, 0.2), exists=is_open),
        Part(taper_x(1.0, 0.5), (load_x, 0, low + 0.06 + wall), heap, cargo, exists=is_open),
        Part(BOX, (load_x, 0, seam_z), seam, DARK, exists=is_box),
        Part(BOX, (-half_length, 0, low), (0.03, half_width, 0.045), DARK),
        *[
            Part(BOX, (-half_length - 0.02, s * 0.78 * half_width, low + 0.02), (0.02, 0.08, 0.05), LAMP_RED)
            for s in SIDES
        ],
        *_wheels((cab_x, -0.42 * half_length), half_width, radius, DARK * 4),
        Part(CYLINDER_Y, (-0.75 * half_length, 0, radius), (radius, half_width, radius), RUBBER),
    ]


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
    rail = base + depth
    set_sail = ~ashore & ~is_motor
    boom_z = rail + 0.2
    sail_half = (half_length * 0.78 + mast_x) / 2
    sail_height = (mast_half * 2 - 0.3) / 2
    stock = d.around([0.4, 0.28, 0.14], 0.2)
    seam = (0, 0, d.uniform(1.5, 3.0), d.uniform(0.0, 0.2))
    sail_x, jib_x = mast_x - sail_half, mast_x + 0.36 * half_length
    sail_z, jib_z = boom_z + sail_height + 0.02, boom_z + sail_height * 0.8
    planks, keel = (half_length * 0.94, half_beam * 0.88, 0.025), (half_length * 0.7, 0.03, keel_depth / 2 + 0.04)
    under, jib = (half_length * 0.97, half_beam * 0.93, depth * 0.56), (half_length * 0.33, 0.012, sail_height * 0.85)
    cradle = (0.06, half_beam * 0.9, 0.08)
    return [
        Part(hull(flare), (0, 0, base), (half_length, half_beam, depth), paint, stripes=seam, gloss=0.2),
        Part(hull(0.02), (0, 0, rail), (half_length * 1.02, half_beam * 1.05, 0.03), band),
        Part(hull(0.02), (-0.01, 0, rail + 0.01), planks, deck, stripes=(0, 4.0, 0, 0.2)),
        Part(BOX, (-half_length - 0.01, 0, rail - 0.08), (0.025, half_beam * 0.8, 0.1), deck * 0.7),
        Part(BOX, (-0.05, 0, keel_depth / 2 + 0.06), keel, bottom, exists=ashore),
        *[Part(BOX, (x * half_length, 0, 0.08), cradle, stock, exists=ashore) for x in (-0.5, 0.35)],
        Part(hull(flare), (0, 0, base - 0.45 * depth), under, bottom, exists=ashore),
        Part(CYLINDER_Z, (mast_x, 0, rail + mast_half), (0.025, 0.025, mast_half), stock, exists=~is_motor),
        Part(BOX, (sail_x, 0, boom_z), (sail_half, 0.022, 0.022), stock, exists=~is_motor),
        Part(cut(-1.0, 0.0, 1.0, 0.0), (sail_x, 0, sail_z), (sail_half, 0.015, sail_height), sail, exists=set_sail),
        Part(cut(1.0, 0.0, 1.0, 0.0), (jib_x, 0, jib_z), jib, sail, exists=set_sail),
        Part(
            cone(1.0, 0.8),
            (sail_x, 0, boom_z + 0.05),
            (0.05, 0.05, sail_half * 0.95),
            sail,
            (0, np.pi / 2, 0),
            exists=ashore & ~is_motor,
        ),
        Part(taper_x(1.0, 0.8), (0, 0, rail + 0.16), (cabin_half, half_beam * 0.66, 0.16), cabin, exists=is_motor),
        Part(
            taper_x(1.0, 0.9),
            (0, 0, rail + 0.2),
            (cabin_half * 0.95, half_beam * 0.675, 0.07),
            GLASS,
            gloss=0.6,
            exists=is_motor,
        ),
        Part(
            BOX,
            (-half_length - 0.06, 0, rail - 0.02),
            (0.06, 0.06, 0.14),
            np.array([0.05, 0.05, 0.06]),
            exists=is_motor,
        ),
    ]
