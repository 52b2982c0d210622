"""Cars and trucks."""

import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Y, Part, taper_x

GLASS = np.array([0.03, 0.05, 0.08])
RUBBER = np.array([0.02, 0.02, 0.025])
LAMP_WHITE = np.array([0.95, 0.9, 0.7])
LAMP_RED = np.array([0.75, 0.02, 0.02])
DARK = np.array([0.05, 0.05, 0.055])
PLATE = np.array([0.8, 0.8, 0.75])


def _wheels(x_positions, half_track, radius, rim) -> list[Part]:
    parts = []
    for x in x_positions:
        parts.append(Part(CYLINDER_Y, (x, 0.0, radius), (radius, half_track, radius), RUBBER))
        parts.append(Part(CYLINDER_Y, (x, 0.0, radius), (0.55 * radius, half_track + 0.012, 0.55 * radius), rim))
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
    body_half = (belt - clearance) / 2
    cabin_z = belt + roof_height / 2
    lamp_y, lamp_z = 0.68 * half_width, belt - 0.1
    two_tone = d.flag(0.25)
    roof = jnp.where(two_tone, d.colour(value=(0.1, 0.9)), paint)
    lamp_width = d.uniform(0.07, 0.11)
    parts = [
        Part(BOX, (0.0, 0.0, clearance + body_half), (half_length, half_width, body_half), paint, gloss=gloss),
        Part(
            taper_x(1.0, rake),
            (cabin_x, 0.0, cabin_z),
            (cabin_half, half_width * 0.93, roof_height / 2),
            GLASS,
            gloss=0.8,
        ),
        Part(BOX, (cabin_x, 0.0, belt + roof_height), (cabin_half * rake, half_width * 0.93, 0.025), roof, gloss=gloss),
        Part(taper_x(1.0, 0.97), (cabin_x, 0.0, cabin_z), (0.035, half_width * 0.945, roof_height / 2), paint),
        Part(
            taper_x(1.0, rake), (cabin_x, half_width * 0.9, cabin_z), (cabin_half * 1.03, 0.03, roof_height / 2), paint
        ),
        Part(
            taper_x(1.0, rake), (cabin_x, -half_width * 0.9, cabin_z), (cabin_half * 1.03, 0.03, roof_height / 2), paint
        ),
        Part(
            taper_x(1.0, rake),
            (cabin_x, 0.0, cabin_z - 0.01),
            (cabin_half * 0.86, half_width * 0.95, roof_height * 0.36),
            GLASS,
            gloss=0.6,
        ),
        Part(BOX, (0.0, 0.0, clearance + 0.05), (half_length + 0.03, half_width * 0.97, 0.05), DARK),
        Part(BOX, (half_length, lamp_y, lamp_z), (0.02, lamp_width, 0.05), LAMP_WHITE, gloss=0.5),
        Part(BOX, (half_length, -lamp_y, lamp_z), (0.02, lamp_width, 0.05), LAMP_WHITE, gloss=0.5),
        Part(BOX, (half_length, 0.0, lamp_z - 0.01), (0.018, half_width * 0.38, 0.045), DARK),
        Part(BOX, (-half_length, lamp_y, lamp_z), (0.02, lamp_width * 0.9, 0.06), LAMP_RED, gloss=0.5),
        Part(BOX, (-half_length, -lamp_y, lamp_z), (0.02, lamp_width * 0.9, 0.06), LAMP_RED, gloss=0.5),
        Part(BOX, (-half_length, 0.0, lamp_z - 0.04), (0.02, 0.1, 0.035), PLATE),
        *_wheels((0.62 * half_length, -0.6 * half_length), half_width + 0.008, radius, rim),
    ]
    return parts


