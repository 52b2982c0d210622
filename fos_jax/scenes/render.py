"""Scenes to pixels: the camera, the light, and from them the query image, the target's cut-out and the target's box.

World: x right, y away from the viewer, z up; image: u right, v down, 0 to 1 across the frame.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fos_jax.scenes.ground import Ground, ground_colour, value_noise
from fos_jax.scenes.primitives import (
    FAR,
    Primitives,
    Vector,
    concatenate,
    corners,
    is_blocked,
    is_solid,
    nearest,
    surface,
)

FULL_FRAME = (0.0, 0.0, 1.0, 1.0)
SILHOUETTE_SIZE = 64


class Camera(NamedTuple):
    """A pinhole with a shifted lens (a photograph that was cropped).

    Attributes:
      position: float32 [3], world units.
      axes: float32 [3, 3], rows right, up, forward (orthonormal).
      focal: float32 [], in widths of the frame.
      principal: float32 [2], where the forward axis meets the image, fractions of the frame (u, v).
    """

    position: jax.Array
    axes: jax.Array
    focal: jax.Array
    principal: jax.Array


def look_at(position: jax.Array, target: jax.Array, *, roll: jax.Array | float = 0.0) -> jax.Array:
    """Camera axes float32 [3, 3] for a camera at `position` that looks at `target`; `roll` in radians."""
    forward = target - position
    forward = forward / jnp.linalg.norm(forward)
    right = jnp.cross(forward, jnp.array([0.0, 0.0, 1.0]))
    right = right / jnp.linalg.norm(right)
    up = jnp.cross(right, forward)
    c, s = jnp.cos(roll), jnp.sin(roll)
    return jnp.stack([c * right + s * up, c * up - s * right, forward])


def project(camera: Camera, points: jax.Array) -> jax.Array:
    """Points float32 [..., 3] to image coordinates float32 [..., 2] (u, v in fractions of the frame)."""
    local = (points - camera.position) @ camera.axes.T
    scale = camera.focal / jnp.maximum(local[..., 2], 1e-3)
    return jnp.stack([camera.principal[0] + scale * local[..., 0], camera.principal[1] - scale * local[..., 1]], -1)


def rays(camera: Camera, window: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Unit directions through the centres of a `size` x `size` raster over a part of the frame.

    Args:
      window: float32 [4], the part as (u0, v0, u1, v1).

    Returns:
      Three components, float32 [size * size], rows from top to bottom.
    """
    steps = (jnp.arange(size) + 0.5) / size
    u = window[0] + (window[2] - window[0]) * steps
    v = window[1] + (window[3] - window[1]) * steps
    a = jnp.broadcast_to((u - camera.principal[0]) / camera.focal, (size, size)).reshape(-1)
    b = jnp.broadcast_to(((camera.principal[1] - v) / camera.focal)[:, None], (size, size)).reshape(-1)
    scale = jax.lax.rsqrt(1.0 + a * a + b * b)
    ax = camera.axes
    return tuple(scale * (a * ax[0, i] + b * ax[1, i] + ax[2, i]) for i in range(3))  # type: ignore


class Light(NamedTuple):
    """Sun and sky.

    Attributes:
      sun: float32 [3], unit vector toward the sun.
      sun_colour: float32 [3], linear RGB.
      zenith, horizon: float32 [3], sky colours.
      glow: float32 [], strength of the brightening toward the sun.
      clouds: float32 [3], offset (2) and amount (1) of the clouds.
      cloud_flip: float32 [], 1 or -1: the clouds' own left and right (so that a scene can be mirrored exactly).
    """

    sun: jax.Array
    sun_colour: jax.Array
    zenith: jax.Array
    horizon: jax.Array
    glow: jax.Array
    clouds: jax.Array
    cloud_flip: jax.Array


