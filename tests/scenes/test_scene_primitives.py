import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.scenes import primitives
from fos_jax.scenes.primitives import (
    BOX,
    CYLINDER_Z,
    ELLIPSOID,
    Part,
    assemble,
    cone,
    corners,
    cut,
    hull,
    is_solid,
    place,
    rotation,
    taper_x,
)

RED = np.array([1.0, 0.0, 0.0])


def solid(quadric, *, centre=(0.0, 0.0, 0.0), half=(1.0, 1.0, 1.0), turn=(0.0, 0.0, 0.0), num=1):
    return assemble([Part(quadric, centre, half, RED, turn)], num)


def ray(*origin_and_direction):
    return tuple(jnp.array([float(x)]) for x in origin_and_direction)


def span(quadric, origin, direction, **rest):
    row = jax.tree.map(lambda x: x[0], solid(quadric, **rest))
    entry, exit_ = primitives.interval(row, ray(*origin), ray(*direction))
    return float(entry[0]), float(exit_[0])


# By hand: the rays run along an axis or through a point whose coordinates solve the quadric.
CASES = [
    ("box", BOX, (-3, 0, 0), (1, 0, 0), (2, 4)),
    ("box from inside", BOX, (0, 0, 0), (0, 1, 0), (-1, 1)),
    ("box, scaled and moved", BOX, (0, 0, 9), (0, 0, -1), (4, 8)),
    ("sphere", ELLIPSOID, (-3, 0, 0), (1, 0, 0), (2, 4)),
    ("sphere off its middle", ELLIPSOID, (-3, 0.6, 0), (1, 0, 0), (2.2, 3.8)),
    ("cylinder's side", CYLINDER_Z, (-3, 0.8, 0), (1, 0, 0), (2.4, 3.6)),
    ("cylinder's cap", CYLINDER_Z, (0.5, 0, 5), (0, 0, -1), (4, 6)),
    ("cone at mid height", cone(1.0, 0.0), (-3, 0, 0), (1, 0, 0), (2.5, 3.5)),
    ("cone along its axis", cone(1.0, 0.0), (0, 0, 5), (0, 0, -1), (4, 6)),
    ("cone from below, off its axis", cone(1.0, 0.0), (0.5, 0, -5), (0, 0, 1), (4, 5)),
    ("tapered box at the top", taper_x(1.0, 0.5), (-3, 0, 0.999999), (1, 0, 0), (2.5, 3.5)),
    ("tapered box at the bottom", taper_x(1.0, 0.5), (-3, 0, -0.999999), (1, 0, 0), (2, 4)),
    ("box cut by x + z = 0", cut(1, 0, 1, 0), (-3, 0, 0.5), (1, 0, 0), (2, 2.5)),
    ("the same from the open side", cut(1, 0, 1, 0), (3, 0, 0.5), (-1, 0, 0), (3.5, 4)),
    ("hull's bow at deck height", hull(0.5), (3, 0, 0.999999), (-1, 0, 0), (2, 4)),
    ("hull's beam amidships", hull(0.0), (0, -3, 0), (0, 1, 0), (2, 4)),
]


