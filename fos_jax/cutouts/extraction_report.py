"""What fell to which filter, with example pictures: `report.json` and one self-contained `report.html`."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq

from fos_jax.cutouts.filters import FILTERS
from fos_jax.cutouts.shard_rows import example_jpeg
from fos_jax.cutouts.shards import read_rows, write_json
from fos_jax.files import write_whole
from fos_jax.images import read_cutout

_EXAMPLES = 12
_MEASURES = ("area_px", "largest_part", "holes", "box_agreement", "sharpness", "luminance", "contrast", "clipped")
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def write_report(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the report of a finished extraction beside its manifest."""
    report = {
        **{key: manifest[key] for key in ("source", "photographs", "counts", "by_category", "left_out", "defects")},
        "messages": manifest["messages"],
        "config": manifest["config"],
        "measures": _quantiles(folder),
    }
    write_json(folder / "report.json", report)
    pictures = _pictures(folder)
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_PAGE)
    page = template.render(
        report=report,
        names=[name for name in ("kept", *FILTERS) if report["counts"].get(name)],
        pictures={name: [base64.b64encode(data).decode() for data in group] for name, group in pictures.items()},
        thresholds={name: json.dumps(values) for name, values in report["config"].items()},
        quantiles=_QUANTILES,
    )
    write_whole(folder / "report.html", page)


def _quantiles(folder: Path) -> dict[str, list[float]]:
    """Quantiles of each measure over all cut-outs, by which thresholds can be chosen."""
    table = pq.read_table(folder / "index.parquet", columns=list(_MEASURES))
    if not table.num_rows:
        return {}
    return {name: np.quantile(table[name].to_numpy(), _QUANTILES).tolist() for name in _MEASURES}


def _pictures(folder: Path) -> dict[str, list[bytes]]:
    """Up to a dozen JPEGs for each verdict, spread over the shards."""
    index = pq.read_table(folder / "index.parquet", columns=["rejected_by", "shard", "row"])
    verdicts = np.array(index["rejected_by"].to_pylist(), object)
    shards, rows = index["shard"].to_numpy(), index["row"].to_numpy()
    wanted: dict[int, dict[int, str]] = {}
    for name in ("", "near_duplicate"):  # these have a picture in full
        places = np.flatnonzero(verdicts == name)
        for place in places[np.linspace(0, len(places) - 1, min(_EXAMPLES, len(places))).astype(int)]:
            wanted.setdefault(int(shards[place]), {})[int(rows[place])] = name
    found: dict[str, list[bytes]] = {}
    every = max(1, (int(shards.max()) + 1 if shards.size else 1) // _EXAMPLES)
    for shard in range(int(shards.max()) + 1 if shards.size else 0):
        here = wanted.get(shard, {})
        if not here and shard % every:
            continue
        row = 0
        for batch in read_rows(folder / "shards" / f"cutouts-{shard:05d}.parquet", ("rejected_by", "png", "example")):
            for offset in range(batch.num_rows):
                if row in here:
                    picture = example_jpeg(read_cutout(batch["png"][offset].as_py()))
                    found.setdefault(here[row] or "kept", []).append(picture)
                elif batch["example"][offset].is_valid:
                    group = found.setdefault(batch["rejected_by"][offset].as_py(), [])
                    if len(group) < _EXAMPLES:
                        group.append(batch["example"][offset].as_py())
                row += 1
    return found


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Extraction of cut-outs</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1300px; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .2rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
img { width: 96px; height: 96px; margin: 2px; border-radius: 3px } code { color: #555 }
</style>
<h1>Extraction of cut-outs</h1>
<p>{{ report.source }}: {{ report.photographs }} photographs.</p>
{% for name in names %}
<h2>{{ name }}: {{ report.counts[name] }}</h2>
{% if name in thresholds %}<p><code>{{ thresholds[name] }}</code></p>{% endif %}
<p>
{% for data in pictures.get(name, []) %}<img src="data:image/jpeg;base64,{{ data }}" alt="{{ name }}">
{% endfor %}</p>
{% endfor %}
<h2>By category</h2>
<table><tr><th>category</th>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for category, counts in report.by_category.items() %}
<tr><td>{{ category }}</td>{% for name in names %}<td>{{ counts.get(name, 0) }}</td>{% endfor %}</tr>
{% endfor %}</table>
<p>Objects that fell by their annotation alone are in the sums above, not in this table.</p>
<h2>Measures</h2>
<table><tr><th>quantile</th>{% for q in quantiles %}<th>{{ q }}</th>{% endfor %}</tr>
{% for name, values in report.measures.items() %}
<tr><td>{{ name }}</td>{% for value in values %}<td>{{ "%.3g" % value }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% if report.left_out or report.defects %}
<h2>Left out</h2>
<ul>{% for name, count in (report.left_out.items() | list) + (report.defects.items() | list) %}
<li>{{ name }}: {{ count }}</li>{% endfor %}</ul>
<ul>{% for message in report.messages %}<li><code>{{ message }}</code></li>{% endfor %}</ul>
{% endif %}
</html>
"""
