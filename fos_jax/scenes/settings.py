"""The places objects stand in: ground, fixed context and what each says about the object's heading and state.

The target stands at the origin and heads along `theta` (radians from +x). World units: a target is about 1.5 long.
Each setting returns a `Setting`; its cues lie outside the target's own outline, since the rectangle hides that. Three
bystanders show shadows and shading everywhere: their places are drawn from a law that is symmetric left to right and
knows nothing of the light or the camera, so only their shadows and lit faces inform.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.draws import Draws
from fos_jax.scenes.ground import Decal, Ground, make_ground
from fos_jax.scenes.primitives import BOX, CYLINDER_Z, ELLIPSOID, Part, Primitives, assemble, cone, taper_y

NUM_CONTEXT = 18
NUM_DECALS = 7
HALF_PI = np.pi / 2
WHITE = np.array([0.82, 0.82, 0.8])
ASPHALT = np.array([0.09, 0.09, 0.1])
GRASS = np.array([0.10, 0.24, 0.05])
SAND = np.array([0.62, 0.5, 0.3])
SNOW = np.array([0.85, 0.88, 0.95])
WATER = np.array([0.02, 0.09, 0.14])
STONE = np.array([0.4, 0.38, 0.35])
WOOD = np.array([0.36, 0.22, 0.1])


class Lane(NamedTuple):
    """A strip that stays free: along `angle` (radians from +x), its middle `offset` to the left of the origin."""

    angle: float | jax.Array
    half: float | jax.Array
    offset: float | jax.Array = 0.0


class Setting(NamedTuple):
    """One place.

    Attributes:
      ground, context: what is rendered.
      both_ways: bool [], whether the opposite heading fits as well.
      places: float32 [6], where the bystanders were put.
    """

    ground: Ground
    context: Primitives
    both_ways: jax.Array
    places: jax.Array


def _outside(lane: Lane, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Moves a point sideways out of the lane."""
    s, c = jnp.sin(lane.angle), jnp.cos(lane.angle)
    lateral = -s * x + c * y - lane.offset
    moved = jnp.where(lateral < 0, -1.0, 1.0) * jnp.maximum(jnp.abs(lateral), lane.half)
    return x - s * (moved - lateral), y + c * (moved - lateral)


def _bystander(d: Draws, x, y, *, indoor: bool, snowy) -> list[Part]:
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
    crown_half = crown * jnp.where(is_tree, 1.25, jnp.where(is_urn, 0.55, 1.0))
    crown_z, stem = 2 * trunk_half + jnp.where(is_tree, 0.35 * size, 0.0), jnp.where(is_tree, bark, colour)
    return [
        Part(CYLINDER_Z, (x, y, trunk_half), (trunk, trunk, trunk_half), stem, exists=~is_crate),
        Part(BOX, (x, y, box[2]), box, colour, (0, 0, turn), stripes=(0, 0, 2.0, 0.2), exists=is_crate),
        Part(ELLIPSOID, (x, y, crown_z), (crown, crown, crown_half), jnp.where(is_tree, green, top), exists=~is_crate),
    ]


def _bystanders(d: Draws, lane: Lane | None, *, indoor: bool = False, snowy=False) -> tuple[list[Part], jax.Array]:
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
        parts += _bystander(d, x, y, indoor=indoor, snowy=snowy)
    return parts, jnp.stack([v for place in places for v in place])


def _at(theta, along, across=0.0):
    c, s = jnp.cos(theta), jnp.sin(theta)
    return along * c - across * s, along * s + across * c


def _box(theta, along, across, z, half, colour, **rest) -> Part:
    return Part(BOX, (*_at(theta, along, across), z), half, colour, (0.0, 0.0, theta), **rest)


def _finish(d, ground, decals, parts, lane, both_ways=False, *, indoor=False, snowy=False, **texture) -> Setting:
    around, places = _bystanders(d, lane, indoor=indoor, snowy=snowy)
    return Setting(
        make_ground(ground, decals, NUM_DECALS, offset=(d.signed(50.0), d.signed(50.0)), **texture),
        assemble([*parts, *around], NUM_CONTEXT),
        jnp.asarray(both_ways, bool),
        places,
    )


