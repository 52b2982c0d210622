"""Losses: values by hand, naive loops as oracles, finite gradients where it is hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax import losses
from fos_jax.posteriors import pattern_log_posterior

CATEGORY_OF_PATTERN = np.array([0, 0, 1, 1, 1])
# Category 0 has one attribute of two values, category 1 has none.
HAS_VALUE = np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]], bool)
GROUP = np.array([0, 0])


def test_weighted_mean_by_hand():
    assert losses.weighted_mean(jnp.array([1.0, 3.0, 100.0]), jnp.array([1.0, 3.0, 0.0])) == pytest.approx(2.5)


def test_weighted_mean_of_padding_only_is_zero():
    assert losses.weighted_mean(jnp.array([jnp.nan, jnp.inf]), jnp.zeros(2)) == 0


def test_padding_reaches_neither_value_nor_gradient():
    def loss(values):
        return losses.weighted_mean(values, jnp.array([1.0, 0.0]))

    value, grad = jax.value_and_grad(loss)(jnp.array([2.0, jnp.nan]))
    assert value == 2
    np.testing.assert_array_equal(grad, [1, 0])


def test_pattern_softmax_by_hand():
    cosine = jnp.array([[0.5, 0.0, 0.9, 0.9, 0.9], [0.9, 0.9, 0.0, 0.0, 0.0], [1.0, 0, 0, 0, 0]])
    got = losses.pattern_softmax(cosine, jnp.array([0, 3, -1]), CATEGORY_OF_PATTERN, scale=2.0, margin=0.5)
    # Row 0: equal logits of two patterns. Row 1: exp(-1) against 1 and 1. Row 2: unknown.
    expected = [np.log(2), -np.log(np.exp(-1) / (np.exp(-1) + 2)), 0]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_pattern_softmax_ignores_other_categories():
    cosine = jnp.array([[0.5, 0.1, 0.0, 0.0, 0.0]])
    other = jnp.array([[0.5, 0.1, 1.0, -1.0, 0.3]])
    args = (jnp.array([0]), CATEGORY_OF_PATTERN)
    np.testing.assert_array_equal(losses.pattern_softmax(cosine, *args), losses.pattern_softmax(other, *args))


def _naive_supervised_contrastive(z, label, real, scale):
    out = np.zeros(len(z))
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i and real[j]]
        positives = [j for j in others if label[j] == label[i]]
        if positives:
            total = sum(np.exp(scale * z[i] @ z[j]) for j in others)
            out[i] = -np.mean([np.log(np.exp(scale * z[i] @ z[j]) / total) for j in positives])
    return out


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_supervised_contrastive_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(8, 3))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    label, real = rng.integers(0, 4, 8), rng.random(8) < 0.8
    is_candidate = real[None, :] & ~np.eye(8, dtype=bool)
    is_positive = label[:, None] == label[None, :]
    got = losses.supervised_contrastive(
        jnp.array(z), jnp.array(z), jnp.array(is_positive), jnp.array(is_candidate), scale=5.0
    )
    np.testing.assert_allclose(got, _naive_supervised_contrastive(z, label, real, 5.0), rtol=2e-4, atol=1e-5)


def test_info_nce_by_hand():
    query = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    candidates = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    is_candidate = jnp.array([[True, True, False], [False, False, False]])
    got = losses.info_nce(query, candidates, jnp.array([0, -1]), is_candidate, scale=3.0)
    np.testing.assert_allclose(got, [np.log(1 + np.exp(-3.0)), 0], rtol=1e-6)


def test_info_nce_own_foreground_takes_part_even_where_masked():
    query = jnp.array([[1.0, 0.0]])
    got = losses.info_nce(query, query, jnp.array([0]), jnp.array([[False]]))
    np.testing.assert_allclose(got, [0.0], atol=1e-6)


def test_triplet_by_hand():
    got = losses.triplet(
        jnp.array([0.5, 0.5, 0.0]),
        jnp.array([[0.5, 0.0], [0.6, 9.0], [0.0, 0.0]]),
        jnp.array([[True, True], [True, False], [False, False]]),
        margin=0.3,
    )
    np.testing.assert_allclose(got, [(0.3 + 0) / 2, 0.5, 0], rtol=1e-6)


def test_feature_distillation_by_hand():
    student = jnp.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    np.testing.assert_allclose(losses.feature_distillation(student[:2], student[1::-1]), [1, 1], rtol=1e-6)
    targets = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    weight = jnp.array([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(losses.feature_distillation(student, targets, weight), [0.5, 1.0, 0.0], atol=1e-6)


def test_response_distillation_by_hand():
    teacher = jnp.log(jnp.array([[0.75, 0.25, 0.0]]))
    student = jnp.log(jnp.array([[0.5, 0.5, 0.0]]))
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    np.testing.assert_allclose(losses.response_distillation(teacher, student), [expected], rtol=1e-5)


def test_response_distillation_temperature_by_hand():
    teacher, student = jnp.log(jnp.array([[0.8, 0.2]])), jnp.log(jnp.array([[0.5, 0.5]]))
    soft = np.sqrt([0.8, 0.2]) / np.sqrt([0.8, 0.2]).sum()
    expected = 4 * np.sum(soft * np.log(soft / 0.5))
    np.testing.assert_allclose(losses.response_distillation(teacher, student, temperature=2.0), [expected], rtol=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 4.0]))
def test_response_distillation_is_a_divergence(seed, temperature):
    rng = np.random.default_rng(seed)
    category = jnp.array(rng.integers(0, 2, 4))
    a, b = (pattern_log_posterior(jnp.array(rng.normal(size=(4, 5))), category, CATEGORY_OF_PATTERN) for _ in "ab")
    assert jnp.all(losses.response_distillation(a, b, temperature=temperature) > -1e-5)
    np.testing.assert_allclose(losses.response_distillation(a, a, temperature=temperature), 0, atol=1e-5)


def test_ranking_distillation_by_hand():
    embedding, gallery = jnp.array([[1.0, 0.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    relevance = jnp.array([[3.0, 1.0, 9.0]])
    got = losses.ranking_distillation(embedding, gallery, relevance, jnp.array([[True, True, False]]), scale=2.0)
    first = np.exp(2) / (np.exp(2) + 1)  # softmax over cosines 1 and 0
    expected = 0.75 * np.log(0.75 / first) + 0.25 * np.log(0.25 / (1 - first))
    np.testing.assert_allclose(got, [expected], rtol=1e-5)


def test_ranking_distillation_is_least_where_the_ranking_is_right_and_safe_where_nothing_is_relevant():
    gallery = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    is_candidate = jnp.ones((1, 2), bool)

    def loss(embedding, relevance=(0.8, 0.2)):
        return losses.ranking_distillation(embedding, gallery, jnp.array([relevance]), is_candidate, scale=1.0)[0]

    gap = np.log(4.0)  # of the two cosines that give exactly this relevance
    assert abs(float(loss(jnp.array([[gap, 0.0]])))) < 1e-6
    assert float(loss(jnp.array([[0.0, gap]]))) > 0.5
    gradient = jax.grad(lambda e: loss(e, (0.0, 0.0)))(jnp.array([[1.0, 0.0]]))
    assert float(loss(jnp.array([[1.0, 0.0]]), (0.0, 0.0))) == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_attribute_distillation_by_hand():
    log_posterior = jnp.log(jnp.array([[0.75, 0.25, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5]]))
    got = losses.attribute_distillation(log_posterior, jnp.zeros((2, 2)), attribute_group=GROUP, has_value=HAS_VALUE)
    np.testing.assert_allclose(got, [0.75 * np.log(1.5) + 0.25 * np.log(0.5), 0], rtol=1e-5)


HARD = {
    "pattern_softmax, unknown patterns": lambda x: losses.pattern_softmax(x, jnp.array([-1, -1]), CATEGORY_OF_PATTERN),
    "supervised_contrastive, no positives": lambda x: losses.supervised_contrastive(
        x, x, jnp.zeros((2, 2), bool), jnp.ones((2, 2), bool)
    ),
    "supervised_contrastive, no candidates": lambda x: losses.supervised_contrastive(
        x, x, jnp.ones((2, 2), bool), jnp.zeros((2, 2), bool)
    ),
    "info_nce, no positive": lambda x: losses.info_nce(x, x, jnp.array([-1, -1]), jnp.zeros((2, 2), bool)),
    "triplet, no negatives": lambda x: losses.triplet(x[:, 0], x, jnp.zeros(x.shape, bool)),
    "feature_distillation": lambda x: losses.feature_distillation(x, jnp.zeros_like(x)),
    "feature_distillation, no targets": lambda x: losses.feature_distillation(x, x, jnp.zeros((2, 2), bool)),
    "response_distillation": lambda x: losses.response_distillation(
        jnp.log(jnp.array([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0]])),
        pattern_log_posterior(x, jnp.array([0, 0]), CATEGORY_OF_PATTERN),
    ),
    "attribute_distillation": lambda x: losses.attribute_distillation(
        jnp.log(jnp.array([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0]])), x[:, :2], attribute_group=GROUP, has_value=HAS_VALUE
    ),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e4])
def test_hard_cases_give_finite_values_and_gradients(name, size):
    def total(x):
        return jnp.sum(HARD[name](x))

    x = size * jnp.array([[1.0, -1, 0, 1, 0], [0, 0, 1, -1, 1]])
    value, grad = jax.jit(jax.value_and_grad(total))(x)
    assert jnp.isfinite(value)
    assert jnp.all(jnp.isfinite(grad))
