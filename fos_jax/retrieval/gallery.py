"""A gallery, opened: metadata, vectors, posteriors, indexes, thumbnails and cut-outs of a set of foregrounds."""

import dataclasses
import functools
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.images import read_cutout
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.index import ExactIndex, Index, ScannIndex
from fos_jax.retrieval.storage import Blob, read_manifest

Ranking = Literal["posterior", "cosine"]
RANKINGS: tuple[Ranking, ...] = ("posterior", "cosine")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """One entry a foreground, rows grouped by category in the table's order; arrays [n].

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


class Gallery:
    """An opened gallery; reading it is safe from several threads, and a rebuild in its place does not disturb it."""

    def __init__(self, path: Path, manifest: dict[str, Any]):
        self.path, self.manifest = path, manifest
        self.table = PatternTable.read(path / "patterns.json")
        self.metadata = _read_metadata(path / "metadata.parquet")
        # Mapped, not loaded: a search touches one category.
        self.embeddings = _read_array(path / "embeddings.npy", len(self.metadata))
        self.log_posteriors = _read_array(path / "log_posteriors.npy", len(self.metadata))
        self._thumbnails, self._cutouts = Blob(path / "thumbnails.bin"), Blob(path / "cutouts.bin")
        self._row_of_id = {identifier: row for row, identifier in enumerate(self.metadata.id)}
        self._categories: dict[str, CategoryRows] = {}
        self._lock = threading.Lock()
        # Loaded now, so that nothing is missed when a rebuild removes this build's files.
        self._scann = {
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

    def scann_index(self, category: str, ranking: Ranking) -> ScannIndex | None:
        """The category's approximate index, None where exact search serves it."""
        return self._scann.get((category, ranking))

    def _png(self, blob: Blob, row: int, kind: str) -> bytes:
        return blob.read(
            int(getattr(self.metadata, f"{kind}_offset")[row]), int(getattr(self.metadata, f"{kind}_length")[row])
        )


class CategoryRows:
    """The rows of one category and their vectors."""

    def __init__(self, gallery: Gallery, name: str):
        is_of_category = gallery.metadata.category == name
        self.name = name
        self.rows = np.flatnonzero(is_of_category)  # contiguous: galleries are stored by category
        start, stop = (int(self.rows[0]), int(self.rows[-1]) + 1) if len(self.rows) else (0, 0)
        self.patterns = np.flatnonzero(gallery.table.category_of_pattern == gallery.table.category_id(name))
        self.assigned = gallery.metadata.pattern[start:stop]
        self.embeddings = np.asarray(gallery.embeddings[start:stop])
        self.log_posteriors = gallery.log_posteriors[start:stop, : len(self.patterns)]
        self._scann = {ranking: gallery.scann_index(name, ranking) for ranking in RANKINGS}

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def posteriors(self) -> np.ndarray:
        """float32 [n, patterns of the category]: p(pattern | foreground)."""
        return np.exp(np.asarray(self.log_posteriors))

    def vectors(self, ranking: Ranking) -> np.ndarray:
        """float32 [n, d]: what a query's vector is multiplied with; `InputError` for an unknown ranking."""
        if ranking not in RANKINGS:
            raise InputError(f"ranking: unknown {ranking!r}, expected posterior or cosine")
        return self.posteriors if ranking == "posterior" else self.embeddings

    def index(self, ranking: Ranking) -> Index:
        """ScaNN where the gallery has it, exact search otherwise."""
        return self._scann.get(ranking) or self.exact_index(ranking)

    def exact_index(self, ranking: Ranking) -> ExactIndex:
        """The oracle of `index`."""
        return self._exact[ranking] if ranking in self._exact else self._exact.setdefault(ranking, self._make(ranking))

    @functools.cached_property
    def _exact(self) -> dict[str, ExactIndex]:
        return {}

    def _make(self, ranking: Ranking) -> ExactIndex:
        return ExactIndex(self.vectors(ranking), where=f"{ranking} vectors of {self.name}")


def index_folder(table: PatternTable, category: str, ranking: Ranking) -> str:
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
