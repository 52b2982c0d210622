"""Features learnt from other labels: categories or instances, prototypes are means, the bundle has the data's table."""

import sys
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from fos_jax.encoders.bundle import load_bundle
from fos_jax.errors import InputError
from fos_jax.launch.configs import category_features as category_features_config
from fos_jax.launch.configs import teacher as teacher_config
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.other_labels import categories_as_patterns, instances_as_patterns, other_labels_task
from fos_jax.training.loop import train

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE, SIDE, make, table

TABLE = table()
(TRAIN, _), (HELD_OUT, _) = make(128, 0, unknown_every=50), make(48, 1)


def config_of(num_steps):
    config = ml_collections.ConfigDict(category_features_config.get_config("mini").to_dict())
    config.foreground.update(image_size=SIDE, backbone=BACKBONE)
    config.training.update(num_steps=num_steps, validate_every_steps=num_steps, log_every_steps=8, batch_size=32)
    config.optimizer.update(learning_rate=4e-3, warmup_steps=4)
    return config


def test_categories_are_the_only_labels():
    classes = categories_as_patterns(TABLE)
    assert [p.description for p in classes.patterns] == list(TABLE.categories)
    assert classes.mirror.tolist() == list(range(len(TABLE.categories)))
    task = other_labels_task(config_of(8), TRAIN, HELD_OUT, TABLE, bundle_path="unused")
    np.testing.assert_array_equal(task.arrays["pattern"], TRAIN.category)
    one = tuple(p for p in TABLE.patterns if p.category == TABLE.categories[0])
    alone = PatternTable(TABLE.categories[:1], TABLE.attributes, one)
    with pytest.raises(InputError, match="expected two to tell apart"):
        other_labels_task(config_of(8), TRAIN, HELD_OUT, alone, bundle_path="unused")


def test_its_bundle_has_the_datas_patterns_with_means_for_prototypes(tmp_path):
    config = config_of(24)
    task = other_labels_task(config, TRAIN, HELD_OUT, TABLE, bundle_path=tmp_path / "bundle")
    train(task, config, tmp_path, progress=False)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.table.fingerprint() == TABLE.fingerprint()
    assert bundle.config.labels == "categories"
    assert bundle.metrics["validation"]["category_accuracy"] > 0.8
    embedding = bundle.encode_foregrounds(TRAIN.image, TRAIN.category).embedding
    mean = embedding[TRAIN.pattern == 3].mean(axis=0)
    np.testing.assert_allclose(bundle.prototypes[3], mean / np.linalg.norm(mean), atol=1e-4)
    assert not bundle.has_query_encoder


@pytest.mark.parametrize("mode", teacher_config.MODES)
def test_its_config_is_the_teachers_but_for_the_labels(mode):
    ours, theirs = (m.get_config(mode).to_dict() for m in (category_features_config, teacher_config))
    assert (ours.pop("labels"), theirs.pop("labels")) == ("categories", "patterns")
    assert ours == theirs
    assert category_features_config.get_config(mode).is_locked


def test_instances_are_classes_of_their_category_and_patterns_choose_nothing(tmp_path):
    classes = instances_as_patterns(TRAIN.category, TABLE)
    assert classes.num_patterns == len(TRAIN)
    np.testing.assert_array_equal(classes.category_of_pattern, TRAIN.category)
    assert set(classes.mirror.tolist()) == {-1}
    config = config_of(24)
    config.labels = "instances"
    with pytest.raises(InputError, match=r"training\.keep: 'best', expected 'last' for labels 'instances'"):
        other_labels_task(config, TRAIN, HELD_OUT, TABLE, bundle_path="unused")
    config.training.keep = "last"
    task = other_labels_task(config, TRAIN, HELD_OUT, TABLE, bundle_path=tmp_path / "bundle")
    assert task.validate(task.variables) == {"score": 0.0}
    train(task, config, tmp_path, progress=False)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.table.fingerprint() == TABLE.fingerprint()
    assert bundle.prototypes.shape[0] == TABLE.num_patterns
    assert bundle.metrics["validation"] == {}
    embedding = bundle.encode_foregrounds(TRAIN.image, TRAIN.category).embedding
    mean = embedding[TRAIN.pattern == 3].mean(axis=0)
    np.testing.assert_allclose(bundle.prototypes[3], mean / np.linalg.norm(mean), atol=1e-4)


def test_unknown_labels_are_refused():
    config = config_of(8)
    config.labels = "colours"
    with pytest.raises(InputError, match="labels: 'colours', expected one of patterns, categories, instances"):
        other_labels_task(config, TRAIN, HELD_OUT, TABLE, bundle_path="unused")
