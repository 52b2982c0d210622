"""fos_synthetic: a procedurally rendered benchmark of foreground object search."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from fos_jax.datasets.builders import FOREGROUNDS, QUERIES, LocalBuilder, foreground_features, query_features
from fos_jax.scenes.attributes import CATEGORIES, pattern_rows, pattern_table
from fos_jax.scenes.streams import SPLITS, cutout_stream, query_stream

SEED = 1
LICENCE = "Apache-2.0"
QUERY_PX = 128
FOREGROUND_PX = 64
QUERY_SAMPLES = 1
FOREGROUND_SAMPLES = 2


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of the world a config holds.

    Attributes:
      categories: in the order of the class ids.
      queries: split -> queries of each category; each has its own object among the foregrounds.
      extra_foregrounds: split -> further foregrounds of each category.
    """

    categories: tuple[str, ...]
    queries: Mapping[str, int]
    extra_foregrounds: Mapping[str, int]

    def num_foregrounds(self, split: str) -> int:
        """Foregrounds of each category."""
        return self.queries[split] + self.extra_foregrounds[split]


SIZES = {
    "mini": Size(
        ("car", "bottle"),
        {"train": 64, "validation": 32, "test": 32},
        {"train": 0, "validation": 0, "test": 32},
    ),
    "demo": Size(
        ("car", "chair", "person"),
        {"train": 1200, "validation": 64, "test": 112},
        {"train": 0, "validation": 64, "test": 388},
    ),
    "full": Size(
        CATEGORIES,
        {"train": 4000, "validation": 200, "test": 300},
        {"train": 0, "validation": 300, "test": 800},
    ),
}


def example_id(split: str, category: str, index: int) -> str:
    """Name of an object, shared by a query and its own foreground."""
    return f"{split}-{category}-{index:06d}"


class Builder(LocalBuilder, tfds.core.GeneratorBasedBuilder):
    """Scenes rendered by `fos_jax.scenes`: queries without their object, cut-outs, pattern truth."""

    # TFDS would look below fos_jax/datasets, which an editable installation maps elsewhere.
    pkg_dir_path = epath.Path(__file__).parent
    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar = {
        "1.2.0": "Another seed: splits not looked at while the scenes were shaped. Size mini was called tiny before; "
        "its contents are unchanged.",
        "1.1.0": "Light and chairs easier to read: lower sun, stronger contrast, nearer bystanders, more tables.",
        "1.0.0": "Eight categories; sizes mini, demo and full.",
    }
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=f"{size}_{kind}", description=f"{kind} of the {size} size")
        for size in SIZES
        for kind in (FOREGROUNDS, QUERIES)
    ]

    @property
    def size(self) -> Size:
        """What this config holds."""
        return SIZES[self._size]

    def _info(self) -> tfds.core.DatasetInfo:
        category = tfds.features.ClassLabel(names=list(self.size.categories))
        if self._kind == FOREGROUNDS:
            features = foreground_features(category, side_px=FOREGROUND_PX)
        else:
            features = query_features(category, side_px=QUERY_PX)
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager) -> dict[str, Iterator[dict[str, Any]]]:
        (self.data_path / "patterns.json").write_text(self._table().to_json())
        return {split: self._generate_examples(split) for split in SPLITS}

    def _table(self):
        """The pattern table with counts: scene i of a category has pattern i modulo the number of its patterns."""
        counts = {}
        for category in self.size.categories:
            rows = len(pattern_rows(category))
            for i in range(rows):
                counts[category, i] = {s: len(range(i, self.size.num_foregrounds(s), rows)) for s in SPLITS}
        return pattern_table(self.size.categories, counts=counts)

    def _first_pattern(self, category: str) -> int:
        before = self.size.categories[: self.size.categories.index(category)]
        return sum(len(pattern_rows(c)) for c in before)

    def _foregrounds(self, split: str) -> Iterator[dict[str, Any]]:
        counts = {c: self.size.num_foregrounds(split) for c in self.size.categories}
        for row in cutout_stream(SEED, split, counts, size=FOREGROUND_PX, samples=FOREGROUND_SAMPLES):
            name = example_id(split, row["category"], row["index"])
            yield {
                "id": name,
                "image": png(row["image"]),
                "category": row["category"],
                "pattern": self._first_pattern(row["category"]) + int(row["pattern"]),
                "source_id": name,
                "licence": LICENCE,
            }

    def _queries(self, split: str) -> Iterator[dict[str, Any]]:
        counts = dict.fromkeys(self.size.categories, self.size.queries[split])
        for row in query_stream(SEED, split, counts, size=QUERY_PX, samples=QUERY_SAMPLES):
            name = example_id(split, row["category"], row["index"])
            first = self._first_pattern(row["category"])
            yield {
                "id": name,
                "image": png(row["image"]),
                "box": tfds.features.BBox(*(float(v) for v in row["box_yxyx_norm"])),
                "category": row["category"],
                "foreground_id": name,
                "patterns": [first + int(i) for i in np.flatnonzero(row["compatible"])],
                "relevant_foregrounds": [],
            }


def png(image: np.ndarray) -> bytes:
    """PNG bytes of uint8 [h, w, 3 or 4] RGB(A); the same bytes for the same pixels."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[-1] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(".png", cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes()
