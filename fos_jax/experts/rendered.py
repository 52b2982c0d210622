"""Examples from the rendered world: what it teaches about views costs no labels and may be given to anyone."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from fos_jax.experts.examples import Examples, Side
from fos_jax.experts.features import FeatureCache, mild_variant
from fos_jax.experts.inputs import Row, cutout_row, query_row
from fos_jax.scenes.attributes import mirrored, pattern_rows
from fos_jax.scenes.streams import cutout_stream, photograph_stream

PHOTOGRAPH_PX, CUTOUT_PX = 128, 160
STRENGTHS = (0.0, 2.0, 1.0)  # of the changes to a picture, one after another
# Of pattern heads that learn from the rendered world; labelled photographs of other categories cannot choose a penalty.
COMPONENTS, STRENGTH = 1024, 1e-4
_CHUNK = 256


def rendered_examples(
    counts: Mapping[str, int],
    features: FeatureCache,
    *,
    seed: int = 0,
    split: str = "train",
    variants: int = 2,
    leave_out: tuple[str, ...] = ("light",),
    progress: bool = True,
) -> Examples:
    """Renders objects with their surroundings and computes their features.

    Args:
      counts: category of `scenes.attributes` -> scenes.
      features: the frozen backbone and its cache.
      seed, split: of the scenes; see `scenes.streams`.
      variants: how many times each picture is taken: as it is, then with other light, blur, noise and compression,
        since the rendered world is too clean; every second time mirrored.
      leave_out: attributes that are not told.
      progress: show a bar.
    """
    size, rng = features.backbone.size, np.random.default_rng([seed, 7])
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "category", "source_id", "attributes", "mirrored")}
    sides: dict[str, list[Side]] = {"query": [], "foreground": []}
    waiting: list[tuple[Row, Row]] = []

    def flush() -> None:
        for name, rows in zip(sides, zip(*waiting, strict=True), strict=True):
            images, shapes, tones = (np.stack(column) for column in zip(*rows, strict=True))
            sides[name].append(Side(features(images), shapes, tones))
        waiting.clear()

    photographs = photograph_stream(seed, split, counts, size=PHOTOGRAPH_PX)
    cutouts = cutout_stream(seed, split, counts, size=CUTOUT_PX)
    streams = zip(photographs, cutouts, strict=True)
    for photograph, cutout in tqdm(streams, total=sum(counts.values()), desc="rendered", unit="", disable=not progress):
        ys, xs = np.nonzero(photograph["mask"])
        if not len(ys) or max(np.ptp(ys), np.ptp(xs)) < 16:
            continue
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        attributes = pattern_rows(photograph["category"])[int(photograph["pattern"])]
        told = {name: value for name, value in attributes.items() if name not in leave_out}
        flipped_box = (PHOTOGRAPH_PX - box[2], box[1], PHOTOGRAPH_PX - box[0], box[3])
        for take, strength in enumerate(itertools.islice(itertools.cycle(STRENGTHS), variants)):
            is_mirrored, way = bool(take % 2), -1 if take % 2 else 1
            seen = mild_variant(photograph["image"][:, ::way], rng, strength=strength)
            shown = mild_variant(cutout["image"][:, ::way], rng, strength=strength)
            waiting.append((query_row(seen, flipped_box if is_mirrored else box, size), _cutout(shown, size)))
            columns["id"].append(f"{photograph['category']}/{photograph['index']}")
            columns["category"].append(photograph["category"])
            columns["source_id"].append(f"rendered/{photograph['category']}/{photograph['index']}")
            columns["attributes"].append(mirrored(told) if is_mirrored else told)
            columns["mirrored"].append(is_mirrored)
        if len(waiting) >= _CHUNK:
            flush()
    if waiting:
        flush()
    n = len(columns["id"])
    query, foreground = (Side(*(np.concatenate(c) for c in zip(*v, strict=True))) for v in sides.values())
    return Examples(
        id=np.array(columns["id"]),
        category=np.array(columns["category"]),
        source_id=np.array(columns["source_id"]),
        split=np.full(n, split),
        attributes=columns["attributes"],
        has_mask=np.ones(n, bool),
        mirrored=np.array(columns["mirrored"]),
        query=query,
        foreground=foreground,
    )


def _cutout(rgba: np.ndarray, size: int) -> Row:
    ys, xs = np.nonzero(rgba[..., 3])
    tight = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return cutout_row(tight, (), size)
