"""Photographs with instance masks in the layout of Open Images V6 and V7."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.grouping_index import GroupingIndex
from fos_jax.cutouts.sources.reading import (
    brief,
    check_folder,
    check_inside,
    check_text,
    stream_columns,
    stream_rows,
)
from fos_jax.errors import InputError

_COLUMNS = ("MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class OpenImagesSource:
    """The photographs of one segmentation file (train, validation or test).

    Masks are PNG files in one folder, or in folders named by the first character of their name as they are
    distributed; photographs are `<images>/<ImageID>.jpg`. Group-of boxes have no masks in this data set, so no object
    is a crowd. Source: Open Images' description of its download files.
    """

    def __init__(
        self,
        segmentations: str | Path,
        masks: str | Path,
        images: str | Path,
        class_descriptions: str | Path,
        *,
        image_list: str | Path | None = None,
        categories: Sequence[str] | None = None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
    ):
        """Streams the tables once, in bounded memory, and brings the masks together by photograph.

        Args:
          segmentations: `*-annotations-object-segmentation.csv`; columns are found by name.
          masks, images: folders.
          class_descriptions: LabelName,DisplayName; with a header (V7) or without (V6).
          image_list: the table with the columns ImageID and License, where photographs' licences are to be known.
          categories: display names that are wanted, after mapping; all by default.
          category_names: display name -> the wanted name, where they differ.
          licence: of photographs for which no licence is stated.
          skip_defects: count defective rows instead of raising. A mask listed twice is raised in any case.

        Raises:
          InputError: naming file and line.
        """
        self.name = f"Open Images masks {segmentations}"
        self.root = check_folder(images, where="images")
        self.mask_root = check_folder(masks, where="masks")
        self.left_out: Counter[str] = Counter()
        self.defects = Defects(skip=skip_defects)
        self._licence = licence
        self._file = str(segmentations)
        mapping = category_names or {}
        names = {label: mapping.get(name, name) for label, name in _read_classes(Path(class_descriptions)).items()}
        wanted = set(names.values()) if categories is None else set(categories)
        unknown = sorted(wanted - set(names.values()))
        if unknown:
            raise InputError(f"{class_descriptions}: no class is named {', '.join(unknown)}")
        self._index = GroupingIndex()
        self._index.add_objects(self._rows(names, wanted), where=f"{segmentations}: mask")
        self._index.add_photographs_of_objects()
        if image_list is not None:
            self._index.set_photographs(_licences(Path(image_list)))
        self._index.finish()

    def __len__(self) -> int:
        return self._index.count_photographs()

    def __iter__(self) -> Iterator[Photograph]:
        for (image, _, record), rows in self._index.groups():
            try:
                path = self._photograph_path(image)
                objects = tuple(self._object(identifier, line, row) for identifier, line, row in rows)
            except InputError as error:
                self.defects.add("missing file", error)
                continue
            yield Photograph(image, path, 0, 0, record.get("licence", "") or self._licence, objects)

    def close(self) -> None:
        """Removes the temporary index."""
        self._index.close()

    def _rows(self, names: Mapping[str, str], wanted: set[str]) -> Iterator[tuple[str, str, int, Any]]:
        for line, row in stream_columns(self._file, _COLUMNS, ("PredictedIoU",)):
            where = f"{self._file}: line {line}"
            try:
                category = names.get(row["LabelName"])
                if category is None:
                    raise InputError(f"{where}: LabelName {brief(row['LabelName'])} is not among the classes")
                if category not in wanted:
                    self.left_out["other category"] += 1
                    continue
                for field in ("ImageID", "BoxID"):
                    if not _SAFE_NAME.fullmatch(row[field]):
                        raise InputError(f"{where}: {field} is {brief(row[field])}, expected a plain name")
                mask = check_inside(self.mask_root, row["MaskPath"], where=f"{where}: MaskPath")
                record: dict[str, Any] = {"category": category, "mask": mask, "box_xyxy_norm": _box(row, where)}
                if row.get("PredictedIoU"):
                    record["predicted_iou"] = _number(row, "PredictedIoU", where)
            except InputError as error:
                self.defects.add("defective row", error)
                continue
            yield f"{row['ImageID']}/{Path(mask).stem}", row["ImageID"], line, record

    def _photograph_path(self, image: str) -> str:
        for suffix in _IMAGE_SUFFIXES:
            if (self.root / f"{image}{suffix}").is_file():
                return f"{image}{suffix}"
        raise InputError(f"{self.root / image}.jpg: no such photograph")

    def _object(self, identifier: str, line: int, row: Mapping[str, Any]) -> AnnotatedObject:
        mask = row["mask"]
        spread = f"{mask[0].upper()}/{mask}"
        found = next((path for path in (mask, spread, spread.lower()) if (self.mask_root / path).is_file()), mask)
        return AnnotatedObject(
            id=identifier,
            category=row["category"],
            box_xyxy_px=None,
            mask={"png": found},
            is_crowd=False,
            attributes={key: value for key, value in row.items() if key not in ("category", "mask")},
            where=f"{self._file}: line {line}",
        )


def _read_classes(path: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for line, fields in stream_rows(path):
        if len(fields) != 2 or not fields[0] or not fields[1]:
            raise InputError(f"{path}: line {line}: {brief(fields)}, expected LabelName,DisplayName")
        if line == 1 and fields[0] == "LabelName":
            continue
        if fields[0] in names:
            raise InputError(f"{path}: line {line}: {brief(fields[0])} is there twice")
        names[check_text(fields[0], where=f"{path}: line {line}")] = fields[1]
    if not names:
        raise InputError(f"{path}: no class in it")
    return names


def _licences(path: Path) -> Iterator[tuple[str, Any]]:
    for _, row in stream_columns(path, ("ImageID", "License")):
        yield row["ImageID"], {"licence": row["License"]}


def _number(row: Mapping[str, str], field: str, where: str) -> float:
    try:
        value = float(row[field])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {field} is {brief(row[field])}, expected a finite number")
    return value


def _box(row: Mapping[str, str], where: str) -> list[float]:
    """Fractions x0, y0, x1, y1."""
    x0, y0, x1, y1 = (_number(row, name, where) for name in ("BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax"))
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise InputError(f"{where}: box is ({x0:g}, {y0:g}, {x1:g}, {y1:g}), expected fractions with min < max")
    return [x0, y0, x1, y1]
