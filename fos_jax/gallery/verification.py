"""Verification of a gallery: everything that is wrong, by name."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fos_jax.errors import InputError
from fos_jax.gallery import store
from fos_jax.gallery.gallery import MANIFEST, SEGMENTS, read_layout, read_manifest
from fos_jax.gallery.indexing import Indexing
from fos_jax.gallery.segment import SEGMENT, Segment, measure_file, read_description

_ATTEMPTS = 5


def verify_gallery(gallery: str | Path) -> list[str]:
    """Reads all of a gallery and compares checksums; returns one line per finding, none where all is well.

    Raises:
      InputError: no gallery there, or one of an earlier format.
    """
    gallery = Path(gallery)
    manifest = read_manifest(gallery)
    for _ in range(_ATTEMPTS):
        live = _segments(gallery)
        findings = _verify(gallery, manifest)
        if not findings or live == _segments(gallery):
            break  # else it was compacted meanwhile
    return findings


def _segments(gallery: Path) -> dict[str, str]:
    try:
        with store.Store(gallery) as database, database.reading() as db:
            return store.segments(db)
    except InputError:
        return {}


def _verify(gallery: Path, manifest: dict[str, Any]) -> list[str]:
    findings, layout, live = list[str](), None, Counter[str]()
    try:
        layout = read_layout(gallery, manifest)
        Indexing.read(gallery, manifest)
    except InputError as error:
        findings.append(str(error))
    try:
        with store.Store(gallery) as database:
            findings += [f"{database.path}: {finding}" for finding in database.check_integrity()]
            with database.reading() as db:
                if store.setting(db, "manifest_sha256") != measure_file(gallery / MANIFEST)["sha256"]:
                    findings.append(f"{gallery / MANIFEST}: its checksum differs from the one in {database.path}")
                for row in store.recent_rows(db, pictures=True):
                    if row.measured() != row.checksum:
                        findings.append(f"{database.path}: checksum of recent foreground {row.id} differs")
                    live[row.id] += bool(row.is_live)
                for name, checksum in store.segments(db).items():
                    folder = gallery / SEGMENTS / name
                    found = _verify_segment(folder, checksum)
                    findings += found
                    if layout and not found:
                        segment = Segment(folder, layout, checksum=checksum, with_indexes=False)
                        findings += _verify_rows(segment, store.tombstones(db, name), live, database.path)
    except InputError as error:
        findings.append(str(error))
    return findings + [f"{gallery}: id {identifier} is there {n} times" for identifier, n in live.items() if n > 1]


def _verify_segment(folder: Path, checksum: str) -> list[str]:
    """What is wrong with the files of a segment; all of them, not the first."""
    try:
        files = read_description(folder, checksum=checksum, check_sizes=False)["files"]
    except FileNotFoundError:
        return [f"{folder}: missing"]
    except InputError as error:
        return [str(error)]
    findings = []
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            findings.append(f"{path}: missing, though {folder / SEGMENT} lists it")
        elif path.stat().st_size != expected["bytes"]:
            findings.append(f"{path}: {path.stat().st_size} bytes, expected {expected['bytes']}")
        elif measure_file(path)["sha256"] != expected["sha256"]:
            findings.append(f"{path}: its checksum differs from the one in {folder / SEGMENT}")
    return findings


def _verify_rows(segment: Segment, removed: np.ndarray, live: Counter[str], database: Path) -> list[str]:
    """Counts the live ids of a segment in `live`."""
    if not ((removed >= 0) & (removed < len(segment))).all():
        return [f"{database}: removes rows that segment {segment.name} of {len(segment)} rows does not have"]
    is_live = np.ones(len(segment), bool)
    is_live[removed] = False
    live.update(segment.columns.array("id").filter(pa.array(is_live)).to_pylist())
    return []
