import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_synthetic import make

from fos_jax.data.arrays import fingerprint
from fos_jax.errors import InputError
from fos_jax.training import step as steps
from fos_jax.training import targets, validation


def test_pattern_targets_by_hand():
    embedding = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    log_posterior = np.log(np.array([[0.8, 0.2, 0], [0.4, 0.6, 0], [0.2, 0.8, 0]], np.float32) + 1e-30)
    prototypes = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    pattern = np.array([0, 0, 1], np.int32)
    out = targets.pattern_targets(embedding, log_posterior, pattern, prototypes)
    np.testing.assert_allclose(out["response"], [[0.6, 0.4, 0], [0.2, 0.8, 0], [0, 0, 1]], atol=1e-6)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(out["target"], [[half, half], [0, 1], [-1, 0]], atol=1e-6)
    out = targets.pattern_targets(embedding, log_posterior, pattern, prototypes, feature_target="prototypes")
    np.testing.assert_allclose(out["target"], prototypes)
    unknown = targets.pattern_targets(embedding, log_posterior, np.full(3, -1), prototypes)
    np.testing.assert_allclose(unknown["response"], np.eye(3))
    with pytest.raises(ValueError, match="feature_target"):
        targets.pattern_targets(embedding, log_posterior, pattern, prototypes, feature_target="none")
    hard = targets.pattern_targets(embedding, log_posterior, pattern, prototypes, response_target="labels")
    np.testing.assert_array_equal(hard["response"], np.eye(3))
    mean = targets.pattern_targets(embedding, log_posterior, pattern, prototypes, response_target="mean")
    np.testing.assert_allclose(mean["response"], [[0.8, 0.2, 0], [0.1, 0.9, 0], [0, 0, 1]], atol=1e-6)
    with pytest.raises(ValueError, match="response_target"):
        targets.pattern_targets(embedding, log_posterior, pattern, prototypes, response_target="none")


def test_gallery_targets_by_hand():
    embedding = np.array([[1, 0], [0, 1]], np.float64)
    log_posterior = np.array([[np.log(0.75), np.log(0.25), -np.inf], [-np.inf, -np.inf, 0]])
    pattern, category = np.array([1, -1]), np.array([0, 1])
    out = targets.gallery_targets(embedding, log_posterior, pattern, category)
    np.testing.assert_allclose(out["gallery_pattern"], [[0.75, 0.25, 0], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(out["gallery"], embedding)
    np.testing.assert_array_equal(out["gallery_category"], category)
    hard = targets.gallery_targets(embedding, log_posterior, pattern, category, response_target="labels")
    np.testing.assert_array_equal(hard["gallery_pattern"], [[0, 1, 0], [0, 0, 0]])  # unknown: of no pattern
    mean = targets.gallery_targets(embedding, log_posterior, pattern, category, response_target="mean")
    np.testing.assert_allclose(mean["gallery_pattern"], [[0.375, 0.625, 0], [0, 0, 0.5]], rtol=1e-6)


def test_the_teacher_runs_once(tmp_path):
    foregrounds, _ = make(5, 0)

    @dataclasses.dataclass
    class Bundle:
        fingerprint: str
        calls: int = 0

        def encode_foregrounds(self, image, category, progress):
            self.calls += 1
            return teacher_encoding(image)

    def teacher_encoding(image):
        import types

        return types.SimpleNamespace(embedding=image[:, 0, 0].astype(np.float32), log_posterior=np.zeros((5, 8)))

    bundle = Bundle("a")
    for _ in range(2):
        embedding, _ = targets.encode_once(bundle, foregrounds, cache_dir=tmp_path)
        np.testing.assert_array_equal(embedding, foregrounds.image[:, 0, 0])
    assert bundle.calls == 1
    targets.encode_once(dataclasses.replace(bundle, fingerprint="b"), foregrounds, cache_dir=tmp_path)
    changed = dataclasses.replace(foregrounds, image=foregrounds.image ^ 1)
    assert fingerprint(changed) != fingerprint(foregrounds)
    targets.encode_once(bundle, changed, cache_dir=tmp_path)
    assert bundle.calls == 2
    assert len(list(tmp_path.iterdir())) == 3


def test_calibration_recovers_a_known_temperature():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 6)).astype(np.float32)
    is_allowed = np.ones((4000, 6), bool)
    for scale in (0.5, 3.0):
        p = np.exp(scale * logits)
        p /= p.sum(axis=1, keepdims=True)
        assert validation.calibrated_scale(logits, is_allowed, p) == pytest.approx(scale, rel=0.01)
        draw = np.array([rng.choice(6, p=row) for row in p])
        assert validation.calibrated_scale(logits, is_allowed, np.eye(6)[draw]) == pytest.approx(scale, rel=0.1)


