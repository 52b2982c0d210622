import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.render import Camera, look_at, project, rays


def level_camera(**changes):
    position = jnp.array([0.0, -4.0, 1.0])
    axes = look_at(position, jnp.array([0.0, 0.0, 1.0]))
    return Camera(position, axes, jnp.float32(2.0), jnp.array([0.5, 0.5]))._replace(**changes)


def test_projection_by_hand():
    """Four units away with a focal length of two frame widths, one unit is half a frame."""
    points = jnp.array([[0.0, 0, 1], [0.5, 0, 1], [0, 0, 1.5], [-1, 4, 0]])
    np.testing.assert_allclose(
        project(level_camera(), points), [[0.5, 0.5], [0.75, 0.5], [0.5, 0.25], [0.25, 0.75]], atol=1e-6
    )


def test_axes_are_right_up_forward():
    np.testing.assert_allclose(level_camera().axes, [[1, 0, 0], [0, 0, 1], [0, 1, 0]], atol=1e-6)


def test_roll_turns_the_horizon():
    axes = look_at(jnp.array([0.0, -4, 1]), jnp.array([0.0, 0, 1]), roll=np.pi / 2)
    np.testing.assert_allclose(axes, [[0, 0, 1], [-1, 0, 0], [0, 1, 0]], atol=1e-6)


def test_rays_meet_the_points_that_project_there():
    camera = level_camera(principal=jnp.array([0.4, 0.6]))
    window = jnp.array([0.1, 0.2, 0.5, 0.6])
    direction = np.stack(rays(camera, window, 4), -1)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, atol=1e-6)
    uv = project(camera, camera.position + 3.0 * direction)
    np.testing.assert_allclose(uv[0], [0.15, 0.25], atol=1e-5)  # the middle of the first cell
    np.testing.assert_allclose(uv[-1], [0.45, 0.55], atol=1e-5)
    np.testing.assert_allclose(uv[3], [0.45, 0.25], atol=1e-5)  # rows first