def road(d: Draws, theta, *, reach: float = 1.25) -> Setting:
    """A road along the heading; most have a stop line and a zebra crossing `reach` ahead, others fit both ways."""
    one_way, two_lanes, dashed = d.flag(0.7), d.flag(0.6), d.flag(0.6)
    side = d.sign()
    lane = d.uniform(0.58, 0.66)
    half = jnp.where(two_lanes, 2 * lane, 1.25 * lane)
    shift = jnp.where(two_lanes, side * lane, 0.0)
    asphalt = d.around(ASPHALT, 0.35)
    field = jnp.where(d.flag(0.75), d.around(GRASS, 0.35), d.around(SAND, 0.3))
    yellow = jnp.where(d.flag(0.3), np.array([0.8, 0.55, 0.05]), WHITE)
    zebra = reach + 0.55
    decals = [
        Decal(_at(theta, 0.0, shift), theta, (60.0, half + 0.16), d.around(STONE, 0.3)),
        Decal(_at(theta, 0.0, shift), theta, (60.0, half), asphalt),
        Decal(_at(theta, 0.0, shift + half - 0.08), theta, (60.0, 0.03), WHITE),
        Decal(_at(theta, 0.0, shift - half + 0.08), theta, (60.0, 0.03), WHITE),
        Decal(_at(theta, 0.0, shift), theta, (60.0, 0.045), yellow, dash=jnp.where(dashed, 0.9, 0.0), alpha=two_lanes),
        Decal(_at(theta, reach, shift), theta, (0.07, half - 0.05), WHITE, alpha=one_way),
        Decal(_at(theta, zebra, shift), theta + HALF_PI, (half - 0.05, 0.38), WHITE, dash=0.36, alpha=one_way),
    ]
    return _finish(d, field, decals, [], Lane(theta, half + 0.2, shift), ~one_way, angle=theta, variance=(0.0, 0.25))


def room(d: Draws, theta) -> Setting:
    """A floor aligned with the chair; a wall at its back, a table before it, or both: what does not hide it."""
    away = jnp.sin(theta)  # above 0: the chair looks away from the viewer
    has_wall = (away < -0.35) | ((away < 0.35) & d.flag(0.5))
    has_table = away > -0.35
    floor = jnp.where(d.flag(0.6), d.around(WOOD * 1.4, 0.4), d.colour(saturation=(0.0, 0.3), value=(0.3, 0.7)))
    planks = d.flag(0.5)
    wall = d.colour(saturation=(0.05, 0.5), value=(0.35, 0.85))
    skirting = d.colour(saturation=(0.0, 0.3), value=(0.1, 0.9))
    top, leg = d.colour(saturation=(0.1, 0.7), value=(0.2, 0.8)), 0.05
    wall_at, table_at = d.uniform(-0.85, -0.6), d.uniform(0.95, 1.1)
    height, width = d.uniform(0.7, 0.8), d.uniform(0.75, 1.05)
    rug = d.flag(0.7)
    rug_colour = d.colour(value=(0.15, 0.8))
    leg_half, corners = (leg, leg, height / 2), [(a * 0.36, b * (width - 0.08)) for a in (-1, 1) for b in (-1, 1)]
    parts = [
        _box(theta, wall_at, 0.0, 1.1, (0.05, d.uniform(1.5, 2.1), 1.1), wall, exists=has_wall),
        _box(theta, wall_at + 0.03, 0.0, 0.09, (0.05, 1.45, 0.09), skirting, exists=has_wall),
        _box(theta, table_at, 0.0, height, (0.42, width, 0.04), top, exists=has_table),
        *[_box(theta, table_at + a, b, height / 2, leg_half, top * 0.7, exists=has_table) for a, b in corners],
    ]
    decals = [
        Decal((0.0, 0.0), theta, (d.uniform(0.85, 1.2), d.uniform(0.55, 0.7)), rug_colour * 0.5, alpha=rug),
        Decal((0.0, 0.0), theta, (0.78, 0.48), rug_colour, alpha=rug),
    ]
    tile = (jnp.where(planks, 1.6, 0.5), jnp.where(planks, 0.22, 0.5))
    texture = {"angle": theta, "tile": tile, "joint": (0.02, 0.5), "variance": (0.15, 0.1)}
    return _finish(d, floor, decals, parts, Lane(theta, 1.15), indoor=True, **texture)


