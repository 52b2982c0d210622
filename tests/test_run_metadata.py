import json

from fos_jax import run_metadata


def test_metadata_is_complete_and_json():
    found = json.loads(json.dumps(run_metadata.run_metadata()))
    assert {"commit", "versions", "command", "machine", "devices", "python", "time", "cpu_count"} == found.keys()
    assert found["versions"]["numpy"]
    assert found["devices"]["kind"] == "cpu"


def test_missing_package_has_no_version():
    assert run_metadata.versions(["no-such-package"]) == {"no-such-package": None}


def test_outside_a_checkout_the_environment_says_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(run_metadata, "__file__", str(tmp_path / "fos_jax" / "run_metadata.py"))
    monkeypatch.delenv("FOS_JAX_COMMIT", raising=False)
    assert run_metadata.commit() is None
    monkeypatch.setenv("FOS_JAX_COMMIT", "0123456789ab")
    assert run_metadata.commit() == "0123456789ab"


def test_accelerator():
    assert run_metadata.accelerator({"count": 2, "kind": "GPU X"}) == "2 × GPU X"
    assert run_metadata.accelerator({"count": 1, "kind": "cpu"}) == ""


def test_machine_is_described(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name\t: Example   CPU @ 2 GHz\nprocessor : 1\nmodel name : Other\n")
    assert "Example CPU @ 2 GHz" in run_metadata.describe_machine(cpuinfo=file)
    assert "core" in run_metadata.describe_machine(cpuinfo=tmp_path / "none")