def sky_colour(light: Light, direction: Vector) -> Vector:
    """Linear RGB [N] of the sky along unit directions."""
    up = jnp.clip(direction[2], 0.0, 1.0)
    lift = 1.0 - (1.0 - up) ** 3
    toward = direction[0] * light.sun[0] + direction[1] * light.sun[1] + direction[2] * light.sun[2]
    glow = light.glow * (0.9 * jnp.clip(0.5 + 0.5 * toward, 0, 1) ** 3 + 0.6 * jnp.clip(toward, 0, 1) ** 24)
    spread = 1.0 / (up + 0.15)
    cloud = value_noise(
        2.0 * light.cloud_flip * direction[0] * spread + light.clouds[0], 2.0 * direction[1] * spread + light.clouds[1]
    )
    cloud = light.clouds[2] * jnp.clip(cloud, 0, 1) * jnp.clip(6 * up, 0, 1)
    return tuple(
        (light.horizon[k] + (light.zenith[k] - light.horizon[k]) * lift) * (1 - cloud)
        + cloud * 0.9
        + glow * light.sun_colour[k] * 0.55
        for k in range(3)
    )


def lit(light: Light, colour: Vector, gloss: jax.Array, normal: Vector, view: Vector, visible: jax.Array) -> Vector:
    """Linear RGB [N] of a surface.

    Args:
      colour: albedo components [N].
      gloss: [N], strength of the highlight.
      normal: unit components [N].
      view: unit components [N], from the surface to the eye.
      visible: float32 [N], 1 where the sun reaches the surface.

    Source: Lambert with a hemispheric ambient term and a Blinn-Phong highlight.
    """
    facing = jnp.clip(sum(n * s for n, s in zip(normal, light.sun, strict=True)), 0.0, 1.0) * visible
    half = tuple(v + s for v, s in zip(view, light.sun, strict=True))
    length = jax.lax.rsqrt(jnp.maximum(half[0] ** 2 + half[1] ** 2 + half[2] ** 2, 1e-6))
    shine = jnp.clip(sum(n * h for n, h in zip(normal, half, strict=True)) * length, 0.0, 1.0) ** 32
    ambient = 0.5 + 0.5 * normal[2]
    return tuple(
        c * (0.11 + 0.17 * ambient * (0.5 * light.zenith[k] + 0.5) + 1.45 * light.sun_colour[k] * facing)
        + 0.6 * gloss * shine * visible
        for k, c in enumerate(colour)
    )


def tone(colour: Vector) -> jax.Array:
    """Linear RGB components [N] to display values float32 [N, 3] in 0 to 1.

    A square root is close to the usual exponent of 1 / 2.2 and much faster.
    """
    return jnp.stack([jnp.sqrt(jnp.clip(c, 0.0, 1.0)) for c in colour], -1)


class Scene(NamedTuple):
    """Everything that is needed to render; `pattern`, `compatible` and `nuisance` describe it.

    Attributes:
      camera, light, ground: see there.
      context: primitives that stay in the query image.
      target: primitives of the searched object.
      pattern: int32 [], the target's pattern, counted inside its category.
      compatible: bool [patterns of the category].
      nuisance: float32 [F], what must not inform about the pattern: camera jitter and positions of bystanders.
    """

    camera: Camera
    light: Light
    ground: Ground
    context: Primitives
    target: Primitives
    pattern: jax.Array
    compatible: jax.Array
    nuisance: jax.Array


def _along(camera: Camera, direction: Vector, distance: jax.Array) -> Vector:
    return tuple(camera.position[i] + distance * direction[i] for i in range(3))


def _ground_distance(camera: Camera, direction: Vector) -> jax.Array:
    down = jnp.where(direction[2] < -1e-4, direction[2], -1e-4)
    return jnp.where(direction[2] < -1e-4, -camera.position[2] / down, FAR)


def _objects(scene: Scene, table: Primitives, direction: Vector, distance, index) -> Vector:
    """Colour of the surfaces hit, with shadows of `table` on itself."""
    point = _along(scene.camera, direction, distance)
    normal, colour, gloss = surface(table, index, point)
    lifted = tuple(p + 4e-3 * n for p, n in zip(point, normal, strict=True))
    visible = 1.0 - is_blocked(table, lifted, tuple(scene.light.sun)).astype(jnp.float32)
    return lit(scene.light, colour, gloss, normal, tuple(-d for d in direction), visible)


