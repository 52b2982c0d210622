"""Building a gallery from a source of cut-outs and a model bundle."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.images import encode_png, prepare_cutout, resize_rgba, visible_box_xyxy_px
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.cutouts import CutoutRecord, CutoutSource
from fos_jax.retrieval.gallery import FORMAT, FORMAT_VERSION, MANIFEST, RANKINGS, Metadata, index_folder, measure_file
from fos_jax.retrieval.index import SCANN_MIN_ROWS, ScannIndex, check_vectors

_STRINGS = ("id", "category", "source_id", "licence", "path")


class EncodesForegrounds(Protocol):
    """What a gallery needs of a bundle."""

    table: PatternTable
    fingerprint: str

    @property
    def foreground_size(self) -> int: ...

    def encode_foregrounds(self, image: np.ndarray, category: np.ndarray, *, batch_size: int = 256) -> Any: ...


def build_gallery(
    source: CutoutSource,
    bundle: EncodesForegrounds,
    output: str | Path,
    *,
    bundle_path: str | Path,
    cutouts: Literal["copy", "reference"] = "copy",
    thumbnail_size: int = 160,
    scann_min_rows: int = SCANN_MIN_ROWS,
    batch_size: int = 256,
    progress: bool = False,
) -> dict[str, Any]:
    """Encodes every cut-out and publishes the gallery in one step; a gallery that was there is replaced by it.

    Args:
      source: where the cut-outs come from.
      bundle: the model; its foreground encoder embeds.
      output: the gallery's folder.
      bundle_path: where the bundle is, for whoever opens the gallery.
      cutouts: "copy" keeps the cut-outs in the gallery, "reference" their files' paths (only where they are files).
      thumbnail_size: longer side in pixels.
      scann_min_rows: categories of at least so many foregrounds get ScaNN indexes, others are searched exactly.
      batch_size: cut-outs encoded at once.
      progress: show a bar.

    Returns:
      The manifest: counts by category, what was skipped and why, files and checksums.

    Raises:
      InputError: an unusable source, a category that the bundle lacks, an id that comes twice, an embedding that is
        not finite, or a disk that refuses. The gallery that was there stays whole.
    """
    with _new_gallery(output) as data:
        rows = _encode_all(source, bundle, data, cutouts, thumbnail_size, batch_size, progress)
        if not rows.metadata:
            raise InputError(f"{source.name}: no cut-out could be used ({_reasons(source.skipped)})")
        counts = _write(rows, bundle.table, data, scann_min_rows)
        manifest = {
            "source": source.name,
            "num_foregrounds": len(rows.metadata),
            "counts": counts,
            "skipped": dict(source.skipped),
            "embedding_size": int(rows.embeddings[0].shape[1]),
            "cutouts": cutouts,
            "thumbnail_size": thumbnail_size,
            "bundle": {
                "fingerprint": bundle.fingerprint,
                "path": str(Path(bundle_path).resolve()),
                "relative_path": os.path.relpath(Path(bundle_path).resolve(), Path(output).resolve()),
            },
            "versions": {name: importlib.metadata.version(name) for name in ("numpy", "pyarrow")},
        }
        return _write_manifest(data, manifest)


@dataclasses.dataclass
class _Rows:
    metadata: list[dict[str, Any]]
    embeddings: list[np.ndarray]  # float32 [b, D] each
    log_posteriors: list[np.ndarray]  # float32 [b, most patterns of a category] each, padded with -inf


def _encode_all(
    source: CutoutSource,
    bundle: EncodesForegrounds,
    data: Path,
    cutouts: str,
    thumbnail_size: int,
    batch_size: int,
    progress: bool,
) -> _Rows:
    from tqdm import tqdm

    rows, seen = _Rows([], [], []), set()
    images: list[np.ndarray] = []
    with (
        open(data / "thumbnails.bin", "wb") as thumbnail_file,
        open(data / "cutouts.bin", "wb") as cutout_file,
        tqdm(source, total=len(source), desc="cut-outs", unit="", disable=not progress) as records,
    ):
        for record in records:
            where = f"{source.name}, {record.id}"
            if record.id in seen:
                raise InputError(f"{where}: this id comes twice")
            seen.add(record.id)
            bundle.table.category_id(record.category)
            x0, y0, x1, y1 = visible_box_xyxy_px(record.rgba, where=where)
            visible = record.rgba[y0:y1, x0:x1]
            images.append(prepare_cutout(visible, bundle.foreground_size))
            row = _row(record, x1 - x0, y1 - y0, cutouts, where)
            row |= _append(thumbnail_file, "thumbnail", encode_png(_thumbnail(visible, thumbnail_size)))
            row |= _append(cutout_file, "cutout", b"" if row["path"] else encode_png(visible))
            rows.metadata.append(row)
            if len(images) == batch_size:
                _encode_batch(rows, images, bundle, batch_size)
                images = []
        if images:
            _encode_batch(rows, images, bundle, batch_size)
    return rows


def _row(record: CutoutRecord, width: int, height: int, cutouts: str, where: str) -> dict[str, Any]:
    if cutouts == "reference" and record.path is None:
        raise InputError(f"{where}: is no file to refer to, expected cutouts='copy' for this source")
    return {
        "id": record.id,
        "category": record.category,
        "source_id": record.source_id,
        "licence": record.licence,
        "path": str(record.path.resolve()) if record.path and cutouts == "reference" else "",
        "width_px": width,
        "height_px": height,
        "true_pattern": record.pattern,
    }


def _append(file: Any, kind: str, data: bytes) -> dict[str, int]:
    offset = file.tell()
    file.write(data)
    return {f"{kind}_offset": offset, f"{kind}_length": len(data)}


def _thumbnail(visible: np.ndarray, size: int) -> np.ndarray:
    height, width = visible.shape[:2]
    scale = min(1.0, size / max(width, height))
    return resize_rgba(visible, max(1, round(width * scale)), max(1, round(height * scale)))


def _encode_batch(rows: _Rows, images: list[np.ndarray], bundle: EncodesForegrounds, batch_size: int) -> None:
    batch = rows.metadata[-len(images) :]
    category = np.array([bundle.table.category_id(row["category"]) for row in batch], np.int32)
    # The last batch is filled up where there were others: its own size would be one more program to compile.
    missing = batch_size - len(images) if rows.embeddings else 0
    encoding = bundle.encode_foregrounds(
        np.stack(images + images[:1] * missing), np.pad(category, (0, missing), mode="edge"), batch_size=batch_size
    )
    embedding = np.asarray(encoding.embedding, np.float32)[: len(images)]  # [b, D]
    log_posterior = np.asarray(encoding.log_posterior, np.float32)[: len(images)]  # [b, P]
    is_good = np.isfinite(embedding).all(axis=1) & ~np.isnan(log_posterior).any(axis=1)
    if not is_good.all():
        bad = batch[int(np.flatnonzero(~is_good)[0])]["id"]
        raise InputError(f"bundle {bundle.fingerprint}: the embedding of {bad} is not finite")
    of_pattern = bundle.table.category_of_pattern
    width = np.bincount(of_pattern, minlength=len(bundle.table.categories)).max()
    own = np.full((len(batch), width), -np.inf, np.float32)
    for i, class_id in enumerate(category):
        patterns = np.flatnonzero(of_pattern == class_id)
        own[i, : len(patterns)] = log_posterior[i, patterns]
        best = int(own[i].argmax())
        batch[i] |= {"pattern": int(patterns[best]), "confidence": float(np.exp(own[i, best]))}
    rows.embeddings.append(embedding)
    rows.log_posteriors.append(own)


def _write(rows: _Rows, table: PatternTable, data: Path, scann_min_rows: int) -> dict[str, int]:
    """Writes everything but the blobs, rows grouped by category; returns category -> number of foregrounds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    category = np.array([table.category_id(row["category"]) for row in rows.metadata])
    order = np.argsort(category, kind="stable")
    types = {field.name: pa.int64() for field in dataclasses.fields(Metadata)}
    types |= dict.fromkeys(_STRINGS, pa.string()) | {"confidence": pa.float32()}
    types |= dict.fromkeys(("width_px", "height_px", "pattern", "true_pattern"), pa.int32())
    columns = {name: pa.array([rows.metadata[i][name] for i in order], kind) for name, kind in types.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    (data / "metadata.parquet").write_bytes(sink.getvalue().to_pybytes())
    (data / "patterns.json").write_text(table.to_json(), "utf-8")
    embeddings = check_vectors(np.concatenate(rows.embeddings)[order], where="embeddings")
    log_posteriors = np.concatenate(rows.log_posteriors)[order]
    np.save(data / "embeddings.npy", embeddings)
    np.save(data / "log_posteriors.npy", log_posteriors)
    counts = Counter(rows.metadata[i]["category"] for i in order)
    for name, n in counts.items():
        if n >= scann_min_rows:
            is_of_category = category[order] == table.category_id(name)
            num_patterns = int((table.category_of_pattern == table.category_id(name)).sum())
            vectors = {
                "cosine": embeddings[is_of_category],
                "posterior": np.exp(log_posteriors[is_of_category, :num_patterns]),
            }
            for ranking in RANKINGS:
                folder = data / index_folder(table, name, ranking)
                ScannIndex.build(vectors[ranking], where=f"{ranking} vectors of {name}").save(folder)
                ScannIndex.load(folder)  # ScaNN does not say so when a disk was full
    return dict(counts)


@contextlib.contextmanager
def _new_gallery(gallery: str | Path) -> Iterator[Path]:
    """A folder to build in, which becomes the gallery when the block ends; see `files.published_directory`.

    Raises:
      InputError: the path is a file or a folder that is no gallery (it would be replaced), or the disk refuses.
    """
    gallery = Path(gallery)
    if gallery.is_dir() and any(gallery.iterdir()):
        try:
            is_gallery = json.loads((gallery / MANIFEST).read_bytes())["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            is_gallery = False
        if not is_gallery:
            raise InputError(f"{gallery}: holds other files, expected a gallery, an empty folder or nothing")
    with published_directory(gallery) as aside:
        yield aside


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Writes the manifest of a finished build and returns it with format, files, sizes and checksums added."""
    files = {
        path.relative_to(folder).as_posix(): measure_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(full, indent=1), "utf-8")
    return full


def _reasons(skipped: Counter[str]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(skipped.items())) or "the source is empty"
