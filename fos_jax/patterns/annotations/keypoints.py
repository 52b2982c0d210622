"""Labelled keypoints of one object, under one set of names for persons and one for animals."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fos_jax.cutouts.sources.reading import brief
from fos_jax.errors import InputError

Point = tuple[float, float]

PERSON = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)  # COCO's order
ANIMAL = (
    *("left_eye", "right_eye", "nose", "left_ear", "right_ear", "left_front_elbow", "right_front_elbow"),
    *("left_back_elbow", "right_back_elbow", "left_front_knee", "right_front_knee", "left_back_knee"),
    *("right_back_knee", "left_front_paw", "right_front_paw", "left_back_paw", "right_back_paw"),
    *("throat", "withers", "tailbase"),
)  # Animal Pose's order
AP_10K = (
    *("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw"),
    *("right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw"),
    *("right_hip", "right_knee", "right_back_paw"),
)  # AP-10K's order
# AP-10K's names by what lies there in Animal Pose; shoulder and hip have no counterpart, the neck lies between two.
_ANIMAL_NAMES = {
    **{name: name for name in ANIMAL},
    "neck": "withers",
    "root_of_tail": "tailbase",
    **{
        f"{side}_{theirs}": f"{side}_{ours}"
        for side in ("left", "right")
        for theirs, ours in {
            "elbow": "front_elbow",
            "knee": "back_elbow",
            "shoulder": "shoulder",
            "hip": "hip",
        }.items()
    },
}
_MAX_NUMBER_PX = 1e6


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """The labelled keypoints of one object.

    Attributes:
      kind: "person" or "animal".
      points: name -> (x, y) in pixels of the photograph; names of `PERSON`, or of `ANIMAL` and for AP-10K also
        left_shoulder, right_shoulder, left_hip and right_hip.
      visible: names of those that nothing covers.
    """

    kind: str
    points: Mapping[str, Point]
    visible: frozenset[str]


def read_keypoints(
    annotation: Mapping[str, Any], category: str, width: int, height: int, *, where: str = "annotation"
) -> Keypoints | None:
    """The labelled keypoints of an annotation.

    Args:
      annotation: its fields: `keypoints`, flat x, y, visibility (0 not labelled, 1 covered, 2 visible), and
        `keypoint_names`; where that is missing, 20 points are Animal Pose's, and 17 are COCO's for the category person
        and AP-10K's for others.
      category: name of the category.
      width, height: of the photograph in pixels.
      where: what a message calls the annotation.

    Returns:
      None where the annotation has no keypoints, none that is labelled, or those of another kind of thing (a face).

    Raises:
      InputError: not numbers, not as many as names, or a labelled point outside the photograph.
    """
    values = annotation.get("keypoints")
    if values is None:
        return None
    names = annotation.get("keypoint_names")
    if names is None:
        names = {60: ANIMAL, 51: PERSON if category == "person" else AP_10K}.get(
            len(values) if isinstance(values, list) else -1, ()
        )
    if not isinstance(values, list) or not all(isinstance(v, int | float) and abs(v) < _MAX_NUMBER_PX for v in values):
        raise InputError(f"{where}.keypoints: got {brief(values)}, expected a list of numbers")
    if not names and len(values) % 3 == 0:
        return None  # keypoints of something else, whose names nobody told
    if len(values) != 3 * len(names):
        raise InputError(f"{where}.keypoints: {len(values)} numbers, expected x, y, visibility of {len(names)} points")
    kind, known = _known_names([str(name) for name in names])
    points: dict[str, Point] = {}
    visible = set()
    for name, (x, y, flag) in zip(known, np.array(values, np.float64).reshape(-1, 3).tolist(), strict=True):
        if not name or flag <= 0:
            continue
        if not (0 <= x <= width and 0 <= y <= height):
            raise InputError(
                f"{where}.keypoints: {name} lies at ({x:g}, {y:g}), expected it inside the photograph of {width} x "
                f"{height} px"
            )
        points[name] = (x, y)
        if flag >= 2:
            visible.add(name)
    return Keypoints(kind, points, frozenset(visible)) if points else None


def mirrored_keypoints(keypoints: Keypoints, width: int) -> Keypoints:
    """The keypoints of the mirrored photograph: places are mirrored, and left and right change their names."""
    points = {_other_side(name): (width - x, y) for name, (x, y) in keypoints.points.items()}
    return Keypoints(keypoints.kind, points, frozenset(map(_other_side, keypoints.visible)))


def _other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in name.split("_"))


def _known_names(names: list[str]) -> tuple[str, list[str]]:
    """Kind and our name of each point, "" for one that has none."""
    plain = [_plain(name) for name in names]
    if set(PERSON) <= set(plain):
        return "person", [name if name in PERSON else "" for name in plain]
    known = [_ANIMAL_NAMES.get(name, "") for name in plain]
    return ("animal", known) if "tailbase" in known else ("", [""] * len(names))


def _plain(name: str) -> str:
    """Spellings of other releases: "L_F_Elbow", "TailBase", "Root of tail"."""
    text = name.strip().lower().replace(" ", "_").replace("earbase", "ear")
    short = {"l": "left", "r": "right", "f": "front", "b": "back"}
    return "_".join(short.get(word, word) for word in text.split("_"))