@pytest.mark.parametrize(
    ("quadric", "origin", "direction", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_interval_by_hand(quadric, origin, direction, expected):
    rest = {"centre": (0, 0, 3), "half": (1, 1, 2)} if origin == (0, 0, 9) else {}
    np.testing.assert_allclose(span(quadric, origin, direction, **rest), expected, atol=1e-4)


@pytest.mark.parametrize("quadric", [BOX, ELLIPSOID, CYLINDER_Z, cone(1.0, 0.2), cut(1, 0, 1, 0)])
def test_rays_beside_a_solid_miss(quadric):
    entry, exit_ = span(quadric, (-3, 2.5, 0.3), (1, 0, 0))
    assert entry > exit_


def test_interval_agrees_with_marching():
    """Naive oracle: points along random rays, tested against the definition of the solid."""
    rng = np.random.default_rng(0)
    for quadric in (
        BOX,
        ELLIPSOID,
        CYLINDER_Z,
        cone(1.0, 0.3),
        cone(0.2, 0.9),
        taper_x(1.0, 0.4),
        cut(1, 1, 1, 0.3),
        hull(0.5),
    ):
        table = solid(quadric, centre=(0.2, -0.1, 0.3), half=(0.7, 1.1, 0.5), turn=(0.3, -0.5, 1.0))
        origin = rng.normal(size=(200, 3)) * 3
        aim = rng.normal(size=(200, 3)) * 0.4
        direction = (aim - origin) / np.linalg.norm(aim - origin, axis=1, keepdims=True)
        t = np.linspace(0, 12, 4001)
        points = origin[:, None] + t[None, :, None] * direction[:, None]
        u = (points - np.asarray(table.centre[0])) @ np.asarray(table.frame[0]).T
        square, linear, constant = (np.asarray(x[0]) for x in (table.square, table.linear, table.constant))
        inside = (np.abs(u) <= 1).all(-1) & ((square * u * u + linear * u).sum(-1) + constant <= 0)
        row = jax.tree.map(lambda x: x[0], table)
        entry, exit_ = primitives.interval(row, tuple(jnp.asarray(origin.T)), tuple(jnp.asarray(direction.T)))
        length = np.clip(np.asarray(exit_), 0, 12) - np.clip(np.asarray(entry), 0, 12)
        np.testing.assert_allclose(np.maximum(length, 0), inside.mean(1) * 12, atol=0.02)


def test_nearest_takes_the_closest_and_reports_its_row():
    table = assemble([Part(BOX, (5, 0, 0), (1, 1, 1), RED), Part(ELLIPSOID, (2, 0, 0), (0.5, 0.5, 0.5), RED)], 4)
    distance, index = primitives.nearest(table, ray(0, 0, 0), ray(1, 0, 0))
    assert float(distance[0]) == pytest.approx(1.5)
    assert int(index[0]) == 1
    assert float(primitives.nearest(table, ray(0, 0, 0), ray(-1, 0, 0))[0][0]) == primitives.FAR


def test_blocked_only_in_front():
    table = solid(BOX, centre=(3, 0, 0))
    assert bool(primitives.is_blocked(table, ray(0, 0, 0), ray(1, 0, 0))[0])
    assert not bool(primitives.is_blocked(table, ray(0, 0, 0), ray(-1, 0, 0))[0])


def test_normals_by_hand():
    box = solid(BOX, half=(1, 2, 3))
    normal, *_ = primitives.surface(box, jnp.zeros(1, jnp.int32), ray(1, 0.5, 0.5))
    np.testing.assert_allclose([float(x[0]) for x in normal], [1, 0, 0], atol=1e-6)
    ball = solid(ELLIPSOID)
    normal, colour, *_ = primitives.surface(ball, jnp.zeros(1, jnp.int32), ray(0.6, 0, 0.8))
    np.testing.assert_allclose([float(x[0]) for x in normal], [0.6, 0, 0.8], atol=1e-5)
    np.testing.assert_allclose([float(x[0]) for x in colour], RED, atol=1e-6)


def test_place_turns_scales_and_moves():
    table = place(
        solid(BOX, centre=(1, 0, 0)),
        scale=2.0,
        turn=rotation(jnp.array([[0, 0, jnp.pi / 2]]))[0],
        shift=jnp.array([0, 0, 1.0]),
    )
    np.testing.assert_allclose(table.centre[0], [0, 2, 1], atol=1e-5)
    reach = np.asarray(corners(table)[0])
    np.testing.assert_allclose(reach.min(0), [-2, 0, -1], atol=1e-4)
    np.testing.assert_allclose(reach.max(0), [2, 4, 3], atol=1e-4)


def test_padding_is_never_hit_and_known():
    table = solid(BOX, num=3)
    assert is_solid(table).tolist() == [True, False, False]
    empty = jax.tree.map(lambda x: x[1:], table)
    assert not bool(primitives.is_blocked(empty, ray(-3, 0, 0), ray(1, 0, 0))[0])


def test_too_many_parts_are_refused():
    with pytest.raises(ValueError, match="2 parts, expected at most 1"):
        assemble([Part(BOX, (0, 0, 0), (1, 1, 1), RED)] * 2, 1)
