"""View and posture of four-legged animals, read from keypoints.

Source of the rules: design decision, set by looking at photographs of Animal Pose. They use no scale but the animal's
own. A body is seen as a box: with the yaw at which it faces the viewer (0) or the image's right (90 degrees), front and
rear lie apart by length x sin(yaw), left and right joints by width x cos(yaw).
"""

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np

from fos_jax.patterns.annotations.keypoints import Point
from fos_jax.scenes.attributes import YAW_8

POSTURES = ("standing", "sitting", "lying")
_BODY_LENGTH_PER_WIDTH = 2.0
_EYES_PER_NOSE = 1.2  # distance of the eyes as a multiple of how far the nose lies before them
_HEAD_PER_BOX = 0.2  # a narrower head belongs to a body that is seen from the side
_DIAGONAL_DEG = (27.0, 58.0)  # from facing the viewer to facing aside; wider aside, where joints scatter most
_FRONT, _REAR = ("withers", "front_elbow", "shoulder"), ("tailbase", "back_elbow", "hip")
_LEGS = ("front_elbow", "front_knee", "front_paw", "back_elbow", "back_knee", "back_paw")


def animal_view(points: Mapping[str, Point], box_width_px: float) -> str | None:
    """Direction that the animal faces, one of `YAW_8`: by its body, and by its head where nothing else is labelled.

    Args:
      points: labelled keypoints by the names of `keypoints.ANIMAL`, in pixels.
      box_width_px: width of the animal's rectangle: a head that turns to the viewer on a long body tells nothing of it.

    Returns:
      None where the joints do not tell.

    Source: design decision, set by looking at photographs of Animal Pose (Cao et al., ICCV 2019), as all of the module.
    """
    front, rear = _centre(points, _FRONT), _centre(points, _REAR)
    front = front if front is not None else _centre(points, ("throat",))
    width = _separation(points, ("front_elbow", "back_elbow", "shoulder", "hip"))
    if front is not None and rear is not None:
        length = _rounded(front[0] - rear[0])
        if width is None:
            return _side_of_body(points, length)
        if width < 0 and {"left_eye", "right_eye", "nose"} <= set(points):
            return None  # it rolls over, looks back, or its sides were mixed up
        return _view(math.degrees(math.atan2(length, width * _BODY_LENGTH_PER_WIDTH)))
    head = _separation(points, ("ear", "eye"))
    if rear is not None or (head is not None and head < _HEAD_PER_BOX * box_width_px):
        return None
    if _has(points, _LEGS):
        return _view_of_chest(points)
    return _view_of_head(points)


def _view(yaw_deg: float) -> str:
    size = abs(yaw_deg)
    ahead, aside = _DIAGONAL_DEG
    eighths = int(np.searchsorted([ahead, aside, 180 - aside, 180 - ahead], size))
    return YAW_8[eighths if yaw_deg >= 0 else -eighths % 8]


def _side_of_body(points: Mapping[str, Point], length: float) -> str | None:
    """Joints of one side only, or none: a body that is long against its height is seen from the side."""
    ys = [y for _, y in points.values()]
    if abs(length) < 0.5 * _rounded(max(ys) - min(ys)):
        return None
    return "right" if length > 0 else "left"


def _view_of_chest(points: Mapping[str, Point]) -> str | None:
    """No joint of the rear: where the front legs stand apart, the chest faces the viewer as the head does."""
    width = _separation(points, ("front_elbow", "front_knee", "front_paw"))
    head, yaw = _separation(points, ("eye", "ear")), _head_yaw_deg(points)
    if width is None or head is None or yaw is None or width < 0.5 * head:
        return None
    return _view(yaw / 2)  # the chest turns less than the head


def _view_of_head(points: Mapping[str, Point]) -> str | None:
    yaw = _head_yaw_deg(points)
    if yaw is not None:
        return _view(yaw)
    eyes = [side for side in ("left", "right") if f"{side}_eye" in points]
    if len(eyes) != 1 or "nose" not in points:
        return None
    # Of a head in profile one eye is seen, on the side that it shows.
    ahead = points["nose"][0] - points[f"{eyes[0]}_eye"][0]
    return eyes[0] if (ahead < 0) == (eyes[0] == "left") else None


def _head_yaw_deg(points: Mapping[str, Point]) -> float | None:
    """Yaw of a head with both eyes, along the line through the eyes, so that a tilted head reads the same."""
    if not {"left_eye", "right_eye", "nose"} <= set(points):
        return None
    left, right, nose = (np.array(points[name]) for name in ("left_eye", "right_eye", "nose"))
    across = left - right
    apart = float(np.hypot(*across))
    if across[0] <= 0 or apart == 0:
        return None
    offset = float((nose - (left + right) / 2) @ across) / apart
    return math.degrees(math.atan2(offset * _EYES_PER_NOSE, apart))


