"""From directories to result files, and the program's flags; loading itself is tested where it is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_world import make_bundle, make_split

from fos_jax.errors import InputError
from fos_jax.evaluation import from_files
from fos_jax.evaluation.from_files import read_results


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """Bundles "a" and "b" and a data set, without reading any."""
    bundles = {"a": make_bundle(), "b": make_bundle(seed=1)}
    queries, foregrounds, table = make_split()
    asked = []

    def load_split(data_dir, **kwargs):
        asked.append(kwargs)
        return foregrounds, queries, table

    monkeypatch.setattr(from_files, "load_bundle", lambda path: bundles[str(path)])
    monkeypatch.setattr(from_files, "load_split", load_split)
    monkeypatch.setattr(from_files, "version_directory", lambda *_: Path("1.2.3"))
    monkeypatch.setattr(from_files, "records_checksum", lambda *_: "c0ffee")
    return asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rectangle only=runs/x/bundle:control", ("rectangle only", "runs/x/bundle", "control")),
        ("two streams = runs/y", ("two streams", "runs/y", "rival")),
        ("z=a:b=c:rival", ("z", "a:b=c", "rival")),
    ],
)
def test_compared_bundles_are_named_on_the_command_line(text, expected):
    assert from_files.parse_compared(text) == expected


@pytest.mark.parametrize("text", ["", "name", "=path", "name=", "name=:control"])
def test_a_wrong_compare_is_refused(text):
    with pytest.raises(InputError, match="expected NAME=DIRECTORY"):
        from_files.parse_compared(text)


def test_result_files_say_what_they_are_figures_of(disk, tmp_path):
    output = tmp_path / "out" / "evaluation.json"
    got = from_files.evaluate_files(
        "a",
        data_dir="data",
        size="mini",
        split="test",
        compare=[from_files.Compared("blind", "b", "control")],
        output=output,
        num_resamples=20,
        seed=5,
    )
    assert read_results(output) == json.loads(json.dumps(got))
    assert got["data"]["version"] == "1.2.3"
    assert (got["data"]["split"], got["data"]["size"], got["data"]["checksum"]) == ("test", "mini", "c0ffee")
    assert got["bundle"]["fingerprint"] == "stand-in-0"
    assert got["bundle"]["training_seed"] == 0
    assert got["compared"]["blind"]["fingerprint"] == "stand-in-1"
    assert got["bootstrap"]["seed"] == 5
    assert {"commit", "versions", "command", "machine", "devices"} <= got["metadata"].keys()
    text = output.with_suffix(".md").read_text()
    assert "split test" in text
    assert "| blind | both |" in text
    sizes = [(k["size"], k["split"], k["foreground_size"], k["query_size"]) for k in disk]
    assert sizes == [("mini", "test", 32, 32)] * 2


@pytest.mark.parametrize("output", ["results.txt", "results"])
def test_output_must_be_a_json_file(disk, output):
    with pytest.raises(InputError, match=r"output: .* expected a file that ends in \.json"):
        from_files.evaluate_files("a", data_dir="data", size="mini", split="test", output=output)
    assert not disk  # refused before anything was read


def test_program_help_and_user_error():
    program = [sys.executable, "-m", "fos_jax.launch.evaluate"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    shown = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True, env=environment).stdout
    for flag in ("bundle", "data_dir", "dataset", "size", "split", "compare", "output", "seed", "resamples"):
        assert f"--{flag}" in shown
    done = subprocess.run(
        [*program, "--bundle=/nowhere", "--data_dir=/nowhere"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: data_dir: no built data set in /nowhere")
    assert "Traceback" not in done.stderr
