"""Indexes on disk: settings that reach a recall target, and folders that are damaged or foreign."""

import json
import shutil
import sys

import numpy as np
import pytest
from made_vectors import clustered, posteriors, recall

from fos_jax.errors import InputError
from fos_jax.index.build import SETTINGS, _measure, build_index, made_queries, open_index
from fos_jax.index.exact import ExactIndex
from fos_jax.index.scann_index import Setup

needs_scann = pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")


@needs_scann
@pytest.mark.parametrize("ranking", ["cosine", "posterior"])
def test_the_settings_chosen_reach_the_target_and_the_curve_shows_it(built, ranking):
    _, folder, settings = built[ranking]
    assert json.loads((folder / SETTINGS).read_bytes()) == json.loads(json.dumps(settings))
    assert settings["num_leaves"] == 141
    for wanted, leaves, reordered in settings["efforts"]:
        chosen = {"wanted": wanted, "leaves": leaves, "reordered": reordered}
        points = [point for point in settings["curve"] if chosen.items() <= point.items()]
        assert points[0]["recall"] >= settings["target_recall"]
        assert points[0]["queries_per_core_s"] > 0
    assert settings["efforts"][0][0] == 20


def test_made_queries_have_the_usual_weights_and_three_kinds_of_posteriors():
    vectors = np.concatenate([posteriors(500), clustered(500, 8, 1), clustered(500, 16, 2)], axis=1)
    setup = Setup("codes", 1, (), [8, 16], [0.3, 0])
    kinds = made_queries(vectors, 40, "posterior", setup, np.random.default_rng(0))
    assert (kinds.shape, kinds.dtype) == ((3, 40, 36), np.float32)
    np.testing.assert_allclose(kinds[..., :12].sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(kinds[..., 12:20], axis=2), 0.3, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(kinds[..., 20:], axis=2), 1, atol=1e-5)  # usually left out
    near, mixed, flat = kinds[..., :12].max(axis=2).mean(axis=1)
    assert near > mixed > flat
    same = made_queries(vectors, 40, "posterior", setup, np.random.default_rng(0))
    np.testing.assert_array_equal(kinds, same)


@needs_scann
def test_the_worst_kind_of_query_decides(built):
    vectors, folder, _ = built["posterior"]
    index = open_index(folder, vectors)
    kinds = made_queries(vectors, 50, "posterior", index.setup, np.random.default_rng(0))
    alone = [_measure(index, kind[None], 20, 0.99)[0].efforts[0].leaves for kind in kinds]
    assert _measure(index, kinds, 20, 0.99)[0].efforts[0].leaves == max(alone)


@needs_scann
def test_held_out_queries_may_be_given(tmp_path):
    vectors = clustered(20_000)
    queries = made_queries(vectors, 50, "cosine", Setup("codes", 1), np.random.default_rng(0))[0]
    build_index(vectors, tmp_path / "index", ranking="cosine", queries=queries, target_recall=0.9)
    assert recall(open_index(tmp_path / "index", vectors), vectors, queries, 20) >= 0.9


@pytest.mark.parametrize("n", [0, 1, 255])
def test_few_rows_are_searched_exactly(tmp_path, n):
    vectors = clustered(n) if n else np.zeros((0, 16), np.float32)
    assert build_index(vectors, tmp_path / "index", ranking="cosine")["kind"] == "exact"
    index = open_index(tmp_path / "index", vectors)
    assert isinstance(index, ExactIndex)
    rows = index.search(clustered(2, seed=1), 5)[1]
    assert ((rows >= 0).sum(axis=1) == min(n, 5)).all()


