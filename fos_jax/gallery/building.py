"""Building a gallery from a source of cut-outs and a model bundle."""

import contextlib
import hashlib
import importlib.metadata
import itertools
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.files import published_directory
from fos_jax.gallery import store
from fos_jax.gallery.encoding import Cutouts, Encoder, EncodesForegrounds
from fos_jax.gallery.foregrounds import Foregrounds, Layout, all_categories
from fos_jax.gallery.gallery import FORMAT, FORMAT_VERSION, MANIFEST, PATTERNS, SEGMENTS
from fos_jax.gallery.indexing import USUAL, Indexing
from fos_jax.gallery.segment_writing import SegmentWriter
from fos_jax.gallery.sources import CutoutSource

FIRST_SEGMENT = "000001"


def build_gallery(
    source: CutoutSource,
    bundle: EncodesForegrounds,
    output: str | Path,
    *,
    bundle_path: str | Path,
    cutouts: Cutouts = "copy",
    mirror: bool | None = None,
    thumbnail_size: int = 160,
    indexing: Indexing = USUAL,
    batch_size: int = 256,
    tags: Collection[str] = (),
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
      indexing: which categories get indexes, and how far these are searched.
      batch_size: cut-outs encoded at once.
      tags: words to filter by, for all the cut-outs.
      progress: show a bar.

    Returns:
      The manifest; "built" has the counts by category, categories without patterns, what was skipped and why.

    Raises:
      InputError: an unusable source, a category that the bundle lacks, an id that comes twice, an embedding that is
        not finite, or a disk that refuses. The gallery that was there stays whole.
    """
    settings = gallery_settings(
        bundle,
        output,
        bundle_path=bundle_path,
        cutouts=cutouts,
        mirror=mirror,
        thumbnail_size=thumbnail_size,
    )
    is_mirroring = settings["mirror"]
    encoder = Encoder(
        bundle, cutouts=cutouts, mirror=is_mirroring, thumbnail_size=thumbnail_size, batch_size=batch_size, tags=tags
    )
    with new_gallery(output) as folder:
        batches = encoder.encode(source, progress=progress)
        first = next(batches, None)
        if first is None or encoder.layout is None:
            raise no_cutout(source.name, source.skipped)
        return write_gallery(
            folder,
            itertools.chain([first], batches),
            encoder.layout,
            settings,
            indexing=indexing,
            source=source.name,
            skipped=source.skipped,
        )


def gallery_settings(
    bundle: EncodesForegrounds,
    output: str | Path,
    *,
    bundle_path: str | Path,
    cutouts: Cutouts,
    mirror: bool | None,
    thumbnail_size: int,
) -> dict[str, Any]:
    """The settings of a new gallery's manifest; arguments as `build_gallery`."""
    return {
        "bundle": {
            "fingerprint": bundle.fingerprint,
            "path": str(Path(bundle_path).resolve()),
            "relative_path": os.path.relpath(Path(bundle_path).resolve(), Path(output).resolve()),
        },
        "mirror": bool(bundle.expert_weights) if mirror is None else mirror,
        "cutouts": cutouts,
        "thumbnail_size": thumbnail_size,
    }


def no_cutout(source: str, skipped: Counter[str]) -> InputError:
    """The error of a source of which nothing could be used."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(skipped.items()))
    return InputError(f"{source}: no cut-out could be used ({reasons or 'the source is empty'})")


def write_gallery(
    folder: Path,
    batches: Iterable[Foregrounds],
    layout: Layout,
    settings: dict[str, Any],
    *,
    indexing: Indexing = USUAL,
    source: str,
    skipped: Counter[str] | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Writes a gallery into a new folder, such as `new_gallery` gives.

    Args:
      folder: where.
      batches: the foregrounds.
      layout: of their vectors.
      settings: of the manifest: bundle (fingerprint, path, relative_path), mirror, cutouts and thumbnail_size.
      indexing: as `build_gallery`.
      source: where the foregrounds are from. skipped: what was left out, filled while they are read.
      note: for the journal.

    Returns:
      The manifest.

    Raises:
      InputError: foregrounds that a gallery refuses (`Foregrounds.check`).
    """
    segment = folder / SEGMENTS / FIRST_SEGMENT
    with SegmentWriter(segment, layout, indexing) as writer:
        for batch in batches:
            writer.add(batch)
        checksum = writer.finish()
    patterns = layout.table.to_json().encode()
    names = [name for name in all_categories(layout.table, writer.counts) if writer.counts[name]]
    built = {
        "source": source,
        "num_foregrounds": len(writer),
        "counts": {name: writer.counts[name] for name in names},
        "num_mirrored": writer.num_mirrored,
        "categories_without_patterns": [name for name in names if not len(layout.patterns(name))],
        "skipped": dict(skipped or {}),
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "pyarrow")},
    }
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **settings,
        **indexing.write(folder),
        **layout.to_json(),
        "patterns_sha256": hashlib.sha256(patterns).hexdigest(),
        "built": built,
    }
    raw = json.dumps(manifest, indent=1).encode()
    (folder / PATTERNS).write_bytes(patterns)
    (folder / MANIFEST).write_bytes(raw)
    store.Store.create(folder, {"manifest_sha256": hashlib.sha256(raw).hexdigest()})
    with store.Store(folder, is_writer=True) as database, database.writing() as db:
        store.add_segment(db, FIRST_SEGMENT, checksum)
        number = store.add_entry(db, "build", added=len(writer), note=note or source)
        store.set_setting(db, store.HORIZON, number)
    return manifest


@contextlib.contextmanager
def new_gallery(gallery: str | Path) -> Iterator[Path]:
    """A folder to build in, which becomes the gallery when the block ends; see `files.published_directory`.

    Raises:
      InputError: the path is a file or a folder that is no gallery (it would be replaced), or the disk refuses.
    """
    check_target(gallery)
    with published_directory(gallery) as aside:
        yield aside


def check_target(gallery: str | Path) -> None:
    """`InputError` where the path holds other files than a gallery's, which would be replaced, or is a file."""
    gallery = Path(gallery)
    if gallery.exists() and not gallery.is_dir():
        raise InputError(f"{gallery}: is a file, expected a directory or nothing")
    if gallery.is_dir() and any(gallery.iterdir()):
        try:
            is_gallery = json.loads((gallery / MANIFEST).read_bytes())["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            is_gallery = False
        if not is_gallery:
            raise InputError(f"{gallery}: holds other files, expected a gallery, an empty folder or nothing")
