import json
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_run

from fos_jax import run_metadata
from fos_jax.errors import InputError
from fos_jax.training import loop, parallelism

PROGRAM = Path(__file__).with_name("tiny_run.py")
STEPS = 24


def _train(workdir, num_steps=STEPS, task=None, **training):
    task = task or tiny_run.task(workdir / "bundle.npz")
    return loop.train(task, tiny_run.config(num_steps, **training), workdir, progress=False)


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _bundle(workdir):
    return dict(np.load(workdir / "bundle.npz"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    _train(workdir)
    return workdir


def test_training_learns_and_records_what_it_did(uninterrupted):
    lines = _lines(uninterrupted)
    train = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in train] == [4, 8, 12, 16, 20, 24]
    assert train[-1]["loss"] < 0.8 * train[0]["loss"]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [8, 16, 24]
    config = json.loads((uninterrupted / "config.json").read_text())
    assert config["training"]["num_steps"] == STEPS
    assert config["inputs"] == {"train": "abc"}
    run = json.loads((uninterrupted / "run.json").read_text())
    assert run["versions"]["jax"] == jax.__version__
    assert list((uninterrupted / "tensorboard").iterdir())


@pytest.mark.parametrize(
    "kills", [["step:3", "save:0", "step:5", "bundle"], ["step:20", "save:8", "save:60"]], ids=lambda k: "-".join(k)
)
def test_killed_anywhere_and_restarted_ends_bit_identical(uninterrupted, tmp_path, kills):
    for kill in [*kills, ""]:
        command = [sys.executable, str(PROGRAM), str(tmp_path), str(STEPS), "jit", kill]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == (-signal.SIGKILL if kill else 0), done.stderr[-2000:]
        assert kill == "" or not (tmp_path / "bundle.npz").exists()
    expected, came = _bundle(uninterrupted), _bundle(tmp_path)
    for name, array in expected.items():
        np.testing.assert_array_equal(came[name], array)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if "tmp" in p.name]
    same = [{k: v for k, v in line.items() if k != "rows_per_s"} for line in _lines(uninterrupted)]
    assert [{k: v for k, v in line.items() if k != "rows_per_s"} for line in _lines(tmp_path)] == same


def test_a_finished_run_started_again_changes_nothing(uninterrupted):
    before = _bundle(uninterrupted), _lines(uninterrupted)
    _train(uninterrupted)
    assert _lines(uninterrupted) == before[1]
    np.testing.assert_array_equal(_bundle(uninterrupted)["w"], before[0]["w"])


def test_another_config_in_the_same_workdir_is_refused(uninterrupted):
    with pytest.raises(InputError, match=r"config\.training\.batch_size = 10, expected 11"):
        _train(uninterrupted, batch_size=11)


def test_nan_stops_with_step_rows_and_last_good_checkpoint(tmp_path):
    task = tiny_run.task(tmp_path / "bundle.npz")
    real = task.loss_function

    def poisoned(params, batch_stats, batch, *rest):
        loss, aux = real(params, batch_stats, batch, *rest)
        return loss * jax.numpy.where(jax.numpy.any(batch["x"] == task.arrays["x"][13]), jax.numpy.nan, 1.0), aux

    object.__setattr__(task, "loss_function", poisoned)
    with pytest.raises(loop.NotFiniteError, match=r"step \d+: loss is nan.*row-13.*last good checkpoint: none"):
        _train(tmp_path, task=task)
    assert not (tmp_path / "bundle.npz").exists()


def test_the_best_checkpoint_is_the_one_that_is_kept_for_the_bundle(tmp_path):
    scores = iter([0.2, 0.9, 0.1, 0.5])
    for keep, step in (("best", 16), ("last", 32)):
        workdir = tmp_path / keep
        scores = iter([0.2, 0.9, 0.1, 0.5, 0.0])
        task = tiny_run.task(workdir / "bundle.npz")
        finished = {}
        object.__setattr__(task, "validate", lambda variables, scores=scores: {"score": next(scores)})
        object.__setattr__(task, "finish", lambda variables, metrics, out=finished: out.update(metrics))
        _train(workdir, 32, task=task, keep=keep)
        assert finished["step"] == step


def test_a_full_disk_during_a_save_is_one_line_and_leaves_nothing_half_written(tmp_path):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "import tiny_run\n"
        "from fos_jax.errors import InputError\n"
        "tiny_run.task.__defaults__ = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),)\n"
        f"try: tiny_run.main({str(tmp_path)!r}, 16)\n"
        "except InputError as error: print('error:', error, file=sys.stderr); sys.exit(2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr[-2000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: workdir: ")
    assert "cannot be written" in last
    assert not (tmp_path / "bundle.npz").exists()
    _train(tmp_path, 16)  # there is room again: the same command goes on
    assert (tmp_path / "bundle.npz").exists()


def test_unknown_parallelism_is_refused():
    with pytest.raises(ValueError, match="expected one of jit, pmap"):
        parallelism.parallelise(lambda *_: None, {}, mode="tpu")


def test_outside_a_checkout_the_environment_says_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(run_metadata, "__file__", str(tmp_path / "fos_jax" / "run_metadata.py"))
    monkeypatch.delenv("FOS_JAX_COMMIT", raising=False)
    assert run_metadata.commit() is None
    monkeypatch.setenv("FOS_JAX_COMMIT", "0123456789ab")
    assert run_metadata.commit() == "0123456789ab"
