"""A gallery: a folder of foregrounds that can be changed while it is searched.

manifest.json     the bundle that built it, sizes of vectors, settings
patterns.json     the bundle's pattern table
tuning_queries.npz  what indexes are measured with, where queries were given (`indexing`)
segments/<name>/  immutable foregrounds with their indexes (`segment`)
gallery.db        which segments are live, the journal, what was removed, recent foregrounds (`store`)
"""

import contextlib
import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery import store
from fos_jax.gallery.foregrounds import Layout
from fos_jax.gallery.recent import Recent
from fos_jax.gallery.segment import Segment
from fos_jax.gallery.snapshot import CategoryRows, Snapshot
from fos_jax.pattern_table import PatternTable

MANIFEST, PATTERNS, SEGMENTS = "manifest.json", "patterns.json", "segments"
FORMAT, FORMAT_VERSION = "fos_jax gallery", 3
EARLIER_VERSIONS = (1, 2)
_ATTEMPTS = 10  # at opening a state whose segments are compacted away meanwhile


class Gallery:
    """An opened gallery, for any number of threads; changes by others are seen.

    A rebuild in its place is not (`is_replaced`).

    Each search takes one `snapshot`, which never changes.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], *, refresh_s: float):
        """Use `open`."""
        self.path, self.manifest, self._refresh_s = path, manifest, refresh_s
        self.layout = read_layout(path, manifest)
        self.table, self.experts = self.layout.table, self.layout.experts
        self._store = store.Store(path)
        self._lock = threading.Lock()
        self._opened: dict[str, Segment] = {}
        self._preparing: threading.Thread | None = None
        try:
            self._version = self._store.data_version()
            self._load()
        except BaseException:
            self._store.close()
            raise
        self._checked_s = time.monotonic()

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False, refresh_s: float = 0.1) -> "Gallery":
        """Opens what `build_gallery` published, as it was changed since.

        Args:
          path: the gallery's folder.
          verify: compare every checksum, not only sizes.
          refresh_s: how long a state may be searched before changes are looked for.

        Raises:
          InputError: no gallery there, one of an earlier format, or a damaged one.
        """
        path = Path(path)
        manifest = read_manifest(path)
        if verify:
            from fos_jax.gallery.verification import verify_gallery

            if problems := verify_gallery(path):
                more = f" ({len(problems) - 1} more: fos gallery verify lists all)" if problems[1:] else ""
                raise InputError(problems[0] + more)
        return cls(path, manifest, refresh_s=refresh_s)

    def close(self) -> None:
        """Closes the database; snapshots that are still held lose the pictures of recent foregrounds."""
        with self._lock:
            self._store.close()

    def snapshot(self) -> Snapshot:
        """The foregrounds as they are, or were at most `refresh_s` ago."""
        # Where another thread is at it, the state before is still good.
        if time.monotonic() - self._checked_s >= self._refresh_s and self._lock.acquire(blocking=False):
            try:
                self._update(is_patient=False)
            finally:
                self._lock.release()
        return self._snapshot

    def refresh(self) -> Snapshot:
        """The foregrounds as they are now."""
        with self._lock:
            self._update(is_patient=True)
        return self._snapshot

    def _update(self, *, is_patient: bool) -> None:
        version = self._store.data_version()
        if version != self._version or self._preparing:
            with self._store.reading() as db:
                names = store.segments(db)
                is_new = names.keys() != self._names.keys()
                if not is_new:
                    self._append(db)
            if is_new and (is_patient or self._are_prepared(names)):
                self._load()
            elif not is_new:
                self._preparing = None
                self._take_snapshot()
            self._version = version
        self._checked_s = time.monotonic()

    def _are_prepared(self, names: dict[str, str]) -> bool:
        """Whether the segments of a compacted gallery are open; a thread opens them while searches use the old."""
        if self._preparing is None:

            def prepare() -> None:
                with contextlib.suppress(InputError, OSError):  # told where it is loaded in earnest
                    new = {n: self._open_segment(n, c) for n, c in names.items() if n not in self._opened}
                    self._opened = self._opened | new

            self._preparing = threading.Thread(target=prepare, daemon=True)
            self._preparing.start()
        return not self._preparing.is_alive()

    def _open_segment(self, name: str, checksum: str) -> Segment:
        if not name.isalnum():
            raise InputError(f"{self.path / store.DATABASE}: a segment is named {name!r}, expected letters and digits")
        return Segment(self.path / SEGMENTS / name, self.layout, checksum=checksum)

    def _load(self) -> None:
        """Reads the whole state, except for segments that are open already."""
        for _ in range(_ATTEMPTS):
            recent = Recent(self.layout, where=str(self.path / store.DATABASE))
            with self._store.reading() as db:
                names, sequence = store.segments(db), store.sequence(db)
                removed = {name: store.tombstones(db, name) for name in names}
                recent.append(store.recent_rows(db))
            try:
                segments = {n: self._opened.get(n) or self._open_segment(n, c) for n, c in names.items()}
            except FileNotFoundError as error:  # compacted away since
                missing = error.filename or error.args[0]
                continue
            break
        else:
            raise InputError(f"{missing}: missing, though {self.path / store.DATABASE} lists it")
        self._names, self._opened, self._preparing = names, segments, None
        self._live: dict[str, np.ndarray | None] = dict.fromkeys(names)
        for name, rows in removed.items():
            self._set_live(name, rows, False)
        self._recent, self._sequence = recent, sequence
        self._take_snapshot()

    def _append(self, db: Any) -> None:
        """Takes in what changed since."""
        self._recent.append(store.recent_rows(db, after=self._recent.last_number))
        rows: dict[tuple[str, bool], list[int]] = {}
        changed = store.changes(db, after=self._sequence)
        last = {change.place: change.is_live for change in changed}
        for place, is_live in last.items():
            if place.segment:
                rows.setdefault((place.segment, is_live), []).append(place.row)
            else:
                self._recent.set_live(place.row, is_live)
        for (name, is_live), of in rows.items():
            self._set_live(name, np.array(of), is_live)
        self._sequence = store.sequence(db)

    def _set_live(self, name: str, rows: np.ndarray, is_live: bool) -> None:
        if not len(rows):
            return
        n, mask = len(self._opened[name]), self._live[name]
        if not ((rows >= 0) & (rows < n)).all():
            raise InputError(
                f"{self.path / store.DATABASE}: removes rows that segment {name} of {n} rows does not have"
            )
        mask = np.ones(n, bool) if mask is None else mask.copy()
        mask[rows] = is_live
        self._live[name] = mask

    def _take_snapshot(self) -> None:
        segments = [(self._opened[name], self._live[name]) for name in self._names]
        self._snapshot = Snapshot(
            self.path,
            self.layout,
            self._sequence,
            segments,
            self._recent,
            self._find_picture,
            has_mirrored=self.manifest["mirror"],
        )

    def _find_picture(self, snapshot: Snapshot, number: int, blob: str) -> bytes:
        """Picture of a recent foreground of a snapshot, from where it is by now."""
        with self._lock, self._store.reading() as db:
            found = store.picture(db, snapshot.recent.numbers[number], blob)
        if found is not None:
            return found
        row = snapshot.first_recent + number
        identifier, version = (snapshot.value(name, row) for name in ("id", "version"))
        for segment, _ in self.refresh().segments:  # compacted into one
            own = segment.find(identifier)
            if own is not None and segment.columns.value("version", own) == version:
                return segment.picture(own, blob)
        raise InputError(f"{identifier}: was removed from {self.path} and its picture is gone")

    @property
    def is_replaced(self) -> bool:
        """Whether a rebuild has taken its folder's place: open it again."""
        return self._store.is_replaced()

    def check_bundle(self, fingerprint: str) -> None:
        """`InputError` where another bundle built this gallery: the two latent spaces have nothing in common."""
        check_bundle(self.path, self.manifest, fingerprint)

    @property
    def bundle_path(self) -> Path | None:
        """Where the bundle that built this gallery is: beside the gallery as then, or at its full path; else None."""
        return bundle_path(self.path, self.manifest)

    # As of the snapshot of this moment; what uses several of these takes the snapshot itself.

    def __len__(self) -> int:
        return len(self.snapshot())

    @property
    def categories(self) -> tuple[str, ...]:
        """The table's, then the others that it holds."""
        return self.snapshot().categories

    def category(self, name: str, *, mirror: bool = False) -> CategoryRows:
        """See `Snapshot.category`."""
        return self.snapshot().category(name, mirror=mirror)

    def row_of(self, identifier: str) -> int:
        """See `Snapshot.row_of`."""
        return self.snapshot().row_of(identifier)

    def column(self, name: str, rows: Any = None) -> np.ndarray:
        """See `Snapshot.column`."""
        return self.snapshot().column(name, rows)

    def thumbnail(self, row: int) -> Image.Image:
        """See `Snapshot.thumbnail`."""
        return self.snapshot().thumbnail(row)

    def cutout(self, row: int) -> np.ndarray:
        """See `Snapshot.cutout`."""
        return self.snapshot().cutout(row)