def _picture(scene: Scene, table: Primitives, size: int) -> jax.Array:
    """float32 [size, size, 3]: ground, sky and `table`, one ray per pixel."""
    camera, light = scene.camera, scene.light
    direction = rays(camera, jnp.array(FULL_FRAME), size)
    hit, index = nearest(table, tuple(camera.position), direction)
    ground_hit = _ground_distance(camera, direction)
    is_object, is_ground = hit < jnp.minimum(ground_hit, FAR), ground_hit < FAR
    distance = jnp.where(is_object, hit, jnp.where(is_ground, ground_hit, 0.0))
    point = _along(camera, direction, distance)
    normal, colour, gloss = surface(table, index, point)
    footprint = jnp.minimum(distance, 60.0) / (camera.focal * size)
    flat, water = ground_colour(scene.ground, point[0], point[1], jnp.maximum(footprint, 1e-4))
    # Water: ripples tilt the normal; it mirrors the sky.
    f = scene.ground.frame
    u, v = f[0, 0] * point[0] + f[0, 1] * point[1], f[1, 0] * point[0] + f[1, 1] * point[1]
    ripple = 0.25 / (1.0 + (footprint / 0.05) ** 2)
    wave = jnp.sin(5.3 * u + 2.1 * v) + jnp.sin(9.7 * v - 3.3 * u + 1.0)
    fresnel = 0.15 + 0.75 * (1.0 - jnp.clip(-direction[2], 0, 1)) ** 3
    sky_up = sky_colour(light, (direction[0], direction[1], jnp.abs(direction[2]) + 0.05))
    flat = tuple(c * (1 + water * ripple * wave) for c in flat)
    up = (0.0, 0.0, 1.0)
    normal = tuple(jnp.where(is_object, n, w) for n, w in zip(normal, up, strict=True))
    colour = tuple(jnp.where(is_object, c, g) for c, g in zip(colour, flat, strict=True))
    gloss = jnp.where(is_object, gloss, 0.0)
    lifted = tuple(p + 4e-3 * n for p, n in zip(point, normal, strict=True))
    visible = 1.0 - is_blocked(table, lifted, tuple(light.sun)).astype(jnp.float32)
    shaded = lit(light, colour, gloss, normal, tuple(-d for d in direction), visible)
    mirror = jnp.where(is_object, 0.0, water) * fresnel
    shaded = tuple(
        c + mirror * ((0.45 + 0.55 * visible) * s * (1 + 0.3 * ripple * wave) - c)
        for c, s in zip(shaded, sky_up, strict=True)
    )
    sky = sky_colour(light, direction)
    haze = jnp.where(is_object | is_ground, 1.0 - jnp.exp(-distance * 0.012), 1.0)
    return tone(tuple(c + haze * (s - c) for c, s in zip(shaded, sky, strict=True))).reshape(size, size, 3)


def _shrink(image: jax.Array, factor: int) -> jax.Array:
    size = image.shape[0] // factor
    return image.reshape(size, factor, size, factor, -1).mean((1, 3))


def render_query(scene: Scene, *, size: int = 128, samples: int = 1) -> jax.Array:
    """The query image uint8 [size, size, 3]: the scene without the target and its shadow.

    Args:
      size: side in pixels.
      samples: rays along each side of a pixel.
    """
    return jnp.round(255 * _shrink(_picture(scene, scene.context, size * samples), samples)).astype(jnp.uint8)


def render_photograph(scene: Scene, *, size: int = 96, samples: int = 2) -> jax.Array:
    """The scene with its target, for people to look at: uint8 [size, size, 3]."""
    whole = concatenate(scene.context, scene.target)
    return jnp.round(255 * _shrink(_picture(scene, whole, size * samples), samples)).astype(jnp.uint8)


