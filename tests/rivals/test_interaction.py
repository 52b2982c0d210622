"""The interaction of both encoders' features, the discriminator, and scores of all pairs in tiles."""

import functools
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.encoders.build import (
    abstract_variables,
    build_foreground_encoder,
    build_query_encoder,
    init_foreground,
    init_query,
)
from fos_jax.errors import InputError
from fos_jax.rivals import pair_scores
from fos_jax.rivals.composite import standardised
from fos_jax.rivals.interaction import InteractionNetwork, apply_with_map
from fos_jax.rivals.pair_networks import (
    PAIR_NETWORKS,
    build_composite,
    build_interaction,
    complete_pair_network,
    init_pair_network,
)
from fos_jax.rivals.pair_scores import PairScorer

sys.path.append(str(Path(__file__).parents[1] / "training"))
from tests_synthetic import BACKBONE


@pytest.fixture(scope="module")
def whole():
    return {
        "foreground": {"backbone": BACKBONE, "embedding_size": 16, "image_size": 32},
        "query": {"backbone": BACKBONE, "image_size": 32},
        "interaction": {"feature_size": 8, "hidden_size": 4, "side": 3},
        "composite": {"backbone": BACKBONE, "feature_size": 8},
    }


@pytest.fixture(scope="module")
def variables(whole, table):
    made = {"foreground": init_foreground(jax.random.key(0), whole, table)}
    made["query"] = init_query(jax.random.key(1), whole, table)
    for i, name in enumerate(PAIR_NETWORKS):
        made[name] = init_pair_network(name, jax.random.key(2 + i), whole, table)
    return made


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.5, (5, 2))
    box = np.concatenate([corner, corner + 0.4], axis=1).astype(np.float32)
    queries = (rng.integers(0, 256, (5, 32, 32, 3), np.uint8), box, rng.integers(0, 2, 5).astype(np.int32))
    return queries, (rng.integers(0, 256, (7, 32, 32, 4), np.uint8), rng.integers(0, 2, 7).astype(np.int32))


def test_rows_are_standardised():
    np.testing.assert_allclose(standardised(jnp.array([[1.0, 3.0], [-5.0, 5.0]])), [[-1, 1], [-1, 1]], atol=1e-4)
    assert np.isfinite(jax.grad(lambda x: standardised(x)[0, 0])(jnp.ones((1, 3)))).all()


def test_the_shares_are_a_convolution_of_both_maps_on_top_of_each_other():
    """A window of the whole frame: the sum of the shares is one convolution of the maps end to end."""
    rng = np.random.default_rng(0)
    query, foreground = rng.normal(size=(2, 1, 3, 3, 2)).astype(np.float32)
    embedding = np.zeros((1, 4), np.float32)
    network = InteractionNetwork(feature_size=5, hidden_size=6, side=3, context=1.0)
    box = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)
    variables = network.init(jax.random.key(0), query, box, embedding, foreground, embedding)
    of_query = network.apply(variables, query, box, embedding, method=InteractionNetwork.of_queries)
    of_foreground = network.apply(variables, foreground, embedding, method=InteractionNetwork.of_foregrounds)
    params = variables["params"]
    kernel = jnp.concatenate([params[f"{name}_map"]["kernel"] for name in ("query", "foreground")], axis=2)
    whole = nn.Conv(6, (3, 3), use_bias=False).apply(
        {"params": {"kernel": kernel}}, np.concatenate([query, foreground], axis=-1)
    )
    np.testing.assert_allclose(of_query + of_foreground, whole, atol=1e-4)  # biases start at 0
    out = network.apply(variables, of_query, of_foreground, method=InteractionNetwork.pairs)
    naive = jax.nn.gelu(whole + np.asarray(of_query) * np.asarray(of_foreground)) @ params["place"]["kernel"]
    feature = standardised(jax.nn.gelu(naive).mean((1, 2)) @ params["feature"]["kernel"])
    np.testing.assert_allclose(out.feature, feature, atol=1e-4)
    np.testing.assert_allclose(out.logit, (feature @ params["logit"]["kernel"])[:, 0], atol=1e-4)


@pytest.fixture(scope="module")
def encoded(whole, table, variables, data):
    """Of the queries and of the foregrounds: the encoder's output, with its map and without."""
    encoders = build_query_encoder(whole, table), build_foreground_encoder(whole, table)
    out = []
    for encoder, name, inputs in zip(encoders, ("query", "foreground"), data, strict=True):
        of = variables[name]
        mapped = jax.jit(functools.partial(apply_with_map, encoder))(of, *inputs)
        out.append((mapped, jax.jit(encoder.apply)(of, *inputs)))
    return out


def test_encoders_give_their_maps_away_unchanged(encoded):
    for ((output, features, stats), plain), number in zip(encoded, (5, 7), strict=True):
        assert features.shape == (number, 4, 4, 32)
        assert not stats
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), output, plain)


@pytest.mark.parametrize("tile", [(8, 32), (2, 3)])
@pytest.mark.parametrize("name", PAIR_NETWORKS)
def test_scores_of_all_pairs_are_those_of_single_ones(name, tile, monkeypatch, whole, table, variables, data, encoded):
    monkeypatch.setattr(pair_scores, "QUERIES_A_TILE", tile[0])
    monkeypatch.setattr(pair_scores, "FOREGROUNDS_A_TILE", tile[1])
    queries, foregrounds = data
    q, g = (x.ravel() for x in np.mgrid[:5, :7])
    ((query, query_map, _), _), ((foreground, foreground_map, _), _) = encoded
    if name == "interaction":
        network = build_interaction(whole)
        inputs = query_map[q], queries[1][q], query.embedding[q], foreground_map[g], foreground.embedding[g]
    else:
        network = build_composite(whole, table)
        inputs = *(x[q] for x in queries), foregrounds[0][g]
    expected = jax.jit(network.apply)(variables[name], *inputs).logit.reshape(5, 7)
    scorer = PairScorer(name, whole, table)
    prepared = scorer.queries(variables, *queries, batch_size=2), scorer.foregrounds(variables, *foregrounds)
    found = scorer.scores(variables, *prepared)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.std() > 1e-3
    assert scorer.gflop(variables, *prepared) > 0


def test_shapes_are_known_without_computing(whole, table, variables):
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), abstract_variables(whole, table, has_query=True))
    assert shapes == jax.tree.map(
        lambda x: (x.shape, x.dtype), {name: variables[name] for name in ("foreground", "query", *PAIR_NETWORKS)}
    )


@pytest.mark.parametrize(
    ("name", "section", "message"),
    [
        ("interaction", {"sides": 3}, "interaction: unknown field 'sides', expected some of feature_size"),
        ("interaction", {"side": 2.5}, r"interaction\.side: 2\.5, expected a positive integer"),
        ("interaction", {"context": 0}, r"interaction\.context: 0, expected a positive number"),
        ("composite", {"backbone": "tiny"}, r"composite\.backbone: 'tiny', expected one of small"),
        ("composite", {"init_weights": None}, r"composite\.init_weights: None, expected a text"),
    ],
)
def test_a_wrong_section_is_one_line(name, section, message):
    with pytest.raises(InputError, match=message):
        complete_pair_network(name, section)


def test_an_interaction_needs_the_frame(whole):
    with pytest.raises(InputError, match=r"query\.views: crop, expected 'frame'"):
        build_interaction({**whole, "query": {**whole["query"], "views": ("crop",)}})
