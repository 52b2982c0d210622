"""A gallery: a folder of foregrounds with metadata, vectors, posteriors, indexes, thumbnails and cut-outs."""

import dataclasses
import functools
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.images import read_cutout
from fos_jax.index.build import open_index
from fos_jax.index.exact import ExactIndex, Index
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.rules import parse_sides
from fos_jax.retrieval.vectors import Vectors, join_vectors, read_rows

if TYPE_CHECKING:
    from fos_jax.retrieval.queries import EncodedQuery

MANIFEST = "manifest.json"
FORMAT = "fos_jax gallery"
# Version 1 has neither experts, nor categories without patterns, nor mirrored cut-outs. A gallery that needs none of
# them is still written as such, so that earlier programs open it.
FORMAT_VERSIONS = (1, 2)
MIRRORED = "mirrored"
RankBy = Literal["posterior", "cosine"]
RANKINGS: tuple[RankBy, ...] = ("posterior", "cosine")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """One entry per foreground, rows grouped by category (`Gallery.categories`); arrays [n].

    Attributes:
      id, category, source_id, licence: str.
      path: str, file of the cut-out where the gallery refers to it, "" where it holds a copy.
      width_px, height_px: int32, extent of what is visible of the cut-out.
      pattern: int32, the most probable one, the foreground's assignment; -1 where its category has no patterns.
      confidence: float32, its probability; 0 where there is none.
      true_pattern: int32, as the source labelled it, -1 where it did not.
      thumbnail_offset, thumbnail_length, cutout_offset, cutout_length: int64, places in the blobs.
      truncated: str or None, sides at which its photograph cut it, as `rules.format_sides`; None where unknown.
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
    truncated: np.ndarray

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
        self.categories = all_categories(self.table, manifest["counts"])
        self.experts = {name: float(weight) for name, weight in manifest.get("experts", {}).items()}
        self.vectors = Vectors.read(path, len(self.metadata), self.experts)
        self.has_mirrored = "num_mirrored" in manifest
        self.mirrored_rows, self.mirrored = np.zeros(0, np.int64), self.vectors.take(slice(0))
        if manifest.get("num_mirrored"):
            self.mirrored_rows = read_rows(path / MIRRORED / "rows.npy", len(self.metadata))
            self.mirrored = Vectors.read(path / MIRRORED, len(self.mirrored_rows), self.experts)
        self._thumbnails, self._cutouts = _Blob(path / "thumbnails.bin"), _Blob(path / "cutouts.bin")
        self._row_of_id = {identifier: row for row, identifier in enumerate(self.metadata.id)}
        self._categories: dict[tuple[str, bool], CategoryRows] = {}
        self._lock = threading.Lock()
        # Loaded now, so that nothing is missed when a rebuild removes this build's files.
        self.scann = {
            (name, ranking): open_index(folder, self.category(name).vectors(ranking))
            for name in self.categories
            for ranking in RANKINGS
            if (folder := path / index_folder(self.categories, name, ranking)).is_dir()
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
    def embeddings(self) -> np.ndarray:
        """float32 [n, D], unit."""
        return self.vectors.embeddings

    @property
    def log_posteriors(self) -> np.ndarray:
        """float32 [n, most patterns of a category], padded with -inf."""
        return self.vectors.log_posteriors

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

    def category(self, name: str, *, mirror: bool = False) -> "CategoryRows":
        """The foregrounds of one category, each once.

        Args:
          name: of the table, or of a category without patterns that the gallery holds.
          mirror: whether those that the gallery holds mirrored come once more so.

        Raises:
          InputError: an unknown name, or no mirrored cut-outs in this gallery.
        """
        if name not in self.categories:
            raise InputError(f"category: unknown {name!r}, expected one of {', '.join(self.categories)}")
        if mirror and not self.has_mirrored:
            raise InputError(
                f"{self.path}: holds no mirrored cut-outs, expected a gallery that was built with --mirror"
            )
        with self._lock:
            if (name, mirror) not in self._categories:
                self._categories[name, mirror] = CategoryRows(self, name, mirror=mirror)
            return self._categories[name, mirror]

    def _png(self, blob: _Blob, row: int, kind: str) -> bytes:
        offset, length = (getattr(self.metadata, f"{kind}_{part}")[row] for part in ("offset", "length"))
        return blob.read(int(offset), int(length))


class CategoryRows:
    """The foregrounds of one category and their vectors; a place is a number among them.

    Attributes:
      gallery, name: where they are from, and the category.
      rows: int64 [n], their rows in the gallery. is_mirrored: bool [n], whether each is shown mirrored.
      patterns: int64 [p], ids of the category's patterns; none where none are known.
      assigned: int64 [n], most probable pattern, -1 where there is none. confidence: float32 [n], its probability.
      embeddings: float32 [n, D]. log_posteriors: float32 [n, p]. experts: name -> float32 [n, size of the expert].
    """

    def __init__(self, gallery: Gallery, name: str, *, mirror: bool = False):
        rows = np.flatnonzero(gallery.metadata.category == name)  # contiguous: galleries are stored by category
        start, stop = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        parts = [gallery.vectors.take(slice(start, stop))]
        assigned, confidence = gallery.metadata.pattern[rows], gallery.metadata.confidence[rows]
        self.gallery, self.name, self.start = gallery, name, start
        class_id = gallery.categories.index(name)
        self.patterns = np.flatnonzero(gallery.table.category_of_pattern == class_id)
        self.is_mirrored = np.zeros(len(rows), bool)
        if mirror:
            is_own = (gallery.mirrored_rows >= start) & (gallery.mirrored_rows < stop)
            mirrored = gallery.mirrored.take(is_own)
            rows = np.concatenate([rows, gallery.mirrored_rows[is_own]])
            self.is_mirrored = np.arange(len(rows)) >= len(self.is_mirrored)
            if is_own.any():
                own = mirrored.log_posteriors[:, : len(self.patterns)]
                assigned = np.concatenate([assigned, self.patterns[own.argmax(axis=1)]])
                confidence = np.concatenate([confidence, np.exp(own.max(axis=1))])
            parts.append(mirrored)
        vectors = Vectors.join(parts)
        self.rows, self.assigned, self.confidence = rows, assigned, confidence
        self.embeddings = np.asarray(vectors.embeddings)
        self.log_posteriors = vectors.log_posteriors[:, : len(self.patterns)]
        self.experts = vectors.experts
        self._exact: dict[str, ExactIndex] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def posteriors(self) -> np.ndarray:
        """float32 [n, patterns of the category]: p(pattern | foreground)."""
        return np.exp(np.asarray(self.log_posteriors))

    @functools.cached_property
    def truncated(self) -> tuple[list[tuple[str, ...] | None], np.ndarray]:
        """The distinct truncated sides as offered, and int64 [n], which of them each foreground has."""
        keys = list(zip(self.gallery.metadata.truncated[self.rows].tolist(), self.is_mirrored.tolist(), strict=True))
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        return [parse_sides(*key) for key in number], np.array([number[key] for key in keys], np.int64)

    @functools.cached_property
    def _with_experts(self) -> np.ndarray:
        return join_vectors(self.posteriors, self.experts, self.gallery.experts)

    def vectors(self, ranking: RankBy) -> np.ndarray:
        """float32 [n, d]: what a query's vector (`query_vector`) is multiplied with.

        Posteriors, and behind them the experts' vectors where there are any: the score's parts add up in one product.

        Raises:
          InputError: an unknown ranking.
        """
        if ranking not in RANKINGS:
            raise InputError(f"ranking: unknown {ranking!r}, expected posterior or cosine")
        if ranking == "cosine":
            return self.embeddings
        return self._with_experts if self.gallery.experts else self.posteriors

    def query_vector(self, query: "EncodedQuery", ranking: RankBy) -> np.ndarray:
        """float32 [d]: what `vectors` is multiplied with; the experts' part carries the query's weights."""
        self.vectors(ranking)  # refuses unknown names
        return query.embedding if ranking == "cosine" else self._weighted(query, query.weights)

    def _weighted(self, query: "EncodedQuery", weights: Mapping[str, float]) -> np.ndarray:
        parts = {name: np.float32(weights[name]) * query.experts[name] for name in self.gallery.experts}
        return join_vectors(query.posterior, parts, self.gallery.experts)

    def parts(self, place: int, query: "EncodedQuery") -> dict[str, float]:
        """What each part brings to the score by posterior: "pattern", where the category has any, and each expert."""
        pattern = {"pattern": float(self.posteriors[place] @ query.posterior)} if len(self.patterns) else {}
        cosines = {name: float(self.experts[name][place] @ query.experts[name]) for name in self.gallery.experts}
        return pattern | {name: query.weights[name] * cosine for name, cosine in cosines.items()}

    def index(self, ranking: RankBy) -> Index:
        """ScaNN where the gallery has it, exact search otherwise; `index_for` says what to multiply it with."""
        scann = None if self.is_mirrored.any() else self.gallery.scann.get((self.name, ranking))
        return scann or self.exact_index(ranking)

    def index_for(self, query: "EncodedQuery", ranking: RankBy) -> tuple[Index, np.ndarray]:
        """The index that answers a query, and the query's vector for it, float32 [d]."""
        return self.index(ranking), self.query_vector(query, ranking)

    def exact_index(self, ranking: RankBy) -> ExactIndex:
        """The oracle of `index`."""
        if ranking not in self._exact:
            self._exact[ranking] = ExactIndex(self.vectors(ranking), where=f"{ranking} vectors of {self.name}")
        return self._exact[ranking]