def crossing(d: Draws, theta) -> Setting:
    """A kerb with a zebra crossing ahead, or a path that can be walked both ways."""
    is_path = d.flag(0.3)
    kerb = d.uniform(0.35, 0.5)
    far = kerb + 1.25
    stone = d.around(STONE, 0.3)
    grass = d.around(GRASS, 0.35)
    path_half = d.uniform(0.4, 0.6)
    solid = ~is_path
    decals = [
        Decal(_at(theta, far), theta + HALF_PI, (60.0, 1.25), d.around(ASPHALT, 0.3), alpha=solid),
        Decal(_at(theta, kerb), theta + HALF_PI, (60.0, 0.07), stone * 1.5, alpha=solid),
        Decal(_at(theta, far), theta + HALF_PI, (0.95, 1.1), WHITE, dash=0.42, alpha=solid),
        Decal(_at(theta, far + 1.32), theta + HALF_PI, (60.0, 0.07), stone * 1.5, alpha=solid),
        Decal((0.0, 0.0), theta, (60.0, path_half), stone * 1.2, alpha=is_path, tile=(0.4, 0.4)),
    ]
    on_path, at_kerb = Lane(theta, path_half + 0.3), Lane(theta + HALF_PI, 1.5, -far)
    lane = Lane(*(jnp.where(is_path, a, b) for a, b in zip(on_path, at_kerb, strict=True)))
    texture = {"angle": theta, "tile": (jnp.where(is_path, 1e3, 0.5),) * 2, "variance": (0.1, 0.25)}
    return _finish(d, jnp.where(is_path, grass, stone), decals, [], lane, is_path, **texture)


def bench(d: Draws, theta) -> Setting:
    """A bench with a back, at the edge of a path that it looks on to."""
    wood = d.colour(saturation=(0.2, 0.8), value=(0.2, 0.7))
    wide = d.uniform(0.8, 1.05)
    seat, depth = 0.42, 0.24
    stone = d.around(STONE * 1.2, 0.3)
    parts = [
        _box(theta, 0.0, 0.0, seat, (depth, wide, 0.035), wood, stripes=(1.5, 0.0, 0.0, 0.3)),
        _box(theta, -depth, 0.0, seat + 0.36, (0.03, wide, 0.18), wood, stripes=(0.0, 0.0, 1.5, 0.3)),
        *[_box(theta, 0.0, s * (wide - 0.12), seat / 2, (depth * 0.8, 0.04, seat / 2), wood * 0.4) for s in (-1, 1)],
        *[_box(theta, -depth - 0.01, s * (wide - 0.12), seat + 0.2, (0.03, 0.04, 0.2), wood * 0.4) for s in (-1, 1)],
    ]
    decals = [Decal(_at(theta, 1.15), theta + HALF_PI, (60.0, 0.6), stone, tile=(0.4, 0.4))]
    lane = Lane(theta + HALF_PI, 1.5, -0.6)
    return _finish(d, d.around(GRASS, 0.35), decals, parts, lane, angle=theta, variance=(0.0, 0.25))


