"""Probes a built fos_synthetic: what the query image says about each attribute, and what must not say anything.

Example: python -m fos_jax.launch.probe --size=full --data_dir=data --output=datasets/fos_synthetic
"""

import json
import sys
import time
from pathlib import Path

from absl import flags
from tqdm import tqdm

from fos_jax.errors import InputError
from fos_jax.experiments import probes
from fos_jax.experiments.probe_report import markdown, probe_rows
from fos_jax.program import run_program
from fos_jax.run_metadata import commit, describe_machine

_SIZE = flags.DEFINE_string("size", "full", "Size of the data set: mini, demo or full.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "TFDS data directory.")
_OUTPUT = flags.DEFINE_string("output", "runs/probe", "Directory for PROBES.md and probes.json.")
_STEPS = flags.DEFINE_integer("steps", 4000, "Training steps of the image probe.", lower_bound=1)
_IMAGE_PX = flags.DEFINE_integer("image_px", 96, "Side of the probe's input.", lower_bound=16)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the probes.")
_SCENES = flags.DEFINE_integer("scenes", 4000, "Scenes of each category for the nuisance probes.", lower_bound=64)


def probe(size: str, data_dir: str, *, steps: int, image_px: int, seed: int, num_scenes: int) -> dict:
    """Runs every probe on a built data set; accuracies are fractions."""
    from fos_jax.data.splits import load_split

    data = {}
    for split in ("train", "test"):
        _, queries, table = load_split(data_dir, size=size, split=split, foreground_size=64, query_size=image_px)
        data[split] = probes.ProbeData(queries.image, queries.box_yxyx_norm, queries.category, queries.is_compatible)
    with tqdm(total=steps, desc="image probe", unit="step") as bar:
        predict = probes.train_probe(
            table, data["train"], steps=steps, seed=seed, on_step=lambda step, _: bar.update(step - bar.n)
        )
        bar.update(steps - bar.n)
    logs = predict(data["test"])
    rows = probe_rows(table, data["train"], data["test"], logs, num_scenes=num_scenes, seed=seed)
    of_categories = tqdm(rows, total=len(table.categories), desc="other probes", unit="category")
    return {
        "rows": [row for rows in of_categories for row in rows],
        "train_queries": len(data["train"].category),
        "test_queries": len(data["test"].category),
    }


def main() -> None:
    if _SIZE.value not in ("mini", "demo", "full"):
        raise InputError(f"size: unknown {_SIZE.value!r}, expected mini, demo or full")
    start = time.monotonic()
    report = probe(
        _SIZE.value,
        _DATA_DIR.value,
        steps=_STEPS.value,
        image_px=_IMAGE_PX.value,
        seed=_SEED.value,
        num_scenes=_SCENES.value,
    )
    report |= {
        "command": " ".join(["python -m fos_jax.launch.probe", *sys.argv[1:]]),
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


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
