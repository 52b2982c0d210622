"""Every mode of every training config: locked, complete, and its models go through `jax.eval_shape`."""

import jax
import ml_collections
import numpy as np
import pytest
from tests_synthetic import table

from fos_jax.encoders.build import abstract_variables, build_foreground_encoder, build_query_encoder
from fos_jax.errors import InputError
from fos_jax.launch.configs import student as student_config
from fos_jax.launch.configs import teacher as teacher_config
from fos_jax.launch.configs import two_streams as two_streams_config
from fos_jax.training import augment
from fos_jax.training.step import make_optimizer

CASES = [(c, mode) for c in (teacher_config, student_config, two_streams_config) for mode in c.MODES]


@pytest.mark.parametrize(("module", "mode"), CASES, ids=[f"{c.__name__.rsplit('.', 1)[-1]}-{m}" for c, m in CASES])
def test_models_of_every_mode_have_shapes(module, mode):
    config = module.get_config(mode)
    assert isinstance(config, ml_collections.ConfigDict)
    assert config.is_locked
    with pytest.raises(AttributeError, match="learning_rte"):
        config.optimizer.learning_rte = 1.0
    models = {name: config[name].to_dict() for name in ("foreground", "query") if name in config}
    models.setdefault("foreground", {"embedding_size": 48})  # a student's is its teacher's
    variables = abstract_variables(models, table(), has_query="query" in models)
    if "foreground" in config:
        size = config.foreground.image_size
        image = jax.ShapeDtypeStruct((2, size, size, 4), np.uint8)
        encoder = build_foreground_encoder(models, table())
        out = jax.eval_shape(encoder.apply, variables["foreground"], image)
        assert out.embedding.shape == (2, config.foreground.embedding_size)
        assert out.cosine.shape == (2, 8)
    if "query" in config:
        size = config.query.image_size
        inputs = [
            jax.ShapeDtypeStruct(shape, dtype)
            for shape, dtype in (((2, size, size, 3), np.uint8), ((2, 4), np.float32), ((2,), np.int32))
        ]
        out = jax.eval_shape(build_query_encoder(models, table()).apply, variables["query"], *inputs)
        assert out.pattern_logits.shape == (2, 8)
        assert out.attribute_logits.shape == (2, 8)
    make_optimizer(num_steps=config.training.num_steps, **config.optimizer)
    augment.from_config(config.augment)
    assert config.training.num_steps % config.training.validate_every_steps == 0


@pytest.mark.parametrize("module", [teacher_config, student_config, two_streams_config])
def test_an_unknown_mode_is_named_with_the_known_ones(module):
    with pytest.raises(InputError, match="unknown mode 'big', expected one of mini, demo, full"):
        module.get_config("big")


def test_rectangle_only_differs_in_views_alone():
    full, blind = (student_config.get_config(m).to_dict() for m in ("demo", "demo_rectangle_only"))
    assert blind["query"].pop("views") == ()
    assert full["query"].pop("views") == ("frame",)
    assert full == blind
