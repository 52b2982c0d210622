"""Reading a built data set: a small one, built here, whose images say which row they are."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from fos_jax.data import splits
from fos_jax.errors import InputError
from fos_jax.pattern_table import Pattern, PatternTable

TABLE = PatternTable(
    ("car", "boat"), {}, tuple(Pattern(i, "car" if i < 2 else "boat", {}, f"pattern {i}", -1, {}) for i in range(3))
)


class Small(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=f"mini_{kind}") for kind in ("foregrounds", "queries")]  # noqa: RUF012
    name = "small"

    def _info(self):
        common = {"id": tfds.features.Text(), "category": tfds.features.ClassLabel(names=TABLE.categories)}
        own = {
            "mini_foregrounds": {
                "image": tfds.features.Image(shape=(None, None, 4), encoding_format="png"),
                "pattern": np.int64,
            },
            "mini_queries": {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "box": tfds.features.BBoxFeature(),
                "foreground_id": tfds.features.Text(),
                "patterns": tfds.features.Sequence(np.int64),
            },
        }[self.builder_config.name]
        info = tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({**common, **own}))
        info.initialize_from_bucket = lambda: None  # TFDS's bucket is not asked: that leaves a temporary folder
        return info

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "validation")}

    def _generate_examples(self, split):
        for i in range(5):
            row = {"id": f"{split}-{i}", "category": i % 2}
            if self.builder_config.name == "mini_foregrounds":
                pixels = np.full((6, 12, 4), 40 * i, np.uint8)
                pixels[..., 3] = 255
                yield i, {**row, "image": _png(pixels), "pattern": [0, 2, 1, 2, -1][i]}
            else:
                box = tfds.features.BBox(ymin=0.25, xmin=0.5, ymax=0.75, xmax=1.0)
                own = f"{split}-{4 - i}" if i else ""
                patterns = [[0, 1], [2], [], [2], [1]][i]
                pixels = np.full((16, 16, 3), 40 * i, np.uint8)
                yield i, {**row, "image": _png(pixels), "box": box, "foreground_id": own, "patterns": patterns}


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return _build(tmp_path_factory.mktemp("data"))


def _build(root):
    for kind in ("foregrounds", "queries"):
        builder = Small(config=f"mini_{kind}", data_dir=root, file_format="array_record")
        builder.download_and_prepare(file_format="array_record")
        (root / "small" / f"mini_{kind}" / "1.0.0" / "patterns.json").write_text(TABLE.to_json())
    return root


def _load(data_dir, **more):
    given = {"dataset": "small", "size": "mini", "split": "train", "foreground_size": 8, "query_size": 8, **more}
    return splits.load_split(data_dir, progress=False, **given)


def test_rows_align_and_rectangles_are_where_they_were(data_dir):
    foregrounds, queries, table = _load(data_dir)
    assert table.fingerprint() == TABLE.fingerprint()
    order = np.argsort(foregrounds.ids)
    assert foregrounds.ids[order].tolist() == [f"train-{i}" for i in range(5)]
    assert foregrounds.category[order].tolist() == [0, 1, 0, 1, 0]
    assert foregrounds.pattern[order].tolist() == [0, 2, 1, 2, -1]
    assert foregrounds.image.shape == (5, 8, 8, 4)
    np.testing.assert_array_equal(foregrounds.image[order, 4, 4, 0], [0, 40, 80, 120, 160])
    np.testing.assert_array_equal(foregrounds.image[:, 0, 4], np.tile([128, 128, 128, 0], (5, 1)))  # 2:1, centred
    order = np.argsort(queries.ids)
    np.testing.assert_array_equal(queries.image[order, 0, 0, 0], [0, 40, 80, 120, 160])
    np.testing.assert_allclose(queries.box_yxyx_norm, np.tile([0.25, 0.5, 0.75, 1.0], (5, 1)))
    assert [np.flatnonzero(row).tolist() for row in queries.is_compatible[order]] == [[0, 1], [2], [], [2], [1]]
    own = [foregrounds.ids[i] if i >= 0 else "" for i in queries.foreground_index[order]]
    assert own == ["", "train-3", "train-2", "train-1", "train-0"]
    assert queries.relevant is None


def test_decoded_once_and_again_when_the_data_or_the_size_changes(data_dir, tmp_path, monkeypatch):
    _load(data_dir, cache_dir=tmp_path)
    monkeypatch.setattr(splits, "_records", lambda *_: pytest.fail("decoded again"))
    foregrounds, queries, _ = _load(data_dir, cache_dir=tmp_path)
    assert isinstance(foregrounds.image, np.memmap)
    assert isinstance(queries.image, np.memmap)
    monkeypatch.undo()
    before = len(list(tmp_path.iterdir()))
    _load(data_dir, cache_dir=tmp_path, query_size=16)
    _load(data_dir, cache_dir=tmp_path, split="validation")
    assert len(list(tmp_path.iterdir())) == before + 3
    root = data_dir / "small" / "mini_queries" / "1.0.0"
    one = splits.files_checksum(root, "train")
    shard = next(root.glob("*train*"))
    original = shard.read_bytes()
    shard.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert splits.files_checksum(root, "train") != one
    shard.write_bytes(original)
    assert splits.files_checksum(root, "train") == one


def test_a_checksum_of_records_is_the_same_for_every_build_and_tells_every_change(data_dir, tmp_path, monkeypatch):
    def roots(data):
        return [data / "small" / f"mini_{kind}" / "1.0.0" for kind in ("queries", "foregrounds")]

    _build(tmp_path)
    one = splits.records_checksum(roots(data_dir), "train")
    assert splits.records_checksum(roots(tmp_path), "train") == one
    assert splits.records_checksum(roots(data_dir), "validation") != one
    assert splits.records_checksum(roots(data_dir)[:1], "train") != one
    records = splits._records

    def in_another_order(root, split):
        return [dict(reversed(record.items())) for record in records(root, split)]

    monkeypatch.setattr(splits, "_records", in_another_order)  # so are the fields of a record from build to build
    assert splits.records_checksum(roots(data_dir), "train") == one
    for name, value in (("id", b"other"), ("category", 1), ("image", b"other"), ("patterns", np.array([0, 2]))):

        def changed(root, split, name=name, value=value):
            return [{**r, name: value} if i == 0 and name in r else r for i, r in enumerate(records(root, split))]

        monkeypatch.setattr(splits, "_records", changed)
        assert splits.records_checksum(roots(data_dir), "train") != one
    with pytest.raises(InputError, match="no records of split 'test'"):
        splits.records_checksum(roots(data_dir), "test")


def test_what_is_not_there_is_named(data_dir, tmp_path):
    with pytest.raises(InputError, match=r"no built data set in .*full_foregrounds.*build --dataset=small --size=full"):
        _load(data_dir, size="full")
    with pytest.raises(InputError, match="no records of split 'test', expected train, validation or test"):
        _load(data_dir, split="test")
    (tmp_path / "small" / "mini_foregrounds" / "1.0.0").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no dataset_info\.json, expected a completely built data set"):
        _load(tmp_path)


def test_the_newest_version_counts_by_number(tmp_path):
    for version in ("1.9.0", "1.10.0", "1.10.0.incomplete"):
        (tmp_path / "d" / "c" / version).mkdir(parents=True)
        (tmp_path / "d" / "c" / version / "dataset_info.json").write_text("{}")
    assert splits.version_directory(tmp_path, "d", "c").name == "1.10.0"


def test_patterns_outside_the_table_are_refused(data_dir, tmp_path):
    for kind in ("foregrounds", "queries"):
        path = data_dir / "small" / f"mini_{kind}" / "1.0.0" / "patterns.json"
        raw = json.loads(path.read_text())
        path.write_text(json.dumps({**raw, "patterns": raw["patterns"][:2]}))
    try:
        with pytest.raises(InputError, match=r"pattern is 2, expected -1 to 1"):
            _load(data_dir, cache_dir=tmp_path)
    finally:
        for kind in ("foregrounds", "queries"):
            (data_dir / "small" / f"mini_{kind}" / "1.0.0" / "patterns.json").write_text(TABLE.to_json())
