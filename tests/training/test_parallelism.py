"""jit over a mesh and pmap against one device; the devices are fake ones of a process of their own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_run

from fos_jax.training.parallelism import pad_batch

PROGRAM = """
import json, sys
sys.path.insert(0, {folder!r})
import jax, tiny_run
from fos_jax.data.batches import training_batches
from fos_jax.training.parallelism import parallelise

settings = tiny_run.config(20)
step, state = tiny_run.step_and_state(settings)
constants = {{"class_weight": jax.numpy.float32(2.0)}}
out = {{}}
for mode, count in (("jit", 1), ("jit", 8), ("pmap", 8), ("pmap", 1), ("jit", 3)):
    run = parallelise(step, constants, mode=mode, devices=jax.devices()[:count])
    batches, on_device, losses = training_batches(tiny_run.data(), batch_size=10, seed=0), run.put(state), []
    for _ in range(20):
        on_device, metrics = run.step(on_device, next(batches))
        losses.append([float(metrics["loss"]), float(metrics["gradient_norm"])])
    final = run.get(on_device)
    out[f"{{mode}}-{{count}}"] = dict(losses=losses, w=final.params["w"].tolist(), ema=final.ema_params["w"].tolist())

# A model with batch normalisation: its statistics are those of the whole batch in every way of running it.
import flax.linen as nn, numpy as np, optax
from fos_jax.training.step import apply_for_training
from fos_jax.training.step import create_state
from fos_jax.training.step import make_train_step

class Normalised(nn.Module):
    axis_name: str | None = None
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train, axis_name=self.axis_name, momentum=0.9)(nn.Dense(5)(x))
        return nn.Dense(3)(nn.tanh(x))

for mode, count in (("jit", 1), ("jit", 8), ("pmap", 8)):
    module = Normalised("batch" if mode == "pmap" else None)

    def loss_function(params, batch_stats, batch, keys, constants, gather):
        logits, batch_stats = apply_for_training(module, params, batch_stats, batch["x"])
        logits, label = gather((logits, batch["label"]))
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean(), ({{}}, batch_stats)

    variables = Normalised().init(jax.random.key(0), np.zeros((1, 6), np.float32))
    optimizer = optax.sgd(0.1)
    run = parallelise(make_train_step(loss_function, optimizer, seed=0), {{}}, mode=mode, devices=jax.devices()[:count])
    on_device = run.put(create_state(variables, optimizer))
    batches = training_batches(tiny_run.data(), batch_size=16, seed=0)
    losses = []
    for _ in range(20):
        on_device, metrics = run.step(on_device, next(batches))
        losses.append(float(metrics["loss"]))
    means = run.get(on_device).batch_stats["BatchNorm_0"]
    out[f"bn-{{mode}}-{{count}}"] = dict(losses=losses, mean=means["mean"].tolist(), var=means["var"].tolist())
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def runs():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    code = PROGRAM.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("other", ["jit-8", "pmap-8", "pmap-1", "jit-3"])
def test_every_way_gives_the_single_devices_numbers(runs, other):
    # Batches of 10 divide by none of 8 and 3, so this is padding too.
    one, many = runs["jit-1"], runs[other]
    np.testing.assert_allclose(many["losses"], one["losses"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(many["w"], one["w"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(many["ema"], one["ema"], rtol=1e-4, atol=1e-5)
    assert one["losses"][-1][0] < one["losses"][0][0]


@pytest.mark.parametrize("other", ["bn-jit-8", "bn-pmap-8"])
def test_batch_normalisation_sees_the_whole_batch(runs, other):
    for name in ("losses", "mean", "var"):
        np.testing.assert_allclose(runs[other][name], runs["bn-jit-1"][name], rtol=1e-4, atol=1e-5)


HOST = """
import sys
sys.path.insert(0, {folder!r})
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("localhost:{port}", 2, int(sys.argv[1]))
import tiny_run
tiny_run.main({workdir!r}, 8)
"""


def test_two_hosts_train_what_one_does_and_one_of_them_writes(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    folder = str(Path(__file__).parent)
    code = HOST.format(folder=folder, port=port, workdir=str(tmp_path / "two"))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    hosts = [subprocess.Popen([sys.executable, "-c", code, str(i)], env=environment) for i in range(2)]
    try:
        assert [host.wait(timeout=250) for host in hosts] == [0, 0]
    finally:
        for host in hosts:
            host.kill()
    tiny_run.main(str(tmp_path / "one"), 8)
    one, two = (np.load(tmp_path / name / "bundle.npz") for name in ("one", "two"))
    np.testing.assert_allclose(two["w"], one["w"], rtol=1e-4, atol=1e-5)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(lines[0]) == len(lines[1])


@pytest.mark.parametrize(("rows", "devices", "padded"), [(7, 8, 8), (8, 8, 8), (9, 8, 16), (5, 1, 5)])
def test_padding_has_weight_zero(rows, devices, padded):
    batch = {"x": np.arange(rows) + 5, "weight": np.ones(rows, np.float32)}
    out = pad_batch(batch, devices)
    assert len(out["x"]) == len(out["weight"]) == padded
    np.testing.assert_array_equal(out["x"][:rows], batch["x"])
    np.testing.assert_array_equal(out["weight"], [1] * rows + [0] * (padded - rows))
    np.testing.assert_array_equal(batch["weight"], np.ones(rows))