def animal_posture(points: Mapping[str, Point]) -> str | None:
    """Whether the animal stands, sits or lies, one of `POSTURES`.

    By heights above the paws, of withers, elbows and tail: of a standing animal front and rear are alike, a sitting one
    slopes and its rear is low, of a lying one the elbows are on the ground or it is long against its height. Where
    withers or tail are not labelled, by how steep front and hind legs are.

    Args:
      points: labelled keypoints by the names of `keypoints.ANIMAL`, in pixels.

    Returns:
      None where the joints do not tell, and for what lies between.

    Source: as of `animal_view`.
    """
    paws, elbows = _lowest(points, "front_paw"), _lowest(points, "front_elbow")
    rear_paws, tail = _lowest(points, "back_paw"), points.get("tailbase")
    top = points.get("withers", points.get("throat"))
    if top is None or tail is None or paws is None or elbows is None:
        return _posture_of_legs(points)
    height, leg, length, drop = paws - top[1], paws - elbows, math.dist(top, tail), tail[1] - top[1]
    rear = None if rear_paws is None or height <= 0 else (rear_paws - tail[1]) / height
    steep = _steepness(points, "front")
    is_upright = rear is not None and rear < 0.5 and leg >= 0.33 * height and steep is not None and steep > 0.75
    if "withers" not in points:
        # The throat lies lower and further ahead: only a steep body tells.
        return "sitting" if is_upright and drop > 0.7 * length else _posture_of_legs(points)
    is_low = height < 0.4 * length or (leg < 0.2 * height and (rear is None or rear < 0.7))
    if is_low:
        # Where the tail is far below the withers it rears up, or is held.
        return "lying" if abs(drop) < max(0.6 * length, 0.5 * height) else None
    if is_upright:
        return "sitting" if drop > 0.5 * length else None
    is_level = rear is not None and rear > 0.65 and height > 0.55 * length and leg >= 0.33 * height
    return "standing" if is_level else None


def _posture_of_legs(points: Mapping[str, Point]) -> str | None:
    """Steep legs of one height carry a standing animal; hind legs half as high are folded under a sitting one."""
    front, rear = _steepness(points, "front"), _steepness(points, "back")
    if front is None or rear is None:
        return None
    if front < 0.4 and rear < 0.4:
        return "lying"
    heights = []
    for end in ("front", "back"):
        paws, elbows = _lowest(points, f"{end}_paw"), _lowest(points, f"{end}_elbow")
        heights.append(0.0 if paws is None or elbows is None else paws - elbows)
    if front < 0.8 or heights[0] <= 0:
        return None
    ratio = heights[1] / heights[0]
    if ratio < 0.56:
        return "sitting" if ratio > 0 else None
    return "standing" if ratio > 0.78 and rear > 0.7 else None


def _steepness(points: Mapping[str, Point], end: str) -> float | None:
    """Height of a leg over the length of its parts, between -1 and 1: the mean of the legs of one end.

    Every leg with an elbow and a paw counts, with the knee where that is labelled.
    """
    found = []
    for side in ("left", "right"):
        names = [f"{side}_{end}_{part}" for part in ("elbow", "knee", "paw")]
        if names[0] not in points or names[2] not in points:
            continue
        joints = [points[name] for name in names if name in points]
        length = sum(math.dist(a, b) for a, b in itertools.pairwise(joints))
        if length > 0:
            found.append((joints[-1][1] - joints[0][1]) / length)
    return float(np.mean(found)) if found else None


def _has(points: Mapping[str, Point], parts: Iterable[str]) -> bool:
    return any(f"{side}_{part}" in points for side in ("left", "right") for part in parts)


def _lowest(points: Mapping[str, Point], part: str) -> float | None:
    """The larger y of the left and the right one."""
    return max((points[name][1] for name in (f"left_{part}", f"right_{part}") if name in points), default=None)


def _separation(points: Mapping[str, Point], parts: Iterable[str]) -> float | None:
    """Median of x of the left minus x of the right, over the parts of which both are labelled."""
    pairs = [(f"left_{part}", f"right_{part}") for part in parts]
    apart = [points[left][0] - points[right][0] for left, right in pairs if left in points and right in points]
    return _rounded(np.median(apart)) if apart else None


def _rounded(value: float) -> float:
    """Without the last digits, so that a tie stays one in the mirrored photograph."""
    return round(float(value), 6)


def _centre(points: Mapping[str, Point], parts: Iterable[str]) -> np.ndarray | None:
    """float64 [2]: mean place of what is labelled; of a part with two sides the mean of both."""
    found = []
    for part in parts:
        names = [name for name in (part, f"left_{part}", f"right_{part}") if name in points]
        if names:
            found.append(np.mean([points[name] for name in names], axis=0))
    return np.mean(found, axis=0) if found else None
