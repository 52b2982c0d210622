"""Inputs, features, correlations and heads of the experts, each on its own."""

import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.experts import inputs
from fos_jax.experts.canonical import fit_canonical, join_reduced, reduce_block, scores
from fos_jax.experts.features import FeatureCache, mild_variant
from fos_jax.experts.heads import fit_head
from fos_jax.experts.training import one_hot, own_percentile


def _photo(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (90, 120, 3)).astype(np.uint8)


def test_nothing_inside_the_rectangle_takes_part():
    photo, box = _photo(), (30, 20, 80, 70)
    other = photo.copy()
    other[20:70, 30:80] = _photo(1)[20:70, 30:80]
    for a, b in zip(inputs.query_row(photo, box, 64), inputs.query_row(other, box, 64), strict=True):
        np.testing.assert_array_equal(a, b)
    other[10, 10] ^= 255  # outside, and in the window
    assert (inputs.query_row(photo, box, 64).image != inputs.query_row(other, box, 64).image).any()


def test_the_window_of_a_rectangle_may_leave_the_photograph():
    row = inputs.query_row(_photo(), (0, 0, 40, 90), 64)
    left, top, side = inputs.query_window((0, 0, 40, 90))
    assert (left, top, side) == (-70, -45, 180)
    assert (row.image[:10] == 128).all()
    assert row.shape[9:].tolist() == [1, 1, 0, 1]  # touches left, top, bottom


def test_a_rectangle_that_fills_the_photograph_has_no_surroundings():
    row = inputs.query_row(_photo(), (0, 0, 120, 90), 64)
    assert not row.tone.any()
    assert (row.image == 128).all()


def test_shapes_mirror_and_tell_truncation():
    rgba = np.dstack([_photo()[:40, :60], np.zeros((40, 60), np.uint8)])
    rgba[5:, :30, 3] = rgba[20:, 30:, 3] = 255
    a = inputs.silhouette_numbers(rgba, ("left",))
    b = inputs.silhouette_numbers(rgba[:, ::-1], ("right",))
    cells = a[7:].reshape(8, 8)
    np.testing.assert_allclose(cells[:, ::-1], b[7:].reshape(8, 8), atol=1e-6)
    assert a[3:7].tolist() == [1, 0, 0, 0]
    assert b[3:7].tolist() == [0, 0, 1, 0]
    assert inputs.silhouette_numbers(rgba, None)[2] == 1


def test_the_rim_is_taken_off_picture_and_tone():
    rgba = np.full((100, 100, 4), (60, 60, 60, 255), np.uint8)
    rgba[:2] = rgba[-2:] = rgba[:, :2] = rgba[:, -2:] = (255, 0, 0, 255)  # a halo of the photograph around
    whole = inputs.cutout_row(np.pad(rgba, ((1, 1), (1, 1), (0, 0))), (), 64, erode=False)
    inner = inputs.cutout_row(np.pad(rgba, ((1, 1), (1, 1), (0, 0))), (), 64)
    assert whole.image[..., 0].max() > 200
    assert inner.image[8:-8, 8:-8, 0].max() < 70
    assert inner.tone[8] < 0.05 < whole.tone[8]  # saturation


def test_tone_follows_light():
    dark, bright = ((0.5 * _photo()).astype(np.uint8), (127 + 0.5 * _photo()).astype(np.uint8))
    tones = [inputs.query_row(p, (30, 20, 80, 70), 64).tone for p in (dark, bright)]
    assert tones[0][0] < tones[1][0] - 0.3


def test_features_are_kept_and_damaged_ones_computed_again(backbone, tmp_path):
    cache = FeatureCache(backbone, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 4)).astype(np.uint8)
    first = cache(images)
    assert first.dtype == np.float16
    assert first.shape == (3, backbone.num_features)
    (path,) = tmp_path.iterdir()
    np.save(path, first + 1)
    np.testing.assert_array_equal(cache(images), first + 1)  # read, not computed
    path.write_bytes(b"damaged")
    np.testing.assert_array_equal(cache(images), first)
    np.testing.assert_array_equal(np.load(path), first)


def test_features_do_not_depend_on_the_batch(backbone):
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    whole = backbone(images).astype(np.float32)
    single = backbone(images[2:3]).astype(np.float32)
    np.testing.assert_allclose(whole[2:3], single, atol=2e-2)
    with pytest.raises(InputError, match=r"images: uint8 \[5, 64, 64, 2\], expected uint8 \[n, 64, 64, 3 or 4\]"):
        backbone(images[..., :2])


def test_weights_that_give_no_finite_features_are_refused(backbone, monkeypatch):
    monkeypatch.setattr(backbone, "_step", lambda images: np.full((len(images), backbone.num_features), np.nan))
    images = np.zeros((2, backbone.size, backbone.size, 4), np.uint8)
    with pytest.raises(InputError, match="package: gives features that are not finite"):
        backbone(images)


