import numpy as np
import pytest

from fos_jax.data.cache import cached_arrays


def test_computed_once_then_mapped_from_disk(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.arange(6).reshape(2, 3), "ids": np.array(["x", "long name"])}

    first = cached_arrays(tmp_path, "key-1", compute)
    second = cached_arrays(tmp_path, "key-1", compute)
    assert len(calls) == 1
    for arrays in (first, second):
        np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
        assert arrays["ids"].tolist() == ["x", "long name"]
    assert isinstance(second["a"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second["a"][0, 0] = 9
    cached_arrays(tmp_path, "key-2", compute)
    assert len(calls) == 2


def test_a_half_written_cache_is_never_read(tmp_path, monkeypatch):
    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        cached_arrays(tmp_path, "k", lambda: {"a": np.zeros(3)})
    monkeypatch.undo()
    left = tmp_path / ".k.partial-0"  # what a killed process leaves
    left.mkdir()
    (left / "a.npy").write_bytes(b"half")
    arrays = cached_arrays(tmp_path, "k", lambda: {"a": np.ones(3)})
    np.testing.assert_array_equal(arrays["a"], np.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["k"]


def test_a_directory_that_cannot_be_written_only_costs_the_cache(tmp_path):
    (tmp_path / "file").write_text("in the way")
    arrays = cached_arrays(tmp_path / "file", "k", lambda: {"a": np.ones(2)})
    np.testing.assert_array_equal(arrays["a"], np.ones(2))


def test_a_process_that_lost_the_race_reads_the_winners_arrays(tmp_path):
    def compute():
        if not (tmp_path / "k").exists():
            cached_arrays(tmp_path, "k", lambda: {"a": np.full(2, 7)})
        return {"a": np.full(2, 7)}

    np.testing.assert_array_equal(cached_arrays(tmp_path, "k", compute)["a"], [7, 7])
    assert [p.name for p in tmp_path.iterdir()] == ["k"]


def test_unsafe_keys_are_refused(tmp_path):
    with pytest.raises(ValueError, match="key"):
        cached_arrays(tmp_path, "../k", dict)
