"""Chairs, bottles and potted plants."""

import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Z, ELLIPSOID, Part, cone

GLASSES = [
    [0.02, 0.12, 0.04],
    [0.14, 0.06, 0.01],
    [0.35, 0.45, 0.42],
    [0.03, 0.06, 0.2],
    [0.5, 0.5, 0.5],
    [0.3, 0.02, 0.03],
]
SNOW = np.array([0.88, 0.9, 0.95])
SIDES = (-1, 1)


def chair(d: Draws) -> list[Part]:
    """A chair with a panelled, slatted or ladder back, with or without arms: at most 17 parts, about 1.3 high."""
    half_width, half_depth = d.uniform(0.27, 0.34), d.uniform(0.27, 0.33)
    seat_z, seat_half = d.uniform(0.52, 0.62), d.uniform(0.03, 0.07)
    back_height, lean = d.uniform(0.55, 0.8), d.uniform(0.03, 0.16)
    leg = d.uniform(0.025, 0.05)
    wood = d.colour(saturation=(0.1, 0.9), value=(0.15, 0.85))
    cushion = jnp.where(d.flag(0.5), d.colour(value=(0.2, 0.9)), wood)
    kind, has_arms = d.unit(), d.flag(0.35)
    is_panel, is_slats = kind < 0.4, (kind >= 0.4) & (kind < 0.7)
    is_ladder = kind >= 0.7
    stripes = (0.0, d.uniform(2.0, 5.0), 0.0, d.uniform(0.0, 0.5) * d.flag(0.4))
    x_back = -half_depth + 0.03
    z_back, half_back = seat_z + back_height / 2, back_height / 2
    z_panel, z_top = z_back + 0.04, seat_z + back_height - 0.06
    tilt = (0.0, -lean, 0.0)
    shift = jnp.sin(lean)  # how far back a leaning back is at height z above the seat
    x_leg, y_leg = half_depth - leg, half_width - leg
    panel = (0.03, y_leg, half_back - 0.06)
    rung = (0.02, jnp.where(is_ladder, y_leg, 0.03), jnp.where(is_ladder, 0.05, half_back - 0.05))

    def x_at(z):
        return x_back - shift * (z - seat_z)

    rungs = []
    for f, y in ((0.3, -0.5), (0.55, 0.0), (0.75, 0.5)):
        z = jnp.where(is_ladder, seat_z + f * back_height, z_back)
        centre = (x_at(z), jnp.where(is_ladder, 0.0, y * half_width), z)
        rungs.append(Part(BOX, centre, rung, wood, tilt, exists=is_ladder | is_slats))
    arm, post = (half_depth, 0.04, 0.03), (0.03, 0.03, 0.13)
    return [
        Part(BOX, (0, 0, seat_z), (half_depth, half_width, seat_half), cushion, stripes=stripes),
        *[Part(BOX, (a * x_leg, b * y_leg, seat_z / 2), (leg, leg, seat_z / 2), wood) for a in SIDES for b in SIDES],
        *[Part(BOX, (x_at(z_back), s * y_leg, z_back), (leg, leg, half_back), wood, tilt) for s in SIDES],
        Part(BOX, (x_at(z_panel), 0, z_panel), panel, cushion, tilt, stripes=stripes, exists=is_panel),
        Part(BOX, (x_at(z_top), 0, z_top), (leg, half_width, 0.06), wood, tilt),
        *rungs,
        *[Part(BOX, (0, s * half_width, seat_z + 0.26), arm, wood, exists=has_arms) for s in SIDES],
        *[Part(BOX, (half_depth - 0.05, s * half_width, seat_z + 0.13), post, wood, exists=has_arms) for s in SIDES],
    ]


def bottle(d: Draws, *, lies) -> list[Part]:
    """A bottle, upright or (`lies`, bool scalar) on its side, neck toward +x: at most 8 parts, about 1.4 long."""
    lies = jnp.asarray(lies)
    radius, body = d.uniform(0.2, 0.27), d.uniform(0.3, 0.46)
    neck_radius, neck = d.uniform(0.065, 0.09), d.uniform(0.12, 0.22)
    shoulder = d.uniform(0.08, 0.2)
    glass = d.around(d.pick(GLASSES), 0.3)
    label = jnp.where(d.flag(0.6), d.around([0.85, 0.8, 0.68], 0.15), d.colour(value=(0.3, 0.95)))
    badge, cap = d.colour(value=(0.1, 0.8)), d.colour(value=(0.1, 0.85))
    label_half, label_at = d.uniform(0.35, 0.6) * body, d.signed(0.2) * body
    gloss = d.uniform(0.5, 1.0)
    is_round = d.flag(0.4)
    length = 2 * body + 2 * shoulder + 2 * neck

    def solid(quadric, at, half, colour, **rest):
        lying = (at - length / 2, 0.0, radius)
        centre = tuple(jnp.where(lies, a, b) for a, b in zip(lying, (0.0, 0.0, at), strict=True))
        turn = (0.0, jnp.where(lies, np.pi / 2, 0.0), 0.0)
        return Part(quadric, centre, half, colour, turn, gloss=gloss, **rest)

    top = 2 * body
    return [
        solid(CYLINDER_Z, body, (radius, radius, body), glass),
        solid(cone(1.0, 0.3), top + shoulder, (radius, radius, shoulder), glass, exists=~is_round),
        solid(ELLIPSOID, top, (radius, radius, 2 * shoulder), glass, exists=is_round),
        solid(CYLINDER_Z, top + shoulder + neck, (neck_radius, neck_radius, neck + shoulder), glass),
        solid(CYLINDER_Z, length - 0.07, (neck_radius * 1.25, neck_radius * 1.25, 0.07), cap),
        solid(CYLINDER_Z, body + label_at, (radius * 1.012, radius * 1.012, label_half), label),
        solid(CYLINDER_Z, body + label_at, (radius * 1.02, radius * 1.02, label_half * 0.3), badge),
        solid(CYLINDER_Z, 0.02, (radius * 0.93, radius * 0.93, 0.03), glass * 0.5),
    ]


