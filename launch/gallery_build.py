"""Build a gallery: cut-outs, embedded by a model bundle, ready to be searched.

  # from a split of a built data set
  fos gallery build --bundle=runs/demo/student/bundle --data_dir=data --size=demo --split=test --output=gallery
  # from RGBA pictures, <category>/*.png
  fos gallery build --bundle=runs/demo/student/bundle --cutouts=my_cutouts --output=my_gallery
  # from the output of fos cutouts, with licences, sources and truncated sides
  fos gallery build --bundle=runs/demo/student/bundle --cutouts=extracted --output=my_gallery
  # from photographs with COCO annotations, cut out by their masks
  fos gallery build --bundle=runs/demo/student/bundle --annotations=instances.json --images=images \\
      --category_names="potted plant=plant" --output=my_gallery

A gallery that is already there is replaced in one step at the end; until then it can be searched.
"""

from pathlib import Path

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one for photographs in the package.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the gallery.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Directory that data sets were built in.")
_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set.")
_SIZE = flags.DEFINE_string("size", "demo", "Size of the data set: demo, full or mini.")
_SPLIT = flags.DEFINE_string("split", "test", "Split whose foregrounds are taken.")
_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder of RGBA pictures, <category>/*.png, or output of fos cutouts.")
_REFERENCE = flags.DEFINE_bool("reference", False, "With --cutouts: store paths of the files, no copies.")
_LICENCE = flags.DEFINE_string("licence", "", "With --cutouts: licence of all the pictures.")
_MIRROR = flags.DEFINE_bool(
    "mirror", None, "Encode cut-outs mirrored too, where their pattern has a mirror image (for fos search --mirror)."
)
_ANNOTATIONS = flags.DEFINE_string("annotations", None, "JSON file in COCO's instances format.")
_IMAGES = flags.DEFINE_string(
    "images", None, "With --annotations: folder of the photographs (default images/ beside it)."
)
_MIN_SIDE_PX = flags.DEFINE_integer("min_side_px", 32, "With --annotations: least long side of an object.", 1)
_CATEGORY_NAMES = flags.DEFINE_string(
    "category_names", "", "Categories that the model knows by another name: YOURS=ITS,..."
)
_SKIP_DEFECTS = flags.DEFINE_bool("skip_defects", False, "Leave unusable pictures out and count them.")
_INDEX_MIN_ROWS = flags.DEFINE_integer(
    "index_min_rows", 20_000, "Categories of this size get an approximate index.", 256
)


def main() -> None:
    from fos_jax.data.splits import version_directory
    from fos_jax.experts.loading import load, shipped
    from fos_jax.gallery.building import build_gallery
    from fos_jax.gallery.sources import (
        CocoCutouts,
        CutoutSource,
        DatasetCutouts,
        ExtractionCutouts,
        FolderCutouts,
        parse_category_names,
    )

    if sum(map(bool, (_DATA_DIR.value, _CUTOUTS.value, _ANNOTATIONS.value))) != 1:
        raise InputError("source: give exactly one of --data_dir, --cutouts and --annotations (--help shows each)")
    bundle_path = _BUNDLE.value or shipped()
    bundle = load(bundle_path)
    categories = None if bundle.accepts_any_category else bundle.table.categories
    names = parse_category_names(_CATEGORY_NAMES.value, where="--category_names")
    skip = _SKIP_DEFECTS.value
    source: CutoutSource
    if _CUTOUTS.value and ExtractionCutouts.is_there(_CUTOUTS.value):
        if _REFERENCE.value:
            raise InputError("--reference: cut-outs of fos cutouts lie in shards, no files to refer to")
        source = ExtractionCutouts(_CUTOUTS.value, categories=categories, category_names=names, licence=_LICENCE.value)
    elif _CUTOUTS.value:
        source = FolderCutouts(
            _CUTOUTS.value, categories=categories, category_names=names, licence=_LICENCE.value, skip_defects=skip
        )
    elif _ANNOTATIONS.value:
        source = CocoCutouts(
            _ANNOTATIONS.value,
            _IMAGES.value or Path(_ANNOTATIONS.value).parent / "images",
            categories=categories,
            category_names=names,
            min_side_px=_MIN_SIDE_PX.value,
            skip_defects=skip,
        )
    else:
        builder_dir = version_directory(_DATA_DIR.value or "", _DATASET.value, f"{_SIZE.value}_foregrounds")
        source = DatasetCutouts(builder_dir, _SPLIT.value, category_names=names)
    manifest = build_gallery(
        source,
        bundle,
        _OUTPUT.value,
        bundle_path=bundle_path,
        cutouts="reference" if _REFERENCE.value else "copy",
        mirror=_MIRROR.value,
        index_min_rows=_INDEX_MIN_ROWS.value,
        progress=True,
    )
    built = manifest["built"]
    counts = ", ".join(f"{n} {name}" for name, n in built["counts"].items())
    print(f"{_OUTPUT.value}: {built['num_foregrounds']} foregrounds ({counts})")
    if without := built["categories_without_patterns"]:
        by = " and ".join(manifest["experts"]) or "nothing"
        print(f"no patterns are known for {', '.join(without)}: searches rank them by {by}")
    for reason, n in built["skipped"].items():
        print(f"left out: {n} ({reason})")


if __name__ == "__main__":
    run_program(main)
