"""DiscoFOS: which pairs are drawn, and both stages' losses by hand with stand-ins for all networks."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.errors import InputError
from fos_jax.rivals import disco
from fos_jax.rivals.composite import PairOutput
from fos_jax.rivals.disco_pairs import (
    balanced_accuracy,
    drawn_negatives,
    flat_pairs,
    make_teacher_loss,
    own_and_drawn,
    with_own,
)

KEYS = jax.random.split(jax.random.key(0), 4)


def drawn(number, keys=KEYS, **changes):
    """Rows 0, 1 and 3 are of one category, row 2 of another."""
    batch = {
        "category": jnp.array([0, 0, 1, 0]),
        "positive_category": jnp.array([0, 0, 1, 0]),
        "positive_row": jnp.array([5, 6, 7, 8]),
        "weight": jnp.ones(4),
    }
    batch |= {name: jnp.array(value) for name, value in changes.items()}
    return jax.tree.map(np.asarray, drawn_negatives(keys, batch, batch, number=number))


def test_negatives_are_other_foregrounds_of_the_category():
    rows, is_drawn = drawn(3)
    found = [sorted(rows[i][is_drawn[i]]) for i in range(4)]
    assert found == [[1, 3], [0, 3], [], [0, 1]]
    assert [sorted(r[d]) for r, d in zip(*drawn(3, positive_row=[5, 6, 7, 5]), strict=True)] == [[1], [0, 3], [], [1]]
    assert [sorted(r[d]) for r, d in zip(*drawn(3, weight=[1, 1, 1, 0]), strict=True)] == [[1], [0], [], []]


def test_each_negative_is_drawn_about_as_often():
    firsts = [drawn(1, jax.random.split(jax.random.key(seed), 4))[0][0, 0] for seed in range(60)]
    assert set(firsts) == {1, 3}
    assert 15 < firsts.count(1) < 45


def test_pairs_lie_own_first_and_a_querys_next_to_each_other():
    own, others = jnp.array([[1], [2]]), jnp.array([[[3], [4]], [[5], [6]]])
    pairs = with_own(own, others)
    assert pairs[..., 0].tolist() == [[1, 3, 4], [2, 5, 6]]
    query, foreground = flat_pairs((jnp.array([7, 8]),), pairs)
    assert query.tolist() == [7, 7, 7, 8, 8, 8]
    assert foreground[:, 0].tolist() == [1, 3, 4, 2, 5, 6]
    is_true, is_pair = own_and_drawn(jnp.array([1.0, 0.0]), jnp.array([[True, False], [False, False]]))
    assert is_true.tolist() == [[True, False, False]] * 2
    assert is_pair.tolist() == [[True, True, False], [False, False, False]]


def test_accuracy_is_a_half_for_a_constant_answer():
    """One true pair right of two, two false ones right of three, the sixth is no pair."""
    logit = jnp.array([[1.0, -1.0, 2.0], [-1.0, -3.0, 9.0]])
    is_true = jnp.array([[True, False, False], [True, False, False]])
    is_pair = jnp.array([[True, True, True], [True, True, False]])
    assert balanced_accuracy(logit, is_true, is_pair) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert balanced_accuracy(-jnp.ones((2, 3)), is_true, is_pair) == 0.5


def picture(pixel):
    return np.broadcast_to(np.array(pixel), (4, 4, len(pixel))).astype(np.uint8)


BATCH = {
    "image": np.stack([picture([200, 0, 0]), picture([0, 200, 0]), picture([0, 200, 0])]),
    "box_yxyx_norm": np.tile(np.array([0.1, 0.1, 0.6, 0.6], np.float32), (3, 1)),
    "category": np.array([0, 0, 1], np.int32),
    "weight": np.ones(3, np.float32),
    "positive_image": np.stack([picture([200, 0, 0, 255]), picture([0, 200, 0, 255]), picture([0, 200, 0, 255])]),
    "positive_category": np.array([0, 0, 1], np.int32),
    "positive_row": np.array([0, 1, 2], np.int32),
}


def direction(image):
    """The image's first two channels as a unit vector: red is (1, 0), green (0, 1)."""
    mean = image[..., :2].astype(jnp.float32).mean((1, 2))
    return mean / jnp.linalg.norm(mean, axis=1, keepdims=True)


class Judge:
    """Stands for the discriminator: the cosine of the two pictures is its logit, its negative is in the feature."""

    def apply(self, variables, image, box, category, foreground, train=False):
        cosine = variables["params"]["gain"] * jnp.sum(direction(image) * direction(foreground), axis=-1)
        return PairOutput(jnp.stack([cosine, -cosine], axis=-1), cosine)


class Encoded(NamedTuple):
    embedding: jax.Array


