"""Annotated photographs as their readers yield them, whatever the format on disk.

Every record can be written as JSON, so that work can be planned in one process and done in another.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fos_jax.boxes import BoxXyxyPx
from fos_jax.errors import InputError

_MAX_MESSAGES = 100
NO_MASK: Mapping[str, Any] = {}  # mask of an object that has none
MASKLESS = ("refuse", "leave_out", "keep")  # what a reader may do with such an object


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object in a photograph, before its pixels are looked at.

    Attributes:
      id: unique within the source.
      category: name of the category, already mapped to the wanted names.
      box_xyxy_px: annotated rectangle; None where the format has none.
      mask: COCO's polygons or run lengths; {"png": path relative to the mask root}, with "index" where each object is
        the pixels of one value; None where the photograph's own alpha channel is the mask; `NO_MASK` for a query that
        nothing can be cut out of, unless a segmenter finds its mask. Not decoded and not yet trusted.
      is_crowd: one annotation for a group of objects.
      attributes: whatever else the annotation says (keypoints, viewpoint, object, flags): JSON values.
      where: file and entry, for messages.
    """

    id: str
    category: str
    box_xyxy_px: BoxXyxyPx | None
    mask: Any
    is_crowd: bool
    attributes: Mapping[str, Any]
    where: str


@dataclasses.dataclass(frozen=True)
class Photograph:
    """One photograph with its objects.

    Attributes:
      id: unique within the source; travels with every cut-out as its source id.
      path: relative to the source's root, checked not to leave it.
      width, height: annotated size in pixels; 0 where the format states none.
      licence: as the source states it, "" where it does not.
      objects: at least one.
      split: as the source states it ("train"), "" where it does not.
    """

    id: str
    path: str
    width: int
    height: int
    licence: str
    objects: tuple[AnnotatedObject, ...]
    split: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Photograph":
        """Reads the result of `to_json`; nothing is checked."""
        objects = tuple(
            AnnotatedObject(**{**entry, "box_xyxy_px": entry["box_xyxy_px"] and tuple(entry["box_xyxy_px"])})
            for entry in raw["objects"]
        )
        return cls(**{**raw, "objects": objects})


class Defects:
    """What was found wrong: raised at once, or counted with the first messages kept.

    Attributes:
      counts: reason -> how often.
      messages: the first hundred, one line each.
    """

    def __init__(self, *, skip: bool):
        self.skip = skip
        self.counts: Counter[str] = Counter()
        self.messages: list[str] = []

    def add(self, reason: str, error: InputError) -> None:
        """Counts the defect, or raises `error` where defects are not to be skipped."""
        if not self.skip:
            raise error
        self.counts[reason] += 1
        if len(self.messages) < _MAX_MESSAGES:
            self.messages.append(str(error))


class PhotographSource(Protocol):
    """One reader of annotated photographs.

    Attributes:
      name: one phrase for manifests.
      root: folder that `Photograph.path` is relative to.
      mask_root: folder that mask files are relative to.
      left_out: reason -> objects that were not wanted (another category), counted while iterating.
      defects: what was wrong, where it is skipped.
    """

    name: str
    root: Path
    mask_root: Path
    left_out: Counter[str]
    defects: Defects

    def __iter__(self) -> Iterator[Photograph]:
        """Photographs with their objects, in an order that is the same each time; memory does not grow with it."""
        ...

    def __len__(self) -> int:
        """How many photographs at most, for progress."""
        ...

    def close(self) -> None:
        """Releases what the reader holds."""
        ...
