"""Figures over seeds: hand-made numbers, SciPy's bootstrap as oracle, and the cell that they are made from."""

import json

import numpy as np
import pytest
import scipy.stats
from evaluation_world import make_bundle, make_split

from fos_jax.errors import InputError
from fos_jax.evaluation.run import evaluate, ids_fingerprint
from fos_jax.experiments.cells import Cell, Method, Training
from fos_jax.experiments.over_seeds import precision_difference, seed_difference, spread
from fos_jax.experiments.results_file import average_precision, read_records, write_records
from fos_jax.experiments.running import cell_record


def row(**by_category):
    """A row of a cell from average precisions in percent; None is left out."""
    text = {c: " ".join("-" if v is None else str(round(100 * v)) for v in vs) for c, vs in by_category.items()}
    return {"average_precision": text}


def test_spread_by_hand():
    assert spread([0.25, None, 0.75]) == (0.5, pytest.approx(np.sqrt(0.125)), (0.25, 0.75))
    assert spread([0.5]) == (0.5, None, (0.5,))
    assert spread([None]) is None


def test_average_precision_is_read_back():
    values, category = average_precision(row(car=[50, None], dog=[12.5]))
    np.testing.assert_allclose(values, [0.5, np.nan, 0.125])
    assert category.tolist() == ["car", "car", "dog"]


def test_difference_by_hand():
    """Car +10 and +30, dog +60 in seed 0: mean over categories (20 + 60) / 2 = 40; in seed 1 it is 0."""
    ours = {0: row(car=[50, 70], dog=[80]), 1: row(car=[40, 40], dog=[20]), 9: row(car=[0, 0], dog=[0])}
    theirs = {0: row(car=[40, 40], dog=[20]), 1: row(car=[40, 40], dog=[20])}
    got = seed_difference(ours, theirs)
    assert got.by_seed == pytest.approx({0: 0.4, 1: 0.0})
    assert got.difference == pytest.approx(0.2)
    assert got.relative == pytest.approx(0.2 / 0.3)
    assert got.num_queries == 3
    # Seed 0 is drawn 0, 1 or 2 times of 2; cars give 10, 20 or 30: from 0 (neither) to (30 + 60) / 2 (twice).
    assert (got.low, got.high) == pytest.approx((0.0, 0.45))
    # Above zero but for resamples of seed 1 alone (a quarter), which are ties.
    assert got.probability_above_zero == pytest.approx(0.75 + 0.125, abs=0.03)
    assert seed_difference(ours, {3: theirs[0]}) is None


def test_a_method_against_itself_differs_in_nothing():
    rows = {s: row(car=[10 * s, 50], dog=[30]) for s in range(3)}
    got = seed_difference(rows, rows)
    assert (got.difference, got.low, got.high, got.probability_above_zero, got.relative) == (0, 0, 0, 0.5, 0)


def test_queries_that_one_of_both_lacks_are_left_out():
    got = seed_difference({0: row(car=[50, None, 10])}, {0: row(car=[40, 90, None])})
    assert got.num_queries == 1
    assert got.difference == pytest.approx(0.1)
    assert got.relative == pytest.approx(0.1 / 0.4)


def test_rows_of_other_queries_are_refused():
    with pytest.raises(ValueError, match="expected the same ones"):
        seed_difference({0: row(car=[50])}, {0: row(car=[50, 50])})
    with pytest.raises(ValueError, match="expected the same ones"):
        seed_difference({s: row(car=[50] * (s + 1)) for s in (0, 1)}, {s: row(car=[50] * (s + 1)) for s in (0, 1)})


