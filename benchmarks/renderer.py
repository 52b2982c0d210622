"""Images a second of the scene renderer, as one JSON line: python benchmarks/renderer.py [category] [seconds]."""

import json
import os
import platform
import sys
import time

import jax
import numpy as np

from fos_jax.scenes.streams import CHUNK, render_cutouts, render_queries, sample_scenes


def rate(function, seconds: float) -> dict[str, float]:
    """Images a second of wall-clock time and of CPU time, after one call that compiles."""
    function()
    start, cpu, images = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        function()
        images += CHUNK
    return {
        "per_second": round(images / (time.perf_counter() - start), 1),
        "per_cpu_second": round(images / (time.process_time() - cpu), 1),
    }


def main(category: str = "car", seconds: str = "5") -> None:
    scenes = sample_scenes(0, "train", category, np.arange(CHUNK))
    line = {
        "benchmark": "renderer",
        "category": category,
        "queries_96px": rate(lambda: render_queries(scenes, size=96), float(seconds)),
        "queries_128px": rate(lambda: render_queries(scenes, size=128), float(seconds)),
        "cutouts_64px_2x2": rate(lambda: render_cutouts(scenes, size=64), float(seconds)),
        "scenes_sampled": rate(
            lambda: jax.block_until_ready(sample_scenes(0, "train", category, np.arange(CHUNK))), float(seconds)
        ),
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
