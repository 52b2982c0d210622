"""Flags that name a source of cut-outs and a bundle, shared by the programs that fill galleries."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from fos_jax.errors import InputError

if TYPE_CHECKING:
    from fos_jax.gallery.sources import CutoutSource

_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the gallery's, else the one in the package.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory that data sets were built in.")
_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set.")
_SIZE = flags.DEFINE_string("size", "demo", "Size of the data set: demo, full or mini.")
_SPLIT = flags.DEFINE_string("split", "test", "Split whose foregrounds are taken.")
_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder of RGBA pictures, <category>/*.png, or output of fos cutouts.")
_LICENCE = flags.DEFINE_string("licence", "", "With --cutouts: licence of all the pictures.")
_TAGS = flags.DEFINE_multi_string("tag", [], "A word to filter by, for all the cut-outs. Repeatable.")
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "JSON file in COCO's instances format.")
_IMAGES = flags.DEFINE_string(
    "images", None, "With --annotations: folder of the photographs (default images/ beside it)."
)
_MIN_SIDE_PX = flags.DEFINE_integer("min_side_px", 32, "With --annotations: least long side of an object.", 1)
_CATEGORY_NAMES = flags.DEFINE_string(
    "category_names", "", "Categories that the model knows by another name: YOURS=ITS,..."
)
_SKIP_DEFECTS = flags.DEFINE_bool("skip_defects", False, "Leave unusable pictures out and count them.")


def check_flags() -> None:
    """`InputError` unless exactly one source is named."""
    if sum(map(bool, (_DATA_DIR.value, _CUTOUTS.value, _ANNOTATIONS.value))) != 1:
        raise InputError("source: give exactly one of --data_dir, --cutouts and --annotations (--help shows each)")


def load_bundle(default: Path | None = None) -> tuple[Any, Path]:
    """The bundle of the flags and where it is; else `default`, else the package's own."""
    from fos_jax.experts.loading import load, shipped

    path = Path(_BUNDLE.value or default or shipped())
    return load(path), path


def tags() -> tuple[str, ...]:
    """Tags for all the cut-outs."""
    return tuple(_TAGS.value)


def open_source(bundle: Any, *, is_reference: bool) -> "CutoutSource":
    """The source that the flags name; `is_reference`: whether its files are referred to."""
    from fos_jax.data.splits import version_directory
    from fos_jax.gallery.sources import (
        CocoCutouts,
        DatasetCutouts,
        ExtractionCutouts,
        FolderCutouts,
        parse_category_names,
    )

    categories = None if bundle.accepts_any_category else bundle.table.categories
    names = parse_category_names(_CATEGORY_NAMES.value, where="--category_names")
    skip = _SKIP_DEFECTS.value
    if _CUTOUTS.value and ExtractionCutouts.is_there(_CUTOUTS.value):
        if is_reference:
            raise InputError("--reference: cut-outs of fos cutouts lie in shards, no files to refer to")
        return ExtractionCutouts(_CUTOUTS.value, categories=categories, category_names=names, licence=_LICENCE.value)
    if _CUTOUTS.value:
        return FolderCutouts(
            _CUTOUTS.value, categories=categories, category_names=names, licence=_LICENCE.value, skip_defects=skip
        )
    if _ANNOTATIONS.value:
        return CocoCutouts(
            _ANNOTATIONS.value,
            _IMAGES.value or Path(_ANNOTATIONS.value).parent / "images",
            categories=categories,
            category_names=names,
            min_side_px=_MIN_SIDE_PX.value,
            skip_defects=skip,
        )
    builder_dir = version_directory(_DATA_DIR.value or "", _DATASET.value, f"{_SIZE.value}_foregrounds")
    return DatasetCutouts(builder_dir, _SPLIT.value, category_names=names)


def change_gallery(gallery: str, action: str, *, wait_s: float, note: str, **options: Any) -> None:
    """Encodes the source's cut-outs by the gallery's bundle, adds or replaces them, and says so.

    Args:
      gallery: its folder. action: "add" or "replace". wait_s, note, options: as `GalleryWriter` takes them.
    """
    from fos_jax.gallery.encoding import Encoder
    from fos_jax.gallery.gallery import bundle_path, check_bundle
    from fos_jax.gallery.writer import GalleryWriter

    check_flags()
    with GalleryWriter(gallery, wait_s=wait_s) as writer:
        manifest = writer.manifest
        bundle, _ = load_bundle(bundle_path(writer.path, manifest))
        check_bundle(writer.path, manifest, bundle.fingerprint)
        encoder = Encoder(
            bundle,
            cutouts=manifest["cutouts"],
            mirror=manifest["mirror"],
            thumbnail_size=manifest["thumbnail_size"],
            tags=tags(),
        )
        source = open_source(bundle, is_reference=manifest["cutouts"] == "reference")
        batches = encoder.encode(source, progress=True)
        number = getattr(writer, action)(batches, note=note or source.name, **options)
        with writer.store.reading() as db:
            from fos_jax.gallery.store import journal

            entry = journal(db, after=number - 1)[0]
    said = f"{entry.num_added:,} added, {entry.num_removed:,} of them in the place of earlier ones"
    print(
        f"{gallery}: change {number}, {said}"
        if entry.num_removed
        else f"{gallery}: change {number}, {entry.num_added:,} added"
    )
    for reason, n in source.skipped.items():
        print(f"left out: {n} ({reason})")
