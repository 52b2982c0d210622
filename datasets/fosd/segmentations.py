"""`segmentations.csv`, row by row: which part of its photograph each cut-out is.

The columns are those of Open Images behind one extra leading column (accepted without it too); they are found by
their names in the header. Source: field.md section 3.
"""

import csv
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from fos_jax.datasets.fosd.names import identifier, name_defect, source_id
from fos_jax.datasets.problems import Problem, Report, shown

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
