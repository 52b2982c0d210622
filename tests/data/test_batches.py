import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fos_jax.data.batches import training_batches
from fos_jax.encoders.build import run_in_batches


def _arrays(n):
    return {"x": np.arange(n) * 10, "y": np.arange(2 * n).reshape(n, 2)}


def test_each_epoch_is_another_permutation_of_all_rows():
    batches = training_batches(_arrays(12), batch_size=4, seed=0)
    epochs = [np.concatenate([next(batches)["index"] for _ in range(3)]) for _ in range(4)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(12))
    assert len({tuple(e) for e in epochs}) == 4


def test_batches_across_an_epochs_end_are_full_and_rows_belong_together():
    batches = training_batches(_arrays(5), batch_size=4, seed=1)
    seen = [next(batches) for _ in range(5)]  # 20 rows = 4 epochs of 5
    assert sorted(np.concatenate([b["index"] for b in seen])) == sorted(list(range(5)) * 4)
    for batch in seen:
        assert batch["x"].shape == (4,)
        np.testing.assert_array_equal(batch["x"], batch["index"] * 10)
        np.testing.assert_array_equal(batch["y"][:, 1], batch["index"] * 2 + 1)
        np.testing.assert_array_equal(batch["weight"], np.ones(4, np.float32))


def test_same_seed_same_rows_other_seed_other_rows():
    def rows(seed):
        batches = training_batches(_arrays(50), batch_size=10, seed=seed)
        return [tuple(next(batches)["index"]) for _ in range(7)]

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)


@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 20), batch_size=st.integers(1, 9), stop=st.integers(0, 12))
def test_restored_state_goes_on_at_the_next_batch(n, batch_size, stop):
    whole = training_batches(_arrays(n), batch_size=batch_size, seed=7)
    expected = [next(whole)["index"] for _ in range(stop + 5)]
    first = training_batches(_arrays(n), batch_size=batch_size, seed=7)
    for _ in range(stop):
        next(first)
    second = training_batches(_arrays(n), batch_size=batch_size, seed=7)
    second.set_state(first.get_state())
    for row in expected[stop:]:
        np.testing.assert_array_equal(next(second)["index"], row)


@pytest.mark.parametrize("n", [7, 8, 9])
def test_a_step_runs_over_every_row_once_in_batches_of_one_size(n):
    sizes = []

    def step(x, y):
        sizes.append((len(x), len(y)))
        return x + 1, y

    arrays = _arrays(n)
    plus_one, same = run_in_batches(step, [arrays["x"], arrays["y"]], batch_size=8)
    assert set(sizes) == {(8, 8)}
    np.testing.assert_array_equal(plus_one, arrays["x"] + 1)
    np.testing.assert_array_equal(same, arrays["y"])
    assert len(sizes) == -(-n // 8)


def test_arrays_that_do_not_align_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        run_in_batches(lambda x, y: (x, y), [np.zeros(3), np.zeros(4)], batch_size=2)
    with pytest.raises(ValueError, match="lengths"):
        training_batches({"x": np.zeros(0)}, batch_size=2, seed=0)
    with pytest.raises(ValueError, match="index"):
        training_batches({"index": np.zeros(3)}, batch_size=2, seed=0)
    with pytest.raises(ValueError, match="batch_size"):
        training_batches({"x": np.zeros(3)}, batch_size=0, seed=0)
