"""Settings of the indexes of a gallery: the target of recall, queries of one's own, and compaction."""

import json
import sys
from unittest import mock

import numpy as np
import pytest
from small_gallery import create, make

from fos_jax.errors import InputError
from fos_jax.gallery.compaction import compact
from fos_jax.gallery.indexing import TUNING_QUERIES, Indexing
from fos_jax.gallery.info import gallery_info, info_text
from fos_jax.gallery.verification import verify_gallery
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.index import build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ScaNN is published for Linux only")


@pytest.fixture
def made(monkeypatch):
    """Counts how often queries are made of foregrounds."""
    made = mock.Mock(wraps=build.made_queries)
    monkeypatch.setattr(build, "made_queries", made)
    return made


@pytest.fixture
def path(tmp_path, made):
    """A gallery of 300 cars and 300 chairs; queries are given for cars."""
    cars = make([f"car{i}" for i in range(300)])
    queries = {"car": {"cosine": cars.embeddings[:60], "posterior": cars.vectors[:60]}}
    chairs = make([f"chair{i}" for i in range(300)], "chair")
    path = create(tmp_path / "g", [cars, chairs], indexing=Indexing(300, 0.9, queries))
    assert made.call_count == 2  # for the two indexes of chairs
    return path


def indexes(path):
    return [json.loads(file.read_bytes()) for file in sorted(path.glob("segments/*/*/index_*/index.json"))]


def test_queries_and_target_outlast_a_compaction(path, made):
    before = indexes(path)
    assert [of["target_recall"] for of in before] == [0.9] * 4
    with GalleryWriter(path) as writer:
        writer.remove(["chair0"])
        writer.add([make(["chair300"], "chair")])
    compact(path)
    assert made.call_count == 4
    after = indexes(path)
    assert [of["target_recall"] for of in after] == [0.9] * 4
    recalls = [[point["recall"] for point in of["curve"][:3]] for of in (before[0], after[0])]
    assert recalls[0] == recalls[1]  # the same queries of the same cars
    told = gallery_info(path)
    assert told["tuning_queries"] == {"car": 60}
    assert "target 0.9, measured with 60 queries of car" in info_text(told)


def test_damaged_queries_are_named(path):
    file = path / TUNING_QUERIES
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    finding = f"{file}: its checksum differs from the one in the gallery's manifest"
    assert verify_gallery(path) == [finding]
    with pytest.raises(InputError, match="not compacted"):
        compact(path)
    file.unlink()
    assert verify_gallery(path) == [f"{file}: cannot be read (No such file or directory)"]


def test_a_target_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"target_recall: got 1\.5, expected more than 0 and at most 1"):
        create(tmp_path / "g", [make([f"car{i}" for i in range(300)])], indexing=Indexing(300, 1.5))
    assert not (tmp_path / "g").exists()


def test_queries_of_another_size_are_refused(tmp_path):
    queries = {"car": {"cosine": np.ones((60, 3), np.float32), "posterior": np.ones((60, 4), np.float32)}}
    with pytest.raises(InputError, match="query vectors: got size 3, expected 4"):
        create(tmp_path / "g", [make([f"car{i}" for i in range(300)])], indexing=Indexing(300, 0.9, queries))
