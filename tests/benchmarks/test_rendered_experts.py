"""Experts that saw the rendered world alone: numbers of scenes, mirrored averaging, centring by photographs."""

import types

import numpy as np
import rendered_experts
from sim_to_real import views_of

from fos_jax.experts.heads import Head
from fos_jax.scenes.attributes import mirrored, pattern_table


def test_foregrounds_are_rendered_by_their_numbers(monkeypatch):
    asked = []

    def sample(seed, split, category, numbers):
        asked.append((seed, split, category, len(numbers)))
        return numbers

    monkeypatch.setattr(rendered_experts, "sample_scenes", sample)
    monkeypatch.setattr(rendered_experts, "render_cutouts", lambda scenes, size: np.asarray(scenes)[:, None])
    ids = [f"test-potted_plant-{i:06d}" for i in (5, 3, *range(100, 170))]
    assert rendered_experts.rendered_again(ids)[:3, 0].tolist() == [5, 3, 100]
    assert len(rendered_experts.rendered_again(ids)) == 72
    assert asked[:2] == [(1, "test", "potted_plant", rendered_experts.CHUNK)] * 2


def test_a_photograph_is_centred_and_read_together_with_its_mirror_image(monkeypatch):
    """One feature, the redness of the left half; views 0 (red left) and 1 (its mirror image)."""

    def left_red(features, pictures):
        return np.array([[p[:, : p.shape[1] // 2, 0].mean()] for p in pictures], np.float32)

    monkeypatch.setattr(rendered_experts, "middle_features", left_red)
    head = Head(np.float32([100]), np.float32([[0.05, -0.05]]), np.zeros(2, np.float32))
    experts = rendered_experts.RenderedExperts(None, head, head, np.array([1, 0]), np.array([60.0]))
    picture = np.zeros((2, 4, 4), np.uint8)
    picture[:, :2, 0] = 80
    rendered, real = (experts.name([picture], is_real=is_real) for is_real in (False, True))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    # Own half: 80 against the mean, 0.1 per unit between both logits; the mirrored one shows 0 there, views swapped.
    np.testing.assert_allclose(rendered[0, 0], (sigmoid(-2) + sigmoid(10)) / 2, atol=1e-6)
    np.testing.assert_allclose(real[0, 0], (sigmoid(2) + sigmoid(6)) / 2, atol=1e-6)
    np.testing.assert_allclose(real.sum(axis=1), 1, atol=1e-6)


def test_the_middle_stage_of_pictures_of_any_size():
    slices = (slice(0, 1), slice(1, 3), slice(3, 4))
    backbone = types.SimpleNamespace(size=8, blocks=types.SimpleNamespace(slices=slices))

    class Cache:
        def __init__(self):
            self.backbone = backbone

        def __call__(self, images):
            assert images.shape[1:] == (8, 8, 4)
            return np.tile(np.arange(4, dtype=np.float16), (len(images), 1))

    pictures = [np.full((h, 5, 4), 255, np.uint8) for h in (3, 9)]
    assert rendered_experts.middle_features(Cache(), pictures).tolist() == [[1, 2], [1, 2]]


def test_views_have_mirror_images():
    views = views_of(pattern_table(("car",)), "car")
    assert all(mirrored(name) in views.names for name in views.names)
