"""What every data set becomes before training, evaluation or search: aligned arrays."""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Foregrounds:
    """n foregrounds of one split, at one size.

    Attributes:
      ids: str [n].
      image: uint8 [n, S, S, 4], RGBA cut-outs as `images.prepare_cutout` leaves them (matted on the mean colour).
      category: int32 [n].
      pattern: int32 [n], -1 where unknown.
    """

    ids: np.ndarray
    image: np.ndarray
    category: np.ndarray
    pattern: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Queries:
    """n queries of one split, at one size.

    Attributes:
      ids: str [n].
      image: uint8 [n, S, S, 3], backgrounds as `images.prepare_query` leaves them; the rectangle is filled by the
        model's input step (`encoders.inputs`), so that a jittered rectangle is filled where it lies.
      box_yxyx_norm: float32 [n, 4], rectangle in fractions of the S x S image.
      category: int32 [n].
      is_compatible: bool [n, P], the patterns that fit.
      foreground_index: int32 [n], the original object's row in the same split's `Foregrounds`, -1 where there is none.
    """

    ids: np.ndarray
    image: np.ndarray
    box_yxyx_norm: np.ndarray
    category: np.ndarray
    is_compatible: np.ndarray
    foreground_index: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def fingerprint(split: Foregrounds | Queries) -> str:
    """Hex digest of all arrays of a split; caches that depend on the data are keyed by it. Source: design decision."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(split):
        array = np.ascontiguousarray(getattr(split, field.name))
        digest.update(f"{field.name} {array.dtype} {array.shape}".encode())
        digest.update(array.view(np.uint8).reshape(-1) if array.size else b"")
    return digest.hexdigest()[:16]