def truck(d: Draws) -> list[Part]:
    """A cab with a box, tank or tipper behind it: at most 17 parts, about 2.2 long."""
    half_length, half_width = d.uniform(1.0, 1.18), d.uniform(0.36, 0.42)
    radius = d.uniform(0.13, 0.16)
    cab_half, cab_height = d.uniform(0.24, 0.3), d.uniform(0.62, 0.78)
    paint = d.colour(saturation=(0.2, 0.95), value=(0.2, 0.9))
    load = d.colour(saturation=(0.0, 0.7), value=(0.25, 0.95))
    chassis = 0.24
    load_half = (2 * half_length - 2 * cab_half - 0.08) / 2
    load_x = -half_length + load_half
    load_height = d.uniform(0.5, 0.85)
    cab_x = half_length - cab_half
    front = half_length
    kind = d.unit()
    is_box, is_open = kind < 0.6, kind >= 0.6
    ribs = d.uniform(3.0, 9.0)
    wall = d.uniform(0.24, 0.34)
    cargo = d.around([0.35, 0.25, 0.15], 0.5)
    return [
        Part(BOX, (0.0, 0.0, chassis - 0.03), (half_length, half_width * 0.8, 0.05), DARK),
        Part(
            taper_x(1.0, 0.9),
            (cab_x, 0.0, chassis + cab_height / 2 - 0.05),
            (cab_half, half_width, cab_height / 2),
            paint,
            gloss=0.4,
        ),
        Part(
            BOX,
            (front - 0.02, 0.0, chassis + 0.66 * cab_height),
            (0.02, half_width * 0.86, 0.2 * cab_height),
            GLASS,
            gloss=0.8,
        ),
        Part(
            BOX,
            (cab_x + 0.05, 0.0, chassis + 0.66 * cab_height),
            (cab_half * 0.55, half_width + 0.008, 0.17 * cab_height),
            GLASS,
            gloss=0.6,
        ),
        Part(BOX, (front + 0.01, 0.0, chassis - 0.02), (0.03, half_width, 0.06), DARK),
        Part(
            BOX,
            (front, 0.0, chassis + 0.2 * cab_height),
            (0.015, half_width * 0.5, 0.07),
            DARK,
            stripes=(0, 0, 3.0, 0.6),
        ),
        Part(BOX, (front + 0.02, 0.75 * half_width, chassis + 0.08), (0.02, 0.07, 0.05), LAMP_WHITE, gloss=0.5),
        Part(BOX, (front + 0.02, -0.75 * half_width, chassis + 0.08), (0.02, 0.07, 0.05), LAMP_WHITE, gloss=0.5),
        Part(
            BOX,
            (load_x, 0.0, chassis + 0.04 + load_height / 2),
            (load_half, half_width * 1.03, load_height / 2),
            load,
            stripes=(ribs, 0, 0, 0.15),
            exists=is_box,
        ),
        Part(
            BOX,
            (load_x, 0.0, chassis + 0.04 + wall / 2),
            (load_half, half_width * 1.03, wall / 2),
            load,
            stripes=(ribs, 0, 0, 0.2),
            exists=is_open,
        ),
        Part(
            taper_x(1.0, 0.5),
            (load_x, 0.0, chassis + 0.06 + wall),
            (load_half * 0.93, half_width * 0.9, 0.16),
            cargo,
            exists=is_open,
        ),
        Part(
            BOX,
            (load_x, 0.0, chassis + 0.05 + load_height / 2),
            (load_half + 0.012, 0.012, load_height / 2 - 0.03),
            DARK,
            exists=is_box,
        ),
        Part(BOX, (-half_length, 0.0, chassis), (0.03, half_width, 0.045), DARK),
        Part(BOX, (-half_length - 0.02, 0.78 * half_width, chassis + 0.02), (0.02, 0.08, 0.05), LAMP_RED),
        Part(BOX, (-half_length - 0.02, -0.78 * half_width, chassis + 0.02), (0.02, 0.08, 0.05), LAMP_RED),
        *_wheels((cab_x, -0.42 * half_length), half_width, radius, DARK * 4)[0:4],
        Part(CYLINDER_Y, (-0.75 * half_length, 0.0, radius), (radius, half_width, radius), RUBBER),
    ]