def harbour(d: Draws, theta) -> Setting:
    """Open water with a jetty at the bow, or a channel between two banks that can be sailed both ways."""
    channel = d.flag(0.3)
    water = d.around(WATER, 0.35)
    bank = jnp.where(d.flag(0.5), d.around(GRASS, 0.3), d.around(SAND, 0.3))
    wood = d.around(WOOD * 1.3, 0.3)
    free = d.uniform(1.0, 1.25)
    near, long = d.uniform(1.15, 1.3), d.uniform(0.8, 1.1)
    jetty = ~channel
    parts = [
        _box(theta, near + long, 0.0, 0.16, (long, 0.36, 0.05), wood, stripes=(6.0, 0.0, 0.0, 0.35), exists=jetty),
        *[
            Part(CYLINDER_Z, (*_at(theta, near + a, b * 0.36), 0.22), (0.06, 0.06, 0.25), wood * 0.6, exists=jetty)
            for a in (0.06, 1.4)
            for b in (-1, 1)
        ],
    ]
    decals = [Decal(_at(theta, 0.0, s * (free + 30.0)), theta, (90.0, 30.0), bank, alpha=channel) for s in (-1, 1)]
    edges = [Decal(_at(theta, 0.0, s * (free + 0.07)), theta, (90.0, 0.09), bank * 1.4, alpha=channel) for s in (-1, 1)]
    lane = Lane(theta, jnp.where(channel, free + 0.4, 0.8))
    texture = {"angle": d.uniform(0.0, 3.0), "variance": (0.0, 0.2), "water": 1.0}
    return _finish(d, water, [*decals, *edges], parts, lane, channel, **texture)


def beach(d: Draws, theta) -> Setting:
    """A beach; the water lies behind the stern, so the bow points inland."""
    sand = jnp.where(d.flag(0.7), d.around(SAND, 0.25), d.around(STONE, 0.3))
    edge = d.uniform(1.15, 1.35)
    decals = [
        Decal(_at(theta, -edge - 40.0), theta, (40.0, 120.0), d.around(WATER, 0.35), water=1.0),
        Decal(_at(theta, -edge), theta + HALF_PI, (120.0, 0.08), WHITE),
        Decal(_at(theta, 41.5), theta, (38.0, 120.0), d.around(GRASS, 0.3)),
    ]
    return _finish(d, sand, decals, [], Lane(theta, 0.9), angle=theta, variance=(0.0, 0.35))


def table_top(d: Draws, theta, *, lies) -> Setting:
    """A table of planks: a coaster under an upright bottle; a board with a stop behind the base of a lying one and a
    glass before its neck."""
    lies = jnp.asarray(lies)
    wood = jnp.where(d.flag(0.6), d.around(WOOD * 1.5, 0.4), d.colour(saturation=(0.0, 0.4), value=(0.3, 0.8)))
    board = d.around(WOOD, 0.5)
    mat = d.colour(value=(0.1, 0.9))
    glass = _at(theta, d.uniform(1.1, 1.3))
    radius = d.uniform(0.45, 0.6)
    parts = [
        _box(theta, -0.92, 0.0, 0.2, (0.09, 0.42, 0.2), board * 0.8, exists=lies),
        Part(CYLINDER_Z, (*glass, 0.16), (0.17, 0.17, 0.16), np.array([0.55, 0.65, 0.68]), gloss=0.8, exists=lies),
        Part(cone(0.4, 0.1), (*glass, 0.03), (0.3, 0.3, 0.03), board * 0.6, exists=lies),
    ]
    decals = [
        Decal((0.0, 0.0), theta, (1.0, 0.42), board, alpha=lies),
        Decal((0.0, 0.0), 0.0, (radius, radius), mat, round=1.0, alpha=~lies),
        Decal((0.0, 0.0), 0.0, (radius * 0.85, radius * 0.85), mat * 0.6, round=1.0, alpha=~lies),
    ]
    lane = Lane(theta, jnp.where(lies, 0.75, 0.0))
    texture = {"angle": d.uniform(0.0, 3.14), "tile": (3.0, 0.4), "joint": (0.025, 0.5), "variance": (0.15, 0.12)}
    return _finish(d, wood, decals, parts, lane, indoor=True, **texture)


