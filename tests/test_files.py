"""Publishing a directory whole or not at all."""

import os

import pytest

from fos_jax import files as publish
from fos_jax.errors import InputError
from fos_jax.files import published_directory


def _write(target, text):
    with published_directory(target) as aside:
        (aside / "sub").mkdir()
        (aside / "sub" / "file").write_text(text)


def _names(directory):
    return sorted(p.name for p in directory.iterdir())


def test_nothing_is_seen_before_the_end(tmp_path):
    with published_directory(tmp_path / "deep" / "out") as aside:
        (aside / "file").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert _names(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out" / "file").read_text() == "x"


@pytest.mark.parametrize("has_exchange", [True, False])
def test_an_earlier_directory_is_replaced(tmp_path, monkeypatch, has_exchange):
    if not has_exchange:
        monkeypatch.setattr(publish, "_exchange", lambda a, b: False)
    for text in ("old", "new"):
        _write(tmp_path / "out", text)
    assert (tmp_path / "out" / "sub" / "file").read_text() == "new"
    assert _names(tmp_path) == ["out"]


def _fail_half_way(target, error):
    with published_directory(target) as aside:
        (aside / "file").write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_after_an_exception_the_earlier_directory_stays(tmp_path, error):
    _write(tmp_path / "out", "old")
    with pytest.raises(type(error)):
        _fail_half_way(tmp_path / "out", error)
    assert _names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "sub" / "file").read_text() == "old"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"out: cannot be written \(No space left on device\)"):
        _fail_half_way(tmp_path / "out", OSError(28, os.strerror(28)))
    assert _names(tmp_path) == []


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path):
    with (
        pytest.raises(InputError, match=r"No space left on device: [\d,]+ bytes free, 1,000,000,0"),
        published_directory(tmp_path / "out", needed_bytes=10**18),
    ):
        pytest.fail("the block was entered")
    assert _names(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = tmp_path / ".out.partial-0123"
    left.mkdir()
    (left / "file").write_text("half")
    other = tmp_path / ".other.partial-0123"
    other.mkdir()
    _write(tmp_path / "out", "new")
    assert _names(tmp_path) == [".other.partial-0123", "out"]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="is a file"), published_directory(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"
