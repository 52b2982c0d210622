"""Leaks of photographs into their own cut-outs: what a rim, the JPEG grid or the resolution give away."""

import dataclasses
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fos_jax.experts import examples
from fos_jax.experts.features import FeatureCache
from fos_jax.experts.training import own_percentile

if TYPE_CHECKING:
    from reporting import Report

    from fos_jax.experts.model import Experts


def report_rows(report: "Report", features: FeatureCache, model: "Experts", parts: Any) -> None:
    """(b) with test cut-outs that were changed in what might give their photograph away."""
    import photographs  # which imports this

    _, own = photographs.tasks(parts.test)
    for change in ("", "rim kept", "JPEG off the grid", "half resolution"):
        data = own.data.of(own.query)
        if change:
            cut = changed_cutouts(features, change)
            rows = [cut.id.tolist().index(i) for i in data.examples.id]
            data = dataclasses.replace(
                data, examples=dataclasses.replace(data.examples, foreground=cut.foreground.of(np.array(rows)))
            )
        found = photographs.our_scores(
            model, photographs.Task(data, np.arange(len(data.category)), np.arange(len(data.category)))
        )
        for name in ("rectangle only (geometry)", "appearance", photographs.OURS):
            place = own_percentile(found[name], data.examples.category)
            report({"cutouts": change or "as they are", "ranking": name, "percentile": round(float(place.mean()), 4)})


def changed_cutouts(features: FeatureCache, change: str) -> examples.Examples:
    """The animals with masks, their cut-outs changed: "rim kept", "JPEG off the grid" or "half resolution"."""
    import photographs

    if change == "rim kept":
        return examples.photograph_examples(
            photographs.source(), features, erode=False, only_masked=True, progress=False
        )
    plain = examples.cutout_row

    def changed(rgba, sides, size, **options):
        return plain(_compressed(rgba) if change == "JPEG off the grid" else _halved(rgba), sides, size, **options)

    examples.cutout_row = changed
    try:
        return examples.photograph_examples(photographs.source(), features, only_masked=True, progress=False)
    finally:
        examples.cutout_row = plain


def _compressed(rgba: np.ndarray) -> np.ndarray:
    """Moved by three pixels against the grid of 8 and compressed again."""
    moved = cv2.copyMakeBorder(np.ascontiguousarray(rgba[..., 2::-1]), 3, 0, 3, 0, cv2.BORDER_REPLICATE)
    ok = cv2.imencode(".jpg", moved, [int(cv2.IMWRITE_JPEG_QUALITY), 60])[1]
    again = np.asarray(cv2.imdecode(ok, cv2.IMREAD_COLOR))[3:, 3:, ::-1]
    return np.dstack([again, rgba[..., 3]])


def _halved(rgba: np.ndarray) -> np.ndarray:
    height, width = rgba.shape[:2]
    small = cv2.resize(rgba[..., :3], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return np.dstack([cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), rgba[..., 3]])