class Interaction:
    """Stands for the interaction: three times the cosine is its logit, the cosine plus a half its feature."""

    def apply(self, variables, *inputs, method):
        if method.__name__ == "of_queries":
            return inputs[2]
        if method.__name__ == "of_foregrounds":
            return inputs[1]
        query, foreground = inputs
        cosine = variables["params"]["gain"] * jnp.sum(query * foreground, axis=-1)
        return PairOutput(jnp.stack([cosine, -cosine], axis=-1) + 0.5, 3 * cosine)


def softplus(x):
    return np.log1p(np.exp(x))


def teacher_loss(batch=BATCH):
    loss = make_teacher_loss(Judge(), negatives=1)
    params = {"composite": {"gain": jnp.ones(())}}
    return jax.jit(lambda batch: loss(params, {}, batch, KEYS[:3], {}, lambda x: x))(batch)


def test_the_teacher_classifies_composites():
    """Own ones have logit 1; rows 0 and 1 are each other's only negative, at logit 0; row 2 has none."""
    loss, (metrics, stats) = teacher_loss()
    assert loss == pytest.approx((softplus(-1) + softplus(0)) / 2, rel=1e-5)
    assert metrics["right"] == 1.0
    assert not stats
    with pytest.raises(InputError, match=r"disco\.teacher_negatives: 0, expected at least 1"):
        make_teacher_loss(Judge(), negatives=0)


WEIGHTS = {"distillation_weight": 2.0, "classification_weight": 3.0, "cosine_weight": 5.0}


def student_loss(monkeypatch, batch=BATCH, interaction=None, **settings):
    def apply_with_map(encoder, variables, image, *_, train):
        return Encoded(variables["params"]["gain"] * direction(image)), image, {}

    monkeypatch.setattr(disco, "apply_with_map", apply_with_map)
    settings = {"negatives": 1, "distilled_negatives": 1, "scale": 2.0, **WEIGHTS} | settings
    encoder = types.SimpleNamespace()
    loss = disco.make_disco_loss(encoder, encoder, interaction or Interaction(), Judge(), **settings)
    params = {name: {"gain": jnp.ones(())} for name in ("foreground", "query", "interaction")}
    constants = {"composite": {"params": {"gain": jnp.ones(())}}}
    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=5)
    return run(params, {}, batch, KEYS[:3], constants, _same)


def _same(tree):
    return tree


def test_the_student_matches_classifies_and_ranks(monkeypatch):
    """Features are off by a half everywhere; logits are 3 for own pairs and 0 for the two negatives."""
    (loss, (metrics, _)), gradient = student_loss(monkeypatch)
    cosine = 2 * (np.log(np.exp(2) + 1) - 2) / 3  # rows 0 and 1 have one negative at cosine 0, row 2 has none
    assert metrics["distillation"] == pytest.approx(0.25, rel=1e-5)
    assert metrics["classification"] == pytest.approx((softplus(-3) + softplus(0)) / 2, rel=1e-5)
    assert metrics["cosine"] == pytest.approx(cosine, rel=1e-5)
    assert metrics["right"] == 1.0
    expected = 2 * 0.25 + 3 * metrics["classification"] + 5 * cosine
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert all(np.isfinite(x) and x != 0 for x in jax.tree.leaves(gradient))


def test_without_distilled_negatives_own_composites_are_matched(monkeypatch):
    """A feature is (cosine, -cosine) by the teacher; with a gain of 3 the student's own pairs are further off."""

    class Threefold(Interaction):
        def apply(self, variables, *inputs, method):
            return super().apply({"params": {"gain": 3.0}}, *inputs, method=method)

    def distillation(**settings):
        (_, (metrics, _)), _ = student_loss(monkeypatch, interaction=Threefold(), **settings)
        return metrics["distillation"]

    own = (2.5**2 + 1.5**2) / 2  # (3 + 1/2 - 1) and (-3 + 1/2 + 1)
    assert distillation(distilled_negatives=0) == pytest.approx(own, rel=1e-5)
    assert distillation() == pytest.approx((3 * own + 2 * 0.25) / 5, rel=1e-5)  # the two negatives have cosine 0


def test_padding_takes_no_part(monkeypatch):
    """Whatever stands in a row of weight 0, both losses are what they are without it."""
    weight = {"weight": np.array([1, 0, 1], np.float32)}
    other = {name: BATCH[name][[0, 0, 2]] for name in ("image", "positive_image")}
    for run in (lambda batch: student_loss(monkeypatch, batch)[0], teacher_loss):
        found, again = run(BATCH | weight), run(BATCH | weight | other)
        assert found[0] == pytest.approx(float(again[0]), abs=1e-7)
        assert found[0] != pytest.approx(float(run(BATCH)[0]), abs=1e-3)


def test_distilled_negatives_are_among_the_negatives(monkeypatch):
    with pytest.raises(InputError, match=r"disco\.distilled_negatives: 2 of disco\.negatives: 1"):
        student_loss(monkeypatch, distilled_negatives=2)
