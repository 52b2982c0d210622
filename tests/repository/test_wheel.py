"""What a user gets who installs the wheel."""

import configparser
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

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


def test_every_program_has_a_console_script():
    # A program is a file of launch/ that defines `run`; the others there are what programs share.
    files = {path.stem for path in (ROOT / "launch").glob("*.py") if "\ndef run(" in path.read_text()}
    named = {target.removeprefix("fos_jax.launch.").removesuffix(":run") for target in PROGRAMS.values()}
    assert named == files


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_program_prints_its_help(installed, tmp_path, program):
    done = run_installed(installed, tmp_path, str(installed / "bin" / program), "--help")
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert done.returncode == 0, output
    assert "Flags:\n  --" in done.stdout
    assert not list(tmp_path.iterdir()), "help left files behind"
