"""Arrays and diagrams as text that stands inside an HTML page."""

import base64
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.report.contents import CurvePanel

# Colours that no diagram uses otherwise; each is replaced by a variable of the page, so that one SVG serves the light
# and the dark page.
_INK = "#010203"
_FAINT = "#040506"
_SERIES = ("#0a0101", "#0a0202", "#0a0303", "#0a0404", "#0a0505", "#0a0606")


def data_uri(image: np.ndarray, *, quality: int = 88) -> str:
    """A picture, uint8 [h, w, 3] or [h, w, 4], as a data URI: WebP, lossless where there is an alpha channel.

    Raises: ValueError for another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(f"image: {image.dtype} {image.shape}, expected uint8 [h, w, 3] or [h, w, 4]")
    has_alpha = image.shape[2] == 4
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=has_alpha, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def smoothed(values: Sequence[float], *, window: int) -> np.ndarray:
    """Centred moving mean, float64 [n]; at the ends over what there is, NaN left out."""
    array = np.asarray(values, np.float64)
    is_finite = np.isfinite(array)
    totals = np.concatenate([[0.0], np.cumsum(np.where(is_finite, array, 0.0))])
    counts = np.concatenate([[0], np.cumsum(is_finite)])
    index = np.arange(len(array))
    low = np.maximum(index - window // 2, 0)
    high = np.minimum(index + window // 2 + 1, len(array))
    n = counts[high] - counts[low]
    return np.where(n > 0, (totals[high] - totals[low]) / np.maximum(n, 1), np.nan)


def curves_svg(panel: CurvePanel) -> str:
    """A line diagram as inline SVG whose colours are the page's variables (--ink, --faint, --series-1 to -6)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "report",  # the same input gives the same text
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _FAINT,
        "xtick.color": _FAINT,
        "ytick.color": _FAINT,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.4, 2.7), layout="constrained")
        axes = figure.subplots()
        for i, curve in enumerate(panel.curves):
            colour = _SERIES[i % len(_SERIES)]
            if curve.is_validation:
                axes.plot(curve.steps, curve.values, "o-", ms=3, lw=1.3, color=colour, label=curve.label)
            else:
                window = max(1, len(curve.values) // 40)
                axes.plot(curve.steps, smoothed(curve.values, window=window), lw=1.5, color=colour, label=curve.label)
        axes.set(xlabel="step", ylabel=panel.y_label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=_FAINT, alpha=0.25, lw=0.6)
        if len(panel.curves) > 1:
            axes.legend(frameon=False, fontsize=8)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _themed(buffer.getvalue(), panel.title)


def _themed(svg: str, title: str) -> str:
    """Cuts the XML prologue and fixed size away and turns marker colours into the page's variables."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, body = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    # Ids must be unique in the page that holds several diagrams.
    prefix = "d" + re.sub(r"\W+", "-", title.lower()) + "-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'href="#', f'href="#{prefix}', body).replace("url(#", f"url(#{prefix}")
    for marker, variable in [(_INK, "--ink"), (_FAINT, "--faint")] + [
        (colour, f"--series-{i + 1}") for i, colour in enumerate(_SERIES)
    ]:
        body = body.replace(marker, f"var({variable})")
    body = re.sub(r"font: (\S+) [^;\"]*", r"font: \1 inherit", body)
    return f"{head}>{body}"
