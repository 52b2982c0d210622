"""Persons and dogs."""

import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.primitives import BOX, CYLINDER_Z, ELLIPSOID, Part, cone

SKINS = [[0.75, 0.52, 0.38], [0.55, 0.34, 0.22], [0.35, 0.2, 0.12], [0.18, 0.1, 0.06], [0.82, 0.62, 0.5]]
HAIRS = [[0.03, 0.02, 0.02], [0.12, 0.06, 0.03], [0.45, 0.3, 0.1], [0.35, 0.1, 0.03], [0.55, 0.53, 0.5]]
COATS = [[0.35, 0.2, 0.08], [0.6, 0.45, 0.25], [0.05, 0.045, 0.04], [0.75, 0.72, 0.68], [0.3, 0.3, 0.3]]
HALF_PI = np.pi / 2
NO_TURN = (0.0, 0.0, 0.0)
SIDES = (-1, 1)


def person(d: Draws, *, sits) -> list[Part]:
    """A person, face toward +x: at most 18 parts, 1.75 high standing; `sits` is a bool scalar, the seat 0.5 high."""
    height = d.uniform(0.92, 1.06)
    wide = d.uniform(0.85, 1.2)
    skin, hair = d.pick(SKINS), d.pick(HAIRS)
    shirt, trousers = d.colour(value=(0.15, 0.9)), d.colour(saturation=(0.1, 0.7), value=(0.06, 0.6))
    shoes = d.colour(saturation=(0.0, 0.6), value=(0.03, 0.5))
    stride, swing = d.signed(0.16), d.signed(0.3)
    bare_arms, skirt, long_hair = d.flag(0.5), d.flag(0.25), d.flag(0.4)
    depth = d.uniform(0.0, 0.5)
    stripes = (0.0, 0.0, d.uniform(2.0, 6.0), depth * d.flag(0.35))
    sits = jnp.asarray(sits)

    def either(a, b):
        return tuple(jnp.where(sits, x, y) for x, y in zip(a, b, strict=True))

    hip, leg = jnp.where(sits, 0.56, 0.86 * height), 0.215 * height
    thigh_half, shin_half = (0.09 * wide, 0.09 * wide, leg), (0.075 * wide, 0.075 * wide, jnp.where(sits, 0.27, leg))
    stockings = jnp.where(skirt, skin, trousers)
    thighs, shins, feet = [], [], []
    for s in SIDES:
        y, step = s * 0.1 * wide, s * stride
        knee = either((0.22, y, 0.56), (jnp.sin(step) * leg, y, hip - leg * jnp.cos(step)))
        thighs.append(Part(cone(0.8, 1.0), knee, thigh_half, trousers, either((0.0, -HALF_PI, 0.0), (0.0, -step, 0.0))))
        ankle = either((0.42, y, 0.28), (jnp.sin(step) * 2.7 * leg, y, hip - 2.95 * leg))
        shins.append(Part(cone(0.7, 1.0), ankle, shin_half, stockings, either(NO_TURN, (0.0, -0.6 * step, 0.0))))
        toes = either((0.48, y, 0.035), (jnp.sin(step) * 3.4 * leg + 0.06, y, 0.035))
        feet.append(Part(BOX, toes, (0.13, 0.05, 0.035), shoes))
    shoulder, torso = hip + 0.52 * height, hip + 0.27 * height
    arm = 0.15 * height
    arms = []
    for s in SIDES:
        turn, y = s * swing, s * 0.245 * wide
        elbow = either((0.07, y, shoulder - 0.19), (jnp.sin(turn) * arm, y, shoulder - 0.04 - arm))
        bend = either((0.0, -0.45, 0.0), (0.0, -turn, s * 0.0))
        arms.append(Part(cone(0.8, 1.0), elbow, (0.055, 0.055, arm), shirt, bend, stripes=stripes))
        hand = either((0.26, y * 0.85, hip + 0.14), (jnp.sin(turn) * 3 * arm + 0.02, y, shoulder - 0.04 - 2.9 * arm))
        bend = either((0.0, -1.35, 0.0), (0.0, -turn - 0.15, 0.0))
        arms.append(Part(cone(0.75, 1.0), hand, (0.047, 0.047, arm * 0.95), jnp.where(bare_arms, skin, shirt), bend))
    head = shoulder + 0.2
    hem = either((0.1, 0.0, 0.56), (0.0, 0.0, hip - 0.18))
    hem_half = either((0.16, 0.22 * wide, 0.11), (0.2 * wide, 0.24 * wide, 0.22))
    return [
        *thighs,
        *shins,
        *feet,
        Part(cone(0.82, 1.0), (0, 0, torso), (0.125, 0.205 * wide, 0.27 * height), shirt, stripes=stripes),
        Part(ELLIPSOID, (0, 0, shoulder - 0.01), (0.115, 0.225 * wide, 0.075), shirt),
        *arms,
        Part(CYLINDER_Z, (0, 0, shoulder + 0.07), (0.05, 0.05, 0.07), skin),
        Part(ELLIPSOID, (0.015, 0, head), (0.105, 0.09, 0.135), skin),
        Part(ELLIPSOID, (-0.03, 0, head + 0.035), (0.108, 0.104, 0.13), hair),
        Part(BOX, (-0.075, 0, head - 0.1), (0.035, 0.095, 0.15), hair, exists=long_hair),
        Part(ELLIPSOID, (0.12, 0, head - 0.01), (0.025, 0.018, 0.03), skin),
        Part(cone(1.0, 0.7), hem, hem_half, trousers, exists=skirt),
    ]


