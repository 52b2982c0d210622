"""The losses of pretraining, distillation and the rival: what they compute, what padding and labels do to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests_synthetic import make, table

from fos_jax.encoders.foreground import ForegroundOutput
from fos_jax.encoders.query import QueryOutput
from fos_jax.rivals.two_streams import make_two_streams_loss
from fos_jax.training import augment, student, teacher

TABLE = table()


class Fake:
    """Stands for an encoder: outputs are what the test says, a function of params and image."""

    def __init__(self, output):
        self._output = output

    def apply(self, variables, *inputs, train):
        assert train
        return self._output(variables["params"], *inputs)


def _keys(n):
    return jax.random.split(jax.random.key(0), n)


def _gather(tree):
    return tree


def _jit(loss_function):
    """As a step runs it: compiled."""
    compiled = jax.jit(
        lambda params, batch, keys, constants: loss_function(params, {}, batch, keys, constants, _gather)
    )
    return lambda params, _stats, batch, keys, constants, _gather: compiled(params, batch, keys, constants)


def _foreground_batch(n=6, weight=None):
    foregrounds, _ = make(n, 0)
    weight = np.ones(n, np.float32) if weight is None else np.asarray(weight, np.float32)
    return {"image": foregrounds.image, "pattern": foregrounds.pattern, "weight": weight, "index": np.arange(n)}


def _cosines(params, image):
    return ForegroundOutput(jnp.eye(len(image), 4), params["cosine"][: len(image)])


def test_pretraining_loss_is_the_softmax_over_the_categorys_patterns():
    batch = _foreground_batch()
    cosine = np.random.default_rng(0).uniform(-1, 1, (6, 8)).astype(np.float32)
    loss_function = _jit(teacher.make_teacher_loss(Fake(_cosines), TABLE, scale=4.0, margin=0.0))
    loss, (metrics, _) = loss_function({"cosine": cosine}, {}, batch, _keys(6), {}, _gather)
    rows, right = [], []
    for row, pattern in zip(cosine, batch["pattern"], strict=True):
        own = np.flatnonzero(TABLE.category_of_pattern == TABLE.category_of_pattern[pattern])
        rows.append(np.log(np.exp(4 * row[own]).sum()) - 4 * row[pattern])
        right.append(own[row[own].argmax()] == pattern)
    np.testing.assert_allclose(loss, np.mean(rows), rtol=1e-5)
    np.testing.assert_allclose(metrics["pattern_accuracy"], np.mean(right))


@pytest.mark.parametrize("contrastive_weight", [0.0, 0.7])
def test_padding_and_unknown_patterns_take_no_part(contrastive_weight):
    cosine = np.random.default_rng(0).uniform(-1, 1, (6, 8)).astype(np.float32)
    loss_function = _jit(
        teacher.make_teacher_loss(Fake(_cosines), TABLE, scale=4.0, margin=0.1, contrastive_weight=contrastive_weight)
    )

    def value(batch, n):
        return jax.value_and_grad(
            lambda c: loss_function({"cosine": c}, {}, batch, _keys(n), {}, _gather)[0], argnums=0
        )(cosine)

    four = {k: v[:4] for k, v in _foreground_batch().items()}
    padded = _foreground_batch(weight=[1, 1, 1, 1, 0, 0])
    unknown = _foreground_batch()
    unknown["pattern"] = np.where(np.arange(6) < 4, unknown["pattern"], -1)
    expected = value(four, 4)
    np.testing.assert_allclose(value(padded, 6)[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(value(padded, 6)[1], expected[1], rtol=1e-4, atol=1e-7)
    if not contrastive_weight:  # an unknown pattern is still somebody's negative
        np.testing.assert_allclose(value(unknown, 6)[0], expected[0], rtol=1e-5)
    nothing = value(_foreground_batch(weight=np.zeros(6)), 6)
    assert float(nothing[0]) == 0.0
    assert np.isfinite(nothing[1]).all()


def _query_batch(n=6):
    _, queries = make(n, 0)
    batch = {name: getattr(queries, name) for name in ("image", "box_yxyx_norm", "category", "is_compatible")}
    return {**batch, "weight": np.ones(n, np.float32), "index": np.arange(n)}


def _student(params, image, box, category):
    return QueryOutput(params["embedding"], params["pattern"], params["attribute"])


def _perfect(batch):
    """Outputs of a student that knows the truth."""
    share = batch["is_compatible"] / batch["is_compatible"].sum(axis=1, keepdims=True)
    marginals = share @ TABLE.has_value
    return {
        "embedding": share @ np.eye(8, dtype=np.float32),
        "pattern": np.where(share > 0, np.log(np.maximum(share, 1e-9)), -40.0).astype(np.float32),
        "attribute": np.where(marginals > 0, np.log(np.maximum(marginals, 1e-9)), -40.0).astype(np.float32),
    }


CONSTANTS = {
    "target": jnp.eye(8),
    "response": jnp.eye(8),
    "gallery": jnp.eye(8),  # one foreground a pattern
    "gallery_pattern": jnp.eye(8),
    "gallery_category": jnp.asarray(TABLE.category_of_pattern),
}


def _distill(**weights):
    given = {"feature_weight": 0.0, "response_weight": 0.0, "attribute_weight": 0.0, **weights}
    return _jit(student.make_student_loss(Fake(_student), TABLE, **given))


@pytest.mark.parametrize("name", ["response", "attribute", "combined", "embedding_response", "gallery"])
def test_a_student_that_knows_the_truth_has_no_loss_and_others_have(name):
    batch = _query_batch()
    loss_function = _distill(**{f"{name}_weight": 1.0}, embedding_scale=40.0, gallery_scale=40.0)
    truth = _perfect(batch)
    loss, (metrics, _) = loss_function(truth, {}, batch, _keys(6), CONSTANTS, _gather)
    assert abs(float(loss)) < 1e-3
    assert float(metrics["top1_compatible"]) == 1.0
    ignorant = jax.tree.map(np.zeros_like, truth)
    assert float(loss_function(ignorant, {}, batch, _keys(6), CONSTANTS, _gather)[0]) > 0.3


def test_feature_loss_is_the_mean_over_compatible_patterns():
    batch = _query_batch()
    loss, _ = _distill(feature_weight=2.0)(_perfect(batch), {}, batch, _keys(6), CONSTANTS, _gather)
    count = batch["is_compatible"].sum(axis=1)
    np.testing.assert_allclose(loss, 2 * np.mean(1 - 1 / np.sqrt(count)), rtol=1e-5)  # k unit axes and their mean


def test_a_query_that_nothing_fits_teaches_nothing():
    batch, truth = _query_batch(), _perfect(_query_batch())
    loss_function = _distill(feature_weight=1.0, response_weight=1.0, attribute_weight=1.0, combined_weight=1.0)
    batch["is_compatible"] = batch["is_compatible"].copy()
    batch["is_compatible"][2] = False
    without = {k: np.delete(v, 2, axis=0) for k, v in batch.items()}
    truth = {k: v + np.float32(0.3) * np.arange(v.shape[1], dtype=np.float32) for k, v in truth.items()}
    gradient = jax.grad(lambda p: loss_function(p, {}, batch, _keys(6), CONSTANTS, _gather)[0])(truth)
    assert all(np.isfinite(g).all() and not np.asarray(g)[2].any() for g in gradient.values())
    expected = loss_function(
        {k: np.delete(v, 2, axis=0) for k, v in truth.items()}, {}, without, _keys(5), CONSTANTS, _gather
    )[0]
    np.testing.assert_allclose(loss_function(truth, {}, batch, _keys(6), CONSTANTS, _gather)[0], expected, rtol=1e-5)


def test_a_mirrored_query_is_taught_the_mirrored_patterns():
    batch = _query_batch()
    mirrored = {**batch, "is_compatible": batch["is_compatible"][:, TABLE.mirror]}
    loss_function = _jit(
        student.make_student_loss(
            Fake(_student),
            TABLE,
            feature_weight=0.0,
            response_weight=1.0,
            attribute_weight=0.0,
            augmentation=augment.Augmentation(1.0),
        )
    )
    loss, _ = loss_function(_perfect(mirrored), {}, batch, _keys(6), CONSTANTS, _gather)
    assert abs(float(loss)) < 1e-3


def test_the_rival_prefers_own_foregrounds_and_counts_same_category_only():
    batch = _query_batch()
    foregrounds, _ = make(6, 0)
    batch["positive_image"], batch["positive_category"] = foregrounds.image, foregrounds.category
    apart = {"foreground": np.eye(6, dtype=np.float32), "query": np.eye(6, dtype=np.float32)}
    encoders = (
        Fake(lambda params, image, category: ForegroundOutput(params, None)),
        Fake(lambda params, image, box, category: QueryOutput(params, None, None)),
    )
    for same_category_only in (True, False):
        loss_function = _jit(make_two_streams_loss(*encoders, scale=5.0, same_category_only=same_category_only))
        loss, (metrics, stats) = loss_function(apart, {}, batch, _keys(6), {}, _gather)
        own = [np.sum(batch["category"] == c) if same_category_only else 6 for c in batch["category"]]
        np.testing.assert_allclose(loss, np.mean([np.log(np.exp(5) + n - 1) - 5 for n in own]), rtol=1e-4)
        assert float(metrics["own_found"]) == 1.0
        assert stats == {}
    padded = {k: np.concatenate([v, v[:2]]) for k, v in batch.items()}
    padded["weight"][-2:] = 0
    apart = {k: np.concatenate([v, v[:2]]) for k, v in apart.items()}
    again, _ = loss_function(apart, {}, padded, _keys(8), {}, _gather)
    np.testing.assert_allclose(again, loss, rtol=1e-5)
