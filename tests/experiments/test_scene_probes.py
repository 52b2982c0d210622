import numpy as np
import pytest

from fos_jax.experiments import probes
from fos_jax.scenes.attributes import pattern_table


def test_balanced_accuracy_by_hand():
    """Value 0: two of three right; value 1: one of one; the mean is 5 / 6."""
    allowed = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)
    assert probes.balanced_accuracy(np.array([0, 0, 1, 1]), allowed) == pytest.approx(5 / 6)


def test_any_compatible_value_is_right():
    allowed = np.array([[1, 1, 0], [0, 0, 1]], bool)
    assert probes.balanced_accuracy(np.array([1, 2]), allowed) == 1.0
    assert probes.balanced_accuracy(np.array([0, 1]), allowed) == pytest.approx(2 / 3)


def test_chance_under_the_same_rule():
    assert probes.chance(np.eye(4, dtype=bool)) == pytest.approx(0.25)
    assert probes.chance(np.ones((3, 4), bool)) == pytest.approx(1.0)
    assert probes.chance(np.array([[1, 1, 0, 0]], bool)) == pytest.approx(0.5)


def test_example_without_a_right_value_is_refused():
    with pytest.raises(ValueError, match="no right value"):
        probes.balanced_accuracy(np.zeros(1, int), np.zeros((1, 2), bool))


def test_allowed_values():
    table = pattern_table(["potted_plant"])
    compatible = np.zeros((1, 16), bool)
    compatible[0, [0, 15]] = True
    values = [
        v
        for (_, _, v), ok in zip(table.attribute_values, probes.allowed_values(table, compatible)[0], strict=True)
        if ok
    ]
    assert values == ["standing", "hanging", "summer", "winter", "low", "high", "left", "right"]


def test_log_probabilities_sum_to_one_in_each_group():
    group = np.array([0, 0, 1, 1, 1])
    logs = probes.group_log_probabilities(np.array([[0.0, 0.0, 1.0, 2.0, 3.0]]), group)
    np.testing.assert_allclose(np.exp(logs[0, :2]), [0.5, 0.5], rtol=1e-5)
    e = np.exp([1.0, 2.0, 3.0])
    np.testing.assert_allclose(np.exp(logs[0, 2:]), e / e.sum(), rtol=1e-5)


def test_rectangle_is_hidden():
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    other = image.copy()
    other[0, 2:6, 2:6] = 255 - other[0, 2:6, 2:6]
    box = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
    a, b = probes.filled(image, box), probes.filled(other, box)
    assert (a == b).all()
    assert float(a[0, 3, 3, 3]) == 1.0
    assert float(a[0, 0, 0, 3]) == 0.0


def test_tabular_probe_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1200, 3))
    allowed = np.eye(2, dtype=bool)[(features[:, 1] > 0).astype(int)]
    found = probes.tabular_probe(features[:800], allowed[:800], features[800:])
    assert probes.balanced_accuracy(found, allowed[800:]) > 0.95
    blind = probes.tabular_probe(features[:800, :1], allowed[:800], features[800:, :1])
    assert abs(probes.balanced_accuracy(blind, allowed[800:]) - 0.5) < 0.08


def test_image_probe_learns_a_visible_cue():
    """Images whose left or right half is bright say which side the light comes from."""
    table = pattern_table(["potted_plant"])
    rng = np.random.default_rng(0)
    pattern = rng.integers(0, 16, 256)
    image = np.full((256, 16, 16, 3), 60, np.uint8)
    for i, p in enumerate(pattern):
        half = slice(0, 8) if table.patterns[p].attributes["light"] == "left" else slice(8, 16)
        image[i, :, half] += 120
    data = probes.ProbeData(
        image,
        np.tile(np.float32([0.4, 0.4, 0.6, 0.6]), (256, 1)),
        np.zeros(256, np.int32),
        np.eye(16, dtype=bool)[pattern],
    )
    logs = probes.train_probe(table, data, steps=60, batch_size=32)(data)
    columns = [i for i, key in enumerate(table.attribute_values) if key[1] == "light"]
    allowed = probes.allowed_values(table, data.is_compatible)[:, columns]
    assert probes.balanced_accuracy(logs[:, columns].argmax(1), allowed) > 0.95
