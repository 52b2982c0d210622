"""Photographs in the folder layout of PASCAL VOC, with object masks, poses and, where given, PASCAL3D+'s viewpoints."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from fos_jax.boxes import BoxXyxyPx, box_xywh_px_to_xyxy_px
from fos_jax.cutouts.records import MASKLESS, NO_MASK, AnnotatedObject, Defects, Photograph
from fos_jax.cutouts.sources.reading import brief, check_choice, check_folder, check_inside, check_side_px, check_text
from fos_jax.cutouts.sources.viewpoints import Viewpoint, read_viewpoints
from fos_jax.errors import InputError

_MAX_XML_BYTES = 1 << 20
_FLAGS = ("truncated", "occluded", "difficult")
_MIN_OVERLAP = 0.5


class VocSource:
    """`<folder>/Annotations/*.xml` with `JPEGImages/`, and masks in `SegmentationObject/` where they are.

    In a mask the object of the n-th `object` element is the pixels of value n. Source: the VOC2012 development kit.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        viewpoints: str | Path | None = None,
        maskless: str = "refuse",
        categories: Sequence[str] | None = None,
        category_names: Mapping[str, str] | None = None,
        licence: str = "",
        skip_defects: bool = False,
    ):
        """Lists the annotation files without reading them.

        Args:
          folder: such as VOCdevkit/VOC2012.
          viewpoints: PASCAL3D+'s folder Annotations, whose `<class>_pascal/<photograph>.mat` add azimuth and elevation.
          maskless: as of `CocoSource`.
          categories, category_names, licence, skip_defects: as of `CocoSource`.

        Raises:
          InputError: no such folder, or no annotation in it. While iterating, unless skipped: an XML file that is
            none, lacks a field, or has a rectangle outside its photograph; a viewpoint file that is none.
        """
        self.name = f"PASCAL VOC folder {folder}"
        root = check_folder(folder, where="folder")
        self._annotations = check_folder(root / "Annotations", where="folder")
        self.root = check_folder(root / "JPEGImages", where="folder")
        self.mask_root = root / "SegmentationObject"
        self._viewpoints = None if viewpoints is None else check_folder(viewpoints, where="viewpoints")
        self.left_out: Counter[str] = Counter()
        self.defects = Defects(skip=skip_defects)
        self._maskless = check_choice(maskless, MASKLESS, where="maskless")
        self._wanted = None if categories is None else set(categories)
        self._names, self._licence = dict(category_names or {}), licence
        self._files = sorted(self._annotations.glob("*.xml"))
        if not self._files:
            raise InputError(f"{self._annotations}: no annotation found, expected *.xml")

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Photograph]:
        self.left_out.clear()
        self.defects = Defects(skip=self.defects.skip)
        for path in self._files:
            try:
                photograph = self._photograph(path)
            except InputError as error:
                self.defects.add("defective annotation", error)
                continue
            if photograph.objects:
                yield photograph

    def close(self) -> None:
        """Nothing to release."""

    def _photograph(self, path: Path) -> Photograph:
        tree = _parse(path)
        width = check_side_px(_number(tree, "size/width", path), where=f"{path}: size/width")
        height = check_side_px(_number(tree, "size/height", path), where=f"{path}: size/height")
        name = check_text(tree.findtext("filename") or f"{path.stem}.jpg", where=f"{path}: filename")
        mask = self.mask_root / f"{path.stem}.png"
        views: dict[str, list[Viewpoint]] = {}
        objects = []
        for number, element in enumerate(tree.findall("object"), 1):
            where = f"{path}: object[{number}]"
            theirs = check_text((element.findtext("name") or "").strip(), where=f"{where}.name")
            category = self._names.get(theirs, theirs)
            if self._wanted is not None and category not in self._wanted:
                self.left_out["other category"] += 1
                continue
            box = _box(element, width, height, where)
            fields: dict[str, Any] = {"pose": element.findtext("pose") or "Unspecified"}
            fields |= {flag: element.findtext(flag) for flag in _FLAGS if element.findtext(flag) is not None}
            if self._viewpoints is not None:
                if theirs not in views:
                    views[theirs] = read_viewpoints(self._viewpoints / f"{theirs}_pascal" / f"{path.stem}.mat", theirs)
                fields |= _viewpoint_of(box, views[theirs])
            if not mask.is_file():
                if self._maskless == "leave_out":
                    self.left_out["no mask"] += 1
                    continue
                if self._maskless == "refuse":
                    raise InputError(f"{mask}: is missing, expected the masks of {path.name}")
            objects.append(
                AnnotatedObject(
                    id=f"{path.stem}/{number}",
                    category=category,
                    box_xyxy_px=box,
                    mask={"png": mask.name, "index": number} if mask.is_file() else NO_MASK,
                    is_crowd=False,
                    attributes=fields,
                    where=where,
                )
            )
        relative = check_inside(self.root, name, where=f"{path}: filename")
        return Photograph(path.stem, relative, width, height, self._licence, tuple(objects))


def _parse(path: Path) -> ElementTree.Element:
    try:
        data = path.read_bytes()
        if len(data) > _MAX_XML_BYTES or b"<!" in data:
            # A document type can define entities that grow without end; VOC's files have none.
            raise InputError(f"{path}: larger than {_MAX_XML_BYTES:,} bytes or with a document type")
        return ElementTree.fromstring(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not XML ({' '.join(str(error).split())})") from None


def _number(element: ElementTree.Element, name: str, where: Any) -> float:
    text = element.findtext(name)
    try:
        return float(text or "")
    except ValueError:
        raise InputError(f"{where}: {name} is {brief(text)}, expected a number") from None


def _box(element: ElementTree.Element, width: int, height: int, where: str) -> BoxXyxyPx:
    """VOC counts pixels from 1 and the last one is inside."""
    x0, y0, x1, y1 = (_number(element, f"bndbox/{name}", where) for name in ("xmin", "ymin", "xmax", "ymax"))
    return box_xywh_px_to_xyxy_px((x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1), width, height, where=f"{where}.bndbox")


def _viewpoint_of(box: BoxXyxyPx, viewpoints: Sequence[Viewpoint]) -> dict[str, float]:
    """The viewpoint whose rectangle is the object's, as fields of the annotation."""
    best = max(viewpoints, key=lambda view: _overlap(box, view.box_xyxy_px), default=None)
    if best is None or _overlap(box, best.box_xyxy_px) < _MIN_OVERLAP:
        return {}
    return {"azimuth_deg": best.azimuth_deg, "elevation_deg": best.elevation_deg}


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - shared
    return shared / union if union > 0 else 0.0