def test_mild_variants_stay_filled_and_change_colours():
    image = np.zeros((32, 32, 4), np.uint8)
    image[..., :3] = 128
    image[8:24, 8:24] = (200, 80, 40, 255)
    variants = [mild_variant(image, np.random.default_rng(seed)) for seed in range(8)]
    assert all((v[..., 3] == image[..., 3]).all() and (v[0, 0, :3] == 128).all() for v in variants)
    assert len({v[16, 16].tobytes() for v in variants}) > 4


def _pairs(n=400, shared=4, seed=0):
    """Two sides that share a few directions among many, with an offset per group on either side."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 5, n)
    common = rng.normal(size=(n, shared))
    sides = []
    for _ in range(2):
        noise = rng.normal(size=(n, 40))
        noise[:, :shared] += 2 * common
        sides.append(noise @ np.linalg.qr(rng.normal(size=(40, 40)))[0] + 10 * rng.normal(size=(5, 40))[group])
    return sides[0], sides[1], group


def test_canonical_directions_find_the_own_foreground_of_new_pairs():
    q, f, group = _pairs()
    train, test = slice(0, 300), slice(300, 400)
    maps = fit_canonical(
        reduce_block(q[train]),
        reduce_block(f[train]),
        group[train],
        group[train],
        num_categories=5,
        shrinkage=0.1,
        size=4,
    )
    vectors = [m(x[test], group[test]) for m, x in zip(maps, (q, f), strict=True)]
    for v in vectors:
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, atol=1e-5)
    place = own_percentile(vectors[0] @ vectors[1].T, group[test]).mean()
    assert place < 0.15  # chance is .5
    again = fit_canonical(
        reduce_block(q[train]),
        reduce_block(f[train]),
        group[train],
        group[train],
        num_categories=5,
        shrinkage=0.1,
        size=4,
    )
    np.testing.assert_array_equal(maps[0].matrix, again[0].matrix)
    unknown = maps[0](q[test], np.full(100, -1))
    assert np.isfinite(unknown).all()
    assert not maps[0].offset[-1].any()


def test_scores_add_up():
    rng = np.random.default_rng(0)
    q, f = ({"a": rng.normal(size=(n, 3)), "b": rng.normal(size=(n, 5))} for n in (4, 6))
    expected = 0.5 * q["a"] @ f["a"].T + 2 * q["b"] @ f["b"].T
    np.testing.assert_allclose(scores(q, f, {"a": 0.5, "b": 2.0}), expected, atol=1e-5)


def test_reduction_maps_new_rows_as_those_it_was_made_of():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(50, 8)), rng.normal(size=(50, 300))]
    reduced = join_reduced([reduce_block(block, components=16) for block in blocks])
    assert reduced.rows.shape == (50, 24)
    np.testing.assert_allclose(reduced.apply(blocks), reduced.rows, atol=1e-8)


def test_own_percentile_counts_ties_half():
    category = np.array(["a", "a", "a", "b"])
    similarity = np.array([[1.0, 2, 0, 9], [0, 1, 1, 9], [0, 0, 5, 9], [9, 9, 9, 0]])
    np.testing.assert_allclose(own_percentile(similarity, category), [0.5, 0.25, 0, 0])


def test_heads_learn_within_categories_and_from_soft_targets():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 10))
    category = rng.integers(0, 2, 600)
    of_pattern = np.array([0, 0, 1, 1, 1])
    truth = np.where(category == 0, (x[:, 0] > 0).astype(int), 2 + np.digitize(x[:, 1], [-0.5, 0.5]))
    head = fit_head(reduce_block(x), one_hot(truth, 5), category, of_pattern, strengths=[1e-4])
    posterior = np.exp(head.log_posterior(x, category, of_pattern))
    np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-4)
    assert not posterior[category == 0][:, 2:].any()
    assert (posterior.argmax(1) == truth).mean() > 0.9
    assert np.isneginf(head.log_posterior(x[:3], np.full(3, -1), of_pattern)).all()
    soft = fit_head(
        reduce_block(x), np.tile([0.3, 0.7, 0, 0, 0], (600, 1)), np.zeros(600, int), of_pattern, strengths=[1e-2]
    )
    np.testing.assert_allclose(np.exp(soft.log_posterior(x, np.zeros(600, int), of_pattern))[:, 1], 0.7, atol=0.02)


def test_the_penalty_is_chosen_on_what_was_held_out():
    rng = np.random.default_rng(0)
    x, truth, zeros = rng.normal(size=(60, 40)), rng.integers(0, 2, 60), np.zeros(60, int)
    of_pattern = np.array([0, 0])
    noise = fit_head(
        reduce_block(x),
        one_hot(truth, 2),
        zeros,
        of_pattern,
        strengths=[1e-6, 1.0],
        held_out=(rng.normal(size=(60, 40)), one_hot(1 - truth, 2), zeros),
    )
    assert np.abs(noise.matrix).max() < 0.05  # labels are noise: the stronger penalty
