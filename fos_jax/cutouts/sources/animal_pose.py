"""Photographs of the Animal Pose data set, as it was released and in COCO's format."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from fos_jax.boxes import box_xywh_px_to_xyxy_px
from fos_jax.cutouts.records import MASKLESS, NO_MASK, AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.reading import (
    brief,
    check_choice,
    check_folder,
    check_id,
    check_inside,
    check_text,
    required,
)
from fos_jax.errors import InputError


def open_animal_pose(folder: str | Path, **options: Any) -> "CocoSource | AnimalPoseSource":
    """Opens `<folder>/keypoints.json` with `<folder>/images/`.

    A file in COCO's format is read as such, with masks from `<folder>/instances.json` where that is there. The released
    file has neither sizes nor masks: all its objects are without.

    Args:
      folder: of the data set.
      options: those of `CocoSource`, but for `more_annotations`.

    Raises:
      InputError: as `CocoSource`, and where the file is of neither format.
    """
    root = check_folder(folder, where="folder")
    path, masks = root / "keypoints.json", root / "instances.json"
    try:
        raw = json.loads(path.read_text("utf-8"))
        images = raw["images"]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path}: not JSON with images, expected annotations of Animal Pose") from None
    if isinstance(images, dict):
        return AnimalPoseSource(path, raw, root / "images", **options)
    return CocoSource(path, root / "images", more_annotations=[masks] if masks.is_file() else [], **options)


class AnimalPoseSource:
    """The released file: `images` maps ids to file names, a box is x0, y0, x1, y1, keypoints are triples with 0 or 1.

    Source: Cao et al., ICCV 2019, file keypoints.json of the released data.
    """

    def __init__(
        self,
        path: Path,
        raw: Mapping[str, Any],
        images: str | Path,
        *,
        maskless: str = "refuse",
        categories: Sequence[str] | None = None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
    ):
        """Groups the annotations; arguments and errors as of `CocoSource`."""
        self.name = f"Animal Pose annotations {path}"
        self.root = self.mask_root = check_folder(images, where="images")
        self.left_out: Counter[str] = Counter()
        self.defects = Defects(skip=skip_defects)
        self._path, self._images, self._licence = path, raw["images"], licence
        self._maskless = check_choice(maskless, MASKLESS, where="maskless")
        self._wanted = None if categories is None else set(categories)
        self._categories: dict[str, tuple[str, Any]] = {}
        for number, entry in enumerate(_list(raw, "categories", path)):
            where = f"{path}: categories[{number}]"
            name = check_text(required(entry, "name", where=where), where=f"{where}.name")
            key = check_id(required(entry, "id", where=where), where=f"{where}.id")
            self._categories[key] = ((category_names or {}).get(name, name), entry.get("keypoints"))
        self._objects: dict[str, list[tuple[int, Any]]] = {}
        for number, entry in enumerate(_list(raw, "annotations", path)):
            where = f"{path}: annotations[{number}]"
            image = check_id(required(entry, "image_id", where=where), where=f"{where}.image_id")
            if image in self._images:
                self._objects.setdefault(image, []).append((number, entry))
            else:
                self.defects.add("unknown image", InputError(f"{where}.image_id: {image[:40]} is not among the images"))

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Photograph]:
        self.left_out.clear()
        for image, entries in self._objects.items():
            try:
                yield from self._photograph(image, entries)
            except InputError as error:
                self.defects.add("defective annotation", error)

    def close(self) -> None:
        """Nothing to release."""

    def _photograph(self, image: str, entries: Sequence[tuple[int, Any]]) -> Iterator[Photograph]:
        path = check_inside(self.root, self._images[image], where=f"{self._path}: images.{image}")
        if self._maskless == "refuse":
            raise InputError(f"{self._path}: has no masks, nothing can be cut out")
        if self._maskless == "leave_out":
            self.left_out["no mask"] += len(entries)
            return
        try:
            with Image.open(self.root / path) as opened:
                width, height = opened.size
        except Exception:  # decoders raise nearly every type on damaged data
            raise InputError(f"{self.root / path}: cannot be read as an image") from None
        objects = [self._object(number, entry, path, width, height) for number, entry in entries]
        found = tuple(entry for entry in objects if entry is not None)
        if found:
            yield Photograph(image, path, width, height, self._licence, found)

    def _object(self, number: int, entry: Any, path: str, width: int, height: int) -> AnnotatedObject | None:
        where = f"{self._path}: annotations[{number}]"
        category, names = self._categories.get(str(required(entry, "category_id", where=where)), ("", None))
        if not category:
            raise InputError(f"{where}.category_id: {brief(entry['category_id'])} is not among the categories")
        if self._wanted is not None and category not in self._wanted:
            self.left_out["other category"] += 1
            return None
        try:
            x0, y0, x1, y1 = (float(value) for value in required(entry, "bbox", where=where))
            points = [[float(x), float(y), 2 if flag else 0] for x, y, flag in entry["keypoints"]]
        except (TypeError, ValueError, KeyError):
            raise InputError(f"{where}: expected bbox of four numbers and keypoints of three each") from None
        fields: dict[str, Any] = {"keypoints": [value for point in points for value in point]}
        if names is not None:
            fields["keypoint_names"] = names
        return AnnotatedObject(
            id=f"{Path(path).stem}/{number}",
            category=category,
            box_xyxy_px=box_xywh_px_to_xyxy_px((x0, y0, x1 - x0, y1 - y0), width, height, where=f"{where}.bbox"),
            mask=NO_MASK,
            is_crowd=False,
            attributes=fields,
            where=where,
        )


def _list(raw: Mapping[str, Any], field: str, path: Path) -> list[Any]:
    value = raw.get(field)
    if not isinstance(value, list):
        raise InputError(f"{path}: {field} is {brief(value)}, expected a list")
    return value
