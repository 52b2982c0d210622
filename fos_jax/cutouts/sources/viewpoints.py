"""Viewpoints in PASCAL3D+'s annotation files."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Viewpoint:
    """One object of a file.

    Attributes:
      box_xyxy_px: its rectangle as annotated, in fractions of pixels.
      azimuth_deg, elevation_deg: of the camera; 0 degrees of azimuth are in front of the object.
    """

    box_xyxy_px: tuple[float, float, float, float]
    azimuth_deg: float
    elevation_deg: float


def read_viewpoints(path: str | Path, category: str) -> list[Viewpoint]:
    """The objects of one category in a file that have a viewpoint; none where there is no such file.

    Where an object was not aligned with a model (its distance is 0) the coarse angles count.

    Args:
      path: `<class>_<set>/<photograph>.mat`.
      category: name of the class.

    Raises:
      InputError: not a MATLAB file of version 5, not an annotation, or an angle that is no number.

    Source: Xiang et al., WACV 2014; view_annotations.m of the released tools.
    """
    import scipy.io

    if not Path(path).is_file():
        return []
    try:
        record = scipy.io.loadmat(str(path), simplify_cells=True, variable_names=["record"])["record"]
        objects = record["objects"]
        return [
            view
            for entry in ([objects] if isinstance(objects, dict) else list(np.atleast_1d(objects)))
            if entry.get("class") == category and (view := _viewpoint(entry)) is not None
        ]
    except Exception as error:  # the reader raises nearly every type on damaged data
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path}: not an annotation of PASCAL3D+ ({type(error).__name__}: {reason})") from None


def _viewpoint(entry: dict[str, Any]) -> Viewpoint | None:
    fields = entry.get("viewpoint")
    if not isinstance(fields, dict):
        return None  # an empty struct: this object was not annotated
    is_fine = "azimuth" in fields and _number(fields.get("distance", 0)) != 0
    names = ("azimuth", "elevation") if is_fine else ("azimuth_coarse", "elevation_coarse")
    if any(np.size(fields.get(name, ())) == 0 for name in names):
        return None
    azimuth, elevation = (_number(fields[name]) for name in names)
    x0, y0, x1, y1 = (float(value) for value in np.ravel(entry["bbox"]))
    return Viewpoint((x0, y0, x1, y1), azimuth, elevation)


def _number(value: Any) -> float:
    number = float(np.ravel(value)[0])
    if not math.isfinite(number):
        raise ValueError(f"{number}, expected a finite number")
    return number
