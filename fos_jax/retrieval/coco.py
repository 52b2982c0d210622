"""Cut-outs and queries from photographs with COCO annotations."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.boxes import BoxXyxyPx, box_xywh_px_to_xyxy_px
from fos_jax.errors import InputError
from fos_jax.images import MAX_PIXELS, read_image
from fos_jax.retrieval.coco_masks import decode_mask
from fos_jax.retrieval.cutouts import CutoutRecord, check_inside, map_category, unskipped


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """One annotated object: what a query needs of it.

    Attributes:
      id: `<stem of the photograph>/<annotation id>`.
      path: the photograph.
      width, height: the photograph's size in pixels, as annotated.
      box_xyxy_px: its rectangle.
      category: the table's name.
      licence: the photograph's.
      segmentation: as annotated, not yet checked.
      where: file and annotation, for messages.
    """

    id: str
    path: Path
    width: int
    height: int
    box_xyxy_px: BoxXyxyPx
    category: str
    licence: str
    segmentation: Any
    where: str


class CocoCutouts:
    """Objects cut by their masks from the photographs of a COCO annotation file, photograph by photograph."""

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        *,
        categories: Sequence[str],
        category_names: Mapping[str, str] | None = None,
        min_side_px: int = 32,
        skip_defects: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        """Reads and checks the annotation file; photographs are opened while iterating.

        Crowds, categories that are not wanted and objects smaller than `min_side_px` are left out and counted.

        Args:
          annotations: JSON file in COCO's instances format.
          images: folder that the file names in it are relative to.
          categories: names that are wanted.
          category_names: COCO's name -> the wanted name, where they differ.
          min_side_px: shortest long side of a rectangle that is worth a cut-out.
          skip_defects: count defective annotations and photographs instead of raising.
          max_pixels: larger photographs are defects.

        Raises:
          InputError: naming file and field: not COCO, a reference to nothing, a rectangle that is none, a file name
            that leaves the folder, or no object at all. While iterating: a photograph that cannot be read or is not
            of the annotated size, a mask that is none.
        """
        self.name = f"{annotations}"
        self.skipped: Counter[str] = Counter()
        self._skip_defects, self._max_pixels = skip_defects, max_pixels
        root = Path(images)
        if not root.is_dir():
            raise InputError(f"{images}: no such folder")
        raw = _read_json(Path(annotations))
        photographs = {image["id"]: image for image in raw["images"]}
        licences = {licence["id"]: str(licence.get("name", "")) for licence in raw.get("licenses", [])}
        names = {c["id"]: map_category(c["name"], category_names or {}) for c in raw["categories"]}
        unknown = sorted(set(categories) & set(category_names.values() if category_names else ()) - set(names.values()))
        if unknown or not set(names.values()) & set(categories):
            raise InputError(
                f"{annotations}: categories: none is named {', '.join(unknown or categories)}; "
                f"there are {', '.join(sorted(set(names.values())))}"
            )
        self.objects: list[CocoObject] = []
        for index, annotation in enumerate(raw["annotations"]):
            where = f"{annotations}: annotations[{index}]"
            try:
                entry = self._check(annotation, where, root, photographs, licences, names, categories, min_side_px)
            except InputError as error:
                unskipped(error, skip_defects, self.skipped, "defective annotation")
                continue
            if entry is not None:
                self.objects.append(entry)
        if not self.objects:
            reasons = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) or "no annotations"
            raise InputError(f"{annotations}: no usable object ({reasons})")
        self.objects.sort(key=lambda entry: entry.path)  # stable: one decoding a photograph
        self._skipped_at_opening = self.skipped.copy()

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[CutoutRecord]:
        self.skipped.clear()
        self.skipped.update(self._skipped_at_opening)
        path, photograph = None, None
        for entry in self.objects:
            try:
                if path != entry.path:
                    path, photograph = entry.path, None
                    photograph = read_image(entry.path, max_pixels=self._max_pixels)
                if photograph is None:
                    self.skipped["unusable photograph"] += 1
                    continue
                record = cut_out(entry, photograph)
            except InputError as error:
                reason = "unusable photograph" if photograph is None else "defective annotation"
                unskipped(error, self._skip_defects, self.skipped, reason)
                continue
            yield record

    def _check(
        self,
        annotation: Any,
        where: str,
        root: Path,
        photographs: Mapping[Any, dict],
        licences: Mapping[Any, str],
        names: Mapping[Any, str],
        categories: Sequence[str],
        min_side_px: int,
    ) -> CocoObject | None:
        """The object, or None where it is left out (and counted)."""
        for field in ("id", "image_id", "category_id", "bbox", "segmentation"):
            if not isinstance(annotation, dict) or field not in annotation:
                raise InputError(f"{where}: {field} is missing")
        for field in ("id", "image_id", "category_id"):
            if not isinstance(annotation[field], int | str):
                raise InputError(f"{where}: {field} {annotation[field]!r} is no id, expected a number or text")
        category = names.get(annotation["category_id"])
        if category is None:
            raise InputError(f"{where}: category_id {annotation['category_id']!r} is not among the categories")
        if category not in categories:
            self.skipped["other category"] += 1
            return None
        if annotation.get("iscrowd"):
            self.skipped["crowd"] += 1
            return None
        image = photographs.get(annotation["image_id"])
        if image is None:
            raise InputError(f"{where}: image_id {annotation['image_id']!r} is not among the images")
        path = check_inside(root, root / image["file_name"])
        width, height = image["width"], image["height"]
        box = box_xywh_px_to_xyxy_px(annotation["bbox"], width, height, where=f"{where}.bbox")
        if max(box[2] - box[0], box[3] - box[1]) < min_side_px:
            self.skipped[f"smaller than {min_side_px} px"] += 1
            return None
        return CocoObject(
            id=f"{Path(image['file_name']).stem}/{annotation['id']}",
            path=path,
            width=width,
            height=height,
            box_xyxy_px=box,
            category=category,
            licence=licences.get(image.get("license"), ""),
            segmentation=annotation["segmentation"],
            where=where,
        )


def cut_out(entry: CocoObject, photograph: np.ndarray) -> CutoutRecord:
    """The object's pixels within its rectangle, its mask as alpha.

    Args:
      entry: the object.
      photograph: uint8 [h, w, 3].

    Raises:
      InputError: the photograph has not the annotated size, or the mask is none or empty.
    """
    height, width = photograph.shape[:2]
    if (width, height) != (entry.width, entry.height):
        raise InputError(
            f"{entry.path}: {width} x {height} px, but {entry.where} expects {entry.width} x {entry.height}"
        )
    mask = decode_mask(entry.segmentation, width, height, where=f"{entry.where}.segmentation")
    x0, y0, x1, y1 = entry.box_xyxy_px
    alpha = np.where(mask[y0:y1, x0:x1], 255, 0).astype(np.uint8)
    if not alpha.any():
        raise InputError(f"{entry.where}.segmentation: covers no pixel of its bbox")
    rgba = np.concatenate([photograph[y0:y1, x0:x1], alpha[..., None]], axis=-1)
    return CutoutRecord(entry.id, entry.category, rgba, source_id=entry.path.name, licence=entry.licence)


def _read_json(path: Path) -> dict:
    """The annotation file with its images and categories checked."""
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    for field in ("images", "annotations", "categories"):
        if not isinstance(raw, dict) or not isinstance(raw.get(field), list):
            raise InputError(f"{path}: {field} is missing, expected a list (COCO's instances format)")
    _check_entries(path, raw["images"], "images", {"id": int | str, "file_name": str, "width": int, "height": int})
    _check_entries(path, raw["categories"], "categories", {"id": int | str, "name": str})
    _check_entries(path, raw.get("licenses", []), "licenses", {"id": int | str})
    for index, image in enumerate(raw["images"]):
        if not isinstance(image.get("license", 0), int | str):
            raise InputError(f"{path}: images[{index}].license {image['license']!r} is no id")
        if image["width"] < 1 or image["height"] < 1:
            raise InputError(f"{path}: images[{index}]: {image['width']} x {image['height']} px, expected pixels")
    return raw


def _check_entries(path: Path, entries: Any, field: str, types: Mapping[str, Any]) -> None:
    if not isinstance(entries, list):
        raise InputError(f"{path}: {field} is a {type(entries).__name__}, expected a list")
    seen = set()
    for index, entry in enumerate(entries):
        for key, expected in types.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(key), expected):
                raise InputError(f"{path}: {field}[{index}].{key} is missing or not a {expected}")
        if entry["id"] in seen:
            raise InputError(f"{path}: {field}[{index}].id {entry['id']!r} is there twice")
        seen.add(entry["id"])
