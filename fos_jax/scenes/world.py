"""Sampling of scenes: a key and a pattern in, a scene out. Source: decision 25."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fos_jax.scenes import attributes, settings
from fos_jax.scenes.attributes import KINDS, YAW_RAD, pattern_rows
from fos_jax.scenes.draws import Draws
from fos_jax.scenes.objects.creatures import dog, person
from fos_jax.scenes.objects.indoors import bottle, chair, potted_plant
from fos_jax.scenes.objects.vehicles import boat, car, truck
from fos_jax.scenes.primitives import assemble, place, rotation
from fos_jax.scenes.render import Camera, Light, Scene, look_at, target_bounds
from fos_jax.scenes.settings import Setting

DEGREE = math.pi / 180
NUM_TARGET: Mapping[str, int] = {
    "car": 18, "chair": 18, "person": 18, "boat": 18, "bottle": 8, "potted_plant": 24, "dog": 18, "truck": 20,
}  # fmt: skip
SCALE: Mapping[str, float] = {
    "car": 0.9, "chair": 1.0, "person": 0.9, "boat": 0.9, "bottle": 0.95, "potted_plant": 0.9, "dog": 1.0,
    "truck": 0.85,
}  # fmt: skip
_POSE_YAW = {"upright": 0.0, **{f"lying_{y}": YAW_RAD[y] for y in attributes.YAW_DIAGONAL}}


class _Cues(NamedTuple):
    """A pattern's attributes as numbers."""

    yaw: jax.Array
    is_high: jax.Array
    light_sign: jax.Array
    state: jax.Array
    winter: jax.Array


def _cues(category: str, pattern: jax.Array) -> _Cues:
    rows = pattern_rows(category)
    first = next(iter(KINDS[category].attributes))  # the state of those categories that have one

    def column(function):
        return jnp.array([function(r) for r in rows], jnp.float32)[pattern]

    return _Cues(
        yaw=column(lambda r: YAW_RAD[r["yaw"]] if "yaw" in r else _POSE_YAW.get(r.get("pose", ""), 0.0)),
        is_high=column(lambda r: r["elevation"] == "high") > 0.5,
        light_sign=column(lambda r: 1.0 if r["light"] == "right" else -1.0),
        state=column(lambda r: r[first] in ("sitting", "ashore", "hanging") or r[first].startswith("lying")) > 0.5,
        winter=column(lambda r: r.get("season") == "winter") > 0.5,
    )


def _either(condition: jax.Array, yes: Setting, no: Setting) -> Setting:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _object_and_place(category: str, d: Draws, cues: _Cues, theta: jax.Array):
    """The target's parts and its setting."""
    if category == "car":
        return car(d), settings.road(d, theta)
    if category == "truck":
        return truck(d), settings.road(d, theta, reach=1.35)
    if category == "chair":
        return chair(d), settings.room(d, theta)
    if category == "person":
        return person(d, sits=cues.state), _either(cues.state, settings.bench(d, theta), settings.crossing(d, theta))
    if category == "dog":
        return dog(d, sits=cues.state), _either(cues.state, settings.kennel(d, theta), settings.waterside(d, theta))
    if category == "boat":
        return boat(d, ashore=cues.state), _either(cues.state, settings.beach(d, theta), settings.harbour(d, theta))
    if category == "bottle":
        return bottle(d, lies=cues.state), settings.table_top(d, theta, lies=cues.state)
    parts = potted_plant(d, hangs=cues.state, winter=cues.winter)
    return parts, settings.terrace(d, hangs=cues.state, winter=cues.winter)


def _light(d: Draws, sign: jax.Array) -> Light:
    azimuth, height = d.uniform(60, 120) * DEGREE, d.uniform(23, 36) * DEGREE
    sun = jnp.stack([sign * jnp.sin(azimuth) * jnp.cos(height), jnp.cos(azimuth) * jnp.cos(height), jnp.sin(height)])
    warm = d.unit()
    return Light(
        sun=sun,
        sun_colour=jnp.stack([1.0 + 0 * warm, 1.0 - 0.12 * warm, 1.0 - 0.3 * warm]) * d.uniform(0.85, 1.05),
        zenith=d.around([0.13, 0.28, 0.62], 0.35),
        horizon=d.around([0.45, 0.52, 0.6], 0.2),
        glow=d.uniform(0.7, 1.0),
        clouds=jnp.stack([d.signed(50.0), d.signed(50.0), d.uniform(0.0, 0.8)]),
        cloud_flip=d.sign(),
    )


