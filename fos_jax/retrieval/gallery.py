"""A gallery: a folder of foregrounds with metadata, vectors, posteriors, indexes, thumbnails and cut-outs."""

import dataclasses
import functools
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.images import read_cutout
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.index import ExactIndex, Index, ScannIndex

MANIFEST = "manifest.json"
FORMAT = "fos_jax gallery"
FORMAT_VERSION = 1
RankBy = Literal["posterior", "cosine"]
RANKINGS: tuple[RankBy, ...] = ("posterior", "cosine")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """One entry per foreground, rows grouped by category in the table's order; arrays [n].

    Attributes:
      id, category, source_id, licence: str.
      path: str, file of the cut-out where the gallery refers to it, "" where it holds a copy.
      width_px, height_px: int32, extent of what is visible of the cut-out.
      pattern: int32, the most probable one, the foreground's assignment.
      confidence: float32, its probability.
      true_pattern: int32, as the source labelled it, -1 where it did not.
      thumbnail_offset, thumbnail_length, cutout_offset, cutout_length: int64, places in the blobs.
    """

    id: np.ndarray
    category: np.ndarray
    source_id: np.ndarray
    licence: np.ndarray
    path: np.ndarray
    width_px: np.ndarray
    height_px: np.ndarray
    pattern: np.ndarray
    confidence: np.ndarray
    true_pattern: np.ndarray
    thumbnail_offset: np.ndarray
    thumbnail_length: np.ndarray
    cutout_offset: np.ndarray
    cutout_length: np.ndarray

    def __len__(self) -> int:
        return len(self.id)


class _Blob:
    """Many byte strings in one file, read at any place without loading it; safe to share between threads."""

    def __init__(self, path: str | Path):
        self._file = open(path, "rb")  # noqa: SIM115 - lives as long as the gallery

    def read(self, offset: int, length: int) -> bytes:
        """`InputError` where the file ends earlier."""
        data = os.pread(self._file.fileno(), length, offset)
        if len(data) != length:
            raise InputError(f"{self._file.name}: ends at {offset + len(data)}, expected {offset + length} bytes")
        return data

    def close(self) -> None:
        self._file.close()


class Gallery:
    """An opened gallery; reading it is safe from several threads, and a rebuild in its place does not disturb it."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self.table = PatternTable.read(path / "patterns.json")
        self.metadata = _read_metadata(path / "metadata.parquet")
        # Mapped, not loaded: a search touches one category.
        self.embeddings = _read_array(path / "embeddings.npy", len(self.metadata))
        self.log_posteriors = _read_array(path / "log_posteriors.npy", len(self.metadata))
        self._thumbnails, self._cutouts = _Blob(path / "thumbnails.bin"), _Blob(path / "cutouts.bin")
        self._row_of_id = {identifier: row for row, identifier in enumerate(self.metadata.id)}
        self._categories: dict[str, CategoryRows] = {}
        self._lock = threading.Lock()
        # Loaded now, so that nothing is missed when a rebuild removes this build's files.
        self.scann = {
            (name, ranking): ScannIndex.load(folder)
            for name in self.table.categories
            for ranking in RANKINGS
            if (folder := path / index_folder(self.table, name, ranking)).is_dir()
        }

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "Gallery":
        """Opens what `build_gallery` published; `InputError` where there is none, or a damaged one.

        Args:
          path: the gallery's folder.
          verify: compare every file's checksum, not only its size.
        """
        path = Path(path)
        return cls(path, read_manifest(path, verify=verify))

    def check_bundle(self, fingerprint: str) -> None:
        """`InputError` where another bundle built this gallery: the two latent spaces have nothing in common."""
        built_with = self.manifest["bundle"]
        if fingerprint != built_with["fingerprint"]:
            raise InputError(
                f"{self.path}: was built with bundle {built_with['fingerprint']} ({built_with['path']}), "
                f"got bundle {fingerprint}; build the gallery again or open that bundle"
            )

    def __len__(self) -> int:
        return len(self.metadata)

    def close(self) -> None:
        self._thumbnails.close()
        self._cutouts.close()

    @property
    def bundle_path(self) -> Path | None:
        """Where the bundle that built this gallery is: beside the gallery as then, or at its full path; else None."""
        bundle = self.manifest["bundle"]
        for candidate in (self.path / bundle["relative_path"], Path(bundle["path"])):
            if candidate.is_dir():
                return candidate
        return None

    def row_of(self, identifier: str) -> int:
        """Row of a foreground's id; `InputError` where there is none."""
        try:
            return self._row_of_id[identifier]
        except KeyError:
            raise InputError(f"id: no foreground {identifier!r} in {self.path}") from None

    def thumbnail(self, row: int) -> Image.Image:
        """RGBA picture of the foreground, its visible part at thumbnail size."""
        return Image.fromarray(read_cutout(self._png(self._thumbnails, row, "thumbnail")))

    def cutout(self, row: int) -> np.ndarray:
        """uint8 [h, w, 4] at full resolution; `InputError` where the file that the gallery refers to is gone."""
        path = self.metadata.path[row]
        return read_cutout(path if path else self._png(self._cutouts, row, "cutout"))

    def category(self, name: str) -> "CategoryRows":
        """The foregrounds of one category; `InputError` for a name that the table lacks."""
        self.table.category_id(name)
        with self._lock:
            if name not in self._categories:
                self._categories[name] = CategoryRows(self, name)
            return self._categories[name]

    def _png(self, blob: _Blob, row: int, kind: str) -> bytes:
        offset, length = (getattr(self.metadata, f"{kind}_{part}")[row] for part in ("offset", "length"))
        return blob.read(int(offset), int(length))