def potted_plant(d: Draws, *, hangs, winter) -> list[Part]:
    """A potted plant on a saucer or, `hangs`, on three chains at a height of 0.9: at most 24 parts, about 1.5 high.

    Leaves and flowers in summer; bare twigs and snow in `winter`. Both flags are bool scalars.
    """
    hangs, winter = jnp.asarray(hangs), jnp.asarray(winter)
    radius, height = d.uniform(0.26, 0.36), d.uniform(0.26, 0.4)
    pot = jnp.where(d.flag(0.4), d.around([0.45, 0.18, 0.08], 0.2), d.colour(value=(0.15, 0.9)))
    leaf = d.around([0.08, 0.3, 0.05], 0.45)
    bloom = d.colour(saturation=(0.7, 1.0), value=(0.6, 1.0))
    base = jnp.where(hangs, 0.85, 0.05)
    rim = base + height
    stem = d.uniform(0.3, 0.6)
    slim, narrow = d.uniform(0.5, 1.0), d.uniform(0.55, 0.8)
    blooms = d.flag(0.7)
    twig = np.array([0.13, 0.08, 0.05])
    turn = d.uniform(0.0, 6.28)
    stripes = (0.0, 0.0, d.uniform(1.0, 4.0), d.uniform(0.0, 0.4))
    soil = jnp.where(winter, SNOW, np.array([0.06, 0.04, 0.025]))
    foliage = (radius * 0.75, radius * 0.75, stem * 0.5)
    parts = [
        Part(cone(narrow, 1.0), (0, 0, base + height / 2), (radius, radius, height / 2), pot, stripes=stripes),
        Part(CYLINDER_Z, (0, 0, rim - 0.03), (radius * 1.07, radius * 1.07, 0.045), pot * 0.85),
        Part(CYLINDER_Z, (0, 0, rim + 0.01), (radius * 0.95, radius * 0.95, 0.02), soil),
        Part(CYLINDER_Z, (0, 0, 0.025), (radius * 1.15, radius * 1.15, 0.025), pot * 0.7, exists=~hangs),
        Part(ELLIPSOID, (0, 0, rim + 0.02), (radius * 0.9, radius * 0.9, 0.09), SNOW, exists=winter),
        Part(CYLINDER_Z, (0, 0, rim + stem / 2), (0.025, 0.025, stem / 2), twig, exists=~hangs | winter),
        Part(ELLIPSOID, (0, 0, rim + stem * 0.75), foliage, leaf, exists=~winter & ~hangs),
        Part(ELLIPSOID, (0, 0, rim + 0.1), (radius * 1.0, radius * 1.0, 0.2), leaf, exists=~winter & hangs),
    ]
    for i in range(9):
        a = turn + 2 * np.pi * i / 9 * 2.0 + d.signed(0.25)
        c, s = jnp.cos(a), jnp.sin(a)
        lift = d.uniform(0.2, 1.1)
        out = radius * d.uniform(0.5, 1.0)
        z_leaf = jnp.where(hangs, rim + d.uniform(-0.3, 0.15), rim + stem * (0.35 + 0.09 * i))
        r_leaf = jnp.where(hangs, radius * 1.08, out)
        half = (jnp.where(winter, 0.02, 0.07 * slim + 0.03), jnp.where(winter, 0.02, 0.1), 0.2)
        tilt = jnp.where(winter, 0.35 + 0.5 * lift, jnp.where(hangs, np.pi - 0.35, lift))
        z = jnp.where(winter, rim + stem * (0.3 + 0.08 * i), z_leaf)
        r = jnp.where(winter, 0.12, r_leaf)
        tint = d.uniform(0.7, 1.3)
        parts.append(Part(ELLIPSOID, (c * r, s * r, z), half, jnp.where(winter, twig, leaf * tint), (0, tilt, a)))
    for i in range(3):
        a = turn + 2 * np.pi * i / 3 + 0.5
        c, s = jnp.cos(a), jnp.sin(a)
        z = jnp.where(hangs, rim + 0.2, rim + stem * (0.6 + 0.25 * i))
        centre = (c * radius * 0.75, s * radius * 0.75, z)
        parts.append(Part(ELLIPSOID, centre, (0.075, 0.075, 0.075), bloom, exists=~winter & blooms))
    lean, black = jnp.arctan2(radius, 0.75), np.array([0.12, 0.12, 0.12])
    for i in range(3):
        a = turn + 2 * np.pi * i / 3
        c, s = jnp.cos(a), jnp.sin(a)
        centre = (c * radius / 2, s * radius / 2, rim + 0.375)
        parts.append(Part(CYLINDER_Z, centre, (0.013, 0.013, 0.42), black, (0, -lean, a), exists=hangs))
    return [*parts, Part(BOX, (0, 0, rim + 0.78), (0.03, 0.03, 0.05), np.array([0.1, 0.1, 0.1]), exists=hangs)]
