"""The wheel, built once a session from a copy of the sources and unpacked into an empty folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("fos_jax", "datasets", "launch", "tests", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory) -> Path:
    """A wheel built without a network, outside the checkout (a build leaves folders beside the sources)."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def installed(wheel_file, tmp_path_factory) -> Path:
    """A folder into which only the wheel was installed, with its console scripts under bin/."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*command, "--disable-pip-version-check", "--target", target, wheel_file], check=True)
    return target