class CategoryRows:
    """The rows of one category and their vectors."""

    def __init__(self, gallery: Gallery, name: str):
        is_of_category = gallery.metadata.category == name
        self.gallery, self.name = gallery, name
        self.rows = np.flatnonzero(is_of_category)  # contiguous: galleries are stored by category
        self.start = start = int(self.rows[0]) if len(self.rows) else 0
        stop = start + len(self.rows)
        self.patterns = np.flatnonzero(gallery.table.category_of_pattern == gallery.table.category_id(name))
        self.assigned = gallery.metadata.pattern[start:stop]
        self.embeddings = np.asarray(gallery.embeddings[start:stop])
        self.log_posteriors = gallery.log_posteriors[start:stop, : len(self.patterns)]
        self._exact: dict[str, ExactIndex] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def posteriors(self) -> np.ndarray:
        """float32 [n, patterns of the category]: p(pattern | foreground)."""
        return np.exp(np.asarray(self.log_posteriors))

    def vectors(self, ranking: RankBy) -> np.ndarray:
        """float32 [n, d]: what a query's vector is multiplied with; `InputError` for an unknown ranking."""
        if ranking not in RANKINGS:
            raise InputError(f"ranking: unknown {ranking!r}, expected posterior or cosine")
        return self.posteriors if ranking == "posterior" else self.embeddings

    def index(self, ranking: RankBy) -> Index:
        """ScaNN where the gallery has it, exact search otherwise."""
        return self.gallery.scann.get((self.name, ranking)) or self.exact_index(ranking)

    def exact_index(self, ranking: RankBy) -> ExactIndex:
        """The oracle of `index`."""
        if ranking not in self._exact:
            self._exact[ranking] = ExactIndex(self.vectors(ranking), where=f"{ranking} vectors of {self.name}")
        return self._exact[ranking]


def index_folder(table: PatternTable, category: str, ranking: RankBy) -> str:
    """Where a category's ScaNN index lies within a build; category names may not be file names."""
    return f"index/{table.category_id(category)}_{ranking}"


def _read_metadata(path: Path) -> Metadata:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    names = [field.name for field in dataclasses.fields(Metadata)]
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing")
    return Metadata(**{name: table[name].to_numpy() for name in names})


def _read_array(path: Path, num_rows: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if array.dtype != np.float32 or array.ndim != 2 or len(array) != num_rows:
        raise InputError(f"{path}: {array.dtype} {list(array.shape)}, expected float32 [{num_rows}, size]")
    return array


def read_manifest(gallery: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """The manifest, once every file that it lists is there.

    Args:
      verify: read every file and compare checksums; otherwise only presence and sizes are checked.

    Raises:
      InputError: no gallery, another format, or a file that is missing, has another size, or other contents.
    """
    path = Path(gallery) / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise InputError(f"{path}: format is {manifest['format']!r}, expected {FORMAT!r}")
        if manifest["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is {manifest['format_version']!r}, expected {FORMAT_VERSION}")
        files = dict(manifest["files"])
        for name in ("fingerprint", "path", "relative_path"):
            str(manifest["bundle"][name])
    except FileNotFoundError:
        raise InputError(f"{gallery}: no gallery there ({MANIFEST} is missing)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a gallery's manifest ({type(error).__name__}: {error})") from None
    for name, expected in files.items():
        file = path.parent / name
        if not file.is_file():
            raise InputError(f"{file}: missing, though {path} lists it")
        if file.stat().st_size != expected["bytes"]:
            raise InputError(f"{file}: {file.stat().st_size} bytes, expected {expected['bytes']}")
        if verify and measure_file(file)["sha256"] != expected["sha256"]:
            raise InputError(f"{file}: its checksum differs from the one in {path}")
    return manifest


def measure_file(path: Path) -> dict[str, Any]:
    """Size and checksum, as the manifest lists them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return {"bytes": file.tell(), "sha256": digest.hexdigest()}