def all_categories(table: PatternTable, names: Iterable[str]) -> tuple[str, ...]:
    """The table's categories in its order, then the others among `names`, which have no patterns, sorted."""
    return (*table.categories, *sorted(set(names) - set(table.categories)))


def index_folder(categories: Sequence[str], category: str, ranking: RankBy) -> str:
    """Where a category's ScaNN index lies within a build; category names may not be file names."""
    return f"index/{categories.index(category)}_{ranking}"


def _read_metadata(path: Path) -> Metadata:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if "truncated" not in table.column_names:  # galleries that were built before it was kept
        table = table.append_column("truncated", pa.nulls(len(table), pa.string()))
    names = [field.name for field in dataclasses.fields(Metadata)]
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: column {missing[0]} is missing")
    return Metadata(**{name: table[name].to_numpy() for name in names})


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
        if manifest["format_version"] not in FORMAT_VERSIONS:
            known = " or ".join(map(str, FORMAT_VERSIONS))
            raise InputError(f"{path}: format_version is {manifest['format_version']!r}, expected {known}")
        files = dict(manifest["files"])
        manifest["counts"] = dict(manifest["counts"])
        experts = dict(manifest.get("experts", {}))
        if not all(name.isidentifier() and np.isfinite(weight) for name, weight in experts.items()):
            raise InputError(f"{path}: experts are {experts!r}, expected plain names, each with its usual weight")
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
