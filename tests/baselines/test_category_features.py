"""Features of a classifier: labels are categories, prototypes are means, the bundle is one of the data's table."""

import sys
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from fos_jax.baselines.category_features import categories_as_patterns, category_features_task
from fos_jax.encoders.bundle import load_bundle
from fos_jax.errors import InputError
from fos_jax.launch.configs import category_features_synthetic, pretrain_synthetic
from fos_jax.pattern_table import PatternTable
from fos_jax.training.loop import train

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE, SIDE, make, table

TABLE = table()
(TRAIN, _), (HELD_OUT, _) = make(128, 0, unknown_every=50), make(48, 1)


def config_of(num_steps):
    config = ml_collections.ConfigDict(category_features_synthetic.get_config("mini").to_dict())
    config.foreground.update(image_size=SIDE, backbone=BACKBONE)
    config.training.update(num_steps=num_steps, validate_every_steps=num_steps, log_every_steps=8, batch_size=32)
    config.optimizer.update(learning_rate=4e-3, warmup_steps=4)
    return config


def test_categories_are_the_only_labels():
    classes = categories_as_patterns(TABLE)
    assert [p.description for p in classes.patterns] == list(TABLE.categories)
    assert classes.mirror.tolist() == list(range(len(TABLE.categories)))
    task = category_features_task(config_of(8), TRAIN, HELD_OUT, TABLE, bundle_path="unused")
    np.testing.assert_array_equal(task.arrays["pattern"], TRAIN.category)
    one = tuple(p for p in TABLE.patterns if p.category == TABLE.categories[0])
    alone = PatternTable(TABLE.categories[:1], TABLE.attributes, one)
    with pytest.raises(InputError, match="expected two to tell apart"):
        category_features_task(config_of(8), TRAIN, HELD_OUT, alone, bundle_path="unused")


def test_its_bundle_has_the_datas_patterns_with_means_for_prototypes(tmp_path):
    config = config_of(24)
    task = category_features_task(config, TRAIN, HELD_OUT, TABLE, bundle_path=tmp_path / "bundle")
    train(task, config, tmp_path, progress=False)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.table.fingerprint() == TABLE.fingerprint()
    assert bundle.config.labels == "categories"
    assert bundle.metrics["validation"]["category_accuracy"] > 0.8
    embedding = bundle.encode_foregrounds(TRAIN.image, TRAIN.category).embedding
    mean = embedding[TRAIN.pattern == 3].mean(axis=0)
    np.testing.assert_allclose(bundle.prototypes[3], mean / np.linalg.norm(mean), atol=1e-4)
    assert not bundle.has_query_encoder


@pytest.mark.parametrize("mode", pretrain_synthetic.MODES)
def test_its_config_is_the_teachers_but_for_the_labels(mode):
    ours, theirs = (m.get_config(mode).to_dict() for m in (category_features_synthetic, pretrain_synthetic))
    assert ours.pop("labels") == "categories"
    assert ours == theirs
    assert category_features_synthetic.get_config(mode).is_locked
