"""The demo's stages name programs and flags that exist, and hang together."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fos_jax.launch.demo_stages import search_commands, stages_of
from fos_jax.launch.stages import _source_files

STAGES = stages_of(Path("work"), Path("data"), "demo")


def help_of(module: str) -> str:
    command = [sys.executable, "-m", f"fos_jax.{module}", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def helps():
    return {module: help_of(module) for module in sorted({stage.command[0] for stage in STAGES} | {"launch.search"})}


def test_every_flag_is_one_of_its_program(helps):
    for stage in STAGES:
        module, *arguments = stage.command
        flags = {re.match(r"--(\w+)", text)[1] for text in arguments if text.startswith("--")}
        assert flags, stage.name
        missing = {flag for flag in flags if not re.search(rf"^  --{flag}\b", helps[module], re.MULTILINE)}
        assert not missing, f"{module} has no {missing}"


def test_printed_commands_use_flags_that_exist(helps):
    for _, command in search_commands(Path("work")):
        program, *arguments = command.split()
        module = "launch." + program.removeprefix("fos-").replace("-", "_")
        for flag in (re.match(r"--(\w+)", text)[1] for text in arguments):
            assert re.search(rf"^  --{flag}\b", helps[module], re.MULTILINE), f"{program} has no --{flag}"


def test_stages_read_only_what_earlier_ones_leave():
    done: dict[str, list[Path]] = {}
    for stage in STAGES:
        assert set(stage.after) <= set(done), stage.name
        readable = [path for name in stage.after for path in done[name]]
        for text in stage.command[1:]:
            for path in map(Path, re.findall(r"work/\w+/bundle", text)):
                assert any(path.is_relative_to(output) for output in readable), f"{stage.name} reads {path}"
        done[stage.name] = list(stage.outputs)
    outputs = [output for paths in done.values() for output in paths]
    assert len(outputs) == len(set(outputs))


def test_configs_and_sources_exist():
    for stage in STAGES:
        assert all(_source_files(source) for source in stage.sources)
        for text in stage.command:
            if text.startswith("--config="):
                path, mode = text.removeprefix("--config=").split(":")
                assert Path(path).exists()
                assert mode.startswith("demo")


def test_tiny_size_runs_in_mini_mode():
    modes = [
        text.rsplit(":", 1)[1]
        for stage in stages_of(Path("w"), Path("d"), "tiny")
        for text in stage.command
        if ":" in text and text.startswith("--config=")
    ]
    assert modes == ["mini", "mini", "mini_rectangle_only", "mini"]
