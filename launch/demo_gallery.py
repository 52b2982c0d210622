"""Build the demo's gallery and example photographs, rendered again, large enough to look at.

  fos demo gallery --bundle=runs/demo/student/bundle --data_dir=data --size=demo --split=test \\
      --output=runs/demo/gallery --examples=runs/demo/examples

The foregrounds are those of the data set, by id, order and truth. The model sees their pictures scaled down to its own
size, so they are found as the data set's would be.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from fos_jax.launch import cutout_sources
from fos_jax.program import run_program

if TYPE_CHECKING:
    from fos_jax.gallery.sources import CutoutRecord, CutoutSource

flags.adopt_module_key_flags(cutout_sources)
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the gallery.", required=True)
_EXAMPLES = flags.DEFINE_string("examples", None, "Directory of the photographs.", required=True)
_SIDE_PX = flags.DEFINE_integer("side_px", 192, "Longer side of the foregrounds.", 16)


class RenderedCutouts:
    """Foregrounds of a split of `fos_synthetic`, rendered at another size."""

    def __init__(self, source: "CutoutSource", *, split: str, side_px: int):
        self._source, self._split, self._side_px = source, split, side_px
        self.name, self.skipped = source.name, source.skipped

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator["CutoutRecord"]:
        from fos_jax.datasets.fos_synthetic.fos_synthetic_dataset_builder import SEED, example_id
        from fos_jax.scenes.streams import cutout_stream

        records = list(self._source)  # in the data set's order, which is not that of the scenes
        counts = Counter(record.category for record in records)
        rows = cutout_stream(SEED, self._split, counts, size=self._side_px)
        drawn = {example_id(self._split, row["category"], row["index"]): row["image"] for row in rows}
        return (dataclasses.replace(record, rgba=drawn[record.id]) for record in records)


def main() -> None:
    from fos_jax.experiments.demo_examples import write_examples
    from fos_jax.gallery.building import build_gallery

    bundle, path = cutout_sources.load_bundle()
    source = cutout_sources.open_source(bundle, is_reference=False)
    rendered = RenderedCutouts(source, split=flags.FLAGS.split, side_px=_SIDE_PX.value)
    manifest = build_gallery(rendered, bundle, _OUTPUT.value, bundle_path=path, progress=True)
    counts = manifest["built"]["counts"]
    write_examples(Path(_EXAMPLES.value), categories=tuple(counts))
    print(f"{_OUTPUT.value}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))


if __name__ == "__main__":
    run_program(main)
