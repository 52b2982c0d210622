"""Stages: run once, skipped while up to date, run again when anything they rest on changed."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from fos_jax.experiments import stages as stages_module
from fos_jax.experiments.stages import Stage, StageError, run_stages, size_of

COPY = """
import sys
from pathlib import Path
out, *texts = sys.argv[1:]
Path(out).mkdir(parents=True, exist_ok=True)
(Path(out) / "log").open("a").write("ran\\n")
if "fail" in texts: sys.exit(3)
(Path(out) / "text").write_text(" ".join(texts))
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two stages, the second reads the first; programs are replaced by a script that writes its arguments."""
    script = tmp_path / "copy.py"
    script.write_text(COPY)
    source = tmp_path / "source.py"
    source.write_text("x = 1\n")
    real = stages_module.subprocess.run

    def run(command, **options):
        assert command[:2] == [sys.executable, "-m"]
        return real([sys.executable, str(script), *command[3:]], **options)

    monkeypatch.setattr(stages_module.subprocess, "run", run)
    monkeypatch.setattr(stages_module, "_source_files", lambda name: [source])

    def make(first=("a",), second=("b",)):
        one, two = tmp_path / "one", tmp_path / "two"
        return [
            Stage("one", ["launch.one", str(one), *first], [one], ["scenes"]),
            Stage("two", ["launch.two", str(two), *second], [two], ["encoders"], after=["one"]),
        ]

    return make, tmp_path, source


def skipped(stages, folder: Path) -> list[bool]:
    return [run.is_skipped for run in run_stages(stages, folder / "records", announce=lambda line: None)]


def test_second_run_skips_everything(world):
    make, folder, _ = world
    assert skipped(make(), folder) == [False, False]
    assert skipped(make(), folder) == [True, True]
    assert (folder / "two" / "text").read_text() == "b"


def test_skipped_stage_keeps_the_time_of_the_run_that_made_it(world):
    make, folder, _ = world
    first = run_stages(make(), folder / "records", announce=lambda line: None)
    again = run_stages(make(), folder / "records", announce=lambda line: None)
    assert [run.seconds for run in first] == [run.seconds for run in again]
    assert all(run.seconds > 0 for run in first)


def test_changed_command_makes_later_stages_stale(world):
    make, folder, _ = world
    skipped(make(), folder)
    assert skipped(make(first=("other",)), folder) == [False, False]
    assert (folder / "one" / "log").read_text() == "ran\n"  # the stale output was removed first
    assert skipped(make(first=("other",), second=("c",)), folder) == [True, False]


def test_changed_source_makes_stages_stale(world):
    make, folder, source = world
    skipped(make(), folder)
    source.write_text("x = 2\n")
    assert skipped(make(), folder) == [False, False]


def test_damaged_or_missing_output_is_made_again(world):
    make, folder, _ = world
    skipped(make(), folder)
    (folder / "two" / "text").write_text("longer than before")
    assert skipped(make(), folder) == [True, False]
    (folder / "one" / "text").unlink()
    assert skipped(make(), folder)[0] is False


def test_failed_stage_stops_the_run_and_goes_on_in_what_it_left(world):
    make, folder, _ = world
    stages = make(first=("fail",))
    for _ in range(2):
        with pytest.raises(StageError, match=r"stage one failed \(exit code 3\)"):
            skipped(stages, folder)
    assert (folder / "one" / "log").read_text() == "ran\nran\n"
    assert not (folder / "two").exists()
    assert "outputs" not in json.loads((folder / "records" / "one.json").read_text())


def test_program_that_leaves_nothing_is_an_error(world):
    make, folder, _ = world
    one = dataclasses.replace(make()[0], outputs=[folder / "elsewhere"])
    with pytest.raises(StageError, match=f"left no {folder / 'elsewhere'}"):
        skipped([one], folder)


def test_torn_record_counts_as_none(world):
    make, folder, _ = world
    skipped(make(), folder)
    (folder / "records" / "one.json").write_text('{"finger')
    assert skipped(make(), folder)[0] is False


def test_size_counts_files_and_bytes(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_text("123")
    (tmp_path / "a" / "b" / "y").write_text("4567")
    assert size_of(tmp_path / "a") == [2, 7]
    assert size_of(tmp_path / "a" / "x") == [1, 3]
    assert size_of(tmp_path / "none") is None


def test_sources_are_modules_or_packages():
    assert [path.name for path in stages_module._source_files("errors")] == ["errors.py"]
    assert "demo.py" in {path.name for path in stages_module._source_files("launch")}
    with pytest.raises(ValueError, match="no module"):
        stages_module._source_files("nothing")