def dog(d: Draws, *, sits) -> list[Part]:
    """A dog, nose toward +x: at most 18 parts, about 1.3 long standing; `sits` is a bool scalar."""
    coat = d.around(d.pick(COATS), 0.3)
    patch = jnp.where(d.flag(0.4), d.around(d.pick(COATS), 0.3), coat)
    fat, leg_length = d.uniform(0.85, 1.2), d.uniform(0.34, 0.5)
    length = d.uniform(0.4, 0.52)
    snout, ear_up = d.uniform(0.08, 0.15), d.flag(0.5)
    tail_up = d.uniform(0.2, 1.0)
    collar = d.colour(saturation=(0.7, 1.0), value=(0.4, 0.9))
    head_turn = d.signed(0.25)
    sits = jnp.asarray(sits)

    def either(a, b):
        return tuple(jnp.where(sits, x, y) for x, y in zip(a, b, strict=True))

    radius = 0.17 * fat
    back = leg_length + radius * 0.9
    chest_x, chest_z = jnp.where(sits, 0.1, 0.9 * length - 0.1), jnp.where(sits, leg_length + 0.2, back + 0.01)
    neck_x, neck_z = chest_x + 0.1, chest_z + 0.2
    head_x, head_z = neck_x + 0.1, neck_z + 0.18
    front_leg = jnp.where(sits, chest_z - 0.02, leg_length + 0.05) / 2
    hind_half = (0.055, 0.055, jnp.where(sits, 0.2, leg_length / 2 + 0.04))
    legs = []
    for s in SIDES:
        legs.append(Part(cone(0.75, 1.0), (chest_x + 0.03, s * 0.1 * fat, front_leg), (0.055, 0.055, front_leg), coat))
        hind = either((-0.12, s * 0.17 * fat, 0.05), (-0.9 * length + 0.1, s * 0.1 * fat, leg_length / 2 + 0.02))
        legs.append(Part(cone(0.75, 1.0), hind, hind_half, coat, either((0.0, HALF_PI, 0.0), NO_TURN)))
    body, body_turn = either((-0.12, 0.0, 0.34), (0.0, 0.0, back)), either((0.0, -0.95, 0.0), NO_TURN)
    rump = either((-0.25, 0.0, 0.2), (-0.8 * length + 0.05, 0.0, back))
    rump_half = either((0.25, radius * 1.35, 0.2), (0.2, radius * 1.05, radius * 1.15))
    c, s_ = jnp.cos(head_turn), jnp.sin(head_turn)
    muzzle = (head_x + c * (0.1 + snout), s_ * (0.1 + snout), head_z - 0.04)
    nose = (head_x + c * (0.11 + 2 * snout), s_ * (0.11 + 2 * snout), head_z - 0.01)
    ear_z = head_z + jnp.where(ear_up, 0.14, -0.02)
    tail = either((-0.55, 0.0, 0.08), (-length - 0.12, 0.0, back + 0.1 * tail_up + 0.05))
    tail_turn = either((0.0, -HALF_PI, 0.0), (0.0, -1.2 + 0.7 * tail_up, 0.0))
    return [
        Part(ELLIPSOID, body, (length * 1.08, radius, radius), coat, body_turn),
        Part(ELLIPSOID, (chest_x, 0, chest_z), (0.2, radius * 1.1, radius * 1.25), patch),
        Part(ELLIPSOID, rump, rump_half, coat),
        *legs,
        Part(cone(1.0, 0.8), (neck_x, 0, neck_z - 0.05), (0.1, 0.095, 0.17), coat, (0, 0.6, 0)),
        Part(cone(1.0, 1.0), (neck_x + 0.015, 0, neck_z - 0.02), (0.108, 0.103, 0.025), collar, (0, 0.6, 0)),
        Part(ELLIPSOID, (head_x, 0, head_z), (0.14, 0.115, 0.12), coat, (0, 0, head_turn)),
        Part(BOX, muzzle, (snout, 0.055, 0.05), patch, (0, 0, head_turn)),
        Part(ELLIPSOID, nose, (0.03, 0.035, 0.03), np.array([0.01, 0.01, 0.01])),
        *[
            Part(
                cone(1.0, 0.2),
                (head_x - 0.04, s * 0.09, ear_z),
                (0.03, 0.05, 0.1),
                patch * 0.6,
                (jnp.where(ear_up, -s * 0.15, s * 2.9), 0, 0),
            )
            for s in SIDES
        ],
        Part(cone(1.0, 0.5), tail, (0.035, 0.035, 0.2), coat, tail_turn),
    ]
