"""TFDS builder of a benchmark from photographs whose patterns people verified or annotations tell.

It needs no TensorFlow.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from fos_jax.boxes import box_xyxy_px_to_yxyx_norm
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.datasets.builders import (
    FOREGROUNDS,
    QUERIES,
    LocalBuilder,
    foreground_features,
    manual_folder,
    query_features,
)
from fos_jax.datasets.fos_patterns import data_card, layout
from fos_jax.datasets.fos_patterns.benchmark import SIZES, SPLITS, Benchmark, query_picture, stored_cutout
from fos_jax.images import encode_png


class Builder(LocalBuilder, tfds.core.GeneratorBasedBuilder):
    """Configs `{tight,jittered}_{foregrounds,queries}`, splits train, validation and test."""

    # TFDS would look below fos_jax/datasets, which an editable installation maps elsewhere.
    pkg_dir_path = epath.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir holds cutouts/ (fos cutouts), verified.json (fos verify --export) or annotated.json "
        "(fos dataset build --from) and, where they were moved since, the photographs in images/; see README.md beside "
        "this builder."
    )
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=f"{size}_{kind}") for size in SIZES for kind in (FOREGROUNDS, QUERIES)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        category = tfds.features.ClassLabel()  # its names are data
        features = foreground_features(category) if self._kind == FOREGROUNDS else query_features(category)
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        manual_dir = manual_folder(dl_manager, expected="one with cutouts/ and verified.json or annotated.json")
        plan = layout.plan(manual_dir, SIZES[self._size])
        cutouts, labels, _ = layout.read_inputs(manual_dir)
        self.info.features["category"].names = list(plan.table.categories)
        folder = Path(self.data_dir)
        card = data_card.card(plan, cutouts, labels)
        (folder / "patterns.json").write_text(plan.table.to_json(), encoding="utf-8")
        (folder / "data_card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        (folder / "DATA_CARD.md").write_text(data_card.markdown(card), encoding="utf-8")
        return {split: self._generate_examples(plan, cutouts, split) for split in SPLITS}

    def _foregrounds(self, plan: Benchmark, cutouts: CutoutSet, split: str) -> Iterator[dict[str, Any]]:
        entry_of = {entry.index: entry for entry in plan.of_split(split) if entry.has_cutout}
        for index, rgba in cutouts.pictures(sorted(entry_of)):
            entry = entry_of[index]
            yield {
                "id": entry.id,
                "image": encode_png(stored_cutout(rgba, plan.settings.cutout_side_px)),
                "category": entry.category,
                "pattern": entry.pattern,
                "source_id": entry.source_id,
                "licence": entry.licence,
            }

    def _queries(self, plan: Benchmark, cutouts: CutoutSet, split: str) -> Iterator[dict[str, Any]]:
        for entry in plan.of_split(split):
            if not entry.photograph:
                continue
            rgb, box, (width, height) = query_picture(entry, plan)
            y0, x0, y1, x1 = map(float, box_xyxy_px_to_yxyx_norm(box, width, height))
            yield {
                "id": entry.id,
                "image": encode_png(rgb),
                "box": tfds.features.BBox(ymin=y0, xmin=x0, ymax=y1, xmax=x1),
                "category": entry.category,
                "foreground_id": entry.id if entry.has_cutout else "",
                "patterns": np.flatnonzero(plan.is_compatible[entry.pattern]).tolist(),
                "relevant_foregrounds": [],
            }
