import os
from pathlib import Path

import numpy as np
import pytest
from fake_bundle import disc
from PIL import Image

from fos_jax.cutouts.extraction import extract
from fos_jax.cutouts.filters import config_with, default_config
from fos_jax.errors import InputError
from fos_jax.gallery.sources import DatasetCutouts, ExtractionCutouts, FolderCutouts
from fos_jax.pattern_table import Pattern, PatternTable

CATEGORIES = ("car", "chair")


def _save(path, rgba=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(disc((255, 0, 0)) if rgba is None else rgba).save(path)


def test_a_folder_in_the_order_of_its_names(tmp_path):
    for name in ("chair/b.png", "car/z.png", "car/a.png", "car/notes.txt", ".git/x.png"):
        if name.endswith("png"):
            _save(tmp_path / name)
        else:
            (tmp_path / name).write_text("left alone")
    source = FolderCutouts(tmp_path, categories=CATEGORIES, licence="CC0")
    records = list(source)
    assert [(r.id, r.category) for r in records] == [
        ("car/a.png", "car"),
        ("car/z.png", "car"),
        ("chair/b.png", "chair"),
    ]
    assert len(source) == 3
    assert records[0].licence == "CC0"
    assert records[0].path == tmp_path / "car" / "a.png"
    np.testing.assert_array_equal(records[0].rgba, disc((255, 0, 0)))


def test_folder_names_can_be_mapped(tmp_path):
    _save(tmp_path / "automobile" / "a.png")
    records = list(FolderCutouts(tmp_path, categories=CATEGORIES, category_names={"automobile": "car"}))
    assert [r.category for r in records] == ["car"]


def test_unusable_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FolderCutouts(tmp_path / "nowhere", categories=CATEGORIES)
    with pytest.raises(InputError, match="no image found"):
        FolderCutouts(tmp_path, categories=CATEGORIES)
    _save(tmp_path / "cra" / "a.png")
    with pytest.raises(InputError, match="cra: unknown category 'cra', expected one of car, chair"):
        FolderCutouts(tmp_path, categories=CATEGORIES)


def test_unusable_images_raise_or_are_counted(tmp_path):
    _save(tmp_path / "car" / "a.png")
    _save(tmp_path / "car" / "opaque.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "car" / "torn.png").write_bytes((tmp_path / "car" / "a.png").read_bytes()[:60])
    with pytest.raises(InputError, match=r"opaque\.png: has no alpha channel"):
        list(FolderCutouts(tmp_path, categories=CATEGORIES))
    source = FolderCutouts(tmp_path, categories=CATEGORIES, skip_defects=True)
    for _ in range(2):  # counts start anew with each pass
        assert [r.id for r in source] == ["car/a.png"]
        assert source.skipped == {"unusable image": 2}


def test_links_may_not_leave_the_folder(tmp_path):
    _save(tmp_path / "secret.png")
    (tmp_path / "root" / "car").mkdir(parents=True)
    os.symlink(tmp_path / "secret.png", tmp_path / "root" / "car" / "a.png")
    with pytest.raises(InputError, match="leaves the folder"):
        FolderCutouts(tmp_path / "root", categories=CATEGORIES)


def test_folders_of_any_name_and_what_is_known_of_truncation(tmp_path):
    for name in ("car/a.png", "tram/a.png"):
        _save(tmp_path / name)
    source = FolderCutouts(tmp_path, categories=None, truncated={"tram/a.png": ("bottom",)})
    assert [(r.category, r.truncated) for r in source] == [("car", None), ("tram", ("bottom",))]


def test_an_extraction_tells_licence_source_and_truncated_sides(coco_folder, tmp_path):
    def cut_at_the_left(raw):
        raw["annotations"][0] |= {"bbox": [0, 10, 50, 40], "segmentation": [[0, 10, 50, 10, 50, 50, 0, 50]]}

    path, images = coco_folder(photographs=2, change=cut_at_the_left)
    source = {"kind": "coco", "annotations": str(path), "images": str(images)}
    extract(tmp_path / "out", source, default_config(), progress=False)
    assert ExtractionCutouts.is_there(tmp_path / "out")
    assert not ExtractionCutouts.is_there(tmp_path)
    records = {r.id: r for r in ExtractionCutouts(tmp_path / "out", categories=None)}
    assert sorted(records) == ["p0000/0", "p0000/1", "p0001/2", "p0001/3"]
    first = records["p0000/0"]
    assert (first.category, first.licence, first.source_id) == ("boat", "CC BY", "p0000.png")
    assert [records[name].truncated for name in sorted(records)] == [("left",), (), (), ()]
    photograph = np.asarray(Image.open(images / "p0000.png"))
    np.testing.assert_array_equal(first.rgba[..., :3], photograph[10:50, :50])
    boats = ExtractionCutouts(tmp_path / "out", categories=["ship"], category_names={"boat": "ship"})
    assert {r.category for r in boats} == {"ship"}
    assert (len(boats), boats.skipped) == (2, {"other category": 2})
    with pytest.raises(InputError, match="no cut-out of a known category, expected plane; there are boat, car"):
        ExtractionCutouts(tmp_path / "out", categories=["plane"])
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: not a finished extraction"):
        ExtractionCutouts(tmp_path / "out", categories=None)


def test_truncation_is_unknown_of_ready_cutouts(tmp_path):
    _save(tmp_path / "in" / "car" / "a.png", disc((200, 30, 60), 90, 70))
    settings = config_with({"blurred.min_sharpness": 0, "exposure.min_contrast": 0})
    extract(tmp_path / "out", {"kind": "folder", "root": str(tmp_path / "in")}, settings, progress=False)
    (record,) = ExtractionCutouts(tmp_path / "out", categories=None, licence="CC0")
    assert (record.category, record.licence, record.truncated) == ("car", "CC0", None)


def test_no_data_set_there(tmp_path):
    with pytest.raises(InputError, match="no built data set"):
        DatasetCutouts(tmp_path, "test")


def _build_data_set(path, **more):
    import tensorflow_datasets as tfds

    from fos_jax.datasets.builders import LocalBuilder

    features = tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 4), encoding_format="png"),
            "category": tfds.features.ClassLabel(names=list(CATEGORIES)),
            "pattern": np.int64,
            "source_id": tfds.features.Text(),
            "licence": tfds.features.Text(),
            **dict.fromkeys(more, tfds.features.Text()),
        }
    )

    class TinyForegrounds(LocalBuilder, tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = path  # a test module is no package to take metadata from
        name = "mini_foregrounds"

        def _info(self):
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, dl_manager):
            return {"test": self._examples()}

        def _examples(self):
            for i in range(4):
                yield (
                    i,
                    {
                        "id": f"fg{i}",
                        "image": Image.fromarray(disc((i, 0, 255))),
                        "category": i % 2,
                        "pattern": i - 1,
                        "source_id": f"src{i}",
                        "licence": "CC BY",
                        **{name: values[i] for name, values in more.items()},
                    },
                )

        def _generate_examples(self):
            raise NotImplementedError

    builder = TinyForegrounds(data_dir=str(path), file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return _build_data_set(tmp_path_factory.mktemp("data"))


def test_a_split_of_a_data_set(data_set):
    source = DatasetCutouts(data_set, "test")
    records = sorted(source, key=lambda r: r.id)
    assert len(source) == 4
    assert [(r.id, r.category, r.pattern, r.source_id, r.licence) for r in records] == [
        (f"fg{i}", CATEGORIES[i % 2], i - 1, f"src{i}", "CC BY") for i in range(4)
    ]
    np.testing.assert_array_equal(records[3].rgba, disc((3, 0, 255)))
    assert len(DatasetCutouts(data_set, "test[:2]")) == 2


def test_a_data_set_may_say_what_is_truncated(data_set, tmp_path):
    assert all(record.truncated is None for record in DatasetCutouts(data_set, "test"))
    told = _build_data_set(tmp_path, truncated=["", "left", "left,bottom", "top"])
    records = sorted(DatasetCutouts(told, "test"), key=lambda r: r.id)
    assert [record.truncated for record in records] == [(), ("left",), ("left", "bottom"), ("top",)]


def test_or_its_patterns_say_it(tmp_path):
    folder = Path(_build_data_set(tmp_path))
    values = ("below", "several", "none")
    patterns = [Pattern(i, "car", {"truncation": value}, value, -1, {}) for i, value in enumerate(values)]
    table = PatternTable(CATEGORIES, {"car": {"truncation": values}}, tuple(patterns))
    (folder / "patterns.json").write_text(table.to_json())
    records = sorted(DatasetCutouts(folder, "test"), key=lambda r: r.id)  # of patterns -1 to 2
    assert [record.truncated for record in records] == [None, ("bottom",), None, ()]


def test_unknown_splits_are_named(data_set):
    with pytest.raises(InputError, match="unknown split 'dev', expected one of test"):
        DatasetCutouts(data_set, "dev")
