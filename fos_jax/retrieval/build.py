"""Building a gallery from a source of cut-outs and a model bundle."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.images import encode_png, resize_rgba, visible_box_xyxy_px
from fos_jax.index.build import SCANN_MIN_ROWS, build_index
from fos_jax.index.exact import check_vectors
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.cutouts import CutoutRecord, CutoutSource
from fos_jax.retrieval.gallery import (
    FORMAT,
    MANIFEST,
    MIRRORED,
    Metadata,
    RankBy,
    all_categories,
    index_folder,
    measure_file,
)
from fos_jax.retrieval.queries import class_id
from fos_jax.retrieval.rules import format_sides, mirrored_sides
from fos_jax.retrieval.vectors import Vectors, join_vectors

_STRINGS = ("id", "category", "source_id", "licence", "path", "truncated")


class EncodesForegrounds(Protocol):
    """What a gallery needs of a bundle; attributes as `queries.EncodesQueries`."""

    table: PatternTable
    fingerprint: str

    @property
    def accepts_any_category(self) -> bool: ...

    @property
    def expert_weights(self) -> Mapping[str, float]: ...

    def foreground_inputs(self, rgba: np.ndarray, truncated: tuple[str, ...] | None) -> tuple[np.ndarray, ...]:
        """One cut-out's inputs.

        Args:
          rgba: uint8 [h, w, 4], straight alpha, cropped to what is visible.
          truncated: sides at which its photograph cut it, of `boxes.SIDES`; None where unknown.
        """
        ...

    @property
    def encode_foregrounds(self) -> Callable[..., Any]:
        """Takes stacked inputs and int32 category [n], keywords batch_size and progress; returns what
        `EncodesQueries.encode_queries` does."""
        ...


def build_gallery(
    source: CutoutSource,
    bundle: EncodesForegrounds,
    output: str | Path,
    *,
    bundle_path: str | Path,
    cutouts: Literal["copy", "reference"] = "copy",
    mirror: bool | None = None,
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
      mirror: also encode cut-outs mirrored, for searches that ask for it, where the pattern that a cut-out is assigned
        to has a mirrored partner; by default where the bundle has experts. It costs one more encoding of each and their
        vectors, no pictures.
      thumbnail_size: longer side in pixels.
      scann_min_rows: categories of at least so many foregrounds get ScaNN indexes, others are searched exactly.
      batch_size: cut-outs encoded at once.
      progress: show a bar.

    Returns:
      The manifest: counts by category, categories without patterns, what was skipped and why, files and checksums.

    Raises:
      InputError: an unusable source, a category that the bundle lacks, an id that comes twice, an embedding that is
        not finite, or a disk that refuses. The gallery that was there stays whole.
    """
    if names := [name for name in bundle.expert_weights if not name.isidentifier()]:
        raise InputError(f"bundle {bundle.fingerprint}: an expert is named {names[0]!r}, expected a plain name")
    with _new_gallery(output) as data:
        rows = _Rows(bundle, bool(bundle.expert_weights) if mirror is None else mirror, batch_size)
        _encode_all(source, rows, data, cutouts, thumbnail_size, progress)
        if not rows.metadata:
            raise InputError(f"{source.name}: no cut-out could be used ({_reasons(source.skipped)})")
        counts, num_mirrored = _write(rows, data, scann_min_rows)
        known = set(np.array(bundle.table.categories)[bundle.table.category_of_pattern])
        without = [name for name in counts if name not in known]
        manifest = {
            "source": source.name,
            "num_foregrounds": len(rows.metadata),
            "counts": counts,
            "skipped": dict(source.skipped),
            "embedding_size": int(rows.plain[0].embeddings.shape[1]),
            "cutouts": cutouts,
            "thumbnail_size": thumbnail_size,
            **({"experts": dict(bundle.expert_weights)} if bundle.expert_weights else {}),
            **({"categories_without_patterns": without} if without else {}),
            **({"num_mirrored": num_mirrored} if rows.mirror else {}),
            "bundle": {
                "fingerprint": bundle.fingerprint,
                "path": str(Path(bundle_path).resolve()),
                "relative_path": os.path.relpath(Path(bundle_path).resolve(), Path(output).resolve()),
            },
            "versions": {name: importlib.metadata.version(name) for name in ("numpy", "pyarrow")},
        }
        return _write_manifest(data, manifest)


