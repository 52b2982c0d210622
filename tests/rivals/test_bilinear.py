"""Compact bilinear pooling against the sketch of the outer product itself, and encoders that fuse by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, init_foreground, init_query
from fos_jax.encoders.bundle import load_bundle, save_bundle
from fos_jax.encoders.config import FOREGROUND_DEFAULTS, complete_foreground, complete_query, without_later_defaults
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.rivals.bilinear import compact_bilinear, count_sketch, signed_root, sketch_hashes

TABLE = PatternTable(
    ("car", "boat"), {}, (Pattern(0, "car", {}, "a car", -1, {}), Pattern(1, "boat", {}, "a boat", -1, {}))
)


def test_count_sketch_by_hand():
    """Entries 1, 2, 3 at places 0, 2, 0 with signs +, -, -."""
    found = count_sketch(jnp.array([[1.0, 2.0, 3.0]]), np.array([0, 2, 0]), np.array([1.0, -1.0, -1.0]), 4)
    np.testing.assert_allclose(found, [[-2.0, 0.0, -2.0, 0.0]])


@pytest.mark.parametrize("size", [1, 7, 16])
def test_it_is_the_sketch_of_the_outer_product(size):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5)), rng.normal(size=(3, 4))
    (place_a, sign_a, _), (place_b, sign_b, _) = sketch_hashes(5, size, seed=6), sketch_hashes(4, size, seed=7)
    naive = np.zeros((3, size))
    for i in range(5):
        for j in range(4):
            naive[:, (place_a[i] + place_b[j]) % size] += sign_a[i] * sign_b[j] * a[:, i] * b[:, j]
    np.testing.assert_allclose(compact_bilinear(a, b, size=size, seed=3), naive, atol=1e-5)


def test_inner_products_are_those_of_outer_products_in_expectation():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    sketches = [compact_bilinear(a, b, size=32, seed=seed) for seed in range(300)]
    found = np.array([np.dot(x, y) for x, y in sketches])
    expected = np.dot(a[0], a[1]) * np.dot(b[0], b[1])
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(len(found))


def test_hashes_never_change():
    """Golden: bundles hold no hashes."""
    place, sign, size = sketch_hashes(6, 100, seed=0)
    assert (place.tolist(), sign.tolist(), size) == ([44, 47, 64, 67, 67, 9], [1, 1, -1, -1, 1, -1], 100)


def test_values_and_gradients_are_finite_at_zero():
    zero = jnp.zeros((2, 5))
    loss = jax.jit(jax.grad(lambda x: jnp.sum(signed_root(compact_bilinear(x, x, size=8)))))
    assert np.isfinite(loss(zero)).all()
    np.testing.assert_allclose(signed_root(jnp.array([[4.0, -9.0]])), [[2 / 13**0.5, -3 / 13**0.5]], rtol=1e-4)
    with pytest.raises(ValueError, match="size is 0"):
        compact_bilinear(zero, zero, size=0)


def _config(**query):
    foreground = {"image_size": 16, "embedding_size": 8, "fusion": "bilinear", "fusion_size": 32}
    return {"foreground": foreground, "query": {"image_size": 16, "fusion": "bilinear", "fusion_size": 32} | query}


def test_both_encoders_fuse_the_category_and_their_bundle_knows(tmp_path):
    config, key = _config(), jax.random.key(0)
    variables = {"foreground": init_foreground(key, config, TABLE), "query": init_query(key, config, TABLE)}
    rng = np.random.default_rng(0)
    cutout = np.repeat(rng.integers(0, 256, (1, 16, 16, 4)).astype(np.uint8), 2, axis=0)
    image, box = cutout[..., :3], np.array([[0.2, 0.2, 0.7, 0.7]] * 2, np.float32)
    category = np.array([0, 1])
    save_bundle(
        tmp_path / "bundle",
        config=config,
        table=TABLE,
        foreground_variables=variables["foreground"],
        query_variables=variables["query"],
    )
    bundle = load_bundle(tmp_path / "bundle")
    foregrounds = bundle.encode_foregrounds(cutout, category).embedding
    queries = bundle.encode_queries(image, box, category).embedding
    for embedding in (foregrounds, queries):
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
        assert np.abs(embedding[0] - embedding[1]).max() > 1e-2  # the same picture, another category
    with pytest.raises(InputError, match="gives no categories"):
        build_foreground_encoder(config, TABLE).apply(variables["foreground"], cutout)


def test_a_query_encoder_without_category_ignores_it():
    config = _config(fusion="film", uses_category=False)
    variables = init_query(jax.random.key(0), config, TABLE)
    assert "category" not in variables["params"]
    image, box = np.zeros((2, 16, 16, 3), np.uint8), np.array([[0.2, 0.2, 0.7, 0.7]] * 2, np.float32)
    found = build_query_encoder(config, TABLE).apply(variables, image, box, jnp.array([0, 1])).embedding
    np.testing.assert_array_equal(found[0], found[1])


def test_fields_that_came_later_leave_fingerprints_alone():
    fields = complete_foreground({})
    assert not {"fusion", "fusion_size", "tuned"} & set(without_later_defaults(fields, FOREGROUND_DEFAULTS))
    fused = complete_foreground({"fusion": "bilinear"})
    assert without_later_defaults(fused, FOREGROUND_DEFAULTS) == {
        **{k: v for k, v in fields.items() if k not in ("fusion_size", "tuned")},
        "fusion": "bilinear",
    }


@pytest.mark.parametrize(
    ("complete", "fields", "message"),
    [
        (complete_foreground, {"fusion": "film"}, r"foreground\.fusion: 'film', expected one of none, bilinear"),
        (complete_query, {"fusion": "none"}, r"query\.fusion: 'none', expected one of film, bilinear"),
        (complete_query, {"fusion_size": 0}, r"query\.fusion_size: 0, expected a positive integer"),
        (complete_query, {"fusion": "bilinear", "views": ()}, r"query\.views: none, expected at least one"),
        (complete_query, {"uses_category": 1}, r"query\.uses_category: 1, expected True or False"),
        (complete_query, {"uses_attributes": 0}, r"query\.uses_attributes: 0, expected True or False"),
    ],
)
def test_wrong_fields_are_named(complete, fields, message):
    with pytest.raises(InputError, match=message):
        complete(fields)
