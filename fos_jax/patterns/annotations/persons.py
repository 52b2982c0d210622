"""Facing, visible extent and posture of persons, from COCO's seventeen keypoints.

Source of the rules: design decision, set by looking at photographs of COCO. They use no scale but the person's own.
"""

from collections.abc import Mapping, Set

import numpy as np

from fos_jax.patterns.annotations.keypoints import Point

FACINGS = ("front", "right", "back", "left")
EXTENTS = ("ankles", "knees", "hips", "bust")
POSTURES = ("standing", "sitting")
_FACE = ("nose", "left_eye", "right_eye")


def person_facing(points: Mapping[str, Point]) -> str | None:
    """Direction that the trunk faces, one of `FACINGS`, "left" being the image's left.

    A trunk that faces the viewer has its left shoulder on the image's right, at a distance of about two thirds of the
    trunk's length; from the side shoulders and hips fall together, and the face says which way.

    Args:
      points: labelled keypoints by COCO's names, in pixels.

    Returns:
      None where shoulders are missing, or where width, length and face do not agree.

    Source: design decision, set by looking at photographs of COCO (Lin et al., ECCV 2014), as all of the module.
    """
    width = _mean_difference(points, ("shoulder", "hip"))
    shoulders = _middle(points, "shoulder")
    if width is None or shoulders is None:
        return None
    length = _trunk_length(points, shoulders)
    if length is None:
        return None
    ahead = _ahead(points, shoulders)
    ratio = width / length
    if abs(ratio) < 0.25:
        if ahead is None or abs(ahead) < 0.08 * length:
            return None
        return "right" if ahead > 0 else "left"
    if ratio < 0:
        # A back with both eyes looking out of the picture is a person whose sides were mixed up.
        return None if set(_FACE) <= set(points) else "back"
    return "front" if any(name in points for name in _FACE) else None


def _ahead(points: Mapping[str, Point], shoulders: np.ndarray) -> float | None:
    """How far the face lies to the right of what is behind it: the ears, or else the shoulders."""
    face = [points[name][0] for name in _FACE if name in points]
    if not face:
        return None
    ears = [points[name][0] for name in ("left_ear", "right_ear") if name in points]
    return float(np.mean(face) - (np.mean(ears) if ears else shoulders[0]))


def _trunk_length(points: Mapping[str, Point], shoulders: np.ndarray) -> float | None:
    hips = _middle(points, "hip")
    if hips is not None:
        return float(np.hypot(*(hips - shoulders))) or None
    head = [points[name] for name in (*_FACE, "left_ear", "right_ear") if name in points]
    # From the face to the shoulders it is about half as far as from there to the hips.
    return 2 * float(np.hypot(*(np.mean(head, axis=0) - shoulders))) or None if head else None


def person_extent(points: Mapping[str, Point], visible: Set[str]) -> str | None:
    """The lowest part that can be seen, one of `EXTENTS`; "bust" where not even the hips can.

    Args:
      points: labelled keypoints by COCO's names, in pixels.
      visible: names of those that nothing covers.

    Returns:
      None where no shoulder is labelled: what is seen then is no upper body.

    Source: as of `person_facing`; visibility as in the documentation of the COCO format.
    """
    for extent in EXTENTS[:-1]:
        if any(f"{side}_{extent[:-1]}" in visible for side in ("left", "right")):
            return extent
    return "bust" if "left_shoulder" in points or "right_shoulder" in points else None


def person_posture(points: Mapping[str, Point]) -> str | None:
    """Whether the person stands or sits, one of `POSTURES`, by how far the knees lie below the hips.

    Of a standing person thighs are about as long as the trunk and upright; of a sitting one they point forward, so
    that little of their length is left in the image's vertical.

    Args:
      points: labelled keypoints by COCO's names, in pixels.

    Returns:
      None where hips, knees or shoulders are missing, the trunk is not upright, or the thighs are in between.

    Source: as of `person_facing`.
    """
    shoulders, hips = _middle(points, "shoulder"), _middle(points, "hip")
    if shoulders is None or hips is None:
        return None
    trunk = hips - shoulders
    length = float(np.hypot(*trunk))
    if length == 0 or trunk[1] < 0.7 * length:
        return None
    drops = [
        (points[f"{side}_knee"][1] - points[f"{side}_hip"][1]) / length
        for side in ("left", "right")
        if f"{side}_knee" in points and f"{side}_hip" in points
    ]
    if not drops:
        return None
    if min(drops) > 0.55:
        return "standing"
    return "sitting" if max(drops) < 0.45 else None


def _middle(points: Mapping[str, Point], part: str) -> np.ndarray | None:
    """float64 [2]: mean place of the left and the right one, of one where the other is not labelled."""
    found = [points[name] for name in (f"left_{part}", f"right_{part}") if name in points]
    return np.mean(found, axis=0) if found else None


def _mean_difference(points: Mapping[str, Point], parts: tuple[str, ...]) -> float | None:
    """x of the left minus x of the right, mean over the parts of which both are labelled."""
    pairs = [(f"left_{part}", f"right_{part}") for part in parts]
    apart = [points[left][0] - points[right][0] for left, right in pairs if left in points and right in points]
    return float(np.mean(apart)) if apart else None
