"""Networks that judge pairs in a bundle: kept, checked as strictly as the encoders, absent from all other bundles."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from fos_jax.encoders.build import init_foreground, init_query
from fos_jax.encoders.bundle import load_bundle, save_bundle
from fos_jax.errors import InputError
from fos_jax.rivals.pair_networks import PAIR_NETWORKS, init_pair_network

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE


@pytest.fixture(scope="module")
def parts(table):
    config = {
        "foreground": {"backbone": BACKBONE, "embedding_size": 16, "image_size": 16},
        "query": {"backbone": BACKBONE, "image_size": 16},
        "interaction": {"feature_size": 8, "hidden_size": 4, "side": 2},
        "composite": {"backbone": BACKBONE, "feature_size": 8},
    }
    key = jax.random.key(0)
    return {
        "config": config,
        "table": table,
        "foreground_variables": init_foreground(key, config, table),
        "query_variables": init_query(key, config, table),
        "pair_variables": {name: init_pair_network(name, key, config, table) for name in PAIR_NETWORKS},
    }


def test_round_trip(parts, tmp_path):
    fingerprint = save_bundle(tmp_path / "bundle", **parts)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.fingerprint == fingerprint
    assert bundle.config.interaction.context == 2.0  # a default that was not given
    for name in PAIR_NETWORKS:
        jax.tree.map(np.testing.assert_array_equal, bundle.variables[name], parts["pair_variables"][name])
    others = {}
    for name in PAIR_NETWORKS:
        changed = {**parts["pair_variables"], name: jax.tree.map(lambda x: x + 1, parts["pair_variables"][name])}
        others[name] = save_bundle(tmp_path / name, **{**parts, "pair_variables": changed})
    wider = {**parts["config"], "interaction": {**parts["config"]["interaction"], "context": 3.0}}
    others["config"] = save_bundle(tmp_path / "wider", **{**parts, "config": wider})
    assert len({fingerprint, *others.values()}) == 4


def test_without_such_networks_a_bundle_is_what_it_was(parts, tmp_path):
    """Sections without variables leave no trace."""
    encoders = {name: parts["config"][name] for name in ("foreground", "query")}
    plain = {**parts, "config": encoders, "pair_variables": None}
    expected = save_bundle(tmp_path / "plain", **plain)
    assert save_bundle(tmp_path / "sections", **{**parts, "pair_variables": None}) == expected
    files = [(tmp_path / name / "config.json").read_bytes() for name in ("plain", "sections")]
    assert files[0] == files[1]
    one = {"composite": parts["pair_variables"]["composite"]}
    assert save_bundle(tmp_path / "one", **{**parts, "pair_variables": one}) != expected
    assert set(load_bundle(tmp_path / "one").variables) == {"foreground", "query", "composite"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p["pair_variables"]["interaction"]["params"]["place"].pop("kernel"),
            "1 missing .interaction/",
        ),
        (lambda p: p["pair_variables"]["composite"]["params"].update(stray={"a": np.zeros(2)}), "1 extra .composite/"),
        (lambda p: p["config"]["composite"].update(feature_size=9), "misshapen"),
        (lambda p: p["config"].pop("interaction"), "config: interaction is None, expected a mapping of fields"),
        (lambda p: p["config"]["interaction"].update(sides=3), "interaction: unknown field 'sides'"),
        (lambda p: p.update(query_variables=None), "extra"),
    ],
)
def test_what_does_not_match_the_config_is_refused(parts, change, message, tmp_path):
    copied = {**parts, "config": {k: dict(v) for k, v in parts["config"].items()}}
    copied["pair_variables"] = jax.tree.map(np.asarray, parts["pair_variables"])
    change(copied)
    with pytest.raises(InputError, match=message) as refused:
        save_bundle(tmp_path / "wrong", **copied)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
