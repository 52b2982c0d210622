"""Assemble the demo's report from what its stages left behind."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.report.contents import Curve, CurvePanel, Figure, MapPanel, Picture, Report
from fos_jax.report.examples import make_example, pick_queries
from fos_jax.report.figures import COLUMNS, best_of, breakdowns, headline_row, metric_rows
from fos_jax.report.latent_map import map_panel
from fos_jax.retrieval.search import ForegroundSearch

TITLE = "Which foregrounds fit this rectangle?"
SUMMARY = (
    "A teacher learned to put interchangeable cut-outs of a category into one pattern; a student learned from it to "
    "name the patterns that fit a rectangle of a background it sees. Both were trained from scratch on a rendered "
    "world, and everything below is from its test split: no test object or scene was seen in training."
)
NOTES = (
    "mAP by the standard convention: the category's whole gallery is ranked and divided by all relevant foregrounds; "
    "mean over the queries of each category, then over categories.",
    "Chance is the expected value of a random order. Rectangle only is a student that sees rectangle and category but "
    "no picture. The oracles are told the truth and show what the teacher and the way of scoring leave possible.",
    "One seed: the intervals are bootstrap intervals over test queries and say nothing about the spread of training.",
)


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of the evaluation's methods; `two_streams` is None where that rival was not run."""

    rectangle_only: str
    two_streams: str | None


def headline(result: Mapping[str, Any], names: Names, seconds: float, machine: str) -> list[tuple[str, str]]:
    """The few numbers to read first."""
    student = headline_row(result)["figures"]["map"]["value"]
    rectangle = best_of(result, names.rectangle_only)["figures"]["map"]["value"]
    minutes, rest = divmod(round(seconds), 60)
    tiles = [
        (f"{100 * student:.1f} %", "mAP of the student, by pattern posterior"),
        (f"{student / rectangle:.1f} ×", f"the control that sees the rectangle only ({100 * rectangle:.1f} %)"),
    ]
    if names.two_streams:
        rival = best_of(result, names.two_streams)["figures"]["map"]["value"]
        points = f"{100 * (student - rival):+.1f}".replace("-", "−")
        tiles.append((points, f"points against two streams without distillation ({100 * rival:.1f} %)"))
    return [*tiles, (f"{minutes}:{rest:02d} min", f"for all stages on {machine.split(',')[0]}")]


def training_curves(workdirs: Mapping[str, Any], names: Names) -> list[CurvePanel]:
    """Diagrams of the runs; keys of `workdirs`: "teacher", "student" and the names of the rivals."""
    student, rivals = workdirs["student"], [n for n in (names.rectangle_only, names.two_streams) if n]
    maps = [("map_both", "both heads"), ("map_flat", "flat head"), ("map_cosine", "cosine")]
    panels = [
        panel("Teacher: training loss", "loss", [read_curve(workdirs["teacher"], "train", "loss", "loss")]),
        panel(
            "Teacher: pattern accuracy",
            "accuracy",
            [
                read_curve(workdirs["teacher"], kind, "pattern_accuracy", label)
                for kind, label in (("train", "training"), ("validation", "validation"))
            ],
        ),
        panel(
            "Student: training losses",
            "loss",
            [
                read_curve(student, "train", f"{term}_loss", term)
                for term in ("feature", "response", "attribute", "combined", "embedding_response")
            ],
        ),
        panel("Student: validation mAP", "mAP", [read_curve(student, "validation", m, label) for m, label in maps]),
        panel("Others: training loss", "loss", [read_curve(workdirs[n], "train", "loss", n) for n in rivals]),
        panel("Others: validation mAP", "mAP", [read_curve(workdirs[n], "validation", "score", n) for n in rivals]),
    ]
    return [p for p in panels if p is not None]


def read_curve(workdir: str | Path, kind: str, metric: str, label: str) -> Curve | None:
    """One quantity that a run logged as `kind` "train" or "validation", under another label; None where it did not."""
    steps, values = [], []
    for text in (Path(workdir) / "metrics.jsonl").read_text("utf-8").splitlines():
        line = json.loads(text)
        if line["kind"] == kind and metric in line:
            steps.append(int(line["step"]))
            values.append(float(line[metric]))
    return Curve(label, steps, values, kind == "validation") if steps else None


def panel(title: str, y_label: str, curves: Sequence[Curve | None]) -> CurvePanel | None:
    """A diagram of the curves that exist; None where there is none."""
    present = [curve for curve in curves if curve is not None]
    return CurvePanel(title, y_label, present) if present else None


