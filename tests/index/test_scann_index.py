"""ScaNN against exact search, filtered and not, and each of ScaNN's traps."""

import subprocess
import sys

import numpy as np
import pytest
from made_vectors import clustered, posteriors, recall

from fos_jax.errors import InputError
from fos_jax.index.build import build_index, made_queries, open_index
from fos_jax.index.exact import ExactIndex
from fos_jax.index.scann_index import Effort, ScannIndex

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")


@pytest.fixture(scope="module", params=["cosine", "posterior"])
def opened(request, built):
    """An index, its vectors and queries for it."""
    vectors, folder, _ = built[request.param]
    index = open_index(folder, vectors)
    rng = np.random.default_rng(7)
    return index, vectors, np.concatenate(made_queries(vectors, 20, request.param, index.setup, rng))


@pytest.mark.parametrize("k", [1, 20, 50, 300])
def test_finds_what_exact_search_finds(opened, k):
    index, vectors, queries = opened
    assert isinstance(index, ScannIndex)
    assert recall(index, vectors, queries, k) >= 0.97
    one_by_one = np.concatenate([index.search(query[None], k)[0] for query in queries])
    np.testing.assert_allclose(one_by_one, index.search(queries, k)[0], atol=1e-6)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.05, 0.001])
def test_filtered_search_finds_what_exact_filtered_search_finds(opened, share):
    index, vectors, queries = opened
    allowed = np.random.default_rng(3).random(len(vectors)) < share
    k = min(20, int(allowed.sum()))
    assert recall(index, vectors, queries, k, allowed) >= 0.97
    scores, rows = index.search(queries, k + 5, allowed=allowed)
    assert ((rows >= 0).sum(axis=1) == min(k + 5, allowed.sum())).all()
    np.testing.assert_array_equal(rows < 0, np.isneginf(scores))


def test_filters_that_refuse_all_that_a_query_finds_first(opened):
    index, vectors, queries = opened
    best_last = np.argsort(vectors @ queries[0])
    allowed = np.zeros(len(vectors), bool)
    allowed[best_last[:4000]] = True  # a fifth, and the worst
    assert recall(index, vectors, queries[:1], 20, allowed) == 1
    scores, rows = index.search(queries[:2], 20, allowed=np.zeros(len(vectors), bool))
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


def test_ties_come_by_row(opened):
    index, _, queries = opened
    for asked in (queries, queries[:1]):
        scores, rows = index.search(asked, 20)
        tied = scores[:, 1:] == scores[:, :-1]
        assert (rows[:, 1:] > rows[:, :-1])[tied].all()
        assert (np.diff(scores, axis=1) <= 0).all()


def test_queries_known_to_be_good_give_the_same(opened):
    index, vectors, queries = opened
    for searched in (index, ExactIndex(vectors)):
        for given, checked in zip(
            searched.search(queries, 20), searched.search(queries, 20, is_checked=True), strict=True
        ):
            np.testing.assert_array_equal(given, checked)


@pytest.mark.parametrize("multiple", [0, 0.1, 0.3, 1, 3, 10])
def test_any_weights_of_experts(combined, multiple):
    index, vectors, queries = combined
    asked = queries * np.repeat(np.float32([1, multiple, multiple]), [12, 8, 16])
    assert recall(index, vectors, asked, 20) >= 0.95


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    vectors = np.concatenate([posteriors(20_000), clustered(20_000, 8, 1), clustered(20_000, 16, 2)], axis=1)
    folder, weights = tmp_path_factory.mktemp("combined") / "index", [0.3, 0.2]
    build_index(vectors, folder, ranking="posterior", expert_sizes=[8, 16], expert_weights=weights, num_queries=100)
    index = open_index(folder, vectors)
    return index, vectors, np.concatenate(made_queries(vectors, 20, "posterior", index.setup, np.random.default_rng(7)))


def test_experts_weighed_apart(combined):
    index, vectors, queries = combined
    asked = queries * np.repeat(np.float32([1, 0, 10]), [12, 8, 16])
    assert recall(index, vectors, asked, 20) >= 0.95


# Traps, each seen in ScaNN 1.4.2


@pytest.mark.parametrize("k", [1999, 20_000, 25_000])
def test_trap_short_results_are_padded_with_row_0_and_nan(opened, k):
    index, vectors, queries = opened
    scores, rows = index.search(queries[:3], k)
    assert scores.shape == rows.shape == (3, k)
    assert not np.isnan(scores).any()
    np.testing.assert_array_equal(rows == -1, np.isneginf(scores))
    for row in rows:
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found) == min(k, len(vectors))  # row 0 at most once


def test_trap_padding_really_happens_when_few_partitions_are_visited(opened):
    index, _, queries = opened
    visited = index._searcher.search_batched(queries[:2], 5000, 5000, 1, False, 0)
    assert np.isnan(visited[1]).any()
    assert (np.asarray(visited[0])[np.isnan(visited[1])] == 0).all()
    for asked in (queries[:2], queries[:1]):
        scores, rows = index.search_with(asked, 5000, Effort(5000, 1, 5000))
        assert rows.shape == (len(asked), 5000)
        np.testing.assert_array_equal(rows == -1, np.isneginf(scores))
        assert (rows == -1).any(axis=1).all()


def test_trap_empty_batches(opened):
    for index in (opened[0], ExactIndex(opened[1]), ExactIndex(opened[1][:0])):
        scores, rows = index.search(opened[2][:0], 4)
        assert scores.shape == rows.shape == (0, 4)
        assert index.search(opened[2][:2], 0)[0].shape == (2, 0)


def test_queries_that_are_not_finite_or_of_another_size(opened):
    with pytest.raises(InputError, match="query vectors: 1 of 2 rows"):
        opened[0].search(np.stack([opened[2][0], opened[2][0] * np.nan]), 3)
    with pytest.raises(InputError, match="got size 3, expected 1"):
        opened[0].search(np.zeros((1, 3), np.float32), 2)


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
