"""Teacher, student and rival from end to end on hand-made data: they learn, and what they write is a bundle."""

import json

import ml_collections
import numpy as np
import pytest
from tests_synthetic import BACKBONE, SIDE, make, table

from fos_jax.encoders.bundle import load_bundle
from fos_jax.errors import InputError
from fos_jax.launch.configs import student as student_config
from fos_jax.launch.configs import teacher as teacher_config
from fos_jax.launch.configs import two_streams as two_streams_config
from fos_jax.metrics import average_precision, rank_relevant
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.two_streams import two_streams_task
from fos_jax.training.loop import train
from fos_jax.training.student import student_task
from fos_jax.training.teacher import teacher_task

TABLE = table()
TRAIN, HELD_OUT = make(256, 0, unknown_every=50), make(64, 1)
SMALL = {"image_size": SIDE, "backbone": BACKBONE}


def _config(module, num_steps, mode="mini"):
    config = ml_collections.ConfigDict(module.get_config(mode).to_dict())
    for name in ("foreground", "query"):
        if name in config:
            config[name].update(SMALL)
    config.training.update(num_steps=num_steps, validate_every_steps=num_steps // 2, log_every_steps=8, batch_size=32)
    config.optimizer.update(learning_rate=4e-3, warmup_steps=4)
    config.augment.update(mirror_probability=0.5)
    return config


def mean_ap(scores, relevant, valid):
    return float(np.nanmean(average_precision(rank_relevant(scores, relevant, valid))))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("teacher")
    config = _config(teacher_config, 32)
    task = teacher_task(config, TRAIN[0], HELD_OUT[0], TABLE, bundle_path=workdir / "bundle")
    train(task, config, workdir, progress=False)
    return load_bundle(workdir / "bundle")


def test_the_teacher_tells_patterns_apart_and_its_posterior_is_calibrated(teacher):
    encoding = teacher.encode_foregrounds(HELD_OUT[0].image, HELD_OUT[0].category)
    truth = HELD_OUT[0].pattern
    assert np.mean(encoding.log_posterior.argmax(axis=1) == truth) > 0.9
    assert teacher.metrics["validation"]["pattern_accuracy"] > 0.9
    assert not teacher.has_query_encoder
    nll = -encoding.log_posterior[np.arange(len(truth)), truth].mean()
    assert nll == pytest.approx(teacher.metrics["validation"]["cross_entropy"], rel=1e-3)


def _train_student(config, teacher, workdir):
    task = student_task(
        config,
        TRAIN,
        HELD_OUT,
        TABLE,
        teacher=teacher,
        bundle_path=workdir / "bundle",
        cache_dir=workdir / "cache",
    )
    train(task, config, workdir, progress=False)


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("student")
    config = _config(student_config, 48)
    _train_student(config, teacher, workdir)
    return workdir


def test_the_student_learns_which_patterns_fit_and_its_bundle_says_so(teacher, student):
    bundle = load_bundle(student / "bundle")
    queries = HELD_OUT[1]
    encoding = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
    rows = np.arange(len(queries))
    for posterior in (
        encoding.log_posterior_flat,
        encoding.log_posterior_factorised,
        encoding.log_posterior_both,
    ):
        assert queries.is_compatible[rows, posterior.argmax(axis=1)].mean() > 0.8
    # what validation measured is what the bundle gives
    gallery = bundle.encode_foregrounds(HELD_OUT[0].image, HELD_OUT[0].category)
    np.testing.assert_array_equal(gallery.embedding, teacher.encode_foregrounds(*_images()).embedding)
    valid = queries.category[:, None] == HELD_OUT[0].category[None]
    relevant = queries.is_compatible[:, HELD_OUT[0].pattern] & valid
    measured = bundle.metrics["student_validation"]
    for name, posterior in (("map_flat", encoding.log_posterior_flat), ("map_both", encoding.log_posterior_both)):
        scores = np.exp(posterior) @ np.exp(gallery.log_posterior).T
        assert mean_ap(scores, relevant, valid) == pytest.approx(measured[name], abs=5e-3)
    assert measured["map_cosine"] == pytest.approx(
        mean_ap(encoding.embedding @ gallery.embedding.T, relevant, valid), abs=5e-3
    )
    assert bundle.config.teacher.fingerprint == teacher.fingerprint
    lines = [json.loads(line) for line in (student / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "feature_loss", "response_loss", "attribute_loss", "rows_per_s"} <= set(lines[0])


def test_a_student_that_learns_no_attributes_has_no_head_for_them(teacher, tmp_path):
    config = _config(student_config, 8)
    config.distillation.update(attribute_weight=0.0, combined_weight=0.0)
    _train_student(config, teacher, tmp_path)
    bundle, queries = load_bundle(tmp_path / "bundle"), HELD_OUT[1]
    measured = bundle.metrics["student_validation"]
    assert "map_both" not in measured
    assert measured["score"] == measured["map_flat"]
    encoding = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
    assert encoding.log_posterior_factorised is None
    np.testing.assert_array_equal(encoding.log_posterior_both, encoding.log_posterior_flat)


def _images():
    return HELD_OUT[0].image, HELD_OUT[0].category


def test_a_teacher_of_other_patterns_is_refused(teacher, tmp_path):
    other = PatternTable(TABLE.categories, {}, ())
    config = _config(student_config, 8)
    with pytest.raises(InputError, match="teacher: trained on pattern table"):
        student_task(
            config,
            TRAIN,
            HELD_OUT,
            other,
            teacher=teacher,
            bundle_path=tmp_path / "b",
            cache_dir=tmp_path,
        )


def test_foregrounds_without_patterns_cannot_pretrain(tmp_path):
    unknown, _ = make(8, 0, unknown_every=1)
    with pytest.raises(InputError, match="split train: no foreground has a pattern"):
        teacher_task(_config(teacher_config, 8), unknown, unknown, TABLE, bundle_path=tmp_path / "b")


def test_two_streams_learn_pairs_and_rank_by_cosine_and_posterior(tmp_path):
    config = _config(two_streams_config, 48)
    task = two_streams_task(config, TRAIN, HELD_OUT, TABLE, bundle_path=tmp_path / "bundle")
    untrained = task.validate(task.variables)["map_cosine"]
    train(task, config, tmp_path, progress=False)
    bundle = load_bundle(tmp_path / "bundle")
    measured = bundle.metrics["validation"]
    assert measured["map_cosine"] > untrained + 0.2
    queries, foregrounds = HELD_OUT[1], HELD_OUT[0]
    encoding = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
    assert encoding.log_posterior_factorised is None
    gallery = bundle.encode_foregrounds(foregrounds.image, foregrounds.category)
    valid = queries.category[:, None] == foregrounds.category[None]
    relevant = queries.is_compatible[:, foregrounds.pattern] & valid
    scores = np.exp(encoding.log_posterior_both) @ np.exp(gallery.log_posterior).T
    assert mean_ap(scores, relevant, valid) == pytest.approx(measured["map_flat"], abs=5e-3)
    np.testing.assert_allclose(np.linalg.norm(bundle.prototypes, axis=1), 1, rtol=1e-5)