def latent_maps(
    search: ForegroundSearch,
    queries: Queries,
    foregrounds: Foregrounds,
    *,
    max_foregrounds: int = 260,
    max_queries: int = 80,
    seed: int = 0,
) -> list[MapPanel]:
    """One panel per category, of foregrounds (the gallery's embeddings) and queries drawn by the seed."""
    table, rng = search.table, np.random.default_rng(seed)
    panels = []
    for index, category in enumerate(table.categories):
        shown = _draw(rng, (foregrounds.category == index) & (foregrounds.pattern >= 0), max_foregrounds)
        asked = _draw(rng, queries.category == index, max_queries)
        if not len(shown) or not len(asked):
            continue
        gallery_rows = [search.gallery.row_of(str(foregrounds.ids[i])) for i in shown]
        encoded = search.bundle.encode_queries(
            np.asarray(queries.image[asked]), np.asarray(queries.box_yxyx_norm[asked]), queries.category[asked]
        )
        panels.append(
            map_panel(
                category,
                foreground_embedding=search.gallery.snapshot().embeddings(gallery_rows),
                foreground_pattern=foregrounds.pattern[shown],
                query_embedding=encoded.embedding,
                query_is_compatible=queries.is_compatible[asked],
                table=table,
                seed=seed,
            )
        )
    return panels


def provenance(result: Mapping[str, Any], workdirs: Mapping[str, Any], machine: str) -> list[tuple[str, str]]:
    """(name, value) pairs: what was measured where."""
    data, counts, run = result.get("data", {}), result["counts"], result.get("metadata", {})
    versions = run.get("versions", {})
    trained = json.loads((Path(workdirs["student"]) / "run.json").read_text("utf-8"))
    config = json.loads((Path(workdirs["student"]) / "config.json").read_text("utf-8"))
    shown = ("jax", "flax", "optax", "numpy", "scann")
    facts = {
        "data": " ".join(str(data[key]) for key in ("dataset", "size", "version") if key in data),
        "split": f"{data.get('split', 'test')}: {counts['queries']} queries, {counts['foregrounds']} foregrounds",
        "seed": str(config["seed"]),
        "machine": machine,
        "commit of training": str(trained.get("commit") or "not a checkout"),
        "commit of evaluation": str(run.get("commit") or "not a checkout"),
        "bundle": str(result.get("bundle", {}).get("fingerprint", "")),
        "python": str(run.get("python", "")),
        "versions": ", ".join(f"{name} {versions[name]}" for name in shown if name in versions),
        "measured": str(run.get("time", "")),
    }
    return [(name, value) for name, value in facts.items() if value]


def assemble_report(
    *,
    result: Mapping[str, Any],
    search: ForegroundSearch,
    queries: Queries,
    foregrounds: Foregrounds,
    workdirs: Mapping[str, Any],
    names: Names,
    stages: Sequence[tuple[str, float, str]],
    machine: str,
    commands: Sequence[tuple[str, str]],
    title: str = TITLE,
    summary: str = SUMMARY,
    pictures: Sequence[Picture] = (),
    num_examples: int = 12,
    seed: int = 0,
) -> Report:
    """Everything the page shows.

    Args:
      result: of `evaluation.run.evaluate` on the split.
      search: the gallery of the split.
      queries, foregrounds: the split, queries at the bundle's size.
      workdirs: of the runs, see `training_curves`. names: of the rivals in `result`.
      stages, machine, commands, title, summary, pictures: see `Report`; `machine` is a line on the hardware.
      num_examples: queries shown; drawn by the seed, not by their results. seed: of that draw and of the map.
    """
    true_pattern = dict(zip(foregrounds.ids.tolist(), foregrounds.pattern.tolist(), strict=True))
    rows = pick_queries(queries.category, count=num_examples, seed=seed)
    parts: dict[str, Sequence[tuple[str, Figure]]] = breakdowns(result)
    seconds = sum(stage[1] for stage in stages)
    return Report(
        title=title,
        headline=headline(result, names, seconds, machine),
        summary=summary,
        columns=list(COLUMNS.values()),
        rows=metric_rows(result),
        breakdowns=parts,
        examples=[make_example(search, queries, int(row), true_pattern=true_pattern) for row in rows],
        curves=training_curves(workdirs, names),
        maps=latent_maps(search, queries, foregrounds, seed=seed),
        stages=stages,
        facts=provenance(result, workdirs, machine),
        notes=NOTES,
        commands=commands,
        pictures=pictures,
    )


def _draw(rng: np.random.Generator, is_candidate: np.ndarray, count: int) -> np.ndarray:
    rows = np.flatnonzero(is_candidate)
    return np.sort(rng.permutation(rows)[:count])
