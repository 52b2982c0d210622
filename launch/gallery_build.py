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

from absl import flags

from fos_jax.launch import cutout_sources
from fos_jax.program import run_program

flags.adopt_module_key_flags(cutout_sources)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the gallery.", required=True)
_REFERENCE = flags.DEFINE_bool("reference", False, "With --cutouts: store paths of the files, no copies.")
_MIRROR = flags.DEFINE_bool(
    "mirror", None, "Encode cut-outs mirrored too, where their pattern has a mirror image (for fos search --mirror)."
)
_INDEX_MIN_ROWS = flags.DEFINE_integer(
    "index_min_rows", 20_000, "Categories of this size get an approximate index.", 256
)


def main() -> None:
    from fos_jax.gallery.building import build_gallery

    cutout_sources.check_flags()
    bundle, path = cutout_sources.load_bundle()
    manifest = build_gallery(
        cutout_sources.open_source(bundle, is_reference=_REFERENCE.value),
        bundle,
        _OUTPUT.value,
        bundle_path=path,
        cutouts="reference" if _REFERENCE.value else "copy",
        mirror=_MIRROR.value,
        index_min_rows=_INDEX_MIN_ROWS.value,
        tags=cutout_sources.tags(),
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
