"""FOSD's annotation files, checked value by value: JSON files of labels, and `segmentations.csv`.

Problems are reported, whole entries are returned. The columns of `segmentations.csv` are those of Open Images behind
one extra leading column (accepted without it too); they are found by their names in the header.

Source: docs/field.md section 3.
"""

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fos_jax.datasets.builders import Problem, Report, shown
from fos_jax.datasets.fosd.checks import BoxNorm, Checker, identifier, name_defect, read_object, source_id

BACKGROUNDS_PER_CATEGORY = 20  # in each test set; FOSD's own evaluation looks at exactly so many


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One background as a JSON file describes it.

    Attributes:
      background: file name, free of defects.
      box_xyxy_norm: as annotated; may overshoot 0..1, FOSD clips it.
      category: its name.
      relevant: ids of the foregrounds that are said to fit, the original object first where there is one.
      irrelevant: ids of those that are said not to fit.
      foreground_id: of the original object, "" where there is none.
      key: where in the file.
    """

    background: str
    box_xyxy_norm: BoxNorm
    category: str
    relevant: tuple[str, ...]
    irrelevant: tuple[str, ...]
    foreground_id: str
    key: str


def read_categories(path: Path, file: str, report: Report) -> dict[str, str]:
    """`category.json`: object id -> category. The categories are its values, sorted."""
    check = Checker(file, report)
    raw = read_object(path, file, report)
    if raw is None:
        return {}
    category_of: dict[str, str] = {}
    for category, entry in raw.items():
        key = f"[{shown(category)}]"
        if check.category(category, key) is None:
            continue
        for object_id in check.ids(check.mapping(entry, key).get("images"), f"{key}.images"):
            if category_of.setdefault(object_id, category) != category:
                check.wrong(f"{key}.images", f"{shown(object_id)}, also in {category_of[object_id]!r}", "one category")
    if not category_of:
        check.wrong("top level", "no images", 'a list "images" for each category')
    return category_of


def read_train(path: Path, file: str, category_of: dict[str, str], report: Report) -> list[Annotation]:
    """`train_sfosd.json` or `train_rfosd.json`: the original object, then the similars, are relevant."""
    check = Checker(file, report)
    raw = read_object(path, file, report)
    categories = set(category_of.values())
    out = []
    seen: set[str] = set()
    for background, entry in (raw or {}).items():
        key = f"[{shown(background)}]"
        if check.name(background, key) is None:
            continue
        object_id = identifier(background)
        if object_id in seen:
            check.wrong(key, "the same object under both suffixes", "each background once")
            continue
        seen.add(object_id)
        entry = check.mapping(entry, key)
        box = check.box(entry.get("bbox"), f"{key}.bbox")
        category = check.category(entry.get("class"), f"{key}.class")
        if category is not None and category not in categories:
            check.wrong(f"{key}.class", shown(category), "a category of category.json")
            category = None
        elif category is not None and category_of.get(object_id, category) != category:
            check.wrong(f"{key}.class", shown(category), f"{category_of[object_id]!r}, as in category.json")
        similars = check.ids(entry.get("similars"), f"{key}.similars")
        dissimilars = check.ids(entry.get("dissimilars"), f"{key}.dissimilars")
        relevant = tuple(dict.fromkeys((object_id, *similars)))
        if both := set(relevant) & set(dissimilars):
            got, expected = (
                f"{shown(min(both))}, which fits too",
                "no foreground that also fits (taken as one that fits)",
            )
            check.wrong(f"{key}.dissimilars", got, expected, is_error=False)
            dissimilars = tuple(i for i in dissimilars if i not in both)
        if box is not None and category is not None:
            out.append(Annotation(background, box, category, relevant, dissimilars, object_id, key))
    if raw is not None and not out:
        check.wrong("top level", "no usable background", "at least one")
    return out


def read_test_set1(
    path: Path, file: str, categories: set[str], report: Report
) -> tuple[list[Annotation], dict[str, str]]:
    """`test_set1.json` (S-FOSD): the positive is the foreground of the background's own name.

    Returns: the annotations, and foreground id -> category in the file's order.
    """
    check = Checker(file, report)
    out: list[Annotation] = []
    category_of: dict[str, str] = {}
    for category, entry, key in _categories(check, read_object(path, file, report), categories):
        foregrounds = check.ids(entry.get("fg"), f"{key}.fg")
        _claim(check, category_of, foregrounds, category, f"{key}.fg")
        backgrounds = check.sequence(entry.get("bg"), f"{key}.bg")
        seen: set[str] = set()
        for index, item in enumerate(backgrounds):
            item_key = f"{key}.bg[{index}]"
            if not isinstance(item, list) or len(item) != 2:
                check.wrong(item_key, shown(item), "[name, [x1, y1, x2, y2]]")
                continue
            name, box = check.name(item[0], f"{item_key}[0]"), check.box(item[1], f"{item_key}[1]")
            if name is None:
                continue
            object_id = identifier(name)
            if object_id in seen:
                check.wrong(f"{item_key}[0]", f"{shown(name)} again", "each background once")
                continue
            seen.add(object_id)
            if object_id not in foregrounds:
                check.wrong(f"{item_key}[0]", shown(name), f"a background whose own foreground is in {key}.fg")
            elif box is not None:
                out.append(Annotation(name, box, category, (object_id,), (), object_id, item_key))
        _expect_count(check, len(backgrounds), f"{key}.bg")
    return out, category_of


def read_test_set2(
    path: Path, file: str, categories: set[str], report: Report
) -> tuple[list[Annotation], dict[str, str]]:
    """`test_set2.json` (R-FOSD): each background with its box first and its labels last; the rest is not read.

    Returns: the annotations, and foreground id -> category, sorted by id within a category as FOSD ranks them.
    """
    check = Checker(file, report)
    out: list[Annotation] = []
    category_of: dict[str, str] = {}
    for category, entry, key in _categories(check, read_object(path, file, report), categories):
        first: set[str] | None = None
        for background, item in entry.items():
            item_key = f"{key}[{shown(background)}]"
            name = check.name(background, item_key)
            if not isinstance(item, list) or len(item) < 2:
                check.wrong(item_key, shown(item), "[[x1, y1, x2, y2], ..., {foreground: 0 or 1}]")
                continue
            box, labels = check.box(item[0], f"{item_key}[0]"), _labels(check, item[-1], f"{item_key}[-1]")
            if first is None:
                first = set(labels)
                _claim(check, category_of, sorted(first), category, f"{item_key}[-1]")
            elif set(labels) != first:
                got = f"{len(set(labels) - first)} foregrounds more and {len(first - set(labels))} fewer than the first"
                check.wrong(f"{item_key}[-1]", got, "the same foregrounds for all backgrounds of a category")
            relevant = tuple(sorted(i for i, label in labels.items() if label))
            if not relevant:
                check.wrong(f"{item_key}[-1]", "no label 1", "at least one foreground that fits")
            elif name is not None and box is not None:
                irrelevant = tuple(sorted(set(labels) - set(relevant)))
                out.append(Annotation(name, box, category, relevant, irrelevant, "", item_key))
        _expect_count(check, len(entry), key)
    return out, category_of


def _categories(
    check: Checker, raw: dict[str, Any] | None, categories: set[str]
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(category, entry, key) of a test file, those that are known."""
    for category, entry in (raw or {}).items():
        key = f"[{shown(category)}]"
        if category not in categories:
            check.wrong(key, "an unknown category", "a category of category.json")
        else:
            yield category, check.mapping(entry, key), key
    if raw is not None and (missing := sorted(categories - set(raw))):
        check.wrong("top level", f"nothing for {', '.join(missing)}", "every category", is_error=False)