def read_manifest(gallery: str | Path) -> dict[str, Any]:
    """The manifest.

    Raises:
      InputError: no gallery there, another format or an earlier version, or a damaged manifest.
    """
    path = Path(gallery) / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise InputError(f"{path}: format is {manifest['format']!r}, expected {FORMAT!r}")
        version = manifest["format_version"]
        if version in EARLIER_VERSIONS:
            raise InputError(
                f"{path}: is of format version {version}, expected {FORMAT_VERSION}; "
                f"fos gallery migrate --gallery={gallery} rewrites it"
            )
        if version != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is {version!r}, expected {FORMAT_VERSION}")
        experts = dict(manifest["experts"])
        if not all(name.isidentifier() and np.isfinite(weight) for name, weight in experts.items()):
            raise InputError(f"{path}: experts are {experts!r}, expected plain names, each with its usual weight")
        sizes = [manifest["embedding_size"], *(manifest["expert_sizes"][name] for name in experts)]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise InputError(f"{path}: sizes of vectors are {sizes}, expected whole numbers of 1 or more")
        for name in ("fingerprint", "path", "relative_path"):
            str(manifest["bundle"][name])
        float(manifest.get("target_recall", 1))
        queries = manifest.get("tuning_queries", {"counts": {}, "sha256": ""})
        str(queries["sha256"]), dict(queries["counts"])
        for name in ("mirror", "cutouts", "thumbnail_size", "index_min_rows", "built", "patterns_sha256"):
            manifest[name]
    except FileNotFoundError:
        raise InputError(f"{gallery}: no gallery there ({MANIFEST} is missing)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a gallery's manifest ({type(error).__name__}: {error})") from None
    return manifest