class _Rows:
    """Foregrounds on their way through the encoder, a batch at a time.

    Attributes:
      metadata: one row per foreground so far.
      plain, mirrored: their vectors, batch by batch.
      mirrored_rows: rows of `metadata` that are mirrored, batch by batch.
    """

    def __init__(self, bundle: EncodesForegrounds, mirror: bool, batch_size: int):
        self.bundle, self.mirror, self.batch_size = bundle, mirror, batch_size
        table = bundle.table
        self._width = max([1, *np.bincount(table.category_of_pattern).tolist()])
        self.metadata: list[dict[str, Any]] = []
        self.plain: list[Vectors] = []
        self.mirrored: list[Vectors] = []
        self.mirrored_rows: list[np.ndarray] = []
        self._inputs: list[tuple[np.ndarray, ...]] = []
        self._mirrored_inputs: list[tuple[np.ndarray, ...]] = []
        self._with_mirror = {p.category for p in table.patterns if p.mirror >= 0} if mirror else set()

    def add(self, row: dict[str, Any], visible: np.ndarray, truncated: tuple[str, ...] | None) -> None:
        """Takes a foreground in; uint8 [h, w, 4], cropped to what is visible."""
        self.metadata.append(row)
        self._inputs.append(self.bundle.foreground_inputs(visible, truncated))
        flipped: tuple[np.ndarray, ...] = ()
        if row["category"] in self._with_mirror:
            pixels = np.ascontiguousarray(visible[:, ::-1])
            flipped = self.bundle.foreground_inputs(pixels, mirrored_sides(truncated))
        self._mirrored_inputs.append(flipped)
        if len(self._inputs) == self.batch_size:
            self.flush()

    def flush(self) -> None:
        """Encodes what waits."""
        if not self._inputs:
            return
        start = len(self.metadata) - len(self._inputs)
        batch, table = self.metadata[start:], self.bundle.table
        # The last batch is filled up where there were others: its own size would be one more program to compile.
        size = self.batch_size if self.plain else len(batch)
        vectors = self._encode(self._inputs, batch, size)
        for row, own in zip(batch, vectors.log_posteriors, strict=True):
            patterns = np.flatnonzero(table.category_of_pattern == class_id(row["category"], self.bundle))
            best = int(own.argmax())
            has_pattern = len(patterns) > 0
            row["pattern"] = int(patterns[best]) if has_pattern else -1
            row["confidence"] = float(np.exp(own[best])) if has_pattern else 0.0
        self.plain.append(vectors)
        if self.mirror:
            wanted = [i for i, row in enumerate(batch) if row["pattern"] >= 0 and table.mirror[row["pattern"]] >= 0]
            if wanted:
                chosen = [self._mirrored_inputs[i] for i in wanted]
                self.mirrored.append(self._encode(chosen, [batch[i] for i in wanted], size))
                self.mirrored_rows.append(start + np.array(wanted))
        self._inputs, self._mirrored_inputs = [], []

    def _encode(self, inputs: list[tuple[np.ndarray, ...]], batch: list[dict[str, Any]], size: int) -> Vectors:
        bundle, n = self.bundle, len(inputs)
        category = np.array([class_id(row["category"], bundle) for row in batch], np.int32)
        missing = size - n
        stacked = [np.stack(column) for column in zip(*inputs, *inputs[:1] * missing, strict=True)]
        padded = np.pad(category, (0, missing), mode="edge")
        encoding = bundle.encode_foregrounds(*stacked, padded, batch_size=self.batch_size)
        embedding = np.asarray(encoding.embedding, np.float32)[:n]  # [n, D]
        log_posterior = np.asarray(encoding.log_posterior, np.float32)[:n]  # [n, P]
        experts = {name: np.asarray(encoding.experts[name], np.float32)[:n] for name in bundle.expert_weights}
        is_good = ~np.isnan(log_posterior).any(axis=1)
        for vectors in (embedding, *experts.values()):
            is_good &= np.isfinite(vectors).all(axis=1)
        if not is_good.all():
            bad = batch[int(np.flatnonzero(~is_good)[0])]["id"]
            raise InputError(f"bundle {bundle.fingerprint}: the embedding of {bad} is not finite")
        own = np.full((n, self._width), -np.inf, np.float32)
        for i, number in enumerate(category):
            patterns = np.flatnonzero(bundle.table.category_of_pattern == number)
            own[i, : len(patterns)] = log_posterior[i, patterns]
        return Vectors(embedding, own, experts)


