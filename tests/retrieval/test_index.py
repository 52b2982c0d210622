"""Exact search against a loop, ScaNN against exact search, and each of ScaNN's traps."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fos_jax.errors import InputError
from fos_jax.retrieval.index import ExactIndex, ScannIndex, check_vectors, top_k

needs_scann = pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")


def _clustered(n, d=16, seed=0, centres=40):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(centres, d))[rng.integers(0, centres, n)] + 0.3 * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def scann_index():
    return ScannIndex.build(_clustered(2000), searched_share=0.3)  # few partitions: more of them


def test_top_k_by_hand():
    scores, rows = top_k(np.float32([[1, 3, 2, 3], [-np.inf, -np.inf, 5, -np.inf]]), 3)
    np.testing.assert_array_equal(rows, [[1, 3, 2], [2, -1, -1]])
    np.testing.assert_array_equal(scores, np.float32([[3, 3, 2], [5, -np.inf, -np.inf]]))


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 4), st.integers(0, 99))
def test_exact_search_is_a_sorted_loop(n, k, q, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (n, 3)).astype(np.float32)  # whole numbers: many ties
    queries = rng.integers(-3, 4, (q, 3)).astype(np.float32)
    scores, rows = ExactIndex(vectors).search(queries, k)
    assert scores.shape == rows.shape == (q, k)
    for i in range(q):
        ranked = sorted((-float(vectors[j] @ queries[i]), j) for j in range(n))[:k]
        np.testing.assert_array_equal(scores[i, : len(ranked)], [-s for s, _ in ranked])
        found = rows[i, : len(ranked)]
        assert len(set(found.tolist())) == len(ranked)
        np.testing.assert_array_equal(vectors[found] @ queries[i], scores[i, : len(ranked)])  # ties: scores decide
        assert (rows[i, len(ranked) :] == -1).all()
        assert np.isneginf(scores[i, len(ranked) :]).all()


@needs_scann
def test_scann_finds_what_exact_search_finds(scann_index):
    vectors = _clustered(2000)
    queries = vectors[:50] + 0.1 * np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    exact_scores, _ = ExactIndex(vectors).search(queries, 10)
    scores, rows = scann_index.search(queries, 10)
    np.testing.assert_allclose(scores, np.einsum("qkd,qd->qk", vectors[rows], queries), atol=1e-5)
    recall = np.mean(scores >= exact_scores[:, -1:] - 1e-6)
    assert recall >= 0.9
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@needs_scann
def test_posteriors_are_searched_by_the_same_index():
    rng = np.random.default_rng(0)
    posteriors = rng.dirichlet(np.full(12, 0.1), 2000).astype(np.float32)
    queries = rng.dirichlet(np.full(12, 0.3), 30).astype(np.float32)
    exact_scores, _ = ExactIndex(posteriors).search(queries, 10)
    # ScaNN trains its partitions on several threads, so no two builds are alike: as many visited as above
    scores, _ = ScannIndex.build(posteriors, searched_share=0.3).search(queries, 10)
    assert np.mean(scores >= exact_scores[:, -1:] - 1e-6) >= 0.9


# Traps, each seen in ScaNN 1.4.2


@needs_scann
def test_trap_nan_rows_kill_the_process_so_they_are_refused_before():
    vectors = _clustered(500)
    vectors[[3, 7], 2] = np.nan
    for build in (ScannIndex.build, ExactIndex):
        with pytest.raises(InputError, match="cars: 2 of 500 rows are not finite, the first is row 3"):
            build(vectors, where="cars")


def test_infinite_rows_and_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="not finite"):
        check_vectors(np.float32([[np.inf, 0]]))
    with pytest.raises(InputError, match="expected \\[rows, size\\]"):
        check_vectors(np.zeros(3, np.float32))


@needs_scann
def test_trap_nan_queries(scann_index):
    for index in (scann_index, ExactIndex(_clustered(10))):
        with pytest.raises(InputError, match="query vectors: 1 of 2 rows"):
            index.search(np.float32([[0] * 16, [np.nan] * 16]), 3)


@needs_scann
@pytest.mark.parametrize("k", [1, 300, 1999, 2000, 2500])
def test_trap_short_results_are_padded_with_row_0_and_nan(scann_index, k):
    scores, rows = scann_index.search(_clustered(5, seed=2), k)
    assert scores.shape == rows.shape == (5, k)
    assert not np.isnan(scores).any()
    np.testing.assert_array_equal(rows == -1, np.isneginf(scores))
    for row in rows:
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found)  # row 0 at most once


@needs_scann
def test_trap_padding_really_happens_when_few_partitions_are_visited():
    index = ScannIndex.build(_clustered(2000), searched_share=0.01)
    index._searched_share = 0.0
    visited = index._searcher.search_batched(
        _clustered(1, seed=3), final_num_neighbors=2000, pre_reorder_num_neighbors=2000, leaves_to_search=1
    )
    assert np.isnan(visited[1]).any()
    assert (np.asarray(visited[0])[np.isnan(visited[1])] == 0).all()


@needs_scann
def test_trap_empty_batches(scann_index):
    for index in (scann_index, ExactIndex(_clustered(10)), ExactIndex(np.zeros((0, 16), np.float32))):
        scores, rows = index.search(np.zeros((0, 16), np.float32), 4)
        assert scores.shape == rows.shape == (0, 4)


@needs_scann
@pytest.mark.parametrize("n", [0, 1, 2, 10, 255])
def test_trap_tiny_sets_are_refused_by_scann_and_served_exactly(n):
    vectors = _clustered(n)
    with pytest.raises(InputError, match=f"{n} rows are too few"):
        ScannIndex.build(vectors)
    scores, rows = ExactIndex(vectors).search(_clustered(2, seed=1), 5)
    assert ((rows >= 0).sum(axis=1) == min(n, 5)).all()
    assert np.isfinite(scores[rows >= 0]).all()


@needs_scann
def test_trap_more_leaves_than_rows():
    with pytest.raises(InputError, match="expected at least 600"):
        ScannIndex.build(_clustered(500), num_leaves=600)


@needs_scann
def test_trap_moved_folders_load(tmp_path, scann_index):
    scann_index.save(tmp_path / "a" / "index")  # the folder need not exist
    shutil.move(tmp_path / "a", tmp_path / "b")
    queries = _clustered(5, seed=4)
    moved = ScannIndex.load(tmp_path / "b" / "index")
    np.testing.assert_array_equal(moved.search(queries, 7)[0], scann_index.search(queries, 7)[0])
    assert len(moved) == 2000


@needs_scann
def test_trap_docids_would_be_unpickled(tmp_path, scann_index):
    scann_index.save(tmp_path / "index")
    (tmp_path / "index" / "scann_docids.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(InputError, match="scann_docids"):
        ScannIndex.load(tmp_path / "index")


@needs_scann
@pytest.mark.parametrize("name", ["index.json", "scann_assets.pbtxt"])
def test_missing_files_are_named(tmp_path, scann_index, name):
    scann_index.save(tmp_path / "index")
    (tmp_path / "index" / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        ScannIndex.load(tmp_path / "index")


@needs_scann
def test_damaged_settings_are_named(tmp_path, scann_index):
    scann_index.save(tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text('{"num_rows": 2000}')
    with pytest.raises(InputError, match="cannot be opened"):
        ScannIndex.load(tmp_path / "index")


@needs_scann
def test_queries_of_another_size(scann_index):
    with pytest.raises(InputError, match="got size 3, expected 16"):
        scann_index.search(np.zeros((1, 3), np.float32), 2)


@needs_scann
def test_trap_a_nan_row_does_kill_an_unchecked_build():
    """The reason for the check: no exception that Python could catch, the process ends."""
    code = (
        "import sys; sys.excepthook = lambda *a: print('alive');"
        "import numpy as np; from scann.scann_ops.py import scann_ops_pybind as s;"
        "v = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32); v[3] = np.nan;"
        "b = s.builder(v, 5, 'dot_product').tree(20, 5).score_ah(2, anisotropic_quantization_threshold=.2);"
        "b.reorder(50).build(); print('alive')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert ended.returncode != 0
    assert b"alive" not in ended.stdout