def sample_scene(key: jax.Array, pattern: jax.Array, *, category: str) -> Scene:
    """A scene of one pattern; everything but the pattern's attributes varies with the key.

    Args:
      key: PRNG key.
      pattern: int32 [], pattern inside the category (`attributes.pattern_rows`).
      category: one of `attributes.CATEGORIES`; static under jit.
    """
    d = Draws(key)
    cues = _cues(category, pattern)
    elevation = jnp.where(cues.is_high, d.uniform(29, 40), d.uniform(9, 15)) * DEGREE
    distance, field = d.uniform(5.2, 6.4), d.uniform(34, 40) * DEGREE
    roll, shift_u, shift_v, aim = d.signed(1.5) * DEGREE, d.unit(), d.unit(), d.signed(0.1)
    yaw = cues.yaw + d.signed(11 * DEGREE)
    theta = yaw - math.pi / 2
    light = _light(d, cues.light_sign)
    parts, setting = _object_and_place(category, d, cues, theta)
    turn = rotation(jnp.stack([0.0 * theta, 0.0 * theta, theta])[None])[0]
    target = place(assemble(parts, NUM_TARGET[category]), scale=SCALE[category], turn=turn)

    centre = jnp.array([0.0, 0.0, 0.65]) + jnp.array([0.0, 0.0, 1.0]) * aim
    position = centre + distance * jnp.stack([0.0 * elevation, -jnp.cos(elevation), jnp.sin(elevation)])
    camera = Camera(position, look_at(position, centre, roll=roll), 0.5 / jnp.tan(field / 2), jnp.full(2, 0.5))
    bounds = target_bounds(camera, target)
    low = jnp.maximum(0.04 - bounds[:2], -0.2)  # the frame keeps the target whole, with a margin
    high = jnp.minimum(0.96 - bounds[2:], 0.2)
    unit = jnp.stack([shift_u, shift_v])
    camera = camera._replace(principal=0.5 + low + (high - low) * unit)

    rows = pattern_rows(category)
    is_same = jnp.arange(len(rows)) == pattern
    is_reverse = jnp.arange(len(rows)) == jnp.asarray(attributes.reverse_index(category))[pattern]
    nuisance = jnp.concatenate([jnp.stack([distance, field, roll, shift_u, shift_v, aim]), setting.places])
    return Scene(
        camera=camera,
        light=light,
        ground=setting.ground,
        context=setting.context,
        target=target,
        pattern=jnp.asarray(pattern, jnp.int32),
        compatible=is_same | (setting.both_ways & is_reverse),
        nuisance=nuisance,
    )


def mirror_scene(scene: Scene, mirrored_pattern: jax.Array, mirrored_compatible: jax.Array) -> Scene:
    """The scene seen in a mirror that swaps left and right; its image is the flipped one, its labels are given."""
    flip = jnp.array([-1.0, 1.0, 1.0])
    camera, light, ground = scene.camera, scene.light, scene.ground

    def table(t):
        return t._replace(centre=t.centre * flip, frame=t.frame * flip)

    return scene._replace(
        camera=camera._replace(
            position=camera.position * flip,
            axes=camera.axes * flip * jnp.array([[-1.0], [1.0], [1.0]]),
            principal=jnp.stack([1.0 - camera.principal[0], camera.principal[1]]),
        ),
        light=light._replace(sun=light.sun * flip, cloud_flip=-light.cloud_flip),
        ground=ground._replace(frame=ground.frame * flip, decal_frame=ground.decal_frame * flip),
        context=table(scene.context),
        target=table(scene.target),
        pattern=jnp.asarray(mirrored_pattern, jnp.int32),
        compatible=jnp.asarray(mirrored_compatible, bool),
    )