def test_one_seed_agrees_with_scipys_paired_bootstrap():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 100, (2, 200))
    got = precision_difference({0: a / 100}, {0: b / 100}, np.zeros(200), num_resamples=4000)
    expected = scipy.stats.bootstrap(
        ((a - b) / 100,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_spread_between_seeds_widens_the_interval():
    """Seeds that differ by a constant: with queries alone the interval of their mean would have no width."""
    theirs = {s: row(car=[30] * 20) for s in range(3)}
    same = seed_difference({s: row(car=[40] * 20) for s in range(3)}, theirs)
    different = seed_difference({s: row(car=[30 + 10 * s] * 20) for s in range(3)}, theirs)
    assert same.difference == pytest.approx(different.difference) == pytest.approx(0.1)
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))
    assert (different.low, different.high) == pytest.approx((0.0, 0.2))


@pytest.fixture(scope="module")
def evaluation():
    queries, foregrounds, table = make_split()
    got = evaluate(make_bundle(), queries, foregrounds, table, num_resamples=10, per_query=True)
    more = {
        "data": {"size": "mini"},
        "bundle": {"fingerprint": "f"},
        "metadata": {"commit": "c", "time": "t", "versions": {}, "devices": {"count": 1, "kind": "cpu"}},
    }
    return {**json.loads(json.dumps(got)), **more}


def cell_of(rankings, seed=0) -> Cell:
    return Cell(Method("student", "student", "ours", Training("student", "student"), rankings), "mini", seed, "1.0.0")


def test_cells_keep_what_the_evaluation_found(evaluation, tmp_path):
    path = tmp_path / "mini.jsonl"
    write_records(path, [cell_record(cell_of(["flat", "both"], seed=3), evaluation, [])])
    (cell,) = read_records(path).values()
    assert (cell["method"], cell["seed"]) == ("student", 3)
    assert [r["ranking"] for r in cell["rows"]] == ["flat", "both"]
    for kept, row_ in zip(
        cell["rows"], [r for r in evaluation["rows"] if r["ranking"] in ("flat", "both")], strict=False
    ):
        values, category = average_precision(kept)
        assert len(values) == evaluation["counts"]["queries"]
        by_category = [np.nanmean(values[category == c]) for c in np.unique(category)]
        assert np.mean(by_category) == pytest.approx(row_["figures"]["map"]["value"], abs=1e-4)
        assert kept["figures"]["map"] == pytest.approx(row_["figures"]["map"]["value"], abs=1e-6)


def test_a_ranking_that_is_not_there_is_refused(evaluation):
    with pytest.raises(ValueError, match=r"student: no ranking \['other'\]"):
        cell_record(cell_of(["other"]), evaluation, [])


def test_per_query_figures_come_with_their_queries(evaluation):
    queries, _, table = make_split()
    assert evaluation["queries"]["fingerprint"] == ids_fingerprint(queries.ids)
    assert evaluation["queries"]["category"] == [table.categories[c] for c in queries.category]
    assert ids_fingerprint(queries.ids[::-1]) != ids_fingerprint(queries.ids)
    assert all(len(r["per_query"]) == len(queries) for r in evaluation["rows"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 2: not a record"),
        ("[]", "line 2: not a record"),
        ('{"kind": "other", "format_version": 2}', "line 2: not a record"),
        ('{"format_version": 9, "kind": "config", "digest": "d", "config": {}}', "format_version is 9, expected 2"),
        ('{"format_version": 2, "kind": "cell", "method": "m", "seed": 1}', "line 2: not a record .*definition"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, text, message):
    path = tmp_path / "demo.jsonl"
    write_records(path, [{"kind": "config", "digest": "d", "config": {}}])
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(InputError, match=message):
        read_records(path)


def test_a_record_replaces_the_one_of_its_key_and_leaves_the_others(tmp_path):
    path = tmp_path / "deep" / "demo.jsonl"
    assert read_records(path) == {}
    write_records(path, [{"kind": "config", "digest": name, "config": {"a": 1}} for name in ("y", "x")])
    before = path.read_bytes()
    write_records(path, [{"kind": "config", "digest": "x", "config": {"a": 2}}])
    assert [(k, r["config"]["a"]) for k, r in read_records(path).items()] == [("config-x", 2), ("config-y", 1)]
    write_records(path, [{"kind": "config", "digest": "x", "config": {"a": 1}}])
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["demo.jsonl"]
