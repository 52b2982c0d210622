"""Attributes that PASCAL VOC and PASCAL3D+ annotate themselves."""

import math
from collections.abc import Mapping
from typing import Any

from fos_jax.cutouts.sources.reading import brief
from fos_jax.errors import InputError
from fos_jax.scenes.attributes import ELEVATIONS, YAW_8

VOC_POSES = ("front", "right", "back", "left")
VOC_TRUNCATED = ("whole", "truncated")
_POSES = {"frontal": "front", "right": "right", "rear": "back", "left": "left"}
_HIGH_DEG = 22.0  # between the low (9 to 15 degrees) and the high view (29 to 40) of the rendered world
_ELEVATION_RANGE_DEG = (-10.0, 70.0)


def voc_pose(annotation: Mapping[str, Any]) -> str | None:
    """The field `pose` of PASCAL VOC, one of `VOC_POSES`; None where it is missing or Unspecified.

    Source: VOC2011 annotation guidelines ("View": Frontal, Rear, Left, Right, the side that the object faces).
    """
    return _POSES.get(str(annotation.get("pose", "")).lower())


def voc_truncated(annotation: Mapping[str, Any]) -> str | None:
    """The field `truncated` of PASCAL VOC, one of `VOC_TRUNCATED`: whether the rectangle holds less than the object.

    It says so of an object behind another one, too, which no border shows.

    Source: VOC2011 annotation guidelines ("Truncated").
    """
    return {"0": "whole", "1": "truncated", "False": "whole", "True": "truncated"}.get(str(annotation.get("truncated")))


def azimuth(annotation: Mapping[str, Any], *, where: str = "annotation") -> str | None:
    """PASCAL3D+'s azimuth, `azimuth_deg`, in the eight directions of the rendered world (`YAW_8`).

    The camera stands at (sin, -cos) of the azimuth, before an object whose front looks towards -y and whose left side
    lies at +x: at 90 degrees it sees the left side, so that the object faces the image's left.

    Returns:
      None where it or `elevation_deg` is not annotated (other data sets count azimuths from elsewhere), and for a view
      from nearly straight above or below, where it means nothing.

    Raises:
      InputError: not a number.

    Source: Xiang et al., WACV 2014; project_3d.m of the released tools.
    """
    degrees, height = _degrees(annotation, "azimuth_deg", where), _degrees(annotation, "elevation_deg", where)
    if degrees is None or height is None or not _ELEVATION_RANGE_DEG[0] <= height <= _ELEVATION_RANGE_DEG[1]:
        return None
    return YAW_8[int(((22.5 - degrees) % 360) // 45)]


def elevation(annotation: Mapping[str, Any], *, where: str = "annotation") -> str | None:
    """PASCAL3D+'s elevation, `elevation_deg`, as the rendered world's `ELEVATIONS`: "high" above 22 degrees.

    Returns:
      None where it is not annotated, below -10 degrees, and above 70.

    Raises:
      InputError: not a number.

    Source: Xiang et al., WACV 2014.
    """
    degrees = _degrees(annotation, "elevation_deg", where)
    if degrees is None or not _ELEVATION_RANGE_DEG[0] <= degrees <= _ELEVATION_RANGE_DEG[1]:
        return None
    return ELEVATIONS[degrees > _HIGH_DEG]


def _degrees(annotation: Mapping[str, Any], field: str, where: str) -> float | None:
    value = annotation.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}.{field}: got {brief(value)}, expected a number of degrees")
    return float(value)
