"""Milvus that is away, slow, or holds something else; pushes that are stopped."""

import contextlib
import re
import socket

import numpy as np
import pytest
from small_gallery import create, make, make_layout, png_of, vectors_of

from fos_jax.errors import InputError
from fos_jax.gallery.writer import GalleryWriter
from fos_jax.retrieval.backends import Segments, Wish, ranked
from fos_jax.retrieval.rules import NO_FILTERS, Filters


@pytest.fixture
def path(tmp_path):
    return create(tmp_path / "g", [make([f"car{i}" for i in range(30)]), make(["lamp0"], "lamp")])


def one_line(call, message):
    with pytest.raises(InputError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
    assert "Traceback" not in str(raised.value)
    return str(raised.value)


def test_nobody_answers(milvus_lite):
    from fos_jax.milvus.connection import Connection

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}"
        told = one_line(lambda: Connection(uri, timeout_s=0.5), "no Milvus answers there within 0.5 s")
        assert "secret" not in told
        closed.listen()  # takes connections and says nothing
        one_line(lambda: Connection(uri, timeout_s=0.5), "no Milvus answers there within 0.5 s")
    one_line(lambda: Connection("/nowhere/at/all.db"), "/nowhere/at/all.db: cannot be opened")
    one_line(lambda: Connection("milvus.example"), "no Milvus answers there")


def test_a_server_that_stops_answering(milvus, path):
    """A call over the limit is one line; the connection is good again once the server is."""
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    push_gallery(path, milvus, "stops")
    gallery = MilvusGallery(milvus, "stops")

    class Slow:
        def query(self, *_, timeout, **__):
            from pymilvus.exceptions import MilvusException

            raise MilvusException(1, f"[query] Retry timeout: {timeout}s, message=\nDeadline Exceeded")

    real, milvus._client = milvus._client, Slow()
    try:
        one_line(lambda: gallery.count("car"), "query failed within 60 s .*Deadline Exceeded")
    finally:
        milvus._client = real
    assert gallery.count("car") == 30


def test_collections_of_something_else(milvus, path, tmp_path):
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    one_line(lambda: MilvusGallery(milvus, "nothing"), "no collection nothing_files there; fos gallery push makes it")
    one_line(lambda: MilvusGallery(milvus, "a b"), "--collection: got 'a b'")
    one_line(lambda: MilvusGallery(milvus, "x", consistency="Firm"), "consistency: got 'Firm', expected one of Strong")
    milvus.call("create_collection", "foreign", dimension=4)
    one_line(
        lambda: push_gallery(path, milvus, "foreign"), "collection foreign has another schema .field key is missing"
    )
    assert milvus.call("describe_collection", "foreign")["fields"][0]["name"] == "id"
    push_gallery(path, milvus, "mine")
    other = create(tmp_path / "other", [make(["a"], layout=make_layout(6))], layout=make_layout(6))
    one_line(lambda: push_gallery(other, milvus, "mine"), "its embedding_size is 4, .* has 6")
    manifest = (other / "manifest.json").read_text()
    (other / "manifest.json").write_text(manifest.replace('"fingerprint": "none"', '"fingerprint": "another"'))
    one_line(lambda: push_gallery(other, milvus, "mine"), "holds foregrounds of bundle none, .* is of another")
    assert MilvusGallery(milvus, "mine").count("car") == 30
    one_line(lambda: MilvusGallery(milvus, "mine").check_bundle("another"), "was built with bundle none")


def test_an_index_that_lite_does_not_build_is_refused(milvus_lite, path):
    from fos_jax.milvus.push import push_gallery

    one_line(lambda: push_gallery(path, milvus_lite, "scann", index="SCANN"), "Lite accepts it and does not build it")
    assert not milvus_lite.call("has_collection", "scann")


@pytest.mark.parametrize("index", ["IVF_FLAT", "HNSW"])
def test_other_indexes_answer(milvus, path, index):
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    assert push_gallery(path, milvus, f"with_{index}", index=index).index_type == index
    gallery = MilvusGallery(milvus, f"with_{index}")
    found = ranked(gallery, "car", Wish(vectors_of("car3")[0], "cosine", 3))
    assert (found[0].id, round(found[0].score, 4)) == ("car3", 1.0)


def test_what_an_approximate_index_gives_up_on_is_ranked_exactly(milvus, path, monkeypatch):
    """Servers' HNSW and IVF_FLAT find fewer than k, or nothing, under filters that few of the neighbours pass."""
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    push_gallery(path, milvus, "gives_up", index="HNSW")
    gallery, call = MilvusGallery(milvus, "gives_up", consistency="Strong"), milvus.call

    def giving_up(method, *args, **options):
        found = call(method, *args, **options)
        return [hits[:1] for hits in found] if method == "search" else found

    monkeypatch.setattr(milvus, "call", giving_up)
    with contextlib.closing(Segments(path)) as local:
        for ranking, query in zip(("cosine", "posterior"), (vectors_of("car3")[0], np.full(4, 0.5)), strict=True):
            for filters in (NO_FILTERS, Filters(only=[f"car{i}" for i in range(0, 30, 4)])):
                wish = Wish(np.float32(query), ranking, 5)
                expected = [(hit.id, round(hit.score, 5)) for hit in ranked(local, "car", wish, filters)]
                assert [(hit.id, round(hit.score, 5)) for hit in ranked(gallery, "car", wish, filters)] == expected
                assert len(expected) == 5