def _encode_all(
    source: CutoutSource, rows: _Rows, data: Path, cutouts: str, thumbnail_size: int, progress: bool
) -> None:
    from tqdm import tqdm

    seen = set()
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
            class_id(record.category, rows.bundle)
            x0, y0, x1, y1 = visible_box_xyxy_px(record.rgba, where=where)
            visible = record.rgba[y0:y1, x0:x1]
            row = _row(record, x1 - x0, y1 - y0, cutouts, where)
            row |= _append(thumbnail_file, "thumbnail", encode_png(_thumbnail(visible, thumbnail_size)))
            row |= _append(cutout_file, "cutout", b"" if row["path"] else encode_png(visible))
            rows.add(row, visible, record.truncated)
        rows.flush()


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
        "truncated": format_sides(record.truncated),
    }


def _append(file: Any, kind: str, data: bytes) -> dict[str, int]:
    offset = file.tell()
    file.write(data)
    return {f"{kind}_offset": offset, f"{kind}_length": len(data)}


def _thumbnail(visible: np.ndarray, size: int) -> np.ndarray:
    height, width = visible.shape[:2]
    scale = min(1.0, size / max(width, height))
    return resize_rgba(visible, max(1, round(width * scale)), max(1, round(height * scale)))


def _write(rows: _Rows, data: Path, scann_min_rows: int) -> tuple[dict[str, int], int]:
    """Writes everything but the blobs, rows grouped by category.

    Returns: category -> number of foregrounds, and the number of those that are mirrored too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, names = rows.bundle.table, [row["category"] for row in rows.metadata]
    categories = all_categories(table, names)
    category = np.array([categories.index(name) for name in names])
    order = np.argsort(category, kind="stable")
    types = {field.name: pa.int64() for field in dataclasses.fields(Metadata)}
    types |= dict.fromkeys(_STRINGS, pa.string()) | {"confidence": pa.float32()}
    types |= dict.fromkeys(("width_px", "height_px", "pattern", "true_pattern"), pa.int32())
    columns = {name: pa.array([rows.metadata[i][name] for i in order], kind) for name, kind in types.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    (data / "metadata.parquet").write_bytes(sink.getvalue().to_pybytes())
    (data / "patterns.json").write_text(table.to_json(), "utf-8")
    vectors = Vectors.join(rows.plain).take(order)
    check_vectors(vectors.embeddings, where="embeddings")
    vectors.write(data)
    if rows.mirrored:
        place_of_row = np.argsort(order)
        mirrored_rows = place_of_row[np.concatenate(rows.mirrored_rows)]
        by_row = np.argsort(mirrored_rows)
        (data / MIRRORED).mkdir()
        np.save(data / MIRRORED / "rows.npy", mirrored_rows[by_row].astype(np.int64))
        Vectors.join(rows.mirrored).take(by_row).write(data / MIRRORED)
    counts, usual = Counter(rows.metadata[i]["category"] for i in order), rows.bundle.expert_weights
    for name, n in counts.items():
        if n >= scann_min_rows:
            number = categories.index(name)
            own = vectors.take(category[order] == number)
            posteriors = np.exp(own.log_posteriors[:, : int((table.category_of_pattern == number).sum())])
            sizes = {expert: values.shape[1] for expert, values in own.experts.items()}
            experts = {"expert_sizes": list(sizes.values()), "expert_weights": [usual[expert] for expert in sizes]}
            by_ranking: dict[RankBy, tuple[np.ndarray, dict[str, Any]]] = {
                "cosine": (own.embeddings, {}),
                "posterior": (join_vectors(posteriors, own.experts, own.experts), experts),
            }
            for ranking, (values, options) in by_ranking.items():
                folder, where = data / index_folder(categories, name, ranking), f"{ranking} vectors of {name}"
                build_index(values, folder, ranking=ranking, **options, min_rows=scann_min_rows, where=where)
    return dict(counts), sum(map(len, rows.mirrored_rows))


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
    needs_second = manifest.keys() & {"experts", "categories_without_patterns", "num_mirrored"}
    full = {"format": FORMAT, "format_version": 2 if needs_second else 1, **manifest, "files": files}
    (folder / MANIFEST).write_text(json.dumps(full, indent=1), "utf-8")
    return full


def _reasons(skipped: Counter[str]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(skipped.items())) or "the source is empty"
