"""The `fos` command: lists, the nearest command, help that starts at once, commands that can be pasted."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fos_jax import program


def fos(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "fos_jax", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serch"], "unknown command 'serch', did you mean 'search'?"),
        (["gallery", "biuld", "--bundle=x"], "unknown command 'gallery biuld', did you mean 'gallery build'?"),
        (["galery", "build"], "unknown command 'galery', did you mean 'gallery build'?"),
        (["qqq"], "unknown command 'qqq'"),
    ],
)
def test_a_wrong_command_names_the_nearest(words, message):
    done = fos(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {message} (fos --help lists all)\n"


@pytest.mark.parametrize("words", [["scenes"], ["scenes", "--help"]])
def test_the_first_of_two_words_lists_the_seconds(words):
    done = fos(*words)
    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["fos", "scenes", "sheet"],
        ["fos", "scenes", "photographs"],
    ]


def test_a_list_that_nobody_reads_ends_quietly():
    command = [sys.executable, "-m", "fos_jax", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.close()
        assert (child.stderr.read(), child.wait(timeout=60)) == ("", program.EXIT_BROKEN_PIPE)


def test_help_of_a_search_loads_nothing_heavy():
    code = "import sys; sys.argv = ['fos', 'search', '--help']; import fos_jax.__main__ as m\n"
    code += "try: m.main()\nexcept SystemExit: print(sorted({'jax', 'numpy', 'PIL', 'rich', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    started = time.perf_counter()
    fos("search", "--help")
    assert time.perf_counter() - started < 2  # 0.07 s where nothing else runs


def test_commands_in_help_start_the_fos_that_runs():
    assert f"\n  {program.command_prefix()} search --gallery=" in fos("search", "--help").stdout


def test_command_prefix(tmp_path, monkeypatch):
    folder = tmp_path / "venv" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert program.command_prefix() == f"{folder / 'python'} -m fos_jax"
    (folder / "fos").touch(0o755)
    monkeypatch.chdir(tmp_path)
    assert program.command_prefix() == "venv/bin/fos"
    monkeypatch.chdir("/")
    assert Path(program.command_prefix()).resolve() == folder / "fos"
    monkeypatch.chdir(folder)
    assert program.command_prefix() == "./fos"
    monkeypatch.setenv("PATH", str(folder))
    assert program.command_prefix() == "fos"


def test_compiled_programs_are_kept_for_the_user(tmp_path):
    code = "from fos_jax.program import keep_compiled_programs; keep_compiled_programs(); import jax; "
    code += "jax.jit(lambda x: x + 1)(1.0); print(jax.config.values['jax_compilation_cache_dir'])"
    kept = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "", "JAX_PLATFORMS": "cpu"}
    for extra, folder in (({}, tmp_path / ".cache/fos_jax/compiled"), ({"JAX_COMPILATION_CACHE_DIR": "own"}, "own")):
        environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | kept | extra,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{folder}\n"
    assert list((tmp_path / ".cache/fos_jax/compiled").iterdir())