def test_vectors_lie_in_one_field_of_servers_before_2_4(milvus_lite, tmp_path, monkeypatch):
    from fos_jax.milvus.connection import Connection
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    server = Connection.__new__(Connection)
    server._is_file = False
    for server.version, is_old in (("v2.3.5-lite", True), ("2.2.16", True), ("v2.4.0", False), ("v2.10.1", False)):
        assert server.is_before_2_4 == is_old
    monkeypatch.setattr(Connection, "is_before_2_4", True)
    path = create(tmp_path / "old", [make([f"car{i}" for i in range(30)], mirrored=True), make(["lamp0"], "lamp")])
    push_gallery(path, milvus_lite, "old")
    gallery = MilvusGallery(milvus_lite, "old")
    vectors = [
        field["name"] for field in milvus_lite.call("describe_collection", "old")["fields"] if "dim" in field["params"]
    ]
    assert vectors == ["vectors"]
    with contextlib.closing(Segments(path)) as local:
        for ranking, query in zip(("cosine", "posterior"), (vectors_of("car3")[0], np.full(4, 0.5)), strict=True):
            for filters in (NO_FILTERS, Filters(mirror=True)):
                found = [ranked(of, "car", Wish(np.float32(query), ranking, 9), filters) for of in (local, gallery)]
                assert [hit[:1] + hit[2:] for hit in found[0]] == [hit[:1] + hit[2:] for hit in found[1]]
                np.testing.assert_allclose(*([hit.score for hit in hits] for hits in found), rtol=1e-5)
        rows = [
            {i: row.tobytes() for batch in of.batches() for i, row in zip(batch.ids, batch.vectors, strict=True)}
            for of in (local, gallery)
        ]
    assert rows[0] == rows[1]


def test_a_push_that_was_stopped_goes_on_without_duplicates(milvus, path, monkeypatch):
    from fos_jax.gallery import compaction
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    monkeypatch.setattr(compaction, "_CHUNK", 8)
    done, call = 0, milvus.call

    def failing(method, *args, **options):
        nonlocal done
        done += method == "upsert"
        if done == 8:  # manifest, then pictures and entities of each chunk
            raise InputError("the server is gone")
        return call(method, *args, **options)

    monkeypatch.setattr(milvus, "call", failing)
    told = one_line(lambda: push_gallery(path, milvus, "stopped"), "the server is gone; .* the same command goes on")
    there = int(re.search(r"; (\d+) of 31 foregrounds", told)[1])
    assert 0 < there < 31
    done = -10_000
    pushed = push_gallery(path, milvus, "stopped")
    assert (pushed.num_written, pushed.num_there) == (31 - there, there)
    gallery = MilvusGallery(milvus, "stopped")
    assert sorted(i for batch in gallery.batches() for i in batch.ids) == sorted(
        [*(f"car{i}" for i in range(30)), "lamp0"]
    )
    assert push_gallery(path, milvus, "stopped")[:4] == (0, 31, 0, 0)


def test_a_push_makes_indexes_that_are_missing(milvus, path, monkeypatch):
    """A client that is killed between the two requests leaves a collection without."""
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    call = milvus.call

    def without(method, *args, **options):
        if method == "create_collection":
            del options["index_params"]
            call(method, *args, **options)
            raise InputError("killed")
        return call(method, *args, **options)

    for _ in range(2):  # of pictures, and of foregrounds
        monkeypatch.setattr(milvus, "call", without)
        one_line(lambda: push_gallery(path, milvus, "bare"), "killed")
        monkeypatch.setattr(milvus, "call", call)
    assert push_gallery(path, milvus, "bare").num_written == 31
    hits = MilvusGallery(milvus, "bare")
    assert hits.count("car") == 30


def test_a_push_follows_the_gallery(milvus, path):
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    push_gallery(path, milvus, "follows")
    with GalleryWriter(path) as writer:
        writer.add([make(["new0"])])
        writer.replace([make(["car0"], look="!")])
        writer.remove(["car1", "car2"])
    assert push_gallery(path, milvus, "follows")[:4] == (2, 28, 0, 2)
    assert push_gallery(path, milvus, "follows", remove=True)[:4] == (0, 30, 2, 0)
    gallery = MilvusGallery(milvus, "follows")
    ids = {i for batch in gallery.batches() for i in batch.ids}
    assert ids == {*(f"car{i}" for i in range(30)), "lamp0", "new0"} - {"car1", "car2"}
    (pictures,) = [batch.thumbnails[batch.ids.index("car0")] for batch in gallery.batches() if "car0" in batch.ids]
    assert pictures == png_of("car0!", "thumbnail")


def test_large_pictures_and_long_texts(milvus, tmp_path):
    from fos_jax.milvus.gallery import MilvusGallery
    from fos_jax.milvus.push import push_gallery

    batch = make(["big", "empty"])
    batch.cutouts[0], batch.cutouts[1] = bytes(range(256)) * 800, b""
    push_gallery(create(tmp_path / "big", [batch]), milvus, "big")
    gallery = MilvusGallery(milvus, "big")
    found = {i: cutout for batch in gallery.batches() for i, cutout in zip(batch.ids, batch.cutouts, strict=True)}
    assert found == {"big": bytes(range(256)) * 800, "empty": b""}
    one_line(
        lambda: gallery.upsert([make(["long"], licence=["x" * 3000])]),
        "long: its licence has 3,000 bytes, Milvus holds at most 2,048",
    )


def test_lite_serves_one_process(milvus_lite, monkeypatch):
    from milvus_lite.server_manager import server_manager_instance

    from fos_jax.milvus.connection import Connection

    monkeypatch.setattr(server_manager_instance, "start_and_get_uri", lambda uri: None)
    one_line(lambda: Connection("other.db"), "other.db: cannot be opened.*serves one process at a time")
