"""The features of every data set's two kinds of examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

FOREGROUNDS, QUERIES = "foregrounds", "queries"


def foreground_features(category: Any, *, side_px: int | None = None) -> tfds.features.FeaturesDict:
    """Of a foreground: `pattern` is -1 where it is unknown; `source_id` names the photograph.

    Args:
      category: a ClassLabel.
      side_px: of the pictures where all are squares of one size.

    Source: design.md section 3.
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

    Source: design.md section 3.
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
