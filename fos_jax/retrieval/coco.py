"""Cut-outs and queries from photographs with COCO annotations, for galleries."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fos_jax.boxes import BoxXyxyPx
from fos_jax.cutouts.cutting import cut_objects
from fos_jax.cutouts.records import AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.errors import InputError
from fos_jax.images import MAX_PIXELS
from fos_jax.retrieval.cutouts import CutoutRecord


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """One annotated object: what a query needs of it.

    Attributes:
      id: `<stem of the photograph>/<annotation id>`.
      path: the photograph.
      box_xyxy_px: its rectangle.
      category: the table's name.
    """

    id: str
    path: Path
    box_xyxy_px: BoxXyxyPx
    category: str


class CocoCutouts:
    """Objects cut by their masks from the photographs of a COCO annotation file, photograph by photograph."""

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        *,
        categories: Sequence[str],
        category_names: Mapping[str, str] | None = None,
        min_side_px: int = 32,
        skip_defects: bool = False,
        max_pixels: int = MAX_PIXELS,
    ):
        """Reads and checks the annotation file; photographs are opened while iterating.

        Crowds, categories that are not wanted and objects smaller than `min_side_px` are left out and counted.

        Args:
          annotations: JSON file in COCO's instances format.
          images: folder that the file names in it are relative to.
          categories: names that are wanted.
          category_names: COCO's name -> the wanted name, where they differ.
          min_side_px: shortest long side of a rectangle that is worth a cut-out.
          skip_defects: count defective annotations and photographs instead of raising.
          max_pixels: larger photographs are defects.

        Raises:
          InputError: naming file and field: not COCO, a reference to nothing, a rectangle that is none, a file name
            that leaves the folder, or no object at all. While iterating: a photograph that cannot be read or is not
            of the annotated size, a mask that is none.
        """
        self.name = f"{annotations}"
        self.skipped: Counter[str] = Counter()
        self._max_pixels, self._skip_defects = max_pixels, skip_defects
        source = CocoSource(
            annotations, images, categories=categories, category_names=category_names, skip_defects=skip_defects
        )
        self._root = source.root
        self._photographs: list[Photograph] = []
        for photograph in source:
            usable = tuple(entry for entry in photograph.objects if self._is_usable(entry, min_side_px))
            if usable:
                self._photographs.append(dataclasses.replace(photograph, objects=usable))
        source.close()
        self.skipped += source.left_out + source.defects.counts
        self.objects = [
            CocoObject(entry.id, self._root / photograph.path, entry.box_xyxy_px, entry.category)
            for photograph in self._photographs
            for entry in photograph.objects
            if entry.box_xyxy_px is not None
        ]
        if not self.objects:
            reasons = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items()) or "no annotations"
            raise InputError(f"{annotations}: no usable object ({reasons})")
        self._skipped_at_opening = self.skipped.copy()

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[CutoutRecord]:
        defects = Defects(skip=self._skip_defects)
        for photograph in self._photographs:
            for cutout in cut_objects(photograph, self._root, self._root, defects=defects, max_pixels=self._max_pixels):
                yield CutoutRecord(
                    cutout.id,
                    cutout.category,
                    cutout.rgba,
                    source_id=Path(photograph.path).name,
                    licence=cutout.licence,
                )
            self.skipped.clear()
            self.skipped.update(self._skipped_at_opening + defects.counts)

    def _is_usable(self, entry: AnnotatedObject, min_side_px: int) -> bool:
        if entry.is_crowd:
            self.skipped["crowd"] += 1
            return False
        if entry.box_xyxy_px is not None:
            x0, y0, x1, y1 = entry.box_xyxy_px
            if max(x1 - x0, y1 - y0) < min_side_px:
                self.skipped[f"smaller than {min_side_px} px"] += 1
                return False
        return True
