"""The builder at a size of its own, small enough for a test; everything else is as at the real sizes."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TFDS and its dependencies

from fos_jax.datasets.building import build  # noqa: E402
from fos_jax.datasets.fos_synthetic import fos_synthetic_dataset_builder as module  # noqa: E402
from fos_jax.errors import InputError  # noqa: E402
from fos_jax.pattern_table import PatternTable  # noqa: E402

VERSION = str(module.Builder.VERSION)
MINIATURE = module.Size(("bottle",), {"train": 5, "validation": 3, "test": 4}, {"train": 0, "validation": 1, "test": 2})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(module.SIZES, "mini", MINIATURE)
        path = tmp_path_factory.mktemp("data")
        build("fos_synthetic", "mini", str(path))
        yield path


def records(data_dir, kind):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(data_dir / "fos_synthetic" / f"mini_{kind}" / VERSION))
    return {split: list(builder.as_data_source(split=split)) for split in ("train", "validation", "test")}


def digests(data_dir):
    files = sorted(p for p in data_dir.rglob("*") if "array_record" in p.name or p.name == "patterns.json")
    return {str(p.relative_to(data_dir)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_what_was_promised_is_there(data_dir):
    foregrounds, queries = records(data_dir, "foregrounds"), records(data_dir, "queries")
    assert {s: len(r) for s, r in queries.items()} == {"train": 5, "validation": 3, "test": 4}
    assert {s: len(r) for s, r in foregrounds.items()} == {"train": 5, "validation": 4, "test": 6}
    for split in queries:
        pattern_of = {f["id"].decode(): int(f["pattern"]) for f in foregrounds[split]}
        for f in foregrounds[split]:
            assert f["image"].shape == (64, 64, 4)
            assert f["image"].dtype == np.uint8
            assert f["licence"] == b"Apache-2.0"
        for q in queries[split]:
            assert q["image"].shape == (128, 128, 3)
            y0, x0, y1, x1 = q["box"]
            assert 0 <= y0 < y1 <= 1
            assert 0 <= x0 < x1 <= 1
            assert pattern_of[q["foreground_id"].decode()] in q["patterns"]
            assert len(q["relevant_foregrounds"]) == 0


def test_the_demo_renders_the_same_foregrounds_again(data_dir):
    """At the data set's size they are its own pictures, so at another they are the same objects."""
    from fos_jax.gallery.sources import DatasetCutouts
    from fos_jax.launch.demo_gallery import RenderedCutouts

    stored = DatasetCutouts(data_dir / "fos_synthetic" / "mini_foregrounds" / VERSION, "test")
    rendered = RenderedCutouts(stored, split="test", side_px=module.FOREGROUND_PX)
    assert len(rendered) == 6
    for mine, other in zip(rendered, stored, strict=True):
        assert (mine.id, mine.pattern, mine.licence) == (other.id, other.pattern, other.licence)
        np.testing.assert_array_equal(mine.rgba, other.rgba)


def test_splits_share_no_object(data_dir):
    for kind in ("foregrounds", "queries"):
        rows = [r for part in records(data_dir, kind).values() for r in part]
        assert len({r["id"] for r in rows}) == len(rows)
        assert len({hashlib.sha256(r["image"].tobytes()).digest() for r in rows}) == len(rows)


def test_pattern_table_counts_the_foregrounds(data_dir):
    for kind in ("foregrounds", "queries"):
        table = PatternTable.read(data_dir / "fos_synthetic" / f"mini_{kind}" / VERSION / "patterns.json")
        assert table.num_patterns == 20
        for split, total in (("train", 5), ("validation", 4), ("test", 6)):
            assert sum(p.counts[split] for p in table.patterns) == total
    for split, rows in records(data_dir, "foregrounds").items():
        for p in table.patterns:
            assert p.counts[split] == sum(int(r["pattern"]) == p.id for r in rows)


def test_built_again_elsewhere_it_is_byte_identical(data_dir, tmp_path):
    build("fos_synthetic", "mini", str(tmp_path))
    ours, theirs = digests(data_dir), digests(tmp_path)
    assert len(ours) == 8
    assert ours == theirs


def test_what_is_built_is_left_alone(data_dir):
    before = {p: p.stat().st_mtime_ns for p in (data_dir / "fos_synthetic").rglob("*.*") if p.is_file()}
    build("fos_synthetic", "mini", str(data_dir))
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_interrupted_build_leaves_nothing_and_can_be_repeated(data_dir, tmp_path, monkeypatch):
    stream = module.query_stream

    def breaks(*args, **options):
        for i, row in enumerate(stream(*args, **options)):
            if i == 2:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(module, "query_stream", breaks)
    with pytest.raises(KeyboardInterrupt):
        build("fos_synthetic", "mini", str(tmp_path))
    assert not list((tmp_path / "fos_synthetic" / "mini_queries").glob("*"))
    monkeypatch.setattr(module, "query_stream", stream)
    build("fos_synthetic", "mini", str(tmp_path))
    assert digests(tmp_path) == digests(data_dir)


def test_read_where_tensorflow_cannot_be_imported(data_dir):
    code = f"""
import sys
class Hidden:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.split(".")[0] == "tensorflow" else self.finder.find_spec(name, *rest)
sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
import tensorflow_datasets as tfds
root = {str(data_dir / "fos_synthetic" / "mini_queries" / VERSION)!r}
print(tfds.builder_from_directory(root).as_data_source(split="train")[0]["image"].shape, "tensorflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(128, 128, 3) False", done.stderr


def test_metadata_is_read_from_the_data_set_folder(data_dir):
    info = json.loads((data_dir / "fos_synthetic" / "mini_queries" / VERSION / "dataset_info.json").read_text())
    assert "patterns" in info["description"]
    assert "2007.09867" in info["citation"]


def test_unknown_names_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="size: unknown 'huge', expected one of demo, full, mini"):
        build("fos_synthetic", "huge", str(tmp_path))
    with pytest.raises(InputError, match="dataset: unknown 'imaginary'"):
        build("imaginary", "mini", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_sizes_keep_their_promise():
    demo, full = module.SIZES["demo"], module.SIZES["full"]
    assert 300 <= len(demo.categories) * demo.queries["test"] <= 500
    assert len(demo.categories) * demo.num_foregrounds("test") >= 1500
    assert len(full.categories) >= 8
    assert len(full.categories) * full.queries["train"] >= 20_000
    assert len(full.categories) * full.queries["test"] >= 2_000
    assert len(full.categories) * full.num_foregrounds("test") >= 8_000
