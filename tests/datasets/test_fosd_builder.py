"""From FOSD's files to ArrayRecord and back: hand-checked examples, splits, and figures of both conventions."""

import dataclasses
import io
import json
import sys
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from fosd_miniature import CATEGORIES, write_miniature, write_object
from PIL import Image

from fos_jax.data.splits import load_split
from fos_jax.datasets.fosd import evaluation, layout
from fos_jax.datasets.fosd.benchmark import is_validation
from fos_jax.datasets.fosd.checks import identifier, source_id
from fos_jax.datasets.fosd.fosd_dataset_builder import Builder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable


def build(manual_dir, data_dir, config):
    builder = Builder(data_dir=str(data_dir), config=config)
    builder.download_and_prepare(
        file_format="array_record", download_config=tfds.download.DownloadConfig(manual_dir=str(manual_dir))
    )
    return builder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The miniature and the data directory with all four configs."""
    mini = write_miniature(tmp_path_factory.mktemp("fosd") / "data", test=4)
    data_dir = tmp_path_factory.mktemp("built")
    for config in Builder.builder_configs:
        build(mini.root, data_dir, config)
    return mini, data_dir


def rows(data_dir, config, split):
    builder = tfds.builder_from_directory(str(data_dir / "fosd" / config / "1.0.0"))
    return list(builder.as_data_source(split=split))


def texts(values):
    return [v.decode() for v in values]


def test_no_tensorflow_is_needed(built):
    assert "tensorflow" not in sys.modules


def test_the_configs_and_their_features():
    assert set(Builder.builder_configs) == {
        f"{benchmark}_{kind}" for benchmark in ("sfosd", "rfosd") for kind in ("foregrounds", "queries")
    }


def test_a_hand_drawn_object_comes_back_pixel_for_pixel(tmp_path):
    """A 2 x 3 px object with one hole in a 6 x 5 frame, written by hand as FOSD's script would write it."""
    mini = write_miniature(tmp_path / "data")
    name = mini.train["Boat"][0]
    photograph = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(5, 6, 3)
    mask = np.zeros((5, 6), bool)
    mask[1:4, 2:4] = True
    mask[2, 3] = False
    box = [2 / 6 + 1e-6, 1 / 5 + 1e-6, 4 / 6 + 1e-6, 4 / 5 + 1e-6]
    write_object(mini.root / "train", identifier(name), photograph, mask, box, backgrounds="bg")
    csv = mini.root / "train/labels/segmentations.csv"
    lines = csv.read_text().splitlines()
    cells = lines[1].split(",")
    cells[5:9] = map(str, (box[0], box[2], box[1], box[3]))
    csv.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    path = mini.root / "train/labels/train_sfosd.json"
    content = json.loads(path.read_text())
    content[name]["bbox"] = box
    path.write_text(json.dumps(content))
    for config in ("sfosd_foregrounds", "sfosd_queries"):
        build(mini.root, tmp_path / "built", config)
    (row,) = (r for r in rows(tmp_path / "built", "sfosd_foregrounds", "train") if r["id"].decode() == identifier(name))
    assert row["image"].shape == (3, 2, 4)
    np.testing.assert_array_equal(row["image"][..., 3], [[255, 255], [255, 0], [255, 255]])
    seen = row["image"][..., 3] > 0
    np.testing.assert_array_equal(row["image"][..., :3][seen], photograph[1:4, 2:4][seen])
    assert (row["image"][1, 1, :3] == 255).all()  # FOSD's white, hidden by alpha
    assert row["source_id"].decode() == source_id(name)
    assert row["pattern"] == -1
    (row,) = (r for r in rows(tmp_path / "built", "sfosd_queries", "train") if r["id"].decode() == identifier(name))
    np.testing.assert_allclose(row["box"], [1 / 5, 2 / 6, 4 / 5, 4 / 6], rtol=1e-6)
    filled = photograph.copy()
    filled[1:4, 2:4] = 128
    np.testing.assert_array_equal(row["image"], filled)


