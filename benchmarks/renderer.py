"""Images per second of the scene renderer, as one JSON line.

python benchmarks/renderer.py [category] [seconds per measurement]
"""

import time

import jax
import numpy as np
from reporting import Report, machine, make_parser

from fos_jax.scenes.streams import CHUNK, render_cutouts, render_queries, sample_scenes


def rate(function, seconds: float) -> dict[str, float]:
    """Images per second of wall-clock time and of CPU time, after one call that compiles."""
    function()
    start, cpu, images = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        function()
        images += CHUNK
    return {
        "per_second": round(images / (time.perf_counter() - start), 1),
        "per_cpu_second": round(images / (time.process_time() - cpu), 1),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("category", nargs="?", default="car")
    parser.add_argument("seconds", nargs="?", type=float, default=5.0)
    args = parser.parse_args()

    def sample():
        return sample_scenes(0, "train", args.category, np.arange(CHUNK))

    scenes = sample()
    line = {
        "category": args.category,
        "queries_96px": rate(lambda: render_queries(scenes, size=96), args.seconds),
        "queries_128px": rate(lambda: render_queries(scenes, size=128), args.seconds),
        "cutouts_64px_2x2": rate(lambda: render_cutouts(scenes, size=64), args.seconds),
        "scenes_sampled": rate(lambda: jax.block_until_ready(sample()), args.seconds),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        **machine(),
    }
    Report("renderer")(line)


if __name__ == "__main__":
    main()
