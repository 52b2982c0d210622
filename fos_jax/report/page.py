"""The page itself: contents and template become one HTML file that loads nothing from elsewhere."""

import colorsys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
import markupsafe

from fos_jax.files import write_whole
from fos_jax.report.contents import MapPanel, Report
from fos_jax.report.pictures import curves_svg, data_uri

KINDS = (("ours", "This method"), ("rival", "Rivals"), ("control", "Controls"), ("oracle", "Oracles (upper bounds)"))


def render_report(report: Report) -> str:
    """HTML text of a report: pictures as data URIs, diagrams inline, no script. Every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fos_jax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}"
    environment.filters["curves_svg"] = lambda panel: markupsafe.Markup(curves_svg(panel))
    environment.filters["words"] = lambda text: text.replace("_", " ")
    css = Path(__file__).with_name("report.css").read_text("utf-8")
    labels, sizes = _colourings(report.maps)
    return environment.get_template("report.html.jinja").render(
        report=report,
        css=markupsafe.Markup(css),
        kinds=KINDS,
        colour_labels=labels,
        colour_sizes=sizes,
        hue=value_colour,
        points=_points,
    )


def write_report(report: Report, path: str | Path) -> Path:
    """Writes the page whole or not at all; returns its path."""
    write_whole(path, render_report(report))
    return Path(path)


def value_colour(index: int, size: int) -> str:
    """CSS colour of the value `index` of `size`: hues around the circle (yaw is a circle too), even in lightness."""
    red, green, blue = colorsys.hls_to_rgb((0.53 + index / max(size, 1)) % 1.0, 0.5, 0.62)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _colourings(panels: Sequence[MapPanel]) -> tuple[list[str], list[int]]:
    """Labels and most values of the ways to colour the map: the first attribute of each category, the second, ..."""
    names: list[list[str]] = []
    sizes: list[int] = []
    for panel in panels:
        for i, (name, values) in enumerate(panel.value_names.items()):
            if i == len(names):
                names.append([])
                sizes.append(0)
            if name not in names[i]:
                names[i].append(name)
            sizes[i] = max(sizes[i], len(values))
    return [" or ".join(name.replace("_", " ") for name in group) for group in names], sizes


def _points(panel: MapPanel) -> Iterator[tuple[str, str, bool, str]]:
    """(x, y, is_query, classes) of each point, foregrounds first so that queries lie on top."""
    for i in range(len(panel.position)):
        x, y = (f"{100 * float(c):.1f}" for c in panel.position[i])
        classes = " ".join(
            f"a{a}v{panel.values[name][i]}" for a, name in enumerate(panel.value_names) if panel.values[name][i] >= 0
        )
        yield x, y, bool(panel.is_query[i]), classes
