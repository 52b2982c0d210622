"""Galleries of arrays, without a model: two categories with two patterns each, one without, four numbers each."""

from pathlib import Path

import numpy as np

from fos_jax.gallery.building import new_gallery, write_gallery
from fos_jax.gallery.foregrounds import Foregrounds, Layout, make_foregrounds
from fos_jax.gallery.indexing import USUAL
from fos_jax.pattern_table import Pattern, PatternTable

SIZE = 4


def make_layout(size=SIZE) -> Layout:
    patterns = [
        Pattern(2 * c + i, name, {"colour": colour}, f"{colour} {name}", 2 * c + i, {"train": 1})
        for c, name in enumerate(("car", "chair"))
        for i, colour in enumerate(("red", "blue"))
    ]
    table = PatternTable(
        ("car", "chair"), {name: {"colour": ("red", "blue")} for name in ("car", "chair")}, tuple(patterns)
    )
    return Layout(table, size, {"tone": 0.5}, {"tone": 2})


LAYOUT = make_layout()


def vectors_of(identifier: str, size=SIZE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedding, posterior and the expert's vector of an id, always the same."""
    rng = np.random.default_rng(list(identifier.encode()))
    embedding, tone = rng.normal(size=size), rng.normal(size=2)
    first = rng.uniform(0.01, 0.99)
    unit = (embedding / np.linalg.norm(embedding), (first, 1 - first), tone / np.linalg.norm(tone))
    return tuple(np.float32(values) for values in unit)


def png_of(identifier: str, kind: str) -> bytes:
    """Bytes that stand for a picture of an id; nothing decodes them."""
    return f"{kind} of {identifier} ".encode() * 9


def make(ids, category="car", *, mirrored=False, layout=LAYOUT, look="", **metadata) -> Foregrounds:
    """Foregrounds of given ids; those with another `look` have other vectors."""
    ids = list(ids)
    embeddings, posteriors, tones = (
        np.stack(column) for column in zip(*(vectors_of(i + look, layout.embedding_size) for i in ids), strict=True)
    )
    if not len(layout.patterns(category)):
        posteriors = posteriors[:, :0]
    options = {}
    if mirrored:
        options = {
            "mirrored": np.arange(len(ids))[::2],
            "mirrored_embeddings": -embeddings[::2],
            "mirrored_vectors": layout.join(posteriors, {"tone": -tones})[::2],
        }
    return make_foregrounds(
        category,
        ids,
        embeddings,
        posteriors,
        layout=layout,
        experts={"tone": tones},
        thumbnails=[png_of(i + look, "thumbnail") for i in ids],
        cutouts=[png_of(i + look, "cutout") for i in ids],
        **options,
        **metadata,
    )


def create(path: Path, batches, *, indexing=USUAL, layout=LAYOUT) -> Path:
    """A gallery of given foregrounds."""
    settings = {
        "bundle": {"fingerprint": "none", "path": "/nowhere", "relative_path": "nowhere"},
        "mirror": True,
        "cutouts": "copy",
        "thumbnail_size": 16,
    }
    with new_gallery(path) as folder:
        write_gallery(folder, batches, layout, settings, indexing=indexing, source="made up")
    return path


def content(gallery):
    """id -> category, embedding and pictures, as all ways of reading tell; checks that they agree."""
    state = gallery.refresh()
    found = {}
    for name in state.categories:
        rows = state.category(name)
        assert len(rows) == rows.is_live.sum()
        for place in np.flatnonzero(rows.is_live):
            part, own = rows.locate(int(place))
            identifier, row = part.columns.value("id", own), int(rows.rows[int(place)])
            assert identifier not in found
            assert state.row_of(identifier) == row
            assert rows.place_of(row) == place
            assert state.value("category", row) == name
            embedding = rows.embeddings[int(place)]
            _, places = rows.search(embedding, "cosine", 1, is_exact=True)
            assert places.tolist() == [place]
            pictures = state.picture(row, "thumbnail"), state.picture(row, "cutout")
            found[identifier] = (name, embedding.tolist(), *pictures)
    assert len(state) == len(found)
    return found
