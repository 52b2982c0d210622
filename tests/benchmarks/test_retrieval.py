"""The benchmark of indexes: rows that are widened, recall, and what is chosen."""

import numpy as np
import retrieval


def test_widened_rows_hold_the_real_ones_and_stay_near_them():
    rng = np.random.default_rng(0)
    real = retrieval.unit(rng.standard_normal((50, 8), np.float32))
    wide = retrieval.widen(real, 230, rng)
    assert wide.shape == (230, 8)
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), 1, atol=1e-5)
    nearest_real = (wide @ real.T).max(axis=1)
    assert (nearest_real > 0.9999).sum() == 50
    cosine = real @ real.T
    np.fill_diagonal(cosine, -1)
    assert nearest_real.min() > cosine.max(axis=1).min()  # nearer than real ones are to each other
    few = retrieval.widen(real, 20, rng)
    np.testing.assert_allclose((few @ real.T).max(axis=1), 1, atol=1e-5)


def test_recall_counts_ties_and_neither_padding_nor_repeats():
    rows = np.float32([[1, 0], [1, 0], [0.5, 0], [0, 1]])
    queries, kth = np.float32([[1, 0]]), np.float32([[1]])
    for found, expected in (([0, 1], 1), ([1, 2], 0.5), ([1, -1], 0.5), ([1, 1], 0.5), ([2, 3], 0)):
        assert retrieval.recall_of(rows, queries, np.array([found]), kth) == expected


def test_the_fastest_that_reaches_the_target_is_chosen():
    about = {"data": "x", "rows": 1, "ranking": "cosine"}
    lines = [
        {**about, "method": method, "setting": setting, "tuning_recall": recall, "p50_ms": ms}
        for method, setting, recall, ms in (
            ("a", 1, 0.98, 1),
            ("a", 2, 0.99, 3),
            ("a", 3, 0.999, 2),
            ("ours", 0, 0.9, 1),
        )
    ]
    picked = {line["method"]: line["setting"] for line in retrieval.chosen([*lines, {"skipped": "b"}], 0.99)}
    assert picked == {"a": 3, "ours": 0}


def test_every_method_finds_what_exact_search_finds(tmp_path):
    rows, queries = retrieval.clusters(3000, 20, np.random.default_rng(0))["cosine"]
    kth = retrieval.exact_kth(rows, queries)
    for name, method in retrieval.METHODS.items():
        if retrieval.importlib.util.find_spec(method.needs):
            folder = tmp_path / name
            folder.mkdir()
            method.build(rows, "cosine", folder, 0.99, queries)
            index, setting = method.load(rows, folder), method.settings[-1]
            found = method.search(index, setting, queries)
            assert retrieval.recall_of(rows, queries, found, kth) >= 0.9, name
            assert method.search(index, setting, queries[:1]).shape == (1, 20)
