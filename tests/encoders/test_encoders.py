"""Both encoders: shapes, units, what they may and may not see, batch statistics over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fos_jax.encoders.backbones import BACKBONES, make_backbone
from fos_jax.encoders.build import build_foreground_encoder, build_query_encoder, init_foreground, init_query
from fos_jax.encoders.config import complete_foreground, complete_query
from fos_jax.encoders.query import QueryEncoder, box_numbers, make_query_encoder
from fos_jax.encoders.resnet import batch_norm
from fos_jax.errors import InputError
from fos_jax.posteriors import pattern_log_posterior, unit

BOX = np.array([[0.25, 0.25, 0.75, 0.75], [0.0, 0.5, 0.5, 1.0]], np.float32)
CATEGORY = np.array([0, 1])


def _images(channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (2, 32, 32, channels), np.uint8)


@pytest.fixture(scope="module")
def query(table):
    """`query(**changes)`: a query encoder's jitted apply and its variables, compiled once for each set of changes."""
    made = {}

    def get(**changes):
        key = tuple(sorted(changes.items()))
        if key not in made:
            config = {"foreground": {"embedding_size": 16}, "query": {"image_size": 32, **changes}}
            variables = init_query(jax.random.key(1), config, table)
            made[key] = jax.jit(build_query_encoder(config, table).apply), variables
        return made[key]

    return get


def test_unit_by_hand_and_at_zero():
    np.testing.assert_allclose(unit(jnp.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert jnp.all(jnp.isfinite(jax.jacobian(unit)(jnp.zeros(3))))
    assert jnp.all(jnp.isfinite(jax.jacobian(unit)(jnp.full(3, 1e-30))))


def test_foreground_encoder_gives_unit_embeddings_and_their_cosines(config, table):
    variables = init_foreground(jax.random.key(0), config, table)
    out = jax.jit(build_foreground_encoder(config, table).apply)(variables, _images(4))
    assert out.embedding.shape == (2, 16)
    assert out.embedding.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(out.embedding, axis=1), 1, rtol=1e-5)
    prototypes = variables["params"]["prototypes"]
    cosine = out.embedding @ prototypes.T / np.linalg.norm(prototypes, axis=1)
    np.testing.assert_allclose(out.cosine, cosine, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("views", [(), ("frame",), ("frame", "crop")])
def test_query_encoder_shapes(query, views):
    apply, variables = query(views=views)
    out = apply(variables, _images(3), BOX, CATEGORY)
    assert [x.shape for x in out] == [(2, 16), (2, 3), (2, 2)]
    np.testing.assert_allclose(jnp.linalg.norm(out.embedding, axis=1), 1, rtol=1e-5)
    assert sum(name.startswith("backbone") for name in variables["params"]) == len(views)


def test_without_views_the_image_is_not_seen(query):
    apply, variables = query(views=())
    a, b = (apply(variables, _images(3, seed), BOX, CATEGORY) for seed in (0, 1))
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("views", [(), ("frame",)])
def test_rectangle_and_category_condition_every_output(query, views):
    apply, variables = query(views=views)
    base = apply(variables, _images(3), BOX, CATEGORY)
    moved = apply(variables, _images(3), BOX[::-1], CATEGORY)
    renamed = apply(variables, _images(3), BOX, CATEGORY[::-1])
    for other in (moved, renamed):
        for left, right in zip(base, other, strict=True):
            assert jnp.max(jnp.abs(left - right)) > 1e-4


def test_every_parameter_gets_a_gradient(query):
    """Once FiLM has left its zero start; a parameter without gradient would be dead weight."""
    apply, variables = query(views=("frame",))
    params = jax.tree.map(lambda x: x + 0.01, variables["params"])

    def total(params):
        out = apply({"params": params}, _images(3), BOX, CATEGORY)
        return (
            out.embedding[:, 0].sum() + (out.pattern_logits[:, 0] ** 2).sum() + (out.attribute_logits[:, 0] ** 2).sum()
        )

    grads = jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(total))(params))
    dead = [jax.tree_util.keystr(path) for path, grad in grads if not jnp.any(grad != 0)]
    assert dead == []


