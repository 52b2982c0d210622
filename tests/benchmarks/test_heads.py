"""The benchmark of heads at a size of milliseconds: both frameworks make the same steps; ratios by hand."""

import argparse

import in_turns
import pytest


def test_ratios_are_per_round():
    got = in_turns.ratio([1.0, 2.0, 4.0], [2.0, 2.0, 12.0])
    assert got == {"ratio": 2.0, "lowest_ratio": 1.0, "highest_ratio": 3.0}
    assert in_turns.fastest({"a": [3.0, 1.0, 3.0], "b": [2.0, 2.0, 9.0]}, ("a", "b")) == "b"


def test_each_function_has_as_many_calls_and_one_to_compile():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    wall, cpu = in_turns.seconds_in_turns(runs, rounds=2, calls=2)
    assert "".join(calls) == "ab" + "aabb" + "bbaa"
    assert {name: len(times) for name, times in wall.items()} == {name: len(times) for name, times in cpu.items()}
    assert len(wall["a"]) == 2


@pytest.fixture
def _one_thread():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_both_frameworks_make_the_same_steps():
    import heads

    options = argparse.Namespace(rows=64, features=24, size=4, patterns=5, batch=16, rounds=2, steps=20, threads=1)
    line = heads.measure(options)
    first = heads.jax_step(heads.make_data(options), heads.make_weights(options))()
    assert line["first_loss_difference"] < 1e-5
    assert line["last_loss_difference"] < 1e-3
    assert line["last_loss"] < 0.8 * first
