"""Cut objects out of annotated photographs and filter them.

Photographs come in COCO's format, as a folder of PASCAL VOC or Animal Pose, in Open Images' layout, or as a folder of
ready RGBA cut-outs:

  fos cutouts --source=coco --annotations=instances.json,person_keypoints.json --images=images/ --output=runs/cutouts
  fos cutouts --source=voc --images=VOCdevkit/VOC2012 --output=runs/cutouts
  fos cutouts --source=open_images --annotations=train-annotations-object-segmentation.csv --masks=masks/ \\
      --images=images/ --classes=class-descriptions-boxable.csv --image_list=train-images.csv --output=runs/cutouts
  fos cutouts --source=folder --images=cutouts/ --output=runs/cutouts

Photographs without masks: a salient-object or matting network finds them, inside the rectangles of COCO, VOC or
Animal Pose annotations (whose masks, if any, are ignored) or on whole photographs, photographs/<category>/*.jpg, one
object in each. It is an ONNX file of yours in one of the formats that rembg distributes (U2-Net, U2-Netp, Silueta,
IS-Net, BiRefNet), and needs `pip install onnxruntime`; nothing is downloaded:

  fos cutouts --source=folder --images=photographs/ --segmenter=u2netp.onnx --output=runs/cutouts
  fos cutouts --annotations=instances.json --images=images/ --segmenter=u2netp.onnx --output=runs/cutouts \\
      --filters='{"soft_edge.max_softness": 0.2, "fragmented.max_parts": 1, "box_mismatch.min_agreement": 0.7}'

The same command goes on where it was interrupted. report.html in the output shows what each filter removed.
By Apache Beam on a cluster: --runner=flink --pipeline_options=--flink_master=host:8081 (also spark, dataflow, or direct
on this machine), with the output and the photographs on a file system that all workers share. Beam wants older packages
than the rest: install it in an environment of its own, from requirements-beam.lock.
"""

from typing import Any

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_SOURCE = flags.DEFINE_enum(
    "source", "coco", ["coco", "voc", "animal_pose", "open_images", "folder"], "What the photographs come as."
)
_ANNOTATIONS = flags.DEFINE_list("annotations", None, "COCO: JSON files that share ids. Open Images: segmentation CSV.")
_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Folder of the photographs; voc, animal_pose: of the data set; folder: of <category>/*.png, or *.jpg to segment.",
    required=True,
)
_MASKS = flags.DEFINE_string("masks", None, "Open Images: folder of the mask PNGs.")
_CLASSES = flags.DEFINE_string("classes", None, "Open Images: class descriptions (LabelName,DisplayName).")
_IMAGE_LIST = flags.DEFINE_string("image_list", None, "Open Images: table with ImageID and License.")
_SEGMENTER = flags.DEFINE_string("segmenter", None, "Network (ONNX file) that finds the masks; not for open_images.")
_SEGMENTER_KIND = flags.DEFINE_enum(
    "segmenter_kind",
    None,
    ["u2net", "isnet", "birefnet"],
    "Its family, for size and normalisation of the input; told from the file by default.",
)
_CATEGORIES = flags.DEFINE_list("categories", None, "Only these categories; all by default.")
_LICENCE = flags.DEFINE_string("licence", "", "Licence of photographs for which none is stated.")
_SKIP_DEFECTS = flags.DEFINE_bool("skip_defects", False, "Count defective entries instead of stopping at the first.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the cut-outs to.", required=True)
_FILTERS = flags.DEFINE_string("filters", "{}", 'Changed thresholds as JSON, such as {"size.min_area_px": 2000}.')
_SHARD = flags.DEFINE_integer("photographs_per_shard", 200, "Photographs per unit of work.", lower_bound=1)
_RUNNER = flags.DEFINE_string("runner", "in_process", "Where the work is done: in_process, or a runner of Apache Beam.")
_PIPELINE_OPTIONS = flags.DEFINE_list("pipeline_options", [], "Options of the runner, separated by commas.")


def _source() -> dict[str, Any]:
    needed: dict[str, Any] = {}
    if _SOURCE.value in ("coco", "open_images"):
        needed["annotations"] = _ANNOTATIONS.value
    if _SOURCE.value == "open_images":
        needed |= {"masks": _MASKS.value, "classes": _CLASSES.value}
    for name, value in needed.items():
        if value is None:
            raise InputError(f"--{name}: missing, --source={_SOURCE.value} needs it")
    source: dict[str, Any] = {"kind": _SOURCE.value, "categories": _CATEGORIES.value, "licence": _LICENCE.value}
    source["skip_defects"] = _SKIP_DEFECTS.value
    if _SEGMENTER.value is not None:
        source["segmenter"] = {"file": _SEGMENTER.value, "kind": _SEGMENTER_KIND.value or ""}
    if _SOURCE.value == "folder":
        return source | {"root": _IMAGES.value}
    if _SOURCE.value in ("voc", "animal_pose"):
        return source | {"folder": _IMAGES.value, "maskless": "leave_out"}
    first, *more = needed["annotations"]
    if _SOURCE.value == "coco":
        return source | {"annotations": first, "images": _IMAGES.value} | ({"more_annotations": more} if more else {})
    fields = {"masks": _MASKS.value, "images": _IMAGES.value, "class_descriptions": _CLASSES.value}
    return source | {"segmentations": first, "image_list": _IMAGE_LIST.value} | fields


def main() -> None:
    from fos_jax.cutouts.extraction import extract
    from fos_jax.cutouts.filters import parse_config

    manifest = extract(
        _OUTPUT.value,
        _source(),
        parse_config(_FILTERS.value, where="--filters"),
        photographs_per_shard=_SHARD.value,
        runner=_RUNNER.value,
        pipeline_options=_PIPELINE_OPTIONS.value,
    )
    for name, count in sorted(manifest["counts"].items(), key=lambda item: -item[1]):
        print(f"{count:8d}  {name}")
    print(f"{_OUTPUT.value}/report.html")


if __name__ == "__main__":
    run_program(main)
