"""Probes a built fos_synthetic: what the query image says about each attribute, and what must not say anything.

Example: python -m fos_jax.launch.probe --size=full --data_dir=data --output=datasets/fos_synthetic
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags
from fos_jax.launch.program import run_program
from tqdm import tqdm

from fos_jax.errors import InputError

_SIZE = flags.DEFINE_string("size", "full", "Size of the data set: tiny, demo or full.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "TFDS data directory.")
_OUTPUT = flags.DEFINE_string("output", "runs/probe", "Directory for PROBES.md and probes.json.")
_STEPS = flags.DEFINE_integer("steps", 4000, "Training steps of the image probe.", lower_bound=1)
_IMAGE_PX = flags.DEFINE_integer("image_px", 96, "Side of the probe's input.", lower_bound=16)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the probes.")
_SCENES = flags.DEFINE_integer("scenes", 4000, "Scenes of each category for the nuisance probes.", lower_bound=64)

TARGETS = {"light": 0.85}
TARGET = 0.90
MARGIN = 0.05


def probe(size: str, data_dir: str, *, steps: int, image_px: int, seed: int, num_scenes: int) -> dict:
    """Runs every probe; returns the report as a dictionary of fractions."""
    from fos_jax.data.splits import load_split
    from fos_jax.scenes import probes

    data = {}
    for split in ("train", "test"):
        _, queries, table = load_split(data_dir, size=size, split=split, foreground_size=64, query_size=image_px)
        data[split] = probes.ProbeData(queries.image, queries.box_yxyx_norm, queries.category, queries.is_compatible)
    with tqdm(total=steps, desc="image probe", unit="step") as bar:
        predict = probes.train_probe(
            table,
            data["train"],
            steps=steps,
            seed=seed,
            on_step=lambda i, loss: (bar.update(i - bar.n), bar.set_postfix(loss=f"{loss:.2f}")),
        )
    image_logs = predict(data["test"])
    allowed = {s: probes.allowed_values(table, d.is_compatible) for s, d in data.items()}
    rows = []
    for category in tqdm(table.categories, desc="other probes", unit="category"):
        of = {s: d.category == table.category_id(category) for s, d in data.items()}
        hidden = nuisance(category, num_scenes)
        for name in table.attributes[category]:
            columns = [i for i, key in enumerate(table.attribute_values) if key[:2] == (category, name)]
            train, test = (allowed[s][of[s]][:, columns] for s in ("train", "test"))
            boxes = {s: d.box_yxyx_norm[of[s]] for s, d in data.items()}
            rows.append(
                {
                    "category": category,
                    "attribute": name,
                    "values": len(columns),
                    "test_queries": len(test),
                    "image": probes.balanced_accuracy(image_logs[of["test"]][:, columns].argmax(1), test),
                    "box": probes.balanced_accuracy(
                        probes.tabular_probe(boxes["train"], train, boxes["test"], seed=seed), test
                    ),
                    "chance": probes.chance(test),
                    "target": TARGETS.get(name, TARGET),
                    **{f"nuisance_{k}": v for k, v in nuisance_row(hidden, name, seed).items()},
                }
            )
    return {"rows": rows, "train_queries": len(data["train"].category), "test_queries": len(data["test"].category)}


def nuisance(category: str, num_scenes: int) -> dict:
    """Camera jitter and places of bystanders of scenes that no data set holds, with the values each may have."""
    from fos_jax.scenes import probes, streams
    from fos_jax.scenes.attributes import pattern_table

    table = pattern_table([category])
    out = {}
    for split in ("train", "test"):
        starts = range(0, num_scenes, streams.CHUNK)
        parts = [streams.sample_scenes(12345, split, category, np.arange(s, s + streams.CHUNK)) for s in starts]
        out[split] = {
            "jitter": np.concatenate([np.asarray(p.nuisance) for p in parts]),
            "placed": np.concatenate([np.asarray(p.context.centre).reshape(streams.CHUNK, -1) for p in parts]),
            "allowed": probes.allowed_values(table, np.concatenate([np.asarray(p.compatible) for p in parts])),
        }
    return {"table": table, **out}


def nuisance_row(hidden: dict, name: str, seed: int) -> dict:
    """Accuracy from jitter alone for every attribute; from everything's final places for light and elevation too."""
    from fos_jax.scenes import probes

    table, train, test = hidden["table"], hidden["train"], hidden["test"]
    columns = [i for i, key in enumerate(table.attribute_values) if key[1] == name]
    a, b = train["allowed"][:, columns], test["allowed"][:, columns]
    result = {"chance": probes.chance(b)}
    for kind in ("jitter", "placed") if name in ("light", "elevation") else ("jitter",):
        result[kind] = probes.balanced_accuracy(probes.tabular_probe(train[kind], a, test[kind], seed=seed), b)
    return result


def passes(row: dict) -> bool:
    """Whether a row meets its target and nothing leaks."""
    hidden = [row[k] for k in ("nuisance_jitter", "nuisance_placed") if k in row]
    return row["image"] >= row["target"] and max(hidden) <= row["nuisance_chance"] + MARGIN


def markdown(report: dict) -> str:
    """The report as a page."""
    lines = [
        "# Probes of fos_synthetic",
        "",
        f"`{report['command']}`",
        "",
        f"commit {report['commit']}, seed {report['seed']}, {report['steps']} steps at {report['image_px']} px, "
        f"{report['train_queries']} train and {report['test_queries']} test queries, {report['hardware']}, "
        f"{report['seconds']:.0f} s",
        "",
        "Balanced accuracy in percent; where a query fits several values, each of them counts as right. Image: a small",
        "network on the query with its rectangle filled. Box: boosted trees on the rectangle. Jitter: boosted trees on",
        "camera jitter and the bystanders' drawn places, placed: on the final places of all context; both must stay",
        f"within {100 * MARGIN:.0f} points of their chance (last column).",
        "",
        "| category | attribute | values | image | target | box | chance | jitter | placed | their chance | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        cells = [row["category"], row["attribute"], str(row["values"])]
        for key in ("image", "target", "box", "chance", "nuisance_jitter", "nuisance_placed", "nuisance_chance"):
            cells.append(f"{100 * row[key]:.1f}" if key in row else "-")
        lines.append(f"| {' | '.join(cells)} | {'ok' if passes(row) else 'FALLS SHORT'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if _SIZE.value not in ("tiny", "demo", "full"):
        raise InputError(f"size: unknown {_SIZE.value!r}, expected tiny, demo or full")
    start = time.monotonic()
    report = probe(
        _SIZE.value,
        _DATA_DIR.value,
        steps=_STEPS.value,
        image_px=_IMAGE_PX.value,
        seed=_SEED.value,
        num_scenes=_SCENES.value,
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    report |= {
        "command": " ".join(["python -m fos_jax.launch.probe", *sys.argv[1:]]),
        "commit": commit or "unknown",
        "seed": _SEED.value,
        "steps": _STEPS.value,
        "image_px": _IMAGE_PX.value,
        "hardware": f"{platform.machine()} CPU, {os.cpu_count()} cores",
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
