"""Report of an extraction: counts per filter with example pictures, as `report.json` and `report.html`."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq

from fos_jax.cutouts.filters import FILTERS, MEANINGS
from fos_jax.cutouts.shards import example_jpeg, read_rows
from fos_jax.files import write_whole
from fos_jax.images import read_cutout

_EXAMPLES = 12
_MEASURES = ("area_px", "largest_part", "holes", "box_agreement", "sharpness", "luminance", "contrast", "clipped")
_SEGMENTED_MEASURES = ("softness", "response")
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def write_report(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the report of a finished extraction beside its manifest."""
    keys = ("source", "photographs", "counts", "by_category", "left_out", "defects", "messages", "config")
    is_segmented = manifest["segmenter"] is not None
    measures = _MEASURES + (_SEGMENTED_MEASURES if is_segmented else ())
    report = {key: manifest[key] for key in keys} | {"measures": _quantiles(folder, measures)}
    write_whole(folder / "report.json", json.dumps(report, indent=1) + "\n")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fos_jax.cutouts", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    pictures = _pictures(folder)
    page = environment.get_template("extraction_report.html.jinja").render(
        report=report,
        is_segmented=is_segmented,
        names=[name for name in ("kept", *FILTERS) if report["counts"].get(name)],
        pictures={name: [base64.b64encode(data).decode() for data in group] for name, group in pictures.items()},
        meanings=MEANINGS,
        thresholds={name: json.dumps(values) for name, values in report["config"].items()},
        quantiles=_QUANTILES,
    )
    write_whole(folder / "report.html", page)


def _quantiles(folder: Path, measures: Sequence[str]) -> dict[str, list[float]]:
    """Quantiles of each measure over all cut-outs, by which thresholds can be chosen."""
    table = pq.read_table(folder / "index.parquet", columns=list(measures))
    if not table.num_rows:
        return {}
    return {name: np.quantile(table[name].to_numpy(), _QUANTILES).tolist() for name in measures}


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
    num_shards = int(shards.max(initial=-1)) + 1
    every = max(1, num_shards // _EXAMPLES)
    for shard in range(num_shards):
        here = wanted.get(shard, {})
        if not here and shard % every:
            continue
        path = folder / "shards" / f"cutouts-{shard:05d}.parquet"
        for row, (verdict, png, example) in enumerate(read_rows(path, ("rejected_by", "png", "example"))):
            if row in here:
                found.setdefault(here[row] or "kept", []).append(example_jpeg(read_cutout(png)))
            elif example is not None and len(found.setdefault(verdict, [])) < _EXAMPLES:
                found[verdict].append(example)
    return found