def test_labels_of_train(built):
    mini, data_dir = built
    names = [identifier(n) for n in mini.train["Dog"]]
    for benchmark, first in (("sfosd", 1), ("rfosd", 4)):
        found = {r["id"].decode(): r for r in rows(data_dir, f"{benchmark}_queries", "train")}
        for index in (0, 7):
            row = found[names[index]]
            own = [names[index], *(names[(index + first + step) % 40] for step in range(3))]
            others = [names[(index + first + 3 + step) % 40] for step in range(3)]
            assert texts(row["relevant_foregrounds"]) == [n for n in own if not is_validation(source_id(n))]
            assert texts(row["irrelevant_foregrounds"]) == [n for n in others if not is_validation(source_id(n))]
            assert row["foreground_id"].decode() == names[index]
            assert row["category"] == CATEGORIES.index("Dog")
            assert len(row["patterns"]) == 0


def test_labels_of_both_test_sets(built):
    mini, data_dir = built
    set1 = {r["id"].decode(): r for r in rows(data_dir, "sfosd_queries", "test")}
    assert list(set1) == [identifier(n) for c in CATEGORIES for n in mini.set1[c]]
    for name, row in set1.items():
        assert texts(row["relevant_foregrounds"]) == [name] == [row["foreground_id"].decode()]
        assert len(row["irrelevant_foregrounds"]) == 0
    set2 = {r["id"].decode(): r for r in rows(data_dir, "rfosd_queries", "test")}
    assert list(set2) == [f"{c}/web photo {i}" for c in CATEGORIES for i in range(4)]
    row = set2["Dog/web photo 1"]
    gallery = [identifier(n) for n in mini.gallery["Dog"]]
    assert texts(row["relevant_foregrounds"]) == sorted(gallery[:2])
    assert texts(row["irrelevant_foregrounds"]) == sorted(gallery[2:])
    assert row["foreground_id"] == b""
    np.testing.assert_allclose(row["box"], [13 / 54, 18 / 72, 47 / 54, 54 / 72], rtol=1e-6)  # int(.25 * 54) = 13


def test_splits_share_nothing_and_labels_stay_inside(built):
    _, data_dir = built
    for benchmark in ("sfosd", "rfosd"):
        sources, ids = {}, {}
        for split in ("train", "validation", "test"):
            foregrounds = rows(data_dir, f"{benchmark}_foregrounds", split)
            queries = rows(data_dir, f"{benchmark}_queries", split)
            assert foregrounds
            assert queries
            ids[split] = {r["id"] for r in foregrounds}
            sources[split] = {r["source_id"] for r in foregrounds}
            assert len(ids[split]) == len(foregrounds)
            for row in queries:
                assert {*row["relevant_foregrounds"], *row["irrelevant_foregrounds"]} <= ids[split]
                assert len(row["relevant_foregrounds"]) >= 1
        for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
            assert not sources[a] & sources[b]
            assert not ids[a] & ids[b]
        assert len(ids["train"]) + len(ids["validation"]) == 80


def test_building_twice_gives_the_same_bytes(built, tmp_path):
    mini, data_dir = built
    again = build(mini.root, tmp_path, "rfosd_foregrounds")
    for split in ("train", "test"):
        name = f"fosd-{split}.array_record-00000-of-00001"
        first = (data_dir / "fosd/rfosd_foregrounds/1.0.0" / name).read_bytes()
        assert (again.data_path / name).read_bytes() == first


def test_jpeg_files_named_as_png_give_the_same_data_set(tmp_path):
    mini = write_miniature(tmp_path / "data", suffix=".jpg", names_suffix=".png", readme_spelling=False, mask_scale=2)
    build(mini.root, tmp_path / "built", "sfosd_foregrounds")
    build(mini.root, tmp_path / "built", "sfosd_queries")
    assert [r["id"].decode() for r in rows(tmp_path / "built", "sfosd_queries", "test")] == [
        identifier(n) for c in CATEGORIES for n in mini.set1[c]
    ]
    row = rows(tmp_path / "built", "sfosd_foregrounds", "test")[0]
    assert row["image"][..., 3].min() == 0
    assert row["image"][..., 3].max() == 255


