"""The pinhole camera. World: x right, y away from the viewer, z up; image: u right, v down, 0 to 1 across the frame."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


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
    """Unit directions through the centres of a `size` x `size` raster.

    Args:
      camera: the camera.
      window: float32 [4], part of the frame as (u0, v0, u1, v1).
      size: raster side.

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
