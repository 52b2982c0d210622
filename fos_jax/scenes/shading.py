"""Light: one sun, a sky that glows on the sun's side, a matte and glossy surface model, and the tone curve."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fos_jax.scenes.ground import value_noise
from fos_jax.scenes.tracing import Vector


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
      light: sun and sky.
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

    Source: design decision: a square root, close to the usual exponent of 1 / 2.2 and much faster.
    """
    return jnp.stack([jnp.sqrt(jnp.clip(c, 0.0, 1.0)) for c in colour], -1)
