"""Measure what a query image of fos_synthetic tells about each attribute of its patterns.

  fos probe --size=full --data_dir=data --output=datasets/fos_synthetic

And whether what must tell nothing does: the rectangle, camera jitter and the places of bystanders.
"""

import json
import sys
import time
from pathlib import Path

from absl import flags

from fos_jax.program import run_program

_SIZE = flags.DEFINE_enum("size", "full", ["mini", "demo", "full"], "Size of the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder that data sets were built in.")
_OUTPUT = flags.DEFINE_string("output", "runs/probe", "Folder for PROBES.md and probes.json.")
_STEPS = flags.DEFINE_integer("steps", 4000, "Training steps of the image probe.", lower_bound=1)
_IMAGE_PX = flags.DEFINE_integer("image_px", 96, "Side of the image probe's input in pixels.", lower_bound=16)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the probes.")
_SCENES = flags.DEFINE_integer("scenes", 4000, "Scenes per category to probe what must tell nothing.", lower_bound=64)


def main() -> None:
    from fos_jax.experiments.probe_report import markdown, run_probes
    from fos_jax.run_metadata import commit, describe_machine

    start = time.monotonic()
    report = run_probes(
        _SIZE.value,
        _DATA_DIR.value,
        steps=_STEPS.value,
        image_px=_IMAGE_PX.value,
        seed=_SEED.value,
        num_scenes=_SCENES.value,
    )
    report |= {
        "command": " ".join(["fos probe", *sys.argv[1:]]),
        "commit": commit() or "unknown",
        "seed": _SEED.value,
        "steps": _STEPS.value,
        "image_px": _IMAGE_PX.value,
        "hardware": describe_machine(),
        "seconds": time.monotonic() - start,
    }
    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    (output / "probes.json").write_text(json.dumps(report, indent=1) + "\n")
    (output / "PROBES.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    run_program(main)
