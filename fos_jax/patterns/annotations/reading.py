"""All attributes that can be read from annotations, and how to read them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.cutouts.records import Defects
from fos_jax.errors import InputError
from fos_jax.patterns.annotations import animals, pascal, persons
from fos_jax.patterns.annotations.keypoints import Keypoints, read_keypoints
from fos_jax.patterns.annotations.truncation import EXTENTS, TRUNCATIONS, truncation, truncation_extent
from fos_jax.scenes.attributes import ELEVATIONS, YAW_8, mirrored


@dataclasses.dataclass(frozen=True)
class _Object:
    annotation: Mapping[str, Any]
    box_xyxy_px: BoxXyxyPx
    frame_size: tuple[int, int]
    mask: np.ndarray | None
    keypoints: Keypoints | None
    where: str


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One attribute of objects in photographs.

    Attributes:
      name: as flags and pattern tables call it.
      values: value names, in the order of a pattern table.
      read: the value of an object; None where it is unknown.
      uses_mask: whether the mask has a say.
    """

    name: str
    values: tuple[str, ...]
    read: Callable[[_Object], str | None]
    uses_mask: bool = False

    def mirrored(self, value: str) -> str:
        """The value of the same object in the mirrored photograph: left and right change places."""
        return mirrored({self.name: value})[self.name]


def _of(kind: str, read: Callable[[Keypoints, _Object], str | None]) -> Callable[[_Object], str | None]:
    """Reads keypoints of one kind, "animal" or "person"; unknown for objects without."""

    def value(entry: _Object) -> str | None:
        points = entry.keypoints
        return read(points, entry) if points is not None and points.kind == kind else None

    return value


def _box_width_px(entry: _Object) -> float:
    return entry.box_xyxy_px[2] - entry.box_xyxy_px[0]


ATTRIBUTES: Mapping[str, Attribute] = {
    attribute.name: attribute
    for attribute in (
        Attribute("truncation", TRUNCATIONS, lambda o: truncation(o.box_xyxy_px, o.frame_size, o.mask), True),
        Attribute("truncation_extent", EXTENTS, lambda o: truncation_extent(o.box_xyxy_px, o.frame_size, o.mask), True),
        Attribute("animal_view", YAW_8, _of("animal", lambda k, o: animals.animal_view(k.points, _box_width_px(o)))),
        Attribute("animal_posture", animals.POSTURES, _of("animal", lambda k, o: animals.animal_posture(k.points))),
        Attribute("person_facing", persons.FACINGS, _of("person", lambda k, o: persons.person_facing(k.points))),
        Attribute(
            "person_extent", persons.EXTENTS, _of("person", lambda k, o: persons.person_extent(k.points, k.visible))
        ),
        Attribute("person_posture", persons.POSTURES, _of("person", lambda k, o: persons.person_posture(k.points))),
        Attribute("voc_pose", pascal.VOC_POSES, lambda o: pascal.voc_pose(o.annotation)),
        Attribute("voc_truncated", pascal.VOC_TRUNCATED, lambda o: pascal.voc_truncated(o.annotation)),
        Attribute("azimuth", YAW_8, lambda o: pascal.azimuth(o.annotation, where=o.where)),
        Attribute("elevation", ELEVATIONS, lambda o: pascal.elevation(o.annotation, where=o.where)),
    )
}


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of `ATTRIBUTES`, each once, at least one; `InputError` otherwise."""
    unknown = [name for name in names if name not in ATTRIBUTES]
    if unknown or not names:
        raise InputError(f"attributes: got {', '.join(unknown) or 'none'}, expected some of {', '.join(ATTRIBUTES)}")
    return tuple(dict.fromkeys(names))


def annotation_attributes(
    annotation: Mapping[str, Any],
    box_xyxy_px: BoxXyxyPx,
    mask: np.ndarray | None,
    width: int,
    height: int,
    category: str,
    *,
    names: Sequence[str] = tuple(ATTRIBUTES),
    where: str = "annotation",
) -> dict[str, str]:
    """The attributes of one object that its annotation tells; what is unknown is left out.

    Args:
      annotation: fields of the annotation (`keypoints` with `keypoint_names`, `pose`, `azimuth_deg`, ...), as
        `AnnotatedObject.attributes` and `CutoutSet.attributes` carry them.
      box_xyxy_px: the object's rectangle in its photograph.
      mask: bool, of the rectangle's size or of the photograph's; None where the object has none.
      width, height: of the photograph in pixels; 0 where unknown.
      category: name of the object's category.
      names: attributes to read, names of `ATTRIBUTES`.
      where: what a message calls the annotation.

    Returns:
      Attribute name -> value name, in the order of `names`.

    Raises:
      InputError: a mask of another size, keypoints that are none or lie outside the photograph, an unknown name.

    Source: each attribute's own function.
    """
    x0, y0, x1, y1 = box_xyxy_px
    if mask is not None and mask.shape != (y1 - y0, x1 - x0):
        if mask.shape != (height, width):
            raise InputError(
                f"{where}: mask of {' x '.join(map(str, mask.shape[::-1]))} px, expected {x1 - x0} x {y1 - y0} px (the "
                f"rectangle) or {width} x {height} px (the photograph)"
            )
        mask = mask[y0:y1, x0:x1]
    keypoints = read_keypoints(annotation, category, width, height, where=where) if width else None
    entry = _Object(annotation, box_xyxy_px, (width, height), mask, keypoints, where)
    values = {name: ATTRIBUTES[name].read(entry) for name in check_names(names)}
    return {name: value for name, value in values.items() if value is not None}


def cutout_attributes(
    cutouts: CutoutSet,
    names: Sequence[str] = tuple(ATTRIBUTES),
    *,
    defects: Defects | None = None,
    progress: bool = True,
) -> list[dict[str, str]]:
    """`annotation_attributes` of each cut-out of a finished extraction, [n]; pictures are read only for masks.

    Args:
      cutouts: n of them.
      names: attributes to read.
      defects: takes what is wrong with an annotation, whose attributes are then unknown; raised at once by default.
      progress: show a bar.

    Raises:
      InputError: as `annotation_attributes`, naming the cut-out.
    """
    defects = Defects(skip=False) if defects is None else defects
    columns = [cutouts.column(name) for name in ("box_xyxy_px", "frame_width_px", "frame_height_px", "category", "id")]
    rows = list(zip(cutouts.attributes(), *columns, strict=True))
    found: list[dict[str, str]] = [{}] * len(rows)

    def read(index: int, mask: np.ndarray | None) -> None:
        annotation, box, width, height, category, name = rows[index]
        try:
            found[index] = annotation_attributes(
                annotation, tuple(box), mask, width, height, category, names=names, where=f"cut-out {name}"
            )
        except InputError as error:
            defects.add("defective attributes", error)

    with tqdm(desc="attributes", unit=" cut-outs", total=len(rows), disable=not progress) as bar:
        if any(ATTRIBUTES[name].uses_mask for name in check_names(names)):
            for index, rgba in cutouts.pictures():
                read(index, rgba[..., 3] >= 128)
                bar.update()
        else:
            for index in range(len(rows)):
                read(index, None)
                bar.update()
    return found
