"""Each rival from end to end on hand-made data: it learns, ends in a bundle, and refuses a wrong config in one line."""

import sys
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from fos_jax.encoders.bundle import load_bundle
from fos_jax.errors import InputError
from fos_jax.launch.configs import cfo as cfo_config
from fos_jax.launch.configs import disco as disco_config
from fos_jax.launch.configs import ffr as ffr_config
from fos_jax.launch.configs import gala as gala_config
from fos_jax.launch.configs import two_streams as two_streams_config
from fos_jax.launch.configs import ufo as ufo_config
from fos_jax.metrics import average_precision, rank_relevant
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.methods import RIVALS, train_rival
from fos_jax.rivals.pair_scores import PairScorer
from fos_jax.rivals.settings import NUMBER, checked
from fos_jax.training.loop import Runner

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE, SIDE, make, table

CONFIGS = {
    "cfo": cfo_config,
    "ufo": ufo_config,
    "gala": gala_config,
    "disco": disco_config,
    "ffr": ffr_config,
}
TABLE, TRAIN, HELD_OUT = table(), make(256, 0), make(64, 1)


def mean_ap(scores, relevant, valid):
    return float(np.nanmean(average_precision(rank_relevant(scores, relevant, valid))))


RUN = Runner(progress=False)


def config_of(name, num_steps=64):
    config = ml_collections.ConfigDict(CONFIGS[name].get_config("mini").to_dict())
    for encoder in (config.foreground, config.query):
        encoder.update(image_size=SIDE, backbone=BACKBONE)
    config.training.update(num_steps=num_steps, validate_every_steps=num_steps, log_every_steps=16, batch_size=32)
    config.optimizer.update(learning_rate=4e-3, warmup_steps=4)
    config.augment.mirror_probability = 0.0
    for stages in ("extension", "mining"):
        if stages in config:
            config[stages].first_steps = num_steps // 2
    if name == "disco":
        config.composite.backbone, config.interaction.side = BACKBONE, 2
        config.disco.teacher_steps = num_steps // 2
    if name == "ffr":
        config.ffr.teacher_steps = num_steps // 2
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rival_learns_and_its_bundle_ranks_by_cosine_and_posterior(name, tmp_path):
    config = config_of(name)
    train_rival(config, TRAIN, HELD_OUT, TABLE, tmp_path, RUN)
    path = tmp_path / "bundle"
    bundle, measured = load_bundle(path), load_bundle(path).metrics["validation"]
    queries, foregrounds = HELD_OUT[1], HELD_OUT[0]
    valid = queries.category[:, None] == foregrounds.category[None]
    relevant = queries.is_compatible[:, foregrounds.pattern] & valid
    chance = relevant.sum() / valid.sum()
    gallery = bundle.encode_foregrounds(foregrounds.image, foregrounds.category)
    encoding = bundle.encode_queries(queries.image, queries.box_yxyx_norm, queries.category)
    by_cosine = mean_ap(encoding.embedding @ gallery.embedding.T, relevant, valid)
    by_posterior = mean_ap(np.exp(encoding.log_posterior_flat) @ np.exp(gallery.log_posterior).T, relevant, valid)
    assert by_cosine > chance + 0.2
    assert by_cosine == pytest.approx(measured["map_cosine"], abs=5e-3)
    assert by_posterior == pytest.approx(measured["map_flat"], abs=5e-3)
    if name == "disco":
        by_pairs = {network: pair_map(bundle, network, relevant, valid) for network in ("interaction", "composite")}
        assert by_pairs["interaction"] > chance + 0.2
        assert by_pairs["composite"] > chance + 0.1
    if name in ("ufo", "disco", "ffr"):  # again: both stages are done, so nothing is trained, and the model is the same
        train_rival(config, TRAIN, HELD_OUT, TABLE, tmp_path, RUN)
        assert load_bundle(path).fingerprint == bundle.fingerprint


def pair_map(bundle, network, relevant, valid):
    foregrounds, queries = HELD_OUT
    scorer = PairScorer(network, bundle.config, bundle.table)
    prepared = (
        scorer.queries(bundle.variables, queries.image, queries.box_yxyx_norm, queries.category),
        scorer.foregrounds(bundle.variables, foregrounds.image, foregrounds.category),
    )
    return mean_ap(scorer.scores(bundle.variables, *prepared), relevant, valid)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("mode", two_streams_config.MODES)