def terrace(d: Draws, *, hangs, winter) -> Setting:
    """A terrace in summer or under snow, with a mat for a standing plant or a pergola for a hanging one."""
    hangs, winter = jnp.asarray(hangs), jnp.asarray(winter)
    paved = d.flag(0.6)
    summer = jnp.where(paved, d.around(STONE * 1.2, 0.3), d.around(GRASS, 0.3))
    wood = d.around(WOOD, 0.5)
    angle = d.signed(0.5)
    wide = d.uniform(0.8, 1.0)
    mat = d.colour(value=(0.1, 0.8))
    top = jnp.where(winter, SNOW, wood)
    parts = [
        *[_box(angle, s * wide, 0.0, 1.0, (0.06, 0.06, 1.0), wood, exists=hangs) for s in (-1, 1)],
        _box(angle, 0.0, 0.0, 2.03, (wide + 0.25, 0.08, 0.06), wood, exists=hangs),
        _box(angle, 0.0, 0.0, 2.1, (wide + 0.25, 0.08, 0.025), top, exists=hangs),
    ]
    half = d.uniform(0.5, 0.65)
    decals = [
        Decal((0.0, 0.0), angle, (half, half), mat, alpha=~hangs),
        Decal((0.0, 0.0), angle, (half * 0.85, half * 0.85), mat * 0.6, alpha=~hangs),
    ]
    tile = jnp.where(paved & ~winter, 0.55, 1e3)
    variance = (0.12 * ~winter, 0.3 - 0.2 * winter)
    texture = {"angle": d.uniform(0.0, 1.57), "tile": (tile, tile), "variance": variance}
    return _finish(d, jnp.where(winter, SNOW, summer), decals, parts, None, snowy=winter, **texture)


def waterside(d: Draws, theta) -> Setting:
    """The edge of a pond ahead, or a path that can be walked both ways."""
    is_path = d.flag(0.3)
    grass = d.around(GRASS, 0.35)
    half = d.uniform(0.4, 0.6)
    edge = d.uniform(0.85, 1.0)
    decals = [
        Decal(_at(theta, edge + 40.0), theta, (40.15, 120.0), d.around(SAND, 0.3), alpha=~is_path),
        Decal(_at(theta, edge + 40.0), theta, (40.0, 120.0), d.around(WATER, 0.35), alpha=~is_path, water=1.0),
        Decal((0.0, 0.0), theta, (60.0, half), d.around(STONE * 1.2, 0.3), alpha=is_path, tile=(0.4, 0.4)),
    ]
    lane = Lane(theta, half + 0.3)
    return _finish(d, grass, decals, [], lane, is_path, angle=theta, variance=(0.0, 0.25))


def kennel(d: Draws, theta) -> Setting:
    """A kennel behind the dog, its dark door toward the dog."""
    wood = d.colour(saturation=(0.2, 0.9), value=(0.25, 0.85))
    roof = d.colour(saturation=(0.2, 0.9), value=(0.1, 0.6))
    at, wide = d.uniform(-1.3, -1.1), d.uniform(0.55, 0.65)
    parts = [
        _box(theta, at, 0.0, 0.42, (0.55, wide, 0.42), wood, stripes=(0.0, 0.0, 3.0, 0.25)),
        Part(taper_y(1.0, 0.05), (*_at(theta, at), 1.06), (0.64, wide * 1.15, 0.25), roof, (0.0, 0.0, theta)),
        _box(theta, at + 0.55, 0.0, 0.32, (0.012, wide * 0.55, 0.32), np.array([0.01, 0.01, 0.01])),
        Part(ELLIPSOID, (*_at(theta, 0.75, 0.45), 0.05), (0.17, 0.17, 0.1), d.colour(saturation=(0.6, 1.0))),
    ]
    return _finish(d, d.around(GRASS, 0.35), [], parts, Lane(theta, 1.0), angle=theta, variance=(0.0, 0.25))