def render_mask(scene: Scene, *, size: int = 96) -> jax.Array:
    """Where the target is seen in `render_photograph`, one ray per pixel: bool [size, size]."""
    direction, hit, _, is_hit = _target_hit(scene, jnp.array(FULL_FRAME), size)
    before, _ = nearest(scene.context, tuple(scene.camera.position), direction)
    return (is_hit & (hit < before)).reshape(size, size)


def target_bounds(camera: Camera, target: Primitives) -> jax.Array:
    """float32 [4] (u0, v0, u1, v1): a window that surely holds the target (from the corners of its primitives)."""
    points = project(camera, corners(target))  # [K, 8, 2]
    solid = is_solid(target)[:, None, None]
    return jnp.concatenate([jnp.where(solid, points, 9.0).min((0, 1)), jnp.where(solid, points, -9.0).max((0, 1))])


def _extent(is_hit: jax.Array, window: jax.Array) -> jax.Array:
    """Bounds (u0, v0, u1, v1) of the true cells of a square raster over `window`."""
    size = is_hit.shape[0]
    cell = jnp.arange(size)

    def ends(line):
        return jnp.where(line, cell, size).min(), jnp.where(line, cell, -1).max() + 1

    (u0, u1), (v0, v1) = ends(is_hit.any(0)), ends(is_hit.any(1))
    span = jnp.stack([window[2] - window[0], window[3] - window[1]] * 2)
    return jnp.concatenate([window[:2]] * 2) + span * jnp.stack([u0, v0, u1, v1]) / size


def _target_hit(scene: Scene, window: jax.Array, size: int):
    direction = rays(scene.camera, window, size)
    hit, index = nearest(scene.target, tuple(scene.camera.position), direction)
    # What is under ground or water is hidden.
    is_hit = hit < jnp.minimum(_ground_distance(scene.camera, direction), FAR)
    return direction, hit, index, is_hit


def _tight_window(scene: Scene) -> jax.Array:
    """float32 [4]: bounds of the silhouette, at most 1 / 64 too wide on each side."""
    bounds = target_bounds(scene.camera, scene.target)
    rough = _target_hit(scene, bounds, SILHOUETTE_SIZE)[-1].reshape(SILHOUETTE_SIZE, SILHOUETTE_SIZE)
    cell = (bounds[2:] - bounds[:2]) / SILHOUETTE_SIZE
    return _extent(rough, bounds) + 0.75 * jnp.concatenate([-cell, cell])


def target_box(scene: Scene) -> jax.Array:
    """float32 [4], box_yxyx_norm: the silhouette's bounds in the query image, to about one percent of its size."""
    window = _tight_window(scene)
    is_hit = _target_hit(scene, window, SILHOUETTE_SIZE)[-1].reshape(SILHOUETTE_SIZE, SILHOUETTE_SIZE)
    u0, v0, u1, v1 = _extent(is_hit, window)
    return jnp.clip(jnp.stack([v0, u0, v1, u1]), 0.0, 1.0)


def render_cutout(scene: Scene, *, size: int = 64, samples: int = 2) -> jax.Array:
    """The target alone, uint8 [size, size, 4], from the scene's camera, filling the longer side of a square.

    Colour is straight (not premultiplied); alpha is the covered fraction of the pixel, in samples^2 + 1 levels.
    """
    tight = _tight_window(scene)
    middle, side = (tight[:2] + tight[2:]) / 2, jnp.max(tight[2:] - tight[:2])
    raster = size * samples
    direction, hit, index, is_hit = _target_hit(scene, jnp.concatenate([middle - side / 2, middle + side / 2]), raster)
    colour = tone(_objects(scene, scene.target, direction, jnp.where(is_hit, hit, 1.0), index))
    weight = is_hit.astype(jnp.float32).reshape(raster, raster, 1)
    premultiplied = _shrink(colour.reshape(raster, raster, 3) * weight, samples)
    alpha = _shrink(weight, samples)
    rgba = jnp.concatenate([premultiplied / jnp.maximum(alpha, 1e-6), alpha], -1)
    return jnp.round(255 * rgba).astype(jnp.uint8)