def test_configs_differ_from_two_streams_in_the_method_alone(name, mode):
    ours, theirs = CONFIGS[name].get_config(mode), two_streams_config.get_config(mode)
    assert ours.is_locked
    assert ours.task == name
    assert ours.training.num_steps % ours.training.validate_every_steps == 0
    for section in ("seed", "data", "augment"):
        assert ours[section] == theirs[section]
    rate = {"learning_rate"}  # each method's own, from its trials
    assert ours.optimizer.keys() == theirs.optimizer.keys()
    assert all(ours.optimizer[field] == theirs.optimizer[field] for field in set(theirs.optimizer) - rate)
    for encoder in ("foreground", "query"):
        assert theirs[encoder].to_dict().items() <= ours[encoder].to_dict().items()
    assert ours.training.batch_size == theirs.training.batch_size
    passes = 1 if name == "ffr" else 2  # of an encoder a step
    assert passes * ours.training.num_steps <= 2 * theirs.training.num_steps


@pytest.mark.parametrize(
    ("name", "section", "field", "value", "message"),
    [
        ("cfo", "extension", "first_steps", 64, r"extension\.first_steps: 64, expected more than 0 and less than"),
        ("cfo", "extension", "num_contexts", 2.5, r"extension\.num_contexts: 2\.5, expected an integer"),
        ("ufo", "mining", "first_steps", 0, r"mining\.first_steps: 0, expected"),
        ("disco", "disco", "teacher_steps", 64, r"disco\.teacher_steps: 64, expected more than 0 and less than"),
        ("disco", "disco", "distilled_negatives", 9, r"disco\.distilled_negatives: 9 of disco\.negatives: 3"),
        ("disco", "disco", "teacher_negatives", 0, r"disco\.teacher_negatives: 0, expected at least 1"),
        ("disco", "disco", "negatives", 33, r"disco: 33 negatives a query, expected at most training\.batch_size"),
        ("disco", "interaction", "feature_size", 7, r"interaction\.feature_size: 7, expected that of composite, 128"),
        ("ffr", "ffr", "teacher_steps", 64, r"ffr\.teacher_steps: 64, expected more than 0 and less than"),
        ("ffr", "ffr", "labels", "colours", r"labels: 'colours', expected one of patterns, categories, instances"),
        ("ffr", "ffr", "labels", 3, r"ffr\.labels: 3, expected a text"),
        ("gala", "gala", "scale", "big", r"gala\.scale: 'big', expected a number"),
        ("gala", "gala", "smallest_scale", 2.0, r"gala\.smallest_scale: 2\.0, expected"),
    ],
)
def test_a_wrong_config_is_one_line(name, section, field, value, message, tmp_path):
    config = config_of(name)
    with config.ignore_type():
        config[section][field] = value
    with pytest.raises(InputError, match=message) as refused:
        train_rival(config, TRAIN, HELD_OUT, TABLE, tmp_path, RUN)
    assert "\n" not in str(refused.value)


def test_unknown_methods_and_data_without_patterns_are_refused(tmp_path):
    config = config_of("gala")
    no_patterns = PatternTable(TABLE.categories, {}, ())
    with pytest.raises(InputError, match="'gala' needs a data set with patterns"):
        train_rival(config, TRAIN, HELD_OUT, no_patterns, tmp_path, RUN)
    config.task = "nobody"
    with pytest.raises(InputError, match=f"task: 'nobody', expected one of {', '.join(RIVALS)}"):
        train_rival(config, TRAIN, HELD_OUT, TABLE, tmp_path, RUN)


def test_sections_are_complete_and_typed():
    assert checked({"a": 1, "b": True}, "part", a=NUMBER, b=bool) == {"a": 1, "b": True}
    for section, message in (
        ({"a": 1}, r"part\.b: missing, expected exactly a, b"),
        ({"a": 1, "b": True, "c": 0}, r"part\.c: unknown"),
        ({"a": True, "b": True}, r"part\.a: True, expected a number"),
        ({"a": 1, "b": 1}, r"part\.b: 1, expected True or False"),
    ):
        with pytest.raises(InputError, match=message):
            checked(section, "part", a=NUMBER, b=bool)
