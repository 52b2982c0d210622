"""Migration of galleries of format versions 1 and 2, which were written whole and could not be changed."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fos_jax.errors import InputError
from fos_jax.gallery.building import new_gallery, write_gallery
from fos_jax.gallery.foregrounds import Foregrounds, Layout, make_foregrounds
from fos_jax.gallery.gallery import EARLIER_VERSIONS, FORMAT, MANIFEST, PATTERNS
from fos_jax.gallery.indexing import USUAL, Indexing
from fos_jax.gallery.segment import BLOBS, map_array, measure_file
from fos_jax.pattern_table import PatternTable

_CHUNK = 512
_COPIED = ("source_id", "licence", "path", "width_px", "height_px", "true_pattern")


def migrate_gallery(gallery: str | Path, *, indexing: Indexing = USUAL) -> dict[str, Any]:
    """Rewrites a gallery of format version 1 or 2 in place, in one step, after its checksums were compared.

    Args:
      gallery: its folder. indexing: as `building.build_gallery`.

    Returns: the new manifest.
    Raises: InputError: none of an earlier version, a damaged one, or a disk that refuses; it stays as it was.
    """
    gallery = Path(gallery)
    manifest = _read_manifest(gallery)
    table = PatternTable.read(gallery / PATTERNS)
    metadata, n = _read_metadata(gallery / "metadata.parquet"), manifest["num_foregrounds"]
    if len(metadata) != n:
        raise InputError(f"{gallery / 'metadata.parquet'}: {len(metadata)} rows, expected {n}")
    experts = {name: float(weight) for name, weight in manifest.get("experts", {}).items()}
    vectors = _Vectors(gallery, n, experts)
    layout = Layout(table, vectors.embeddings.shape[1], experts, {k: v.shape[1] for k, v in vectors.experts.items()})
    settings = {
        "bundle": manifest["bundle"],
        "mirror": "num_mirrored" in manifest,
        "cutouts": manifest["cutouts"],
        "thumbnail_size": manifest["thumbnail_size"],
    }
    note = f"migrated from format version {manifest['format_version']}"
    skipped = Counter(manifest["skipped"])
    with new_gallery(gallery) as folder:
        batches = _batches(gallery, metadata, vectors, layout)
        options: Any = {"indexing": indexing, "source": manifest["source"], "skipped": skipped, "note": note}
        return write_gallery(folder, batches, layout, settings, **options)


class _Vectors:
    """Arrays of a folder: embeddings [n, D], log posteriors [n, most patterns of a category], experts' [n, size]."""

    def __init__(self, folder: Path, n: int, experts: dict[str, float]):
        self.embeddings = map_array(folder / "embeddings.npy", (n, None))
        self.log_posteriors = map_array(folder / "log_posteriors.npy", (n, None))
        self.experts = {name: map_array(folder / f"expert_{name}.npy", (n, None)) for name in experts}

    def of(self, rows: np.ndarray, layout: Layout, num_patterns: int) -> tuple[np.ndarray, np.ndarray, dict]:
        """Embeddings, posteriors and the experts' vectors of some rows."""
        experts = {name: values[rows] for name, values in self.experts.items()}
        return self.embeddings[rows], np.exp(self.log_posteriors[rows, :num_patterns]), experts


def _batches(gallery: Path, metadata: pa.Table, vectors: _Vectors, layout: Layout) -> Iterator[Foregrounds]:
    place_of, mirrored = np.full(len(metadata), -1), None
    if (gallery / "mirrored").is_dir():
        rows = map_array(gallery / "mirrored" / "rows.npy", (None,), np.int64)
        place_of[rows] = np.arange(len(rows))
        mirrored = _Vectors(gallery / "mirrored", len(rows), dict(layout.experts))
    categories = np.array(metadata["category"].to_pylist(), object)
    descriptors = {blob: os.open(gallery / f"{blob}s.bin", os.O_RDONLY) for blob in BLOBS}
    try:
        for category in dict.fromkeys(categories.tolist()):
            own, num_patterns = np.flatnonzero(categories == category), len(layout.patterns(category))
            for start in range(0, len(own), _CHUNK):
                rows = own[start : start + _CHUNK]
                chunk = metadata.take(pa.array(rows)).to_pydict()
                pictures = {
                    blob: [
                        os.pread(descriptors[blob], length, offset)
                        for offset, length in zip(chunk[f"{blob}_offset"], chunk[f"{blob}_length"], strict=True)
                    ]
                    for blob in BLOBS
                }
                embeddings, posteriors, experts = vectors.of(rows, layout, num_patterns)
                m = place_of[rows]
                options: dict[str, Any] = {}
                if mirrored and (m >= 0).any():
                    flipped, of_patterns, of_experts = mirrored.of(m[m >= 0], layout, num_patterns)
                    options = {
                        "mirrored": np.flatnonzero(m >= 0),
                        "mirrored_embeddings": flipped,
                        "mirrored_vectors": layout.join(of_patterns, of_experts),
                    }
                yield make_foregrounds(
                    category,
                    chunk["id"],
                    embeddings,
                    posteriors,
                    layout=layout,
                    experts=experts,
                    thumbnails=pictures["thumbnail"],
                    cutouts=pictures["cutout"],
                    truncated=chunk.get("truncated", [None] * len(rows)),
                    **options,
                    **{name: chunk[name] for name in _COPIED},
                )
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _read_manifest(gallery: Path) -> dict[str, Any]:
    """The manifest of an earlier version, once every file that it lists is there with its checksum."""
    path = gallery / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT or manifest["format_version"] not in EARLIER_VERSIONS:
            got = f"{manifest['format']!r}, version {manifest['format_version']!r}"
            raise InputError(
                f"{path}: is {got}; expected a gallery of version {' or '.join(map(str, EARLIER_VERSIONS))}"
            )
        files = {str(name): (int(of["bytes"]), of["sha256"]) for name, of in manifest["files"].items()}
        for name in ("num_foregrounds", "bundle", "cutouts", "thumbnail_size", "source", "skipped"):
            manifest[name]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a gallery's manifest ({type(error).__name__}: {error})") from None
    for name, (size, checksum) in files.items():
        file = gallery / name
        if not file.is_file():
            raise InputError(f"{file}: missing, though {path} lists it")
        if file.stat().st_size != size:
            raise InputError(f"{file}: {file.stat().st_size} bytes, expected {size}")
        if measure_file(file)["sha256"] != checksum:
            raise InputError(f"{file}: its checksum differs from the one in {path}")
    return manifest


def _read_metadata(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
