"""The benchmark of changed galleries, run small: every figure is there and what is counted adds up."""

import json
import sys

import gallery_changes


def test_it_runs_small(tmp_path, monkeypatch, capsys):
    arguments = ["--rows=300", "--size=8", "--seconds=0.5", "--changes_per_s=20", f"--folder={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["gallery_changes.py", *arguments])
    gallery_changes.main()
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["recall_before"] == line["recall_after"] == line["recall_compacted"] == {"cosine": 1, "posterior": 1}
    assert line["with_changes"]["all_p50_ms"] <= line["with_changes"]["all_p99_ms"]
    assert 0 < line["durable_p50_ms"] <= line["durable_p99_ms"]
