"""Chairs."""

import jax.numpy as jnp

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, Part


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
    tilt = (0.0, -lean, 0.0)
    shift = jnp.sin(lean)  # how far back a leaning back is at height z above the seat

    def x_at(z):
        return x_back - shift * (z - seat_z)

    parts = [
        Part(BOX, (0.0, 0.0, seat_z), (half_depth, half_width, seat_half), cushion, stripes=stripes),
        *[
            Part(BOX, (sx * (half_depth - leg), sy * (half_width - leg), seat_z / 2), (leg, leg, seat_z / 2), wood)
            for sx in (-1, 1)
            for sy in (-1, 1)
        ],
        *[
            Part(BOX, (x_at(z_back), s * (half_width - leg), z_back), (leg, leg, half_back), wood, tilt)
            for s in (-1, 1)
        ],
        Part(
            BOX,
            (x_at(z_back + 0.04), 0.0, z_back + 0.04),
            (0.03, half_width - leg, half_back - 0.06),
            cushion,
            tilt,
            stripes=stripes,
            exists=is_panel,
        ),
        Part(
            BOX,
            (x_at(seat_z + back_height - 0.06), 0.0, seat_z + back_height - 0.06),
            (leg, half_width, 0.06),
            wood,
            tilt,
        ),
        *[
            Part(
                BOX,
                (
                    x_at(jnp.where(is_ladder, seat_z + f * back_height, z_back)),
                    jnp.where(is_ladder, 0.0, y * half_width),
                    jnp.where(is_ladder, seat_z + f * back_height, z_back),
                ),
                (0.02, jnp.where(is_ladder, half_width - leg, 0.03), jnp.where(is_ladder, 0.05, half_back - 0.05)),
                wood,
                tilt,
                exists=is_ladder | is_slats,
            )
            for f, y in ((0.3, -0.5), (0.55, 0.0), (0.75, 0.5))
        ],
        *[
            Part(BOX, (0.0, s * half_width, seat_z + 0.26), (half_depth, 0.04, 0.03), wood, exists=has_arms)
            for s in (-1, 1)
        ],
        *[
            Part(BOX, (half_depth - 0.05, s * half_width, seat_z + 0.13), (0.03, 0.03, 0.13), wood, exists=has_arms)
            for s in (-1, 1)
        ],
    ]
    return parts
