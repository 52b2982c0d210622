"""The demo's stages name programs and flags that exist, and hang together."""

import re
from pathlib import Path

import pytest

from fos_jax.__main__ import module_of
from fos_jax.experiments import demo_patterns_stages
from fos_jax.experiments.demo_stages import search_commands, stages_of
from fos_jax.experiments.stages import _source_files
from fos_jax.program import command_prefix

DEMOS = {
    "demo": stages_of(Path("work"), Path("data"), "demo"),
    "patterns, photographs": demo_patterns_stages.stages_of(Path("work"), Path("coco"), "demo"),
    "patterns, rendered": demo_patterns_stages.stages_of(Path("work"), None, "demo"),
}


@pytest.fixture(params=DEMOS.values(), ids=DEMOS.keys())
def stages(request):
    return request.param


def flags_of(module: str) -> set[str]:
    """Names of the flags that a program defines or adopts (read, not imported)."""
    (source,) = _source_files(module)
    text = source.read_text("utf-8")
    for adopted in re.findall(r"adopt_module_key_flags\((\w+)\)", text):
        text += source.with_name(f"{adopted}.py").read_text("utf-8")
    return set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text))


def test_every_flag_is_one_of_its_program(stages):
    for stage in stages:
        module, *arguments = stage.command
        is_change = re.compile(r"--config\.").match
        flags = {re.match(r"--(\w+)", t)[1] for t in arguments if t.startswith("--") and not is_change(t)}
        assert flags, stage.name
        assert flags <= flags_of(module), f"{module} has no {flags - flags_of(module)}"


def test_printed_commands_use_flags_that_exist():
    for _, command in [*search_commands(Path("work")), *demo_patterns_stages.commands(Path("work"))]:
        words = command.split()
        program, arguments = " ".join(w for w in words if "=" not in w), [w for w in words if "=" in w]
        assert program.startswith(f"{command_prefix()} ")
        module = "launch." + module_of(program.removeprefix(f"{command_prefix()} "))
        flags = {re.match(r"--(\w+)", text)[1] for text in arguments}
        assert flags <= flags_of(module), f"{program} has no {flags - flags_of(module)}"


def test_stages_read_only_what_earlier_ones_leave(stages):
    done: dict[str, list[Path]] = {}
    for stage in stages:
        assert set(stage.after) <= set(done), stage.name
        readable = [path for name in stage.after for path in done[name]]
        for text in stage.command[1:]:
            for path in map(Path, re.findall(r"work/\w+/bundle", text)):
                assert any(path.is_relative_to(output) for output in readable), f"{stage.name} reads {path}"
        done[stage.name] = list(stage.outputs)
    outputs = [output for paths in done.values() for output in paths]
    assert len(outputs) == len(set(outputs))


def test_configs_and_sources_exist(stages):
    for stage in stages:
        assert all(_source_files(source) for source in stage.sources)
        for text in stage.command:
            if text.startswith("--config="):
                path, mode = text.removeprefix("--config=").split(":")
                assert Path(path).exists()
                assert mode.startswith("demo")


def test_mini_size_runs_in_mini_mode():
    modes = [
        text.rsplit(":", 1)[1]
        for stage in stages_of(Path("w"), Path("d"), "mini")
        for text in stage.command
        if ":" in text and text.startswith("--config=")
    ]
    assert modes == ["mini", "mini", "mini_rectangle_only", "mini"]