def test_load_split_reads_it(built):
    _, data_dir = built
    foregrounds, queries, table = load_split(
        data_dir, dataset="fosd", size="sfosd", split="test", foreground_size=32, query_size=48, progress=False
    )
    assert table == PatternTable(CATEGORIES, {}, ())
    assert foregrounds.image.shape == (8, 32, 32, 4)
    assert queries.image.shape == (8, 48, 48, 3)
    assert (foregrounds.pattern == -1).all()
    assert queries.is_compatible.shape == (8, 0)
    np.testing.assert_array_equal(queries.foreground_index, np.arange(8))
    again = load_split(
        data_dir, dataset="fosd", size="sfosd", split="test", foreground_size=32, query_size=48, progress=False
    )
    np.testing.assert_array_equal(again[1].box_yxyx_norm, queries.box_yxyx_norm)
    assert queries.irrelevant is None  # nobody was asked
    for benchmark in ("sfosd", "rfosd"):
        foregrounds, queries, _ = load_split(
            data_dir, dataset="fosd", size=benchmark, split="test", foreground_size=32, query_size=48, progress=False
        )
        truth = evaluation.read_test(data_dir, benchmark)
        everything = np.arange(len(queries)), np.arange(len(foregrounds))
        np.testing.assert_array_equal(queries.relevant.is_pair(*everything), truth.relevant)
        np.testing.assert_array_equal(queries.ids, truth.query_ids)
        np.testing.assert_array_equal(foregrounds.ids, truth.foreground_ids)
    same = truth.query_category[:, None] == truth.foreground_category
    np.testing.assert_array_equal(queries.irrelevant.is_pair(*everything), same & ~truth.relevant)


def test_nothing_is_left_of_a_build_that_fails(tmp_path):
    mini = write_miniature(tmp_path / "data")
    (mini.root / "train/fg" / mini.train["Boat"][3]).write_bytes(b"\x89PNG\r\n\x1a\n truncated")
    with pytest.raises(InputError, match=r"train/fg/.*: pixels: got a damaged"):
        build(mini.root, tmp_path / "built", "sfosd_foregrounds")
    assert not list((tmp_path / "built").rglob("*.array_record*"))
    (mini.root / "test/labels/test_set1.json").write_text("[")
    with pytest.raises(InputError, match=r"1 problems"):
        build(mini.root, tmp_path / "built", "sfosd_queries")
    with pytest.raises(InputError, match="manual_dir"):
        build(tmp_path / "nowhere", tmp_path / "built", "sfosd_queries")
    assert not list((tmp_path / "built").rglob("*.array_record*"))


def test_exif_orientation_is_not_applied(tmp_path):
    """A stored 3 x 2 image tagged "rotate": FOSD's boxes refer to the stored pixels, so they come out unrotated."""
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    image.save(tmp_path / "b.png")
    np.testing.assert_array_equal(layout.read_rgb(tmp_path / "a.png", "a"), stored)
    encoded = layout.query_bytes(tmp_path / "a.png", "a")
    with Image.open(io.BytesIO(encoded)) as reread:
        assert reread.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.asarray(reread), stored)
    assert layout.query_bytes(tmp_path / "b.png", "b") == (tmp_path / "b.png").read_bytes()  # nothing to change


def test_pixel_boxes_truncate_and_clip():
    assert layout.pixel_box((0.19, 0.39, 0.99, 1.2), 10, 5, "x") == (1, 1, 9, 5)
    with pytest.raises(InputError, match="at least one pixel"):
        layout.pixel_box((0.51, 0.1, 0.59, 0.9), 10, 10, "x")


