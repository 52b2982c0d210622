"""Parts of all builders: the features of both kinds of examples, and problems of a manual directory."""

import dataclasses
import reprlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fos_jax.errors import InputError

FOREGROUNDS, QUERIES = "foregrounds", "queries"


def foreground_features(category: Any, *, side_px: int | None = None) -> tfds.features.FeaturesDict:
    """Of a foreground: `pattern` is -1 where it is unknown; `source_id` names the photograph.

    Args:
      category: a ClassLabel.
      side_px: of the pictures where all are squares of one size.
    """
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(side_px, side_px, 4), encoding_format="png"),
            "category": category,
            "pattern": tfds.features.Scalar(dtype=np.int64),
            "source_id": tfds.features.Text(),
            "licence": tfds.features.Text(),
        }
    )


def query_features(
    category: Any,
    *,
    side_px: int | None = None,
    encoding: str | None = "png",
    labels: Sequence[str] = ("relevant_foregrounds",),
) -> tfds.features.FeaturesDict:
    """Of a query: `patterns` are those that fit, `foreground_id` is the object that stood there, "" where none did.

    Args:
      category: a ClassLabel.
      side_px: of the pictures where all are squares of one size.
      encoding: of the pictures; None where it differs.
      labels: names of the lists of foreground ids, for data sets labelled by pairs.
    """
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(side_px, side_px, 3), encoding_format=encoding),
            "box": tfds.features.BBoxFeature(),
            "category": category,
            "foreground_id": tfds.features.Text(),
            "patterns": tfds.features.Sequence(tfds.features.Scalar(dtype=np.int64)),
            **{name: tfds.features.Sequence(tfds.features.Text()) for name in labels},
        }
    )


class LocalBuilder:
    """Base of the builders beside `GeneratorBasedBuilder`: configs `<size>_foregrounds` and `<size>_queries`.

    A builder has `_foregrounds` and `_queries`, which yield the examples of a split from the arguments that its
    `_split_generators` gives to `_generate_examples`.
    """

    builder_config: tfds.core.BuilderConfig

    @property
    def _size(self) -> str:
        return self.builder_config.name.split("_")[0]

    @property
    def _kind(self) -> str:
        return self.builder_config.name.split("_")[1]

    def dataset_info_from_configs(self, **fields: Any) -> tfds.core.DatasetInfo:
        """As TFDS makes it, but never sought in TFDS's bucket: that needs a network and leaves a temporary folder."""
        info = super().dataset_info_from_configs(**fields)  # type: ignore[misc]
        info.initialize_from_bucket = lambda: None
        return info

    def _generate_examples(self, *args: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        examples = getattr(self, f"_{self._kind}")(*args)
        return ((example["id"], example) for example in examples)


def manual_folder(dl_manager: tfds.download.DownloadManager, *, expected: str) -> Path:
    """The manual directory; `InputError` where none was given."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:
        raise InputError(f"manual_dir: no such directory, expected {expected}") from None


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One deviation from the layout.

    Attributes:
      file: path below the manual directory.
      key: where in the file: a JSON key, a line, a property; "" for the file itself.
      got: what is there.
      expected: what should be there.
      is_error: whether the data set cannot be built with it; otherwise it is a note.
    """

    file: str
    key: str
    got: str
    expected: str
    is_error: bool = True

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{'' if self.is_error else 'note: '}{where}: got {self.got}, expected {self.expected}"


class LayoutError(InputError):
    """A file that deviates from the layout where the caller can go no further; `problem` says how."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


Report = Callable[[Problem], None]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2


def shown(value: object) -> str:
    """A short, one-line, printable form of any value that a file may hold."""
    if isinstance(value, int | float):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"
    # A lone surrogate is legal in JSON and cannot be printed.
    return _SHORT.repr(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", " ")
