"""Plots of the results as SVG files; the same figures give the same bytes (fixed layout, text as text, no dates)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fos_jax.evaluation.scores import BOTH, COSINE
from fos_jax.experiments.over_seeds import SeedDifference
from fos_jax.experiments.rows import Entry, SizeResults, ablation_comparisons, main_entries
from fos_jax.files import write_whole

_COLOURS = {"ours": "#1f5fa8", "rival": "#b5541c", "control": "#6d6d6d", "oracle": "#4d7a3a"}
# ranking -> (colour, words, where in its row)
_ABLATION_STYLE = {COSINE: ("#1f5fa8", "by cosine", -0.16), BOTH: ("#b5541c", "by posterior, both heads", 0.16)}
_ROW_INCHES = 0.27
_CHARACTER_INCHES = 0.068  # an upper bound: text is not measured
_PLOT_INCHES = 4.2


def write_plots(results: SizeResults, folder: str | Path) -> dict[str, Path]:
    """Writes the plots that there are figures for; returns name -> file."""
    entries = [e for e in main_entries(results.entries()) if e.spread("figures", "map") is not None]
    out = {}
    for name, svg in (("methods", _methods(entries)), ("ablations", _ablations(results))):
        path = Path(folder) / f"{results.size}_{name}.svg"
        if svg is None:
            path.unlink(missing_ok=True)
        else:
            write_whole(path, svg)
            out[name] = path
    return out


def _methods(entries: Sequence[Entry]) -> str | None:
    if not entries:
        return None

    def draw(axes: Any) -> None:
        for y, entry in enumerate(entries):
            figure = entry.spread("figures", "map")
            if figure is None:
                continue
            colour = _COLOURS[entry.kind]
            axes.barh(y, 100 * figure.mean, height=0.62, color=colour, alpha=0.35, linewidth=0)
            axes.plot([100 * v for v in figure.values], [y] * len(figure.values), "o", ms=3.2, color=colour)
        axes.set_xlim(0, 100)
        axes.set_xlabel("mAP, percent (standard convention)")

    return _svg([_label(entry) for entry in entries], draw, [_COLOURS[entry.kind] for entry in entries])


def _ablations(results: SizeResults) -> str | None:
    """A row per ablation; linear to five points, logarithmic beyond, since some lose one point and some eighty."""
    by_label: dict[str, dict[str, SeedDifference]] = {}
    for row in ablation_comparisons(results):
        if row.ours.ranking in _ABLATION_STYLE:
            by_label.setdefault(f"{row.ours.group}: {row.ours.title}", {})[row.ours.ranking] = row.result
    if not by_label:
        return None

    def draw(axes: Any) -> None:
        axes.axvline(0, color="#444444", lw=0.8)
        for ranking, (colour, words, offset) in _ABLATION_STYLE.items():
            for y, found in enumerate(by_label.values()):
                if d := found.get(ranking):
                    axes.plot([100 * d.low, 100 * d.high], [y + offset] * 2, "-", lw=1.4, color=colour)
                    axes.plot([100 * d.difference], [y + offset], "o", ms=4, color=colour)
            axes.plot([], [], "o-", lw=1.4, ms=4, color=colour, label=words)
        axes.set_xscale("symlog", linthresh=5, linscale=1.5)
        ticks = [-80, -40, -20, -10, -5, -2, 0, 2, 5]
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.legend(loc="upper left", fontsize=8)
        axes.set_xlabel("change of mAP against the student, points (logarithmic beyond 5)")

    return _svg(list(by_label), draw, ["#222222"] * len(by_label))


def _label(entry: Entry) -> str:
    return f"{entry.title} ({entry.ranking})" if entry.ranking else entry.title


def _svg(labels: Sequence[str], draw: Any, colours: Sequence[str]) -> str:
    """One horizontal row per label. Sizes are set by hand: a layout that measures text would depend on fonts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    left = 0.2 + _CHARACTER_INCHES * max(map(len, labels))
    width, height = left + _PLOT_INCHES + 0.25, _ROW_INCHES * len(labels) + 0.75
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "results", "font.size": 8.5, "axes.edgecolor": "#888888"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_axes((left / width, 0.55 / height, _PLOT_INCHES / width, _ROW_INCHES * len(labels) / height))
        draw(axes)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), labels)
        for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
            tick.set_color(colour)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", color="#bbbbbb", lw=0.5)
        axes.set_axisbelow(True)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
