import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.scenes.attributes import pattern_rows, pattern_table
from fos_jax.scenes.primitives import corners, is_solid
from fos_jax.scenes.render import project, render_cutout, render_photograph, render_query, target_box
from fos_jax.scenes.streams import CHUNK, query_stream, render_cutouts, render_queries, sample_scenes, scene_keys
from fos_jax.scenes.world import mirror_scene

CATEGORY = "car"
SIZE = 32


@functools.cache
def scenes():
    return sample_scenes(7, "test", CATEGORY, np.arange(CHUNK))


def scene(i):
    return jax.tree.map(lambda x: x[i], scenes())


query = jax.jit(functools.partial(render_query, size=SIZE))
cutout = jax.jit(functools.partial(render_cutout, size=SIZE))
box_of = jax.jit(target_box)


def test_mirrored_scene_gives_the_flipped_images_and_the_mirrored_pattern():
    table = pattern_table([CATEGORY])
    for i in (1, 6, 13):
        original = scene(i)
        flipped = mirror_scene(original, table.mirror[int(original.pattern)], original.compatible[table.mirror])
        for draw in (query, cutout):
            ours, theirs = np.asarray(draw(flipped), int), np.asarray(draw(original), int)[:, ::-1]
            assert (np.abs(ours - theirs) > 2).mean() < 0.01  # rounding decides a few pixels on edges
        sun = flipped.light.sun[0]
        assert pattern_rows(CATEGORY)[int(flipped.pattern)]["light"] == ("right" if sun > 0 else "left")
        y0, x0, y1, x1 = box_of(original)
        np.testing.assert_allclose(box_of(flipped), [y0, 1 - x1, y1, 1 - x0], atol=2e-2)


def test_query_shows_nothing_of_the_target():
    """Other colours, another shape, another place, or no target at all: the query's bytes stay."""
    original = scene(3)
    target = original.target
    changes = [
        target._replace(colour=1 - target.colour),
        target._replace(frame=target.frame * 0.4),
        target._replace(centre=target.centre + 1.0),
        jax.tree.map(jnp.zeros_like, target)._replace(constant=jnp.ones_like(target.constant)),
    ]
    for other in changes:
        assert (query(original._replace(target=other)) == query(original)).all()
    photograph = jax.jit(functools.partial(render_photograph, size=SIZE, samples=1))
    assert (photograph(original) != query(original)).any()


def test_cutout_does_not_depend_on_its_place():
    original, other = scene(3), scene(4)
    assert (cutout(original._replace(context=other.context, ground=other.ground)) == cutout(original)).all()


def test_cutout_is_tight_and_antialiased():
    for i in range(4):
        alpha = np.asarray(cutout(scene(i)))[..., 3]
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        assert max(rows[-1] - rows[0], columns[-1] - columns[0]) >= 0.88 * SIZE
        assert set(np.unique(alpha)) <= {0, 64, 128, 191, 255}
        assert ((alpha > 0) & (alpha < 255)).any()


def test_box_lies_inside_the_frame_and_inside_the_projected_corners():
    for i in range(4):
        s = scene(i)
        y0, x0, y1, x1 = np.asarray(box_of(s))
        assert 0 <= y0 < y1 <= 1
        assert 0 <= x0 < x1 <= 1
        points = np.asarray(project(s.camera, corners(s.target)))[np.asarray(is_solid(s.target))].reshape(-1, 2)
        low, high = points.min(0) - 1e-3, points.max(0) + 1e-3
        assert low[0] <= x0 < x1 <= high[0]
        assert low[1] <= y0 < y1 <= high[1]


def test_light_and_elevation_are_where_the_pattern_says():
    s = scenes()
    rows = [pattern_rows(CATEGORY)[int(p)] for p in s.pattern]
    assert [r["light"] == "right" for r in rows] == (np.asarray(s.light.sun[:, 0]) > 0).tolist()
    down = np.degrees(np.arcsin(-np.asarray(s.camera.axes[:, 2, 2])))
    assert [r["elevation"] == "high" for r in rows] == (down > 20).tolist()


def test_own_pattern_is_compatible_and_some_scenes_fit_two():
    compatible = np.asarray(scenes().compatible)
    assert compatible[np.arange(CHUNK), np.asarray(scenes().pattern)].all()
    assert set(compatible.sum(1)) == {1, 2}


def test_same_number_same_pixels():
    again = sample_scenes(7, "test", CATEGORY, np.arange(CHUNK))
    for a, b in zip(render_queries(again, size=SIZE), render_queries(scenes(), size=SIZE), strict=True):
        assert (a == b).all()
    assert (render_cutouts(again, size=SIZE) == render_cutouts(scenes(), size=SIZE)).all()


def test_count_does_not_change_what_comes_first():
    few = list(query_stream(7, "test", {CATEGORY: 3}, size=SIZE))
    assert [row["index"] for row in few] == [0, 1, 2]
    image, box = render_queries(scenes(), size=SIZE)
    for i, row in enumerate(few):
        assert (row["image"] == image[i]).all()
        assert (row["box_yxyx_norm"] == box[i]).all()


def test_splits_and_categories_share_no_key():
    data = [
        np.asarray(jax.random.key_data(scene_keys(0, split, category, np.arange(3000))))
        for split in ("train", "validation", "test")
        for category in ("car", "dog")
    ]
    assert len(np.unique(np.concatenate(data), axis=0)) == 6 * 3000


@pytest.mark.parametrize("split", ["train", "test"])
def test_splits_show_other_scenes(split):
    other = sample_scenes(7, "validation", CATEGORY, np.arange(CHUNK))
    ours = sample_scenes(7, split, CATEGORY, np.arange(CHUNK))
    both = np.concatenate([np.asarray(ours.nuisance), np.asarray(other.nuisance)])
    assert len(np.unique(both, axis=0)) == 2 * CHUNK
