"""Galleries of earlier formats: refused with the command that rewrites them, and rewritten with all they hold."""

import contextlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_gallery import LAYOUT, make

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.migration import migrate_gallery
from fos_jax.gallery.segment import measure_file
from fos_jax.gallery.verification import verify_gallery


def write_version_2(path, *, mirrored=True):
    """As the format was: whole arrays in one folder, metadata in a parquet file."""
    batches = [make(["a", "b", "c"], mirrored=mirrored, truncated=[None, "", "left"], licence=["x", "", "y"])]
    batches.append(make(["lamp"], "lamp"))
    path.mkdir()
    rows, blobs = [], {"thumbnail": b"", "cutout": b""}
    embeddings, log_posteriors, tones = [], [], []
    for batch in batches:
        posteriors, experts = LAYOUT.split(batch.vectors, len(LAYOUT.patterns(batch.category)))
        padded = np.full((len(batch), 2), -np.inf, np.float32)
        padded[:, : posteriors.shape[1]] = np.log(posteriors)
        embeddings.append(batch.embeddings)
        log_posteriors.append(padded)
        tones.append(experts["tone"])
        for i, row in enumerate(batch.metadata.to_pylist()):
            row = {k: v for k, v in row.items() if k not in ("tags", "added_s", "version")}
            row["category"] = batch.category
            for kind, pictures in (("thumbnail", batch.thumbnails), ("cutout", batch.cutouts)):
                row |= {f"{kind}_offset": len(blobs[kind]), f"{kind}_length": len(pictures[i])}
                blobs[kind] += pictures[i]
            rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows), path / "metadata.parquet")
    for name, arrays in (("embeddings", embeddings), ("log_posteriors", log_posteriors), ("expert_tone", tones)):
        np.save(path / f"{name}.npy", np.concatenate(arrays))
    if mirrored:
        (path / "mirrored").mkdir()
        own = batches[0]
        posteriors, experts = LAYOUT.split(own.mirrored_vectors, 2)
        np.save(path / "mirrored" / "rows.npy", own.mirrored)
        np.save(path / "mirrored" / "embeddings.npy", own.mirrored_embeddings)
        np.save(path / "mirrored" / "log_posteriors.npy", np.log(posteriors))
        np.save(path / "mirrored" / "expert_tone.npy", experts["tone"])
    for kind, data in blobs.items():
        (path / f"{kind}s.bin").write_bytes(data)
    (path / "patterns.json").write_text(LAYOUT.table.to_json())
    files = {p.relative_to(path).as_posix(): measure_file(p) for p in sorted(path.rglob("*")) if p.is_file()}
    manifest = {
        "format": "fos_jax gallery",
        "format_version": 2,
        "source": "earlier",
        "num_foregrounds": 4,
        "counts": {"car": 3, "lamp": 1},
        "skipped": {"crowd": 2},
        "embedding_size": 4,
        "cutouts": "copy",
        "thumbnail_size": 16,
        "experts": {"tone": 0.5},
        **({"num_mirrored": 2} if mirrored else {}),
        "bundle": {"fingerprint": "none", "path": "/nowhere", "relative_path": "nowhere"},
        "files": files,
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return batches


@pytest.mark.parametrize("mirrored", [True, False])
def test_everything_comes_over(tmp_path, mirrored):
    batches = write_version_2(tmp_path / "g", mirrored=mirrored)
    with pytest.raises(InputError, match=r"is of format version 2, expected 3; fos gallery migrate --gallery=.*/g rew"):
        Gallery.open(tmp_path / "g")
    manifest = migrate_gallery(tmp_path / "g")
    assert manifest["built"]["skipped"] == {"crowd": 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g"]
    assert verify_gallery(tmp_path / "g") == []
    with contextlib.closing(Gallery.open(tmp_path / "g")) as gallery:
        state = gallery.snapshot()
        assert state.has_mirrored == mirrored
        for batch in batches:
            rows = state.category(batch.category, mirror=mirrored)
            own = np.flatnonzero(~rows.is_mirrored)
            assert state.column("id", rows.rows[own]).tolist() == batch.ids
            np.testing.assert_allclose(rows.vectors("posterior")[own], batch.vectors, rtol=1e-5)
            np.testing.assert_array_equal(rows.embeddings[own], batch.embeddings)
            assert [state.picture(int(row), "cutout") for row in rows.rows[own]] == list(batch.cutouts)
            if mirrored:
                flipped = np.flatnonzero(rows.is_mirrored)
                np.testing.assert_allclose(rows.vectors("posterior")[flipped], batch.mirrored_vectors, rtol=1e-5)
        assert state.column("truncated").tolist() == [None, "", "left", None]
        assert state.column("licence").tolist() == ["x", "", "y", ""]
    with pytest.raises(InputError, match="version 3; expected a gallery of version 1 or 2"):
        migrate_gallery(tmp_path / "g")


def test_damaged_ones_stay_as_they_are(tmp_path):
    write_version_2(tmp_path / "g")
    data = bytearray((tmp_path / "g" / "cutouts.bin").read_bytes())
    data[9] ^= 1
    (tmp_path / "g" / "cutouts.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"cutouts\.bin: its checksum differs"):
        migrate_gallery(tmp_path / "g")
    assert (tmp_path / "g" / "cutouts.bin").read_bytes() == bytes(data)
    assert json.loads((tmp_path / "g" / "manifest.json").read_text())["format_version"] == 2
