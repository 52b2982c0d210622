"""Galleries of any size for benchmarks: encoded foregrounds, and beyond their number the same ones with noise."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fos_jax.gallery.building import new_gallery, write_gallery
from fos_jax.gallery.encoding import Encoder
from fos_jax.gallery.foregrounds import Foregrounds, Layout, make_foregrounds

if TYPE_CHECKING:
    from fos_jax.gallery.sources import CutoutSource

BATCH = 10_000
_LOG_NOISE = 0.1  # deviation that is added to log-probabilities of patterns
_BLOCK = 1024


class Base(NamedTuple):
    """Foregrounds of one category that were encoded, the layout of their vectors and the bundle's fingerprint."""

    foregrounds: Foregrounds
    layout: Layout
    fingerprint: str


def encoded(bundle: Any, source: "CutoutSource", category: str, *, limit: int | None = None) -> Base:
    """The first cut-outs of a category of a source, encoded as `fos gallery build` does, but none mirrored."""

    class Own:
        name, skipped = source.name, source.skipped
        records = [record for record in source if record.category == category][:limit]

        def __iter__(self) -> Iterator[Any]:
            return iter(self.records)

        def __len__(self) -> int:
            return len(self.records)

    encoder = Encoder(bundle, cutouts="copy", mirror=False, thumbnail_size=160)
    parts = list(encoder.encode(Own()))
    assert encoder.layout is not None
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("embeddings", "vectors", "mirrored", "mirrored_embeddings", "mirrored_vectors")
    }
    pictures = {name: [png for part in parts for png in getattr(part, name)] for name in ("thumbnails", "cutouts")}
    table = pa.concat_tables(part.metadata for part in parts)
    return Base(Foregrounds(category, table, **joined, **pictures), encoder.layout, bundle.fingerprint)


def rendered(bundle: Any, data_dir: str, size: str, n: int, workdir: Path) -> Base:
    """The first n foregrounds of the first category of fos_synthetic's test stream, which `gallery_size` renders.

    Metadata and thumbnails are those of the first hundred in the data set.
    """
    import gallery_size

    from fos_jax.data.splits import version_directory
    from fos_jax.gallery.sources import DatasetCutouts

    folder = version_directory(data_dir, "fos_synthetic", f"{size}_foregrounds")
    shown = encoded(bundle, DatasetCutouts(folder, "test"), bundle.table.categories[0], limit=100)
    category, layout = shown.foregrounds.category, shown.layout
    parts = [part["x"] for part in gallery_size.chunks({"x": bundle}, bundle.table, category, n, workdir)]
    of = np.arange(n) % len(shown.foregrounds)
    metadata = shown.foregrounds.metadata.take(of)
    columns = {name: metadata[name] for name in ("source_id", "licence", "truncated", "width_px", "height_px")}
    foregrounds = make_foregrounds(
        category,
        [f"fg{i}" for i in range(n)],
        np.concatenate([part.embedding for part in parts]).astype(np.float32),
        np.concatenate([part.posterior for part in parts]).astype(np.float32),
        layout=layout,
        thumbnails=[shown.foregrounds.thumbnails[i] for i in of],
        cutouts=[b""] * n,
        **{name: column.to_pylist() for name, column in columns.items()},
    )
    return Base(foregrounds, layout, shown.fingerprint)


def noise_lengths(real: np.ndarray) -> np.ndarray:
    """float32 [n]: half the distance from each unit row to the nearest other one."""
    nearest = np.empty(len(real), np.float32)
    for start in range(0, len(real), _BLOCK):
        cosine = real[start : start + _BLOCK] @ real.T
        cosine[np.arange(len(cosine)), start + np.arange(len(cosine))] = -1
        nearest[start : start + _BLOCK] = cosine.max(axis=1)
    return 0.5 * np.sqrt(np.maximum(0, 2 - 2 * nearest))


def widened(base: Base, n: int) -> Iterator[Foregrounds]:
    """n foregrounds in batches: those of the base, and over and over again these with noise.

    Noise of embeddings and of experts' vectors is half as long as the distance to the nearest neighbour, that of
    log-probabilities of patterns has a deviation of 0.1. Each has its own id and its own copy of the thumbnail of the
    one that it was made of; cut-outs are left out, since nothing is composed.
    """
    own, layout, rng = base.foregrounds, base.layout, np.random.default_rng(0)
    num_patterns = len(layout.patterns(own.category))
    posteriors, experts = layout.split(own.vectors, num_patterns)
    units = {"embedding": own.embeddings, **experts}
    lengths = {name: noise_lengths(rows) if n > len(own) else None for name, rows in units.items()}
    logs = np.log(np.maximum(posteriors, 1e-37))
    kept = [name for name in own.metadata.column_names if name not in ("id", "pattern", "confidence", "version")]
    for start in range(0, n, BATCH):
        number = np.arange(start, min(n, start + BATCH))
        of, is_new = number % len(own), number >= len(own)

        def moved(name: str, of: np.ndarray = of, is_new: np.ndarray = is_new) -> np.ndarray:
            rows, length = units[name][of], lengths[name]
            if length is None:
                return rows
            noise = rng.standard_normal(rows.shape, np.float32)
            noise *= (is_new * length[of] / np.linalg.norm(noise, axis=1)).astype(np.float32)[:, None]
            rows = rows + noise
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        noise = rng.standard_normal((len(of), num_patterns), np.float32)
        weights = np.exp(logs[of] + _LOG_NOISE * is_new[:, None] * noise)
        metadata = own.metadata.select(kept).take(of)
        yield make_foregrounds(
            own.category,
            [f"fg{i}" for i in number],
            moved("embedding"),
            (weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-37)).astype(np.float32),
            layout=layout,
            experts={name: moved(name) for name in experts},
            thumbnails=[own.thumbnails[i] for i in of],
            cutouts=[b""] * len(of),
            **{name: metadata[name].to_pylist() for name in kept},
        )


def write(path: Path, batches: Iterable[Foregrounds], base: Base, bundle: str = "none") -> None:
    """Writes a gallery that names the bundle at this path."""
    settings = {
        "bundle": {"fingerprint": base.fingerprint, "path": bundle, "relative_path": bundle},
        "mirror": False,
        "cutouts": "copy",
        "thumbnail_size": 160,
    }
    with new_gallery(path) as folder:
        write_gallery(folder, batches, base.layout, settings, source="widened")


def encoded_queries(bundle: Any, data_dir: str, size: str) -> tuple[np.ndarray, np.ndarray]:
    """All queries of the first category of fos_synthetic: embeddings [q, D] and posteriors [q, p], float32."""
    from fos_jax.data.splits import load_split

    own, embeddings, posteriors = np.flatnonzero(bundle.table.category_of_pattern == 0), [], []
    for split in ("test", "validation", "train"):
        sides = {"foreground_size": bundle.foreground_size, "query_size": bundle.query_size}
        _, queries, _ = load_split(data_dir, size=size, split=split, progress=False, **sides)
        of = queries.category == 0
        asked = bundle.encode_queries(queries.image[of], queries.box_yxyx_norm[of], queries.category[of])
        embeddings.append(asked.embedding)
        posteriors.append(np.exp(asked.log_posterior[:, own]))
    return np.concatenate(embeddings), np.concatenate(posteriors).astype(np.float32)
