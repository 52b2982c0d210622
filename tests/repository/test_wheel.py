"""Contents and programs of the installed wheel."""

import configparser
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fos_jax.__main__ import COMMANDS, GROUPS, module_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS = PROJECT["project"]["scripts"]


def run_installed(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python outside the checkout with the unpacked wheel first on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_wheel_has_one_top_level(wheel_file):
    names = zipfile.ZipFile(wheel_file).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fos_jax"}
    assert not [name for name in names if "/tests/" in name or name.endswith((".pyc", "conftest.py"))]


def test_wheel_holds_what_programs_read(wheel_file):
    names = zipfile.ZipFile(wheel_file).namelist()
    assert "fos_jax/py.typed" in names
    data = [path for room in ("fos_jax", "datasets", "launch") for path in (ROOT / room).rglob("*")]
    data = [path for path in data if path.suffix in {".jinja", ".css", ".tsv", ".bib"}]
    for path in data:
        relative = path.relative_to(ROOT).as_posix()
        assert (relative if relative.startswith("fos_jax/") else f"fos_jax/{relative}") in names
    assert any(path.name == "report.html.jinja" for path in data)


def test_package_list_is_in_step_with_the_folders():
    found = set()
    for top, prefix in (("fos_jax", "fos_jax"), ("datasets", "fos_jax.datasets"), ("launch", "fos_jax.launch")):
        for path in (ROOT / top).rglob("*.py"):
            folder = path.parent.relative_to(ROOT / top)
            if "dummy_data" not in folder.parts:
                found.add(".".join([prefix, *folder.parts]))
                assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


def test_imports_come_from_the_wheel(installed, tmp_path):
    code = (
        "import fos_jax, fos_jax.datasets.fos_synthetic, fos_jax.launch, fos_jax.launch.configs\n"
        "for m in (fos_jax, fos_jax.datasets.fos_synthetic, fos_jax.launch): print(m.__file__)\n"
        "import importlib.util\n"
        "print([n for n in ('launch', 'tests') if importlib.util.find_spec(n)])"
    )
    done = run_installed(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    *files, shadowing = done.stdout.splitlines()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(installed) for file in files), files
    assert shadowing == "[]"


def test_version_is_the_same_everywhere(wheel_file):
    import fos_jax

    assert fos_jax.__version__ == PROJECT["project"]["version"] == wheel_file.name.split("-")[1]


def test_console_scripts_are_what_pyproject_says(installed):
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read(entry_points)
    assert dict(parser["console_scripts"]) == PROGRAMS
    assert {path.name for path in (installed / "bin").iterdir()} >= set(PROGRAMS)


def test_every_program_is_one_command():
    programs = sorted(path.stem for path in (ROOT / "launch").glob("*.py") if "def main(" in path.read_text("utf-8"))
    assert sorted(map(module_of, COMMANDS)) == programs
    assert PROGRAMS == {"fos": "fos_jax.__main__:main"}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_prints_its_help(installed, tmp_path, command):
    done = run_installed(installed, tmp_path, str(installed / "bin" / "fos"), *command.split(), "--help")
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert done.returncode == 0, output
    assert "Flags:\n  --" in done.stdout
    assert not list(tmp_path.iterdir()), "help left files behind"


def test_a_program_runs_by_its_module_too(installed, tmp_path):
    by_module = run_installed(installed, tmp_path, "-m", "fos_jax.launch.search", "--help")
    by_command = run_installed(installed, tmp_path, "-m", "fos_jax", "search", "--help")
    assert by_module.returncode == by_command.returncode == 0
    assert by_module.stdout == by_command.stdout


def test_fos_lists_its_commands(installed, tmp_path):
    listed = run_installed(installed, tmp_path, str(installed / "bin" / "fos"), "--help")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout == run_installed(installed, tmp_path, "-m", "fos_jax").stdout
    assert all(group in listed.stdout for group in GROUPS)
    rows = [line for line in listed.stdout.splitlines() if line.startswith("  fos ")]
    assert len(rows) == len(COMMANDS)
    for command, row in zip(COMMANDS, rows, strict=True):
        name, summary = row[6:29].strip(), row[29:]
        assert name == command
        assert 20 <= len(summary) <= 100
        assert summary.endswith(".")