def test_evaluation_of_set1_by_hand(built):
    """Four queries a category over four foregrounds; scores rank query i's own foreground at place i + 1."""
    _, data_dir = built
    truth = evaluation.read_test(data_dir, "sfosd")
    np.testing.assert_array_equal(truth.relevant, np.eye(8, dtype=bool))
    scores = np.full((8, 8), -0.5)
    for query in range(8):
        start, place = query // 4 * 4, query % 4
        others = [g for g in range(start, start + 4) if g != query]
        for rank, foreground in enumerate([*others[:place], query, *others[place:]]):
            scores[query, foreground] = 0.9 - rank / 10
    scores[0, 4:] = 1.0  # another category's foregrounds are never ranked
    result = evaluation.evaluate_test(truth, scores)
    assert result["fosd"]["overall"]["recall_at_1_pooled"] == 25.0
    assert result["fosd"]["overall"]["recall_at_5_pooled"] == 100.0
    assert result["standard"]["overall"]["recall_at_1"] == 0.25
    assert result["standard"]["overall"]["map"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert set(result["fosd"]["by_category"]) == set(CATEGORIES)


def test_evaluation_of_set2_by_hand(built):
    """The two conventions differ by what the aspect filter cuts away."""
    mini, data_dir = built
    truth = evaluation.read_test(data_dir, "rfosd")
    assert truth.query_ids[5] == "Dog/web photo 1"
    np.testing.assert_allclose(truth.box_aspect, 36 / 34)
    for column, name in enumerate(truth.foreground_ids):
        with Image.open(mini.root / "test/fg" / f"{name}.png") as image:
            assert truth.foreground_aspect[column] == image.size[0] / image.size[1]
    np.testing.assert_array_equal(truth.relevant.sum(axis=1), [1, 2, 3, 4, 1, 2, 3, 4])
    assert not truth.relevant[:4, 4:].any()
    perfect = evaluation.evaluate_test(truth, truth.relevant.astype(np.float32), lowest=0.0)
    assert perfect["standard"]["overall"]["map"] == 1.0
    # Columns are sorted by id, so the queries' relevant columns are {1}, {1, 2}, {1, 2, 3}, {0, 1, 2, 3}.
    np.testing.assert_array_equal(truth.relevant[:3, 0], False)
    aspects = np.array([1.0, 9, 1, 1] * 2)  # column 1 is filtered out
    scores = np.tile(np.linspace(0.9, 0.2, 8), (8, 1))
    got = evaluation.evaluate_test(dataclasses.replace(truth, foreground_aspect=aspects), scores, lowest=0.0)
    # The cut list is 0, 2, 3: no hit; rank 2; ranks 2 and 3; all three.
    fosd = got["fosd"]["overall"]
    assert fosd["map"] == pytest.approx(round((0 + 50 + (50 + 66.67) / 2 + 100) / 4, 2))
    assert fosd["precision_at_1_pooled"] == 25.0
    assert fosd["precision_at_5_pooled"] == 50.0  # 0 + 1 + 2 + 3 hits in 4 * 3 places
    # Standard, nothing cut: rank 2; ranks 2 and 3; ranks 2, 3 and 4; all.
    expected = (1 / 2 + (1 / 2 + 2 / 3) / 2 + (1 / 2 + 2 / 3 + 3 / 4) / 3 + 1) / 4
    assert got["standard"]["overall"]["map"] == pytest.approx(expected)


class StandIn:
    """Embeds what shows in the corner of an image; enough of a bundle to be evaluated."""

    foreground_size, query_size, fingerprint = 16, 16, "none"

    def __init__(self, categories):
        self.table = PatternTable(categories, {}, ())

    def encode_foregrounds(self, image, category, *, batch_size):
        return self._encode(image)

    def encode_queries(self, image, box_yxyx_norm, category, *, batch_size):
        return self._encode(image)

    def _encode(self, image):
        mean = image[..., :3].astype(np.float32).mean(axis=(1, 2)) + 1
        return types.SimpleNamespace(embedding=mean / np.linalg.norm(mean, axis=1, keepdims=True))


def test_a_bundle_is_evaluated_by_both_conventions(built):
    """The same figures as from its scores, computed here from the arrays that it was shown."""
    _, data_dir = built
    result = evaluation.evaluate_bundle(StandIn(CATEGORIES), data_dir, "rfosd")
    foregrounds, queries, _ = load_split(
        data_dir, dataset="fosd", size="rfosd", split="test", foreground_size=16, query_size=16, progress=False
    )
    encode = StandIn(CATEGORIES)._encode
    scores = encode(queries.image).embedding @ encode(foregrounds.image).embedding.T
    expected = evaluation.evaluate_test(evaluation.read_test(data_dir, "rfosd"), scores)
    assert result == {"fingerprint": "none", **expected}
    assert 0 < result["standard"]["overall"]["map"] < 1
    with pytest.raises(InputError, match="bundle: its categories are Cat, expected Boat, Dog"):
        evaluation.evaluate_bundle(StandIn(("Cat",)), data_dir, "rfosd")


def test_wrong_scores_are_refused(built):
    _, data_dir = built
    truth = evaluation.read_test(data_dir, "sfosd")
    with pytest.raises(InputError, match="shape"):
        evaluation.evaluate_test(truth, np.zeros((2, 8)))
    for bad in (np.nan, -3.0):
        with pytest.raises(InputError, match="at least"):
            evaluation.evaluate_test(truth, np.full((8, 8), bad))
    with pytest.raises(InputError, match="no built data set"):
        evaluation.read_test(data_dir / "nowhere", "sfosd")
