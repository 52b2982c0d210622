"""Proposed patterns on disk: written by grouping or from annotations, read by verification.

One Parquet file, `proposals.parquet`, written aside and renamed. One row per cut-out:

    cutout_id    string   id in the extraction's index
    category     string
    group        int64    number of the proposed group, unique over all categories; -1 for an outlier of its category
    confidence   float32  0..1, how much closer the member is to its own group than to the next; 0 for an outlier
    is_outlier   bool     group == -1

The schema's metadata holds JSON under the key `fos_jax`: `format_version`, `cutouts` (fingerprint of the cut-out set),
`config` (how it was grouped), and `groups`: a list of {`group`, `category`, `size`, `confidence` (mean),
`representatives` (up to five ids, the most confident first), `attributes` (name -> value, where annotations tell
them)}, ordered by category and falling size.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fos_jax.errors import InputError
from fos_jax.files import published_file
from fos_jax.patterns.grouping import OUTLIER, combine, group_rows

FORMAT_VERSION = 1
_REPRESENTATIVES = 5
_SCHEMA = pa.schema(
    [
        ("cutout_id", pa.string()),
        ("category", pa.string()),
        ("group", pa.int64()),
        ("confidence", pa.float32()),
        ("is_outlier", pa.bool_()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Proposals:
    """Proposed patterns of n cut-outs.

    Attributes:
      cutout_ids: [n].
      categories: [n].
      group: int64 [n], -1 for outliers; no group spans two categories.
      confidence: float32 [n].
      cutouts: fingerprint of the cut-out set.
      config: how it was grouped, JSON values.
      attributes: group -> attribute name -> value, of groups that were made from annotations.
    """

    cutout_ids: tuple[str, ...]
    categories: tuple[str, ...]
    group: np.ndarray
    confidence: np.ndarray
    cutouts: str
    config: Mapping[str, Any]
    attributes: Mapping[int, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def groups(self) -> list[dict[str, Any]]:
        """The list of groups, as in the file's metadata."""
        result = []
        order = np.lexsort((-self.confidence, self.group))
        for members in np.split(order, np.flatnonzero(np.diff(self.group[order])) + 1):
            if members.size and self.group[members[0]] != OUTLIER:
                result.append(
                    {
                        "group": int(self.group[members[0]]),
                        "category": self.categories[members[0]],
                        "size": int(members.size),
                        "confidence": round(float(self.confidence[members].mean()), 4),
                        "representatives": [self.cutout_ids[i] for i in members[:_REPRESENTATIVES]],
                        "attributes": dict(self.attributes.get(int(self.group[members[0]]), {})),
                    }
                )
        return sorted(result, key=lambda entry: (entry["category"], -entry["size"], entry["group"]))


def propose(
    cutout_ids: Sequence[str],
    categories: Sequence[str],
    blocks: Mapping[str, np.ndarray],
    config: Any,
    *,
    cutouts: str = "",
) -> Proposals:
    """Groups cut-outs category by category.

    Args:
      cutout_ids, categories: [n].
      blocks: as `descriptors.describe` makes them, [n, width] each.
      config: as `grouping.default_config` makes it.
      cutouts: fingerprint of the cut-out set.
    """
    names = np.array(categories, object)
    group = np.full(len(names), OUTLIER, np.int64)
    confidence = np.zeros(len(names), np.float32)
    first = 0
    for category in sorted(set(categories)):
        rows = np.flatnonzero(names == category)
        features = combine(
            {name: block[rows] for name, block in blocks.items()}, config.weights, components=config.components
        )
        found = group_rows(features, config)
        group[rows] = np.where(found.group >= 0, found.group + first, OUTLIER)
        confidence[rows] = found.confidence
        first += int(found.group.max(initial=OUTLIER)) + 1
    settings = json.loads(config.to_json()) | {"blocks": list(blocks)}
    return Proposals(tuple(cutout_ids), tuple(categories), group, confidence, cutouts, settings)


def write_proposals(path: str | Path, proposals: Proposals) -> None:
    """Writes the file; see the top of the module."""
    metadata = {
        "format_version": FORMAT_VERSION,
        "cutouts": proposals.cutouts,
        "config": dict(proposals.config),
        "groups": proposals.groups(),
    }
    table = pa.table(
        {
            "cutout_id": proposals.cutout_ids,
            "category": proposals.categories,
            "group": proposals.group,
            "confidence": proposals.confidence,
            "is_outlier": proposals.group == OUTLIER,
        },
        schema=_SCHEMA.with_metadata({"fos_jax": json.dumps(metadata)}),
    )
    with published_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_proposals(path: str | Path) -> Proposals:
    """Reads the file.

    Raises:
      InputError: not such a file, or one that contradicts itself.
    """
    try:
        table = pq.read_table(path)
        metadata = json.loads(table.schema.metadata[b"fos_jax"])
        if metadata["format_version"] != FORMAT_VERSION or not table.schema.equals(_SCHEMA):
            raise InputError(f"{path}: not proposals of format {FORMAT_VERSION}")
        proposals = Proposals(
            cutout_ids=tuple(table["cutout_id"].to_pylist()),
            categories=tuple(table["category"].to_pylist()),
            group=table["group"].to_numpy(),
            confidence=table["confidence"].to_numpy(),
            cutouts=str(metadata["cutouts"]),
            config=dict(metadata["config"]),
            attributes={
                int(entry["group"]): {str(name): str(value) for name, value in entry["attributes"].items()}
                for entry in metadata["groups"]
                if entry.get("attributes")
            },
        )
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as proposals ({' '.join(str(error).split())})") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a file of proposals ({type(error).__name__})") from None
    if len(set(proposals.cutout_ids)) != len(proposals.cutout_ids):
        raise InputError(f"{path}: cutout_id: some are there twice")
    pairs = {(g, c) for g, c in zip(proposals.group.tolist(), proposals.categories, strict=True) if g != OUTLIER}
    if len(pairs) != len({g for g, _ in pairs}):
        raise InputError(f"{path}: group: one spans two categories")
    return proposals
