"""Build a data set: its foregrounds and its queries; what is built already is left alone.

  fos dataset build --dataset=fos_synthetic --size=demo --data_dir=data
  fos dataset build --dataset=fosd --size=sfosd --manual_dir=FOSD/data --validate_only

fos_synthetic is made by code; fosd and fos_patterns are made from files, which --validate_only checks one by one.
With --from, fos_patterns is made from annotated photographs in one go; patterns are combinations of attributes that
annotations tell (truncation, truncation_extent; animal_view, animal_posture; person_facing, person_extent,
person_posture; voc_pose, voc_truncated; azimuth, elevation):

  fos dataset build --from=coco --annotations=instances.json,person_keypoints.json --images=images --data_dir=data \\
      --attributes=truncation,person_facing --min_members=8
  fos dataset build --from=voc --folder=VOCdevkit/VOC2012 --viewpoints=PASCAL3D+/Annotations --data_dir=data
  fos dataset build --from=animal_pose --folder=animals --attributes=animal_view,animal_posture --data_dir=data
"""

from typing import Any

from absl import flags, logging

from fos_jax.errors import InputError
from fos_jax.program import run_program

_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set; fos_patterns with --from.")
_SIZE = flags.DEFINE_string(
    "size", None, "Size such as mini, demo (default) or full; fosd: sfosd or rfosd; fos_patterns: tight or jittered."
)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder that data sets are built in.")
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Folder of the files that the data set is made from; with --from, to which they are written."
)
_VALIDATE_ONLY = flags.DEFINE_bool("validate_only", False, "List all that is wrong with --manual_dir; build nothing.")
_FROM = flags.DEFINE_enum("from", None, ["coco", "voc", "animal_pose"], "Make fos_patterns from these annotations.")
_ANNOTATIONS = flags.DEFINE_list("annotations", None, "COCO: JSON files, the first with images; they share their ids.")
_IMAGES = flags.DEFINE_string("images", None, "COCO: folder of the photographs.")
_FOLDER = flags.DEFINE_string("folder", None, "VOC: folder with Annotations/. Animal Pose: with keypoints.json.")
_VIEWPOINTS = flags.DEFINE_string("viewpoints", None, "VOC: folder Annotations/ of PASCAL3D+.")
_ATTRIBUTES = flags.DEFINE_list("attributes", None, "Attributes to combine; truncation and views by default.")
_MIN_MEMBERS = flags.DEFINE_integer("min_members", 8, "Patterns with fewer foregrounds are left out.", lower_bound=1)
_CATEGORIES = flags.DEFINE_list("categories", None, "Only these categories; all by default.")
_LICENCE = flags.DEFINE_string("licence", "", "Licence of photographs for which none is stated.")
_SKIP_DEFECTS = flags.DEFINE_bool("skip_defects", False, "Count defective entries instead of stopping at the first.")
_FILTERS = flags.DEFINE_string("filters", "{}", "Changed thresholds of cut-outs as JSON, as of fos cutouts.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the splits that the annotations do not state.")


def _source() -> dict[str, Any]:
    """Description of the annotated photographs, from the flags of their kind."""
    needed: dict[str, Any] = {"folder": _FOLDER.value}
    if _FROM.value == "coco":
        needed = {"annotations": _ANNOTATIONS.value, "images": _IMAGES.value}
    for name, value in needed.items():
        if not value:
            raise InputError(f"--{name}: missing, --from={_FROM.value} needs it")
    if _FROM.value == "coco":
        needed["annotations"], *needed["more_annotations"] = needed["annotations"]
    optional = {
        "categories": _CATEGORIES,
        "licence": _LICENCE,
        "skip_defects": _SKIP_DEFECTS,
        "viewpoints": _VIEWPOINTS,
    }
    return {"kind": _FROM.value, **needed, **{name: holder.value for name, holder in optional.items() if holder.value}}


def _build_from_annotations() -> list[str]:
    from fos_jax.cutouts.filters import parse_config
    from fos_jax.datasets.fos_patterns.from_annotations import build_from_annotations

    return build_from_annotations(
        _source(),
        data_dir=_DATA_DIR.value,
        manual_dir=_MANUAL_DIR.value,
        attributes=_ATTRIBUTES.value,
        min_members=_MIN_MEMBERS.value,
        size=_SIZE.value or "tight",
        config=parse_config(_FILTERS.value, where="--filters"),
        seed=_SEED.value,
    )


def main() -> None:
    from fos_jax.datasets.building import build, validate

    logging.set_verbosity(logging.INFO)
    size = _SIZE.value or "demo"
    if _VALIDATE_ONLY.value:
        if not _MANUAL_DIR.value:
            raise InputError("--manual_dir: missing, --validate_only needs the folder to validate")
        problems = validate(_DATASET.value, size, _MANUAL_DIR.value)
        for problem in problems:
            print(problem)
        errors = sum(problem.is_error for problem in problems)
        if errors:
            raise InputError(f"{_MANUAL_DIR.value}: {errors} problems, listed above")
        print(f"{_MANUAL_DIR.value}: nothing is wrong, {len(problems)} notes")
        return
    if _FROM.value:
        paths = _build_from_annotations()
    else:
        paths = build(_DATASET.value, size, _DATA_DIR.value, manual_dir=_MANUAL_DIR.value)
    for path in paths:
        print(path)


if __name__ == "__main__":
    run_program(main)