@needs_scann
def test_what_scann_cannot_train_on_is_refused_and_leaves_nothing(tmp_path):
    vectors = clustered(500)
    with pytest.raises(InputError, match="cars: 500 rows are too few for ScaNN, expected at least 600"):
        build_index(vectors, tmp_path / "index", ranking="cosine", num_leaves=600, min_rows=1, where="cars")
    with pytest.raises(InputError, match="cars: 200 rows are too few for ScaNN, expected at least 256"):
        build_index(vectors[:200], tmp_path / "index", ranking="cosine", min_rows=1, where="cars")
    vectors[[3, 7], 2] = np.nan
    with pytest.raises(InputError, match="cars: 2 of 500 rows are not finite, the first is row 3"):
        build_index(vectors, tmp_path / "index", ranking="cosine", min_rows=1, where="cars")
    with pytest.raises(InputError, match=r"sizes \[9\] and weights \[\] do not match"):
        build_index(vectors[:3], tmp_path / "index", ranking="posterior", expert_sizes=[9])
    with pytest.raises(InputError, match="target_recall: got 2"):
        build_index(vectors[:3], tmp_path / "index", ranking="posterior", target_recall=2)
    assert not (tmp_path / "index").exists()


@needs_scann
def test_equal_rows_are_all_found(tmp_path):
    vectors = np.repeat(clustered(3), 200, axis=0)  # partitions that cannot be told apart, most of them empty
    build_index(vectors, tmp_path / "index", ranking="cosine", min_rows=1, num_queries=20)
    scores, rows = open_index(tmp_path / "index", vectors).search(vectors[:1], 250)
    assert len(set(rows[0].tolist())) == 250
    np.testing.assert_allclose(scores[0, :200], 1, atol=1e-5)


@needs_scann
class TestDamage:
    """Each is named in one line; ScaNN itself crashes on some of them."""

    @pytest.fixture
    def folder(self, built, tmp_path):
        shutil.copytree(built["cosine"][1], tmp_path / "index")
        return tmp_path / "index"

    def _refused(self, built, folder, match, **options):
        with pytest.raises(InputError, match=match):
            open_index(folder, built["cosine"][0], **options)

    def test_trap_a_moved_folder_opens(self, built, folder):
        vectors, before, _ = built["cosine"]
        moved = open_index(folder, vectors, verify=True)
        np.testing.assert_array_equal(
            moved.search(vectors[:5], 7)[0], open_index(before, vectors).search(vectors[:5], 7)[0]
        )

    def test_every_file_missing_or_shortened(self, built, folder):
        for path in list(folder.iterdir()):
            data = path.read_bytes()
            path.write_bytes(data[:-1])
            self._refused(
                built, folder, "not an index's settings" if path.name == SETTINGS else f"{path.name}: .* bytes, exp"
            )
            path.unlink()
            self._refused(built, folder, f"{path.name}(: missing| is missing)")
            path.write_bytes(data)

    def test_every_file_with_a_flipped_byte(self, built, folder):
        for name in json.loads((folder / SETTINGS).read_bytes())["files"]:
            data = bytearray((folder / name).read_bytes())
            data[len(data) // 2] ^= 0x55
            (folder / name).write_bytes(data)
            self._refused(built, folder, f"{name}: its checksum differs", verify=True)
            data[len(data) // 2] ^= 0x55
            (folder / name).write_bytes(data)

    def test_trap_docids_would_be_unpickled(self, built, folder):
        (folder / "scann_docids.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
        self._refused(built, folder, "holds scann_docids.pkl")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "other"}, "format is 'other'"),
            ({"scoring": "other"}, "not an index's settings"),
            ({"efforts": []}, "not an index's settings"),
            ({"efforts": [["a", 1, 1]]}, "not an index's settings"),
            ({"files": 3}, "not an index's settings"),
            ({"files": {"../x": {"bytes": 1, "sha256": ""}}}, "x: missing"),
            ({"rows": 5}, r"is of float32 \[5, 16\]"),
        ],
    )
    def test_settings_that_do_not_fit(self, built, folder, change, message):
        settings = json.loads((folder / SETTINGS).read_bytes())
        (folder / SETTINGS).write_text(json.dumps(settings | change))
        self._refused(built, folder, message)

    def test_vectors_of_another_shape_or_dtype(self, built, folder):
        for vectors in (built["cosine"][0][1:], built["cosine"][0].astype(np.float64)):
            with pytest.raises(InputError, match=r"is of float32 \[20000, 16\], got vectors of float"):
                open_index(folder, vectors)
