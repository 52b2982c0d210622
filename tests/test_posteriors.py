"""Pattern posteriors, by hand and against naive loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax import posteriors

# Category 0: patterns 0..3 = two attributes of two values; category 1: patterns 4, 5 = one attribute; category 2: none.
CATEGORY_OF_PATTERN = np.array([0, 0, 0, 0, 1, 1])
GROUP = np.array([0, 0, 1, 1, 2, 2])
HAS_VALUE = np.array(
    [
        [1, 0, 1, 0, 0, 0],
        [1, 0, 0, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ],
    bool,
)
TABLE = {"category_of_pattern": CATEGORY_OF_PATTERN, "attribute_group": GROUP, "has_value": HAS_VALUE}


def test_pattern_posterior_by_hand():
    logits = jnp.array([[9.0, 9, 9, 9, 0, np.log(3) / 2]])
    got = jnp.exp(posteriors.pattern_log_posterior(logits, jnp.array([1]), CATEGORY_OF_PATTERN, scale=2.0))
    np.testing.assert_allclose(got, [[0, 0, 0, 0, 0.25, 0.75]], rtol=1e-6)


def test_impossible_patterns_are_minus_infinity():
    got = posteriors.pattern_log_posterior(jnp.zeros((1, 6)), jnp.array([1]), CATEGORY_OF_PATTERN)
    assert np.all(np.isneginf(got[0, :4]))


def test_a_category_without_patterns_gives_minus_infinity_and_finite_gradients():
    def total(logits):
        out = posteriors.pattern_log_posterior(logits, jnp.array([2]), CATEGORY_OF_PATTERN)
        return jnp.sum(jnp.where(jnp.isfinite(out), out, 0.0)), out

    grad, out = jax.grad(total, has_aux=True)(jnp.ones((1, 6)))
    assert np.all(np.isneginf(out))
    np.testing.assert_array_equal(grad, 0)


def test_factorised_posterior_is_the_product_of_attribute_posteriors():
    logits = jnp.log(jnp.array([[0.25, 0.75, 0.4, 0.6, 0.5, 0.5]]))
    got = jnp.exp(posteriors.factorised_log_posterior(logits, jnp.array([0]), **TABLE))
    np.testing.assert_allclose(got, [[0.1, 0.15, 0.3, 0.45, 0, 0]], rtol=1e-5)


def test_factorised_posterior_is_normalised_where_combinations_are_missing():
    table = {"category_of_pattern": CATEGORY_OF_PATTERN[1:], "attribute_group": GROUP, "has_value": HAS_VALUE[1:]}
    logits = jnp.log(jnp.array([[0.25, 0.75, 0.4, 0.6, 0.5, 0.5]]))
    got = jnp.exp(posteriors.factorised_log_posterior(logits, jnp.array([0]), **table))
    np.testing.assert_allclose(got, np.array([[0.15, 0.3, 0.45, 0, 0]]) / 0.9, rtol=1e-5)


def test_attribute_posterior_against_a_loop():
    logits = np.random.default_rng(0).normal(size=(3, 6)) * 50
    got = posteriors.attribute_log_posterior(jnp.array(logits, jnp.float32), GROUP, scale=0.5)
    expected = np.zeros_like(logits)
    for row in range(3):
        for group in range(3):
            part = logits[row, group == GROUP] * 0.5
            expected[row, group == GROUP] = part - np.logaddexp.reduce(part)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_combined_posterior_by_hand():
    a = jnp.log(jnp.array([[0.5, 0.5, 0.0, 0.0]]))
    b = jnp.log(jnp.array([[0.8, 0.2, 0.0, 0.0]]))
    np.testing.assert_allclose(jnp.exp(posteriors.combined_log_posterior(a, b)), [[2 / 3, 1 / 3, 0, 0]], rtol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_gradients_are_finite(size):
    def total(logits):
        flat = posteriors.pattern_log_posterior(logits, jnp.array([0, 1]), CATEGORY_OF_PATTERN)
        factorised = posteriors.factorised_log_posterior(logits, jnp.array([0, 1]), **TABLE)
        both = posteriors.combined_log_posterior(flat, factorised)
        return sum(jnp.sum(jnp.where(jnp.isfinite(x), x, 0.0)) for x in (flat, factorised, both))

    grad = jax.jit(jax.grad(total))(size * jnp.array([[1.0, -1, 2, 0, 1, 0], [0.0, 0, 0, 0, 1, -1]]))
    assert jnp.all(jnp.isfinite(grad))
