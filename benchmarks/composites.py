"""Composites: errors at edges against rendered truth, and seconds per step at 24 megapixels, one JSON line each.

    python benchmarks/composites.py [--part=edges|speed|all] [--rounds=5]

Edges: rendered cut-outs are pasted into a rendered place, cut out again with alpha as it is (soft), thresholded (hard),
or thresholded and grown by a pixel (sloppy, as people outline), and laid over another place. The error is the mean
absolute one in 8-bit levels within two pixels of the edge, and the halo: how far the rim is moved toward the old
place's colours, as a share. PyMatting is compared where it is installed.

Speed: one layer on a photograph of 6000 x 4000 px, its steps apart, and encoding.
"""

import importlib.util
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from in_turns import seconds_in_turns
from reporting import Report, machine, make_parser

from fos_jax.compose.edges import clean_edges
from fos_jax.compose.layers import Layer, compose_layers, layer_rgba
from fos_jax.images import encode_png

SIZE_PX = 256
PER_CATEGORY = 4


def rendered() -> tuple[np.ndarray, np.ndarray]:
    """Cut-outs uint8 [n, SIZE_PX, SIZE_PX, 4] and as many places [n, SIZE_PX, SIZE_PX, 3]."""
    from fos_jax.scenes.attributes import CATEGORIES
    from fos_jax.scenes.streams import render_cutouts, render_queries, sample_scenes

    cutouts, places = [], []
    for category in CATEGORIES:
        scenes = sample_scenes(7, "test", category, 5 * np.arange(PER_CATEGORY))
        cutouts.append(render_cutouts(scenes, size=SIZE_PX, samples=4))
        places.append(render_queries(scenes, size=SIZE_PX)[0])
    return np.concatenate(cutouts), np.concatenate(places)


def over(rgba: np.ndarray, place: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]: straight RGBA over a place."""
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + place * (1 - alpha)).astype(np.uint8)


def cut_again(seen: np.ndarray, alpha: np.ndarray, kind: str) -> np.ndarray:
    """The cut-out uint8 [h, w, 4] that a mask of this kind gives."""
    if kind != "soft":
        alpha = (alpha > 127).astype(np.uint8) * np.uint8(255)
    if kind == "sloppy":
        alpha = cv2.dilate(alpha, np.ones((3, 3), np.uint8))
    return np.dstack([seen * (alpha > 0)[..., None], alpha])


def cleaners() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """name -> uint8 [h, w, 4] to the same."""
    found = {"plain": lambda rgba: rgba, "ours": clean_edges}
    if importlib.util.find_spec("pymatting"):
        from pymatting import estimate_foreground_ml

        def with_pymatting(rgba: np.ndarray) -> np.ndarray:
            # Nothing is known of the old place where nothing is visible: the nearest visible colours stand there.
            hidden = (rgba[..., 3] == 0).astype(np.uint8)
            filled = cv2.inpaint(np.ascontiguousarray(rgba[..., :3]), hidden, 3, cv2.INPAINT_TELEA)
            colour = estimate_foreground_ml(filled / 255, rgba[..., 3] / 255)
            return np.dstack([np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8), rgba[..., 3]])

        found["pymatting_ml"] = with_pymatting
    return found


def edges() -> Iterator[dict]:
    """A line per kind of mask and way of cleaning."""
    cutouts, places = rendered()
    methods = cleaners()
    for kind in ("soft", "hard", "sloppy", "true_colours"):
        errors: dict[str, list[float]] = {name: [] for name in methods}
        halos: dict[str, list[float]] = {name: [] for name in methods}
        for number, truth in enumerate(cutouts):
            old, new = places[(number + 5) % len(places)], places[(number + 11) % len(places)]
            alpha = truth[..., 3]
            cut = truth if kind == "true_colours" else cut_again(over(truth, old), alpha, kind)
            edge = cv2.dilate(alpha, np.ones((3, 3))) != cv2.erode(alpha, np.ones((3, 3)))
            rim = cv2.dilate(edge.astype(np.uint8), np.ones((3, 3))) > 0
            right = over(truth, new).astype(float)[rim]
            toward_old = old.astype(float)[rim] - right
            for name, clean in methods.items():
                wrong = over(clean(cut), new).astype(float)[rim] - right
                errors[name].append(float(np.abs(wrong).mean()))
                halos[name].append(float((wrong * toward_old).sum() / (toward_old**2).sum()))
        for name in methods:
            yield {
                "masks": kind,
                "cleaning": name,
                "cutouts": len(cutouts),
                "rim_error_levels": round(float(np.mean(errors[name])), 2),
                "halo": round(float(np.mean(halos[name])), 4),
            }


def textured(height: int, width: int) -> np.ndarray:
    """uint8 [h, w, 3]: a picture of about a photograph's detail, to be encoded."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 40, width // 40, 3)).astype(np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(large + rng.normal(0, 3, large.shape).astype(np.int16), 0, 255).astype(np.uint8)


def speed(rounds: int) -> Iterator[dict]:
    """A line per step; layers of a third and of all of the photograph's sides."""
    photo = textured(4000, 6000)
    yy, xx = np.mgrid[:1400, :2000]
    cutout = np.dstack([textured(1400, 2000), 255 * (((xx - 1000) / 990) ** 2 + ((yy - 700) / 690) ** 2 < 1)])
    cutout = cutout.astype(np.uint8)
    boxes = {"third": (2000, 1800, 4000, 3200), "two_thirds": (1000, 800, 5000, 3600), "whole": (0, 0, 6000, 4000)}
    steps = {
        "plain": {"clean_edges": False},
        "clean_edges": {},
        "shadow": {"shadow": 0.5},
        "harmonise": {"harmonise": 0.5},
        "harmonise_shadow": {"harmonise": 0.5, "shadow": 0.5},
        "poisson": {"blend": "poisson"},
        "all": {"harmonise": 0.5, "shadow": 0.5, "blend": "poisson"},
    }
    runs: dict[str, Callable] = {}
    for size, box in boxes.items():
        for step, options in steps.items():
            runs[f"{size} {step}"] = lambda box=box, options=options: compose_layers(
                photo, [Layer(cutout, box, **options)]
            )
    runs["copy of the photograph"] = photo.copy
    runs["third edit alone"] = lambda: layer_rgba(photo, [Layer(cutout, boxes["third"], harmonise=0.5, shadow=0.5)])
    bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
    for level in (1, 3):
        options = [cv2.IMWRITE_PNG_COMPRESSION, level]
        runs[f"PNG, OpenCV, level {level}"] = lambda options=options: cv2.imencode(".png", bgr, options)
    runs["PNG, Pillow, level 1"] = lambda: encode_png(photo)
    runs["JPEG, OpenCV, quality 92"] = lambda: cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    wall, _ = seconds_in_turns(runs, rounds=rounds)
    sizes = {"PNG, OpenCV, level 1": len(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])}
    sizes["PNG, Pillow, level 1"] = len(encode_png(photo))
    for name, seconds in wall.items():
        line = {"megapixels": 24, "step": name, "median_s": round(float(np.median(seconds)), 3)}
        yield line | {"slowest_s": round(max(seconds), 3), "bytes": sizes.get(name)} | machine()


def main() -> None:
    parser = make_parser(__doc__, "output")
    parser.add_argument("--part", default="all", choices=["edges", "speed", "all"])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report = Report("composites")
    for part, lines in (("edges", edges), ("speed", lambda: speed(arguments.rounds))):
        if arguments.part in (part, "all"):
            for line in lines():
                report(line)
    report.write(arguments.output)


if __name__ == "__main__":
    main()