def read_layout(gallery: Path, manifest: dict[str, Any]) -> Layout:
    """How the vectors of a gallery are laid out; `InputError` where the table is missing or another."""
    table = PatternTable.read(gallery / PATTERNS)
    if hashlib.sha256((gallery / PATTERNS).read_bytes()).hexdigest() != manifest["patterns_sha256"]:
        raise InputError(f"{gallery / PATTERNS}: its checksum differs from the one in {gallery / MANIFEST}")
    experts = {name: float(weight) for name, weight in manifest["experts"].items()}
    sizes = {name: manifest["expert_sizes"][name] for name in experts}
    return Layout(table, manifest["embedding_size"], experts, sizes)


def check_bundle(gallery: Path, manifest: dict[str, Any], fingerprint: str) -> None:
    """See `Gallery.check_bundle`."""
    built_with = manifest["bundle"]
    if fingerprint != built_with["fingerprint"]:
        raise InputError(
            f"{gallery}: was built with bundle {built_with['fingerprint']} ({built_with['path']}), "
            f"got bundle {fingerprint}; build the gallery again or open that bundle"
        )


def bundle_path(gallery: Path, manifest: dict[str, Any]) -> Path | None:
    """See `Gallery.bundle_path`."""
    bundle = manifest["bundle"]
    candidates = (gallery / bundle["relative_path"], Path(bundle["path"]))
    return next((candidate for candidate in candidates if candidate.is_dir()), None)
