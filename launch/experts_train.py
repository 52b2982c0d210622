"""Train a model for photographs on frozen public features, in minutes on a CPU.

  fos experts train --annotations=instances.json,person_keypoints.json --images=images --output=runs/experts \\
      --attributes=person_facing --rendered=car,chair,dog,truck

Photographs come with boxes and masks in COCO's format (or --from=voc, animal_pose with --folder). Patterns are
combinations of the attributes that annotations tell; categories named in --rendered learn their views from the
rendered world instead. Geometry and appearance are learnt from all objects with masks and serve every category.
Training needs no labels beyond the masks: without --attributes and --rendered there are no patterns, and the two
rank alone.

The bundle that comes with the package is made by the command in its model card, fos_jax/experts/shipped/CARD.md.
"""

import dataclasses
from pathlib import Path
from typing import Any

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_FROM = flags.DEFINE_enum("from", "coco", ["coco", "voc", "animal_pose"], "Format of the annotations.")
_ANNOTATIONS = flags.DEFINE_list("annotations", None, "COCO: JSON files, the first with images; they share their ids.")
_IMAGES = flags.DEFINE_string("images", None, "COCO: folder of the photographs.")
_FOLDER = flags.DEFINE_string("folder", None, "VOC: folder with Annotations/. Animal Pose: with keypoints.json.")
_ATTRIBUTES = flags.DEFINE_list("attributes", [], "Attributes to combine to patterns; see fos dataset build.")
_MIN_MEMBERS = flags.DEFINE_integer("min_members", 8, "Patterns with fewer foregrounds are left out.", lower_bound=1)
_RENDERED = flags.DEFINE_list("rendered", [], "Categories that learn their views from the rendered world.")
_SCENES = flags.DEFINE_integer("scenes", 768, "Rendered scenes per category.", lower_bound=64)
_VARIANTS = flags.DEFINE_integer("variants", 2, "Times that each rendered picture is taken.", lower_bound=1)
_BACKBONE = flags.DEFINE_string(
    "backbone", "efficientnet_lite0", "Frozen backbone: a name of fos_jax.encoders.backbones."
)
_WEIGHTS = flags.DEFINE_string("weights", "package", "Its public weights: a file, or package for an installed one.")
_VALIDATION = flags.DEFINE_float("validation", 0.2, "Share of photographs to choose weights on, where none is stated.")
_CACHE = flags.DEFINE_string("cache", None, "Folder that keeps the features; by default nothing is kept.")
_CARD = flags.DEFINE_string("card", None, "Text file that becomes the bundle's CARD.md.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the bundle.", required=True)


def _source() -> dict[str, Any]:
    if _FROM.value == "coco":
        if not _ANNOTATIONS.value or not _IMAGES.value:
            raise InputError("--annotations, --images: both are needed with --from=coco")
        first, *more = _ANNOTATIONS.value
        fields = {"annotations": first, "more_annotations": more, "images": _IMAGES.value}
    elif not _FOLDER.value:
        raise InputError(f"--folder: missing, --from={_FROM.value} needs it")
    else:
        fields = {"folder": _FOLDER.value}
    return {"kind": _FROM.value, **fields, "maskless": "keep", "skip_defects": True}


def main() -> None:
    from fos_jax.experts.examples import joined_examples, photograph_examples
    from fos_jax.experts.features import FeatureCache, FrozenBackbone
    from fos_jax.experts.recipe import drawn_split, labelled_examples
    from fos_jax.experts.rendered import COMPONENTS, STRENGTH, rendered_examples
    from fos_jax.experts.training import Settings, train_experts

    card = Path(_CARD.value).read_text("utf-8") if _CARD.value else ""
    features = FeatureCache(FrozenBackbone(_BACKBONE.value, _WEIGHTS.value), _CACHE.value)
    names = tuple(_ATTRIBUTES.value)
    views = [
        photograph_examples(_source(), features, names=names, mirror=mirror, jitter=0.04) for mirror in (False, True)
    ]
    photographs = joined_examples(views)
    if not (photographs.split == "validation").any():
        split = drawn_split(photographs.source_id, share=_VALIDATION.value)
        photographs = dataclasses.replace(photographs, split=split)
    counts = dict.fromkeys(_RENDERED.value, _SCENES.value)
    rendered = rendered_examples(counts, features, variants=_VARIANTS.value) if counts else None
    data, table = labelled_examples(photographs, rendered, names=names, min_members=_MIN_MEMBERS.value)
    is_validation = (data.examples.split == "validation") & ~data.examples.mirrored
    settings = Settings()
    if counts:
        components = {**settings.components, "patterns": COMPONENTS}
        settings = dataclasses.replace(settings, components=components, strengths=(STRENGTH,))
    model = train_experts(
        data.of(data.examples.split == "train"),
        data.of(is_validation),
        table,
        features.backbone,
        settings,
        description={"photographs": len(photographs) // 2, "rendered": counts, "attributes": list(names)},
    )
    fingerprint = model.save(_OUTPUT.value, card=card)
    print(f"{_OUTPUT.value}: {table.num_patterns} patterns of {len(table.categories)} categories, bundle {fingerprint}")
    print(f"fos gallery build --bundle={_OUTPUT.value} --cutouts=CUTOUTS --output=GALLERY")


if __name__ == "__main__":
    run_program(main)