def test_an_embedding_read_out_of_the_posterior_is_the_patterns_vectors_in_proportion(query, table):
    apply, variables = query(readout="patterns")
    out = apply(variables, _images(3), BOX, CATEGORY)
    posterior = np.exp(pattern_log_posterior(out.pattern_logits, CATEGORY, table.category_of_pattern))
    readout = variables["params"]["readout"]
    assert readout.shape == (table.num_patterns, 16)
    assert "embedding" not in variables["params"]
    np.testing.assert_allclose(out.embedding, unit(posterior @ readout), rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match=r"query\.readout: 'mean', expected one of head, patterns"):
        complete_query({"readout": "mean"})


def test_no_patterns_no_readout():
    fields = {"num_categories": 1, "num_attribute_values": 0, "embedding_size": 4}
    with pytest.raises(InputError, match="expected 'head' for a data set without patterns"):
        make_query_encoder(complete_query({"readout": "patterns"}), category_of_pattern=(), **fields)


def test_no_attributes_give_an_empty_head():
    encoder = QueryEncoder(num_categories=1, category_of_pattern=(0, 0), num_attribute_values=0, views=())
    out, _ = encoder.init_with_output(jax.random.key(0), _images(3), BOX, CATEGORY * 0)
    assert out.attribute_logits.shape == (2, 0)


def test_box_numbers_are_finite_for_an_empty_rectangle():
    assert jnp.all(jnp.isfinite(box_numbers(jnp.zeros((1, 4)))))


def test_encoders_are_hashable_and_equal_by_value(config, table):
    assert hash(build_query_encoder(config, table)) == hash(build_query_encoder(config, table))
    assert build_foreground_encoder(config, table) == build_foreground_encoder(config, table)


def test_bfloat16_keeps_parameters_and_outputs_in_float32(query):
    apply, variables = query(dtype="bfloat16")
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    out = apply(variables, _images(3), BOX, CATEGORY)
    exact, _ = query()
    expected = exact(variables, _images(3), BOX, CATEGORY)
    for left, right in zip(out, expected, strict=True):
        assert left.dtype == jnp.float32
        np.testing.assert_allclose(left, right, atol=0.05)


def test_batch_statistics_over_devices_are_those_of_the_whole_batch():
    x = np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
    whole, parts = (batch_norm(True, jnp.float32, axis)() for axis in (None, "devices"))
    variables = whole.init(jax.random.key(0), x)
    expected, expected_stats = whole.apply(variables, x, mutable=["batch_stats"])
    found, found_stats = jax.vmap(
        lambda part: parts.apply(variables, part, mutable=["batch_stats"]), axis_name="devices", out_axes=(0, None)
    )(x.reshape(2, 2, 5, 5, 3))
    np.testing.assert_allclose(found.reshape(x.shape), expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found_stats, expected_stats)


# Other tests add one of their own to the table.
OURS = [name for name, make in BACKBONES.items() if make.__module__ == "fos_jax.encoders.backbones"]


@pytest.mark.parametrize("name", OURS)
def test_every_backbone_builds_at_its_smallest_size(name):
    size = {"14": 28, "16": 32, "32": 64}.get(name[-2:], 64)
    backbone = make_backbone(name)
    shapes, _ = jax.eval_shape(backbone.init_with_output, jax.random.key(0), jnp.zeros((2, size, size, 4)))
    assert shapes.map.shape[0] == shapes.pooled.shape[0] == 2
    cells = 16 if name.startswith("efficientnet") else 1  # kept in the pooled vector
    assert shapes.pooled.shape[-1] == cells * shapes.map.shape[-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": "resnet34"}, "foreground.backbone: 'resnet34', expected one of small"),
        ({"embedding_size": 0}, "foreground.embedding_size: 0, expected a positive integer"),
        ({"image_size": 64.0}, "foreground.image_size: 64.0, expected a positive integer"),
        ({"posterior_scale": float("nan")}, "foreground.posterior_scale: nan, expected a positive number"),
        ({"dtype": "float16"}, "foreground.dtype: 'float16', expected one of float32, bfloat16"),
        ({"bakbone": "small"}, "foreground: unknown field 'bakbone', expected some of backbone"),
    ],
)
def test_wrong_config_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        complete_foreground(fields)


def test_config_defaults_are_filled_in_and_views_checked():
    assert complete_query({"views": ["crop"]})["views"] == ("crop",)
    assert complete_query({})["backbone"] == "small"
    with pytest.raises(InputError, match="unknown view 'sky'"):
        complete_query({"views": ("sky",)})


def test_unknown_backbone_is_refused():
    with pytest.raises(InputError, match="unknown 'vgg', expected one of small"):
        make_backbone("vgg")