def _labels(check: Checker, value: Any, key: str) -> dict[str, bool]:
    out: dict[str, bool] = {}
    for name, label in check.mapping(value, key).items():
        label_key = f"{key}[{shown(name)}]"
        if check.name(name, label_key) is None:
            continue
        if not isinstance(label, int | float) or label not in (0, 1):
            check.wrong(label_key, shown(label), "0 or 1")
            continue
        if identifier(name) in out:
            check.wrong(label_key, "the same foreground under both suffixes", "each foreground once")
        out[identifier(name)] = bool(label)
    return out


def _claim(check: Checker, category_of: dict[str, str], ids: Iterable[str], category: str, key: str) -> None:
    for object_id in ids:
        if category_of.setdefault(object_id, category) != category:
            check.wrong(key, f"{shown(object_id)}, also in {category_of[object_id]!r}", "a foreground in one category")


def _expect_count(check: Checker, count: int, key: str) -> None:
    if count != BACKGROUNDS_PER_CATEGORY:
        check.wrong(key, f"{count} backgrounds", f"{BACKGROUNDS_PER_CATEGORY}", is_error=count == 0)


BOX_COLUMNS = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
COLUMNS = ("MaskPath", "ImageID", *BOX_COLUMNS)  # what is read; LabelName, BoxID, PredictedIoU and Clicks are not
_MAX_LINE_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One row.

    Attributes:
      object_id: mask's file name without its suffix.
      box_xyxy_norm: the object's box in fractions of the photograph.
      line: in the file, from 1.
    """

    object_id: str
    box_xyxy_norm: tuple[float, float, float, float]
    line: int


def read_segmentations(path: Path, file: str, report: Report) -> Iterator[Segmentation]:
    """Yields the rows that are whole; what is wrong with the others goes to `report`.

    Never more than one line is held: a row is a line, so a stray quote costs one row and not the rest of the file.

    Args:
      path: the file.
      file: what reports call it.
      report: takes the problems.
    """
    position: dict[str, int] | None = None
    lines = _lines(path, file, report)
    for number, text in lines:
        key = f"line {number}"
        try:
            row = next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            report(Problem(file, key, f"broken CSV ({error})", "one row of comma-separated values"))
            continue
        if position is None:
            position = {name.strip(): column for column, name in enumerate(row)}
            if missing := [name for name in COLUMNS if name not in position]:
                got = f"columns {shown(row)}"
                report(Problem(file, "header", got, f"Open Images' columns, {', '.join(missing)} among them"))
                return
        elif row:
            values = {name: row[column] for name, column in position.items() if column < len(row) and name in COLUMNS}
            segmentation = _parse(values, number, file, key, report)
            if segmentation is not None:
                yield segmentation
    if position is None:
        report(Problem(file, "header", "no rows", "a header with Open Images' columns"))


def _parse(values: dict[str, str], number: int, file: str, key: str, report: Report) -> Segmentation | None:
    if missing := [name for name in COLUMNS if name not in values]:
        report(Problem(file, key, f"{len(values)} of the columns", f"also {', '.join(missing)}"))
        return None
    name = values["MaskPath"]
    if defect := name_defect(name):
        report(Problem(file, f"{key}, MaskPath", shown(name), defect))
        return None
    object_id = identifier(name)
    if source_id(object_id) != values["ImageID"]:
        got = f"{shown(values['ImageID'])} beside MaskPath {shown(name)}"
        report(Problem(file, f"{key}, ImageID", got, f"{shown(source_id(object_id))}"))
        return None
    box = []
    for column in BOX_COLUMNS:
        try:
            value = float(values[column])
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:  # NaN too
            report(Problem(file, f"{key}, {column}", shown(values[column]), "a number in 0..1"))
            return None
        box.append(value)
    x0, x1, y0, y1 = box
    if x0 >= x1 or y0 >= y1:
        report(Problem(file, key, f"box {x0:g}..{x1:g} x {y0:g}..{y1:g}", "BoxXMin < BoxXMax and BoxYMin < BoxYMax"))
        return None
    return Segmentation(object_id, (x0, y0, x1, y1), number)


def _lines(path: Path, file: str, report: Report) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        report(Problem(file, "", "no such file", "Open Images' segmentations of the cut-outs"))
        return
    with open(path, "rb") as opened:
        number = 0
        while line := opened.readline(_MAX_LINE_BYTES):
            number += 1
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                report(Problem(file, f"line {number}", "a longer line", f"at most {_MAX_LINE_BYTES:,} bytes"))
                while line and not line.endswith(b"\n"):
                    line = opened.readline(_MAX_LINE_BYTES)
                continue
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                report(Problem(file, f"line {number}", shown(line), "UTF-8"))
