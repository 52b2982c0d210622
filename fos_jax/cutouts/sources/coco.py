"""Photographs with annotations in COCO's instances format: objects, keypoints and any further fields.

Masks, boxes and keypoints may lie in several files that share their ids, as COCO's own instances and person keypoints.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.boxes import box_xywh_px_to_xyxy_px
from fos_jax.cutouts.records import MASKLESS, NO_MASK, AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.grouping_index import GroupingIndex
from fos_jax.cutouts.sources.reading import (
    brief,
    check_choice,
    check_folder,
    check_id,
    check_inside,
    check_side_px,
    check_text,
    required,
    stream_entries,
)
from fos_jax.errors import InputError

_OWN_FIELDS = {"id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "area"}


class CocoSource:
    """The photographs of one annotation file. Source: documentation of the COCO format."""

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        *,
        more_annotations: Sequence[str | Path] = (),
        maskless: str = "refuse",
        categories: Sequence[str] | None = None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
    ):
        """Reads the file once, in bounded memory, and brings its objects together by photograph.

        Args:
          annotations: JSON file; its lists may come in any order.
          images: folder that the file names in it are relative to.
          more_annotations: files with further fields of the same annotations, found by `id`; their own list of images
            is not needed. A field that the first file has stays as it is there.
          maskless: what to do with an object without a mask: "refuse" it as a defect, "leave_out" and count it, or
            "keep" it with the mask `NO_MASK`.
          categories: names that are wanted, after mapping; all by default.
          category_names: the file's name -> the wanted name, where they differ.
          licence: of photographs for which the file states none.
          skip_defects: count defective entries instead of raising. What makes the whole file doubtful (no list, an
            id that is there twice) is raised in any case.

        Raises:
          InputError: naming file and field: no such folder, not COCO, an id that is there twice, no wanted category.
            While iterating, unless skipped: an entry that is wrong in itself or refers to nothing.
        """
        self.name = f"COCO annotations {annotations}"
        self.root = self.mask_root = check_folder(images, where="images")
        self.left_out: Counter[str] = Counter()
        self.defects = Defects(skip=skip_defects)
        self._file, self._licence = str(annotations), licence
        self._licences: dict[str, str] = {}
        self._categories: dict[str, str] = {}
        self._keypoint_names: dict[str, list[str]] = {}
        self._maskless = check_choice(maskless, MASKLESS, where="maskless")
        self._index = GroupingIndex()
        self._read(Path(annotations))
        for path in more_annotations:
            self._read_more(Path(path), Path(annotations))
        self._index.finish()
        mapping = category_names or {}
        self._categories = {key: mapping.get(name, name) for key, name in self._categories.items()}
        self._wanted = set(self._categories.values()) if categories is None else set(categories)
        missing = sorted(self._wanted.intersection(mapping.values()) - set(self._categories.values()))
        if missing or not self._wanted & set(self._categories.values()):
            raise InputError(
                f"{annotations}: categories: none is named {', '.join(missing or sorted(self._wanted))}; there are "
                f"{', '.join(sorted(set(self._categories.values())))}"
            )
        count, position, image = self._index.orphans()
        for _ in range(count):
            where = f"{annotations}: annotations[{position}].image_id"
            self.defects.add("unknown image", InputError(f"{where}: {image[:40]} is not among the images"))
        self._opening = (self.defects.counts.copy(), list(self.defects.messages))

    def __len__(self) -> int:
        return self._index.count_photographs()

    def __iter__(self) -> Iterator[Photograph]:
        self.left_out.clear()
        self.defects.counts, self.defects.messages = self._opening[0].copy(), list(self._opening[1])
        for (_, position, image), rows in self._index.groups():
            try:
                head = self._check_image(image, f"{self._file}: images[{position}]")
            except InputError as error:
                self.defects.add("defective image entry", error)
                continue
            objects = []
            for identifier, row, annotation in rows:
                try:
                    entry = self._check_annotation(identifier, annotation, head, f"{self._file}: annotations[{row}]")
                except InputError as error:
                    self.defects.add("defective annotation", error)
                    continue
                if entry is not None:
                    objects.append(entry)
            if objects:
                yield Photograph(**head, objects=tuple(objects))

    def close(self) -> None:
        """Removes the temporary index."""
        self._index.close()

    def _read(self, path: Path) -> None:
        """Streams the file into the index; small lists stay in memory."""
        kinds: dict[str, int] = {}
        batch: list = []

        def flush(key: str) -> None:
            if key == "images":
                self._index.add_photographs(batch, where=f"{path}: images")
            elif key == "annotations":
                self._index.add_objects(batch, where=f"{path}: annotations")
            batch.clear()

        current = ""
        for key, index, entry in stream_entries(path):
            if index < 0:
                flush(current)
                current = key
                kinds[key] = isinstance(entry, list)
                continue
            where = f"{path}: {key}[{index}]"
            if key in ("images", "annotations", "categories", "licenses"):
                identifier = check_id(required(entry, "id", where=where), where=f"{where}.id")
            if key == "images":
                batch.append((identifier, index, entry))
            elif key == "annotations":
                photograph = check_id(required(entry, "image_id", where=where), where=f"{where}.image_id")
                batch.append((identifier, photograph, index, entry))
            elif key == "categories":
                name = check_text(required(entry, "name", where=where), where=f"{where}.name")
                _add_once(self._categories, identifier, name, where)
                self._add_keypoint_names(identifier, entry, where)
            elif key == "licenses":
                _add_once(self._licences, identifier, _licence_text(entry, where), where)
            if len(batch) >= 1000:
                flush(key)
        flush(current)
        for field in ("images", "annotations", "categories"):
            if not kinds.get(field):
                raise InputError(f"{path}: {field} is missing, expected a list (COCO's instances format)")

    def _read_more(self, path: Path, first: Path) -> None:
        """Adds the fields of another file's annotations, and the names of keypoints, to those of the first."""

        def further() -> Iterator[tuple[str, str, Any]]:
            for key, index, entry in stream_entries(path):
                where = f"{path}: {key}[{index}]"
                if index >= 0 and key == "categories":
                    identifier = check_id(required(entry, "id", where=where), where=f"{where}.id")
                    name = check_text(required(entry, "name", where=where), where=f"{where}.name")
                    if self._categories.get(identifier) != name:
                        raise InputError(
                            f"{where}: {identifier} is {brief(name)}, which is not the category of {first}"
                        )
                    self._add_keypoint_names(identifier, entry, where)
                elif index >= 0 and key == "annotations":
                    yield check_id(required(entry, "id", where=where), where=f"{where}.id"), where, entry

        for where, have, entry in self._index.add_fields(further()):
            if have is None:
                self.defects.add("unknown annotation", InputError(f"{where}.id: is not among those of {first}"))
            elif any(field in entry and entry[field] != have.get(field) for field in ("image_id", "category_id")):
                raise InputError(f"{where}: image_id or category_id differ from those of {first}")

    def _add_keypoint_names(self, identifier: str, entry: Mapping[str, Any], where: str) -> None:
        names = entry.get("keypoints")
        if names is None:
            return
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{where}.keypoints: got {brief(names)}, expected a list of names")
        self._keypoint_names[identifier] = names

    def _check_image(self, image: Any, where: str) -> dict[str, Any]:
        licence = image.get("license")
        return {
            "id": check_id(image["id"], where=f"{where}.id"),
            "path": check_inside(self.root, required(image, "file_name", where=where), where=f"{where}.file_name"),
            "width": check_side_px(required(image, "width", where=where), where=f"{where}.width"),
            "height": check_side_px(required(image, "height", where=where), where=f"{where}.height"),
            "licence": self._licences.get(str(licence), "") or self._licence,
            "split": str(image.get("split") or ""),
        }

    def _check_annotation(
        self, identifier: str, annotation: Any, head: Mapping[str, Any], where: str
    ) -> AnnotatedObject | None:
        """The object, or None where its category is not wanted."""
        category = self._categories.get(str(required(annotation, "category_id", where=where)))
        if category is None:
            raise InputError(f"{where}.category_id: {brief(annotation['category_id'])} is not among the categories")
        if category not in self._wanted:
            self.left_out["other category"] += 1
            return None
        box = required(annotation, "bbox", where=where)
        segmentation = annotation.get("segmentation")
        if not segmentation and self._maskless == "leave_out":
            self.left_out["no mask"] += 1
            return None
        if not segmentation and self._maskless == "keep":
            segmentation = NO_MASK
        elif "segmentation" not in annotation:
            raise InputError(f"{where}.segmentation: is missing")
        elif not isinstance(segmentation, list | dict) or not segmentation or "png" in segmentation:
            # {"png": path} is a mask file to `cutting`, which no annotation may name.
            raise InputError(f"{where}.segmentation: got {brief(segmentation)}, expected polygons or run lengths")
        fields = {key: value for key, value in annotation.items() if key not in _OWN_FIELDS}
        names = self._keypoint_names.get(str(annotation["category_id"]))
        if names and "keypoints" in fields:
            fields["keypoint_names"] = names
        return AnnotatedObject(
            id=f"{Path(head['path']).stem}/{identifier}",
            category=category,
            box_xyxy_px=box_xywh_px_to_xyxy_px(box, head["width"], head["height"], where=f"{where}.bbox"),
            mask=segmentation,
            is_crowd=bool(annotation.get("iscrowd", False)),
            attributes=fields,
            where=where,
        )


def _add_once(table: dict[str, str], key: str, value: str, where: str) -> None:
    if key in table:
        raise InputError(f"{where}.id: {key[:40]!r} is there twice")
    table[key] = value


def _licence_text(entry: Mapping[str, Any], where: str) -> str:
    """The licence's name, or its address where it has no name."""
    text = entry.get("name") or entry.get("url") or ""
    return check_text(text, where=f"{where}.name") if text else ""