def test_calibration_reads_allowed_entries_and_rows_with_a_target_only():
    logits = np.array([[1.0, 0.0, 99.0], [0.0, 1.0, -50.0], [7.0, 3.0, 0.0]], np.float32)
    is_allowed = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1]], bool)
    target = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0, 0]], np.float32)
    assert validation.calibrated_scale(logits, is_allowed, target) == pytest.approx(np.log(9), rel=0.01)
    by_hand = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert validation.cross_entropy(logits, is_allowed, target, np.log(9)) == pytest.approx(by_hand, rel=1e-4)
    with pytest.raises(ValueError, match="no positive"):
        validation.calibrated_scale(logits, is_allowed, np.zeros((3, 3)))


@given(seed=st.integers(0, 1000), scale=st.floats(0.05, 50))
def test_no_scale_on_a_grid_beats_the_calibrated_one(seed, scale):
    rng = np.random.default_rng(seed)
    logits, is_allowed = rng.normal(size=(30, 4)).astype(np.float32), np.ones((30, 4), bool)
    target = np.eye(4)[rng.integers(0, 4, 30)].astype(np.float32)
    best = validation.cross_entropy(logits, is_allowed, target, validation.calibrated_scale(logits, is_allowed, target))
    assert best <= validation.cross_entropy(logits, is_allowed, target, scale) + 1e-4


def test_keys_depend_on_seed_step_and_row_only():
    def data(keys):
        return np.asarray(jax.random.key_data(keys))

    rows = jnp.array([4, 9, 2])
    keys = data(steps.example_keys(1, jnp.int32(5), rows))
    np.testing.assert_array_equal(keys[1:], data(steps.example_keys(1, jnp.int32(5), rows[1:])))
    others = [(2, 5), (1, 6)]
    assert all(
        (data(steps.example_keys(seed, jnp.int32(step), rows)) != keys).any(axis=1).all() for seed, step in others
    )
    assert len({tuple(k) for k in keys}) == 3


def test_muon_moves_kernels_along_orthogonal_matrices_and_the_rest_as_adamw_does():
    rng = np.random.default_rng(0)
    params = {"conv": {"kernel": jnp.zeros((3, 3, 4, 8))}, "embedding": jnp.zeros((8, 4)), "bias": jnp.zeros(8)}
    gradient = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
    optimizer = steps.make_optimizer(
        learning_rate=1.0, num_steps=2, warmup_steps=0, weight_decay=0.0, clip_norm=1e9, method="muon"
    )
    updates = optimizer.update(gradient, optimizer.init(params), params)[0]
    adamw = optax.adamw(1.0, b2=0.99, weight_decay=0.0, nesterov=True)
    nesterov = adamw.update(gradient, adamw.init(params), params)[0]
    for name in ("embedding", "bias"):
        np.testing.assert_allclose(updates[name], nesterov[name], rtol=1e-5)
    singular = np.linalg.svd(np.asarray(updates["conv"]["kernel"]).reshape(36, 8), compute_uv=False)
    size = 0.2 * np.sqrt(36)  # so that the root mean square is about AdamW's, whatever the shape
    assert (singular > 0.5 * size).all()
    assert (singular < 1.4 * size).all()
    with pytest.raises(InputError, match=r"optimizer\.method: 'sgd', expected one of adamw, muon"):
        steps.make_optimizer(learning_rate=1.0, num_steps=2, warmup_steps=0, method="sgd")


def test_the_optimiser_warms_up_decays_and_spares_vectors():
    optimizer = steps.make_optimizer(learning_rate=1.0, num_steps=10, warmup_steps=4, weight_decay=0.5)
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    zero = jax.tree.map(jnp.zeros_like, params)
    opt_state, sizes = optimizer.init(params), []
    for _ in range(10):
        updates, opt_state = optimizer.update(zero, opt_state, params)
        assert float(jnp.abs(updates["b"]).max()) == 0.0
        sizes.append(float(-updates["w"][0, 0]))
    assert sizes[0] == 0.0
    assert np.argmax(sizes) == 4
    assert sizes[4] == pytest.approx(0.5)
    assert sizes[-1] < 0.1
    short = steps.make_optimizer(learning_rate=1.0, num_steps=1, warmup_steps=50)
    assert isinstance(short, optax.GradientTransformation)
