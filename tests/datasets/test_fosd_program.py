"""`fos dataset build` on FOSD's files: what is printed, and how it exits."""

import os
import subprocess
import sys

import pytest
from fosd_miniature import write_miniature

from fos_jax.datasets import building
from fos_jax.errors import InputError


def run(*arguments):
    command = [sys.executable, "-m", "fos_jax.launch.dataset_build", "--dataset=fosd", "--size=rfosd", *arguments]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_validate_only_lists_all_and_exits_with_2(tmp_path):
    mini = write_miniature(tmp_path / "data", train=10)
    (mini.root / "test/labels/test_set2.json").write_text("[")
    missing = mini.root / "train/fg" / mini.train["Dog"][0]
    missing.unlink()
    done = run(f"--manual_dir={mini.root}", f"--data_dir={tmp_path / 'built'}", "--validate_only")
    assert done.returncode == 2
    assert "test/labels/test_set2.json: got broken JSON" in done.stdout
    assert f"train/fg/{missing.stem}: got no such file" in done.stdout
    assert done.stderr.splitlines()[-1] == f"error: {mini.root}: 2 problems, listed above"
    assert not (tmp_path / "built").exists()


def test_functions_build_and_refuse(tmp_path):
    mini = write_miniature(tmp_path / "data")
    assert not [p for p in building.validate("fosd", "rfosd", str(mini.root)) if p.is_error]
    paths = building.build("fosd", "rfosd", str(tmp_path / "built"), manual_dir=str(mini.root))
    assert [os.path.basename(os.path.dirname(path)) for path in paths] == ["rfosd_foregrounds", "rfosd_queries"]
    assert building.build("fosd", "rfosd", str(tmp_path / "built"), manual_dir=str(mini.root)) == paths
    with pytest.raises(InputError, match="made by code"):
        building.validate("fos_synthetic", "demo", str(mini.root))
    with pytest.raises(InputError, match="unknown 'demo'"):
        building.validate("fosd", "demo", str(mini.root))
    with pytest.raises(InputError, match="manual_dir"):
        building.build("fosd", "sfosd", str(tmp_path / "built"))
