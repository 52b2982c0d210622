"""TFDS builder of S-FOSD and R-FOSD, from a folder that the user prepared; needs no TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from fos_jax.boxes import box_xyxy_px_to_yxyx_norm
from fos_jax.datasets.builders import (
    FOREGROUNDS,
    QUERIES,
    LocalBuilder,
    Problem,
    foreground_features,
    manual_folder,
    query_features,
)
from fos_jax.datasets.fosd import layout
from fos_jax.datasets.fosd.benchmark import BENCHMARKS, SPLITS, Split, read_benchmark, split_benchmark
from fos_jax.datasets.fosd.layout import make_cutout, require_valid
from fos_jax.errors import InputError
from fos_jax.images import encode_png
from fos_jax.pattern_table import PatternTable

LICENCE = "Open Images (photographs CC BY 2.0, annotations CC BY 4.0)"


class Builder(LocalBuilder, tfds.core.GeneratorBasedBuilder):
    """Configs `{sfosd,rfosd}_{foregrounds,queries}`, splits train, validation and test."""

    # TFDS would look below fos_jax/datasets, which an editable installation maps elsewhere.
    pkg_dir_path = epath.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir is FOSD's folder `data` with `train` and `test` in it, after its script has made the images; "
        "see README.md beside this builder."
    )
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=f"{benchmark}_{kind}")
        for benchmark in BENCHMARKS
        for kind in (FOREGROUNDS, QUERIES)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        category = tfds.features.ClassLabel()  # its names are data, as in FOSD's own code: category.json has them
        if self._kind == FOREGROUNDS:
            features = foreground_features(category)
        else:
            labels = ("relevant_foregrounds", "irrelevant_foregrounds")
            features = query_features(category, encoding=None, labels=labels)
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://github.com/bcmi/Foreground-Object-Search-Dataset-FOSD",
            disable_shuffling=True,  # ties in FOSD's rankings go by the annotations' order
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        root = manual_folder(dl_manager, expected="FOSD's folder with train/ and test/")
        problems: list[Problem] = []
        benchmark = read_benchmark(root, self._size, problems.append)
        require_valid(problems, root)
        self.info.features["category"].names = list(benchmark.categories)
        splits = split_benchmark(benchmark)
        for name, split in splits.items():
            if not split.foregrounds or not split.queries:
                raise InputError(
                    f"{root}: split {name} has {len(split.foregrounds)} foregrounds and {len(split.queries)} queries, "
                    "expected some of both"
                )
        table = PatternTable(benchmark.categories, {}, ())  # FOSD labels pairs, not patterns
        (Path(self.data_dir) / "patterns.json").write_text(table.to_json(), encoding="utf-8")
        return {name: self._generate_examples(root, splits[name]) for name in SPLITS}

    def _foregrounds(self, root: Path, split: Split) -> Iterator[dict[str, Any]]:
        for foreground in split.foregrounds:
            yield {
                "id": foreground.id,
                "image": encode_png(make_cutout(root, foreground)),
                "category": foreground.category,
                "pattern": -1,
                "source_id": foreground.source_id,
                "licence": LICENCE,
            }

    def _queries(self, root: Path, split: Split) -> Iterator[dict[str, Any]]:
        for query in split.queries:
            file = query.background.relative_to(root).as_posix()
            width, height = layout.frame_size(query.background, file)
            box = layout.pixel_box(query.box_xyxy_norm, width, height, file)
            y0, x0, y1, x1 = map(float, box_xyxy_px_to_yxyx_norm(box, width, height))
            yield {
                "id": query.id,
                "image": layout.query_bytes(query.background, file),
                "box": tfds.features.BBox(ymin=y0, xmin=x0, ymax=y1, xmax=x1),
                "category": query.category,
                "foreground_id": query.foreground_id,
                "patterns": [],
                "relevant_foregrounds": list(query.relevant),
                "irrelevant_foregrounds": list(query.irrelevant),
            }
