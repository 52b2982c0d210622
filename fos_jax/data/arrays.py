"""Aligned arrays: the form of every data set in training, evaluation and search."""

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
class Pairs:
    """For each of n queries a list of foregrounds; all lists lie end to end, so that n x m labels are never spread out.

    Attributes:
      offsets: int64 [n + 1]; query i's list is rows[offsets[i] : offsets[i + 1]].
      rows: int32, rows of the same split's `Foregrounds`.
    """

    offsets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, query: int) -> np.ndarray:
        """int32: the rows of one query's foregrounds."""
        return self.rows[self.offsets[query] : self.offsets[query + 1]]

    def is_pair(self, queries: np.ndarray, foregrounds: np.ndarray) -> np.ndarray:
        """bool [q, g]: whether the queries of rows int [q] list the foregrounds of rows int [g]."""
        column = np.full(max(foregrounds.max(initial=-1), self.rows.max(initial=-1)) + 1, -1)
        column[foregrounds] = np.arange(len(foregrounds))
        out = np.zeros((len(queries), len(foregrounds)), bool)
        for i, query in enumerate(queries):
            columns = column[self.of(query)]
            out[i, columns[columns >= 0]] = True
        return out


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
      relevant: foregrounds labelled as fitting, beside those of compatible patterns; None where patterns say it all.
      irrelevant: foregrounds labelled as not fitting; what is in neither list was judged by nobody.
    """

    ids: np.ndarray
    image: np.ndarray
    box_yxyx_norm: np.ndarray
    category: np.ndarray
    is_compatible: np.ndarray
    foreground_index: np.ndarray
    relevant: Pairs | None = None
    irrelevant: Pairs | None = None

    def __len__(self) -> int:
        return len(self.ids)


def fingerprint(split: Foregrounds | Queries) -> str:
    """Hex digest of all arrays of a split; caches that depend on the data are keyed by it. Source: decision 17."""
    digest = hashlib.sha256()
    arrays: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(split):
        value = getattr(split, field.name)
        if isinstance(value, Pairs):
            arrays |= {f"{field.name}.offsets": value.offsets, f"{field.name}.rows": value.rows}
        elif value is not None:
            arrays[field.name] = value
    for name, value in arrays.items():
        array = np.ascontiguousarray(value)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
