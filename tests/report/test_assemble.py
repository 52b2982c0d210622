"""Headline, provenance and files of the demo's report."""

import io
import json

import pytest
from rich.console import Console

from fos_jax.experiments.demo_report import time_table, write_metrics
from fos_jax.report.assemble import Names, headline, provenance, training_curves

NAMES = Names(rectangle_only="rectangle only", two_streams="two streams")


def row(name, ranking, value):
    return {"name": name, "ranking": ranking, "figures": {"map": {"value": value, "low": None, "high": None}}}


RESULT = {
    "headline": {"name": "student", "ranking": "both"},
    "rows": [
        row("rectangle only", "flat", 0.2),
        row("two streams", "cosine", 0.5),
        row("two streams", "flat", 0.85),
        row("student", "both", 0.8),
    ],
    "counts": {"queries": 10, "foregrounds": 20},
    "data": {"dataset": "fos_synthetic", "size": "demo", "version": "1.0.0", "split": "test"},
    "metadata": {"commit": "abc", "python": "3.11.7", "time": "now", "versions": {"jax": "0.1", "chex": "2"}},
    "bundle": {"fingerprint": "f00"},
}


def test_headline_compares_with_the_best_ranking_of_each_rival():
    tiles = headline(RESULT, NAMES, 605.4, "2 cores, Some CPU")
    assert [value for value, _ in tiles] == ["80.0 %", "4.0 ×", "−5.0", "10:05 min"]
    assert "(20.0 %)" in tiles[1][1]
    assert "(85.0 %)" in tiles[2][1]
    assert tiles[3][1] == "for all stages on 2 cores"


def test_provenance_names_commits_data_and_seed(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"commit": None}))
    (tmp_path / "config.json").write_text(json.dumps({"seed": 7}))
    facts = dict(provenance(RESULT, {"student": tmp_path}, "a machine"))
    assert facts["data"] == "fos_synthetic demo 1.0.0"
    assert facts["split"] == "test: 10 queries, 20 foregrounds"
    assert facts["seed"] == "7"
    assert facts["commit of training"] == "not a checkout"
    assert facts["commit of evaluation"] == "abc"
    assert facts["versions"] == "jax 0.1"


def test_curves_leave_out_what_no_run_logged(tmp_path):
    workdirs = {}
    for name in ("teacher", "student", "rectangle only", "two streams"):
        workdirs[name] = tmp_path / name
        workdirs[name].mkdir()
        line = {"step": 1, "kind": "train", "loss": 1.0, "feature_loss": 0.5}
        (workdirs[name] / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    panels = training_curves(workdirs, NAMES)
    assert [(p.title, [c.label for c in p.curves]) for p in panels] == [
        ("Teacher: training loss", ["loss"]),
        ("Student: training losses", ["feature"]),
        ("Others: training loss", ["rectangle only", "two streams"]),
    ]


def test_metrics_file_holds_figures_times_and_verdict(tmp_path):
    stages = [("data", 10.04, "render"), ("student", 20.0, "")]
    path = write_metrics(tmp_path / "metrics.json", RESULT, stages, "a machine", ["too low"])
    content = json.loads(path.read_text())
    assert content["headline"] == {"name": "student", "ranking": "both", "value": 0.8, "low": None, "high": None}
    assert content["map"]["two streams flat"]["value"] == 0.85
    assert content["stages_s"] == {"data": 10.0, "student": 20.0}
    assert content["total_s"] == pytest.approx(30.0)
    assert content["missed"] == ["too low"]
    assert content["evaluation"] == RESULT


def test_time_table_says_which_times_are_of_an_earlier_run():
    console = Console(file=io.StringIO(), width=100)
    console.print(time_table([("data", 10.0, "render"), ("student", 20.4, "distil")], skipped={"data"}))
    text = console.file.getvalue()
    assert "render (up to date, from an earlier run)" in text
    assert "distil (up" not in text
    assert "30" in text
