"""Hard limits on what a search may return."""

import dataclasses
import math
from collections.abc import Collection

import numpy as np

from fos_jax.boxes import BoxXyxyPx
from fos_jax.errors import InputError
from fos_jax.retrieval.gallery import Metadata


@dataclasses.dataclass(frozen=True)
class Filters:
    """What a hit must satisfy; everything passes by default.

    Attributes:
      min_side_px: least extent of the cut-out's longer side.
      max_upscale: most that the cut-out may have to grow to fill the rectangle (fitted with its aspect kept).
      licences: exact names that are allowed.
      aspect_tolerance: the cut-out's width / height may differ from the rectangle's by this factor, 1 or more.
      exclude: ids that must not come.

    Source: design decision, after what users of such systems filter by (rights, resolution, shape).
    """

    min_side_px: int = 0
    max_upscale: float | None = None
    licences: Collection[str] | None = None
    aspect_tolerance: float | None = None
    exclude: Collection[str] = ()

    def __post_init__(self):
        if not self.min_side_px >= 0:
            raise InputError(f"min_side_px: got {self.min_side_px!r}, expected 0 or more")
        if self.max_upscale is not None and not self.max_upscale > 0:
            raise InputError(f"max_upscale: got {self.max_upscale!r}, expected more than 0")
        if self.aspect_tolerance is not None and not self.aspect_tolerance >= 1:
            raise InputError(f"aspect_tolerance: got {self.aspect_tolerance!r}, expected 1 or more")
        for name in ("licences", "exclude"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name}: got one string, expected a collection of them")

    @property
    def is_empty(self) -> bool:
        return self == Filters()

    def allowed(self, metadata: Metadata, rows: np.ndarray, box_xyxy_px: BoxXyxyPx | None) -> np.ndarray:
        """bool [rows]: which rows of the metadata pass; without a rectangle, what compares with it is left out."""
        width, height = metadata.width_px[rows].astype(float), metadata.height_px[rows].astype(float)
        passes = np.maximum(width, height) >= self.min_side_px
        if self.licences is not None:
            passes &= np.isin(metadata.licence[rows], list(self.licences))
        if self.exclude:
            passes &= ~np.isin(metadata.id[rows], list(self.exclude))
        if box_xyxy_px is not None:
            x0, y0, x1, y1 = box_xyxy_px
            if self.max_upscale is not None:
                passes &= np.minimum((x1 - x0) / width, (y1 - y0) / height) <= self.max_upscale
            if self.aspect_tolerance is not None:
                ratio = np.log(width / height) - math.log((x1 - x0) / (y1 - y0))
                passes &= np.abs(ratio) <= math.log(self.aspect_tolerance) + 1e-9
        return passes
