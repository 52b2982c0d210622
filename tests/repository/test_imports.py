"""The import contract between rooms, and what importing costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Loaded only where they are used: a user who trains needs no gallery formats, one who searches no data loader.
HEAVY = (
    "tensorflow",
    "tensorflow_datasets",
    "grain",
    "scann",
    "pyarrow",
    "tensorboardX",
    "pycocotools",
    "matplotlib",
    "torch",
)
FILES_OF_A_SEARCH = 45  # that hold code
BASE = "import jax, flax.linen, optax, orbax.checkpoint, numpy, cv2, sklearn"
# Module patterns of each room: what rendering and training need where the heavy packages are absent.
LIGHT = {"scenes": ["**/*.py"], "encoders": ["*.py"], "training": ["*.py"], "rivals": ["*.py"]}


def loaded_by(code: str) -> set[str]:
    """Top-level modules loaded after `code` ran in a fresh interpreter."""
    report = "import json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_rooms_import_only_downwards(installed, tmp_path):
    """Runs the layers contract of pyproject.toml on the installed layout, where all rooms are below fos_jax."""
    command = [Path(sys.executable).parent / "lint-imports", "--config", ROOT / "pyproject.toml", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_contract_catches_an_upward_import(installed, tmp_path):
    """The same contract fails on a copy in which the lowest room imports a program."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(installed, copy)
    with (copy / "fos_jax" / "errors.py").open("a") as file:
        file.write("\nimport fos_jax.launch\n")
    command = [Path(sys.executable).parent / "lint-imports", "--config", ROOT / "pyproject.toml", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "fos_jax.errors -> fos_jax.launch" in done.stdout


def test_nothing_imports_tests():
    for room in ("fos_jax", "datasets", "launch", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            lines = path.read_text().splitlines()
            assert not [line for line in lines if line.strip().startswith(("import tests", "from tests"))], path


def test_importing_the_package_is_light():
    plain = loaded_by("pass")
    loaded = loaded_by("import fos_jax; dir(fos_jax); fos_jax.InputError; fos_jax.__version__") - plain
    assert not loaded & {"jax", "flax", "numpy", "cv2", "PIL", *HEAVY}, loaded


@pytest.mark.parametrize("name", ["Bundle", "ForegroundSearch", "InputError", "PatternTable", "load", "__version__"])
def test_public_names_resolve(name):
    import fos_jax

    assert name in fos_jax.__all__
    assert name in dir(fos_jax)
    assert getattr(fos_jax, name) is not None


def test_unknown_name_is_an_attribute_error():
    import fos_jax

    with pytest.raises(AttributeError, match="'fos_jax' has no attribute 'Foreground'"):
        _ = fos_jax.Foreground


def test_what_a_search_imports():
    """Few files, for readers, and few packages, for the seconds until the first answer."""
    search = ("__main__", "launch.search", "retrieval.results", "retrieval.search", "encoders.bundle")
    code = "\n".join(f"import fos_jax.{module}" for module in search)
    report = "import os, sys; loaded = [m for n, m in sys.modules.items() if n.split('.')[0] == 'fos_jax']\n"
    report += "print(sum(os.path.getsize(m.__file__) > 0 for m in loaded)); print(*sys.modules)"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    count, names = done.stdout.splitlines()
    assert int(count) <= FILES_OF_A_SEARCH
    needless = {"optax", "sklearn", "scann", "matplotlib", "tensorflow", "tensorflow_datasets", "grain", "scipy"}
    needless |= {"fos_jax.compose", "fos_jax.explain.evidence", "fos_jax.training", "fos_jax.rivals"}
    assert not needless & set(names.split())


@pytest.mark.parametrize("room", sorted(LIGHT))
def test_room_loads_no_heavy_package(room):
    modules = [
        "fos_jax." + path.relative_to(ROOT / "fos_jax").with_suffix("").as_posix().replace("/", ".")
        for pattern in LIGHT[room]
        for path in sorted((ROOT / "fos_jax" / room).glob(pattern))
        if path.stem != "__init__"
    ]
    assert len(modules) >= len(LIGHT[room])
    imports = "\n".join(f"import {module}" for module in [*modules, "fos_jax.losses"])
    extra = loaded_by(f"{BASE}\n{imports}") - loaded_by(BASE)
    assert not extra & set(HEAVY), extra & set(HEAVY)
