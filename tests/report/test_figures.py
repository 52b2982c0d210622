"""From an evaluation's JSON to rows, breakdowns and the verdict of the demo."""

import json

import pytest

from fos_jax.report.assemble import panel, read_curve
from fos_jax.report.contents import Figure
from fos_jax.report.figures import best_of, breakdowns, figure_of, find_row, headline_row, metric_rows, unmet


def raw(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "over_queries": value}


def row(name, ranking, kind, value, **more):
    figures = {"map": raw(value, value and value - 0.1, value and value + 0.1), "precision_at_10": raw(value)}
    parts = {"by_category": {}, "by_compatible": {}, "by_attribute": {}}
    return {"name": name, "ranking": ranking, "kind": kind, "note": "", "figures": figures, **parts, **more}


def evaluation(student=0.8, rectangle=0.2, rival=0.5):
    main = row(
        "student",
        "both",
        "ours",
        student,
        by_category={"car": {"num_queries": 2, "figures": {"map": raw(0.7)}}},
        by_compatible={
            "one": {"num_queries": 5, "figures": {"map": raw(0.6)}},
            "several": {"num_queries": 0, "figures": {"map": raw(None)}},
        },
        by_attribute={"car": {"yaw": {"num_queries": 2, "accuracy": raw(0.9), "map": raw(0.8)}}},
    )
    rows = [
        row("chance", "", "control", 0.05),
        row("rectangle only", "cosine", "control", rectangle / 2),
        row("rectangle only", "flat", "control", rectangle),
        row("two streams", "cosine", "rival", rival),
        row("two streams", "flat", "rival", rival + 0.1),
        row("student", "cosine", "ours", 0.6),
        main,
        row("compatible-set oracle", "posterior", "oracle", 0.95),
    ]
    return {"headline": {"name": "student", "ranking": "both", "metric": "map"}, "rows": rows}


def test_rows_stand_in_order_and_keep_their_figures():
    rows = metric_rows(evaluation())
    assert [(r.name, r.ranking) for r in rows] == [
        ("student", "posterior, both heads"),
        ("student", "cosine"),
        ("two streams", "posterior, flat head"),
        ("two streams", "cosine"),
        ("rectangle only", "posterior, flat head"),
        ("rectangle only", "cosine"),
        ("chance", ""),
        ("compatible-set oracle", "posterior"),
    ]
    assert rows[0].figures["mAP"] == Figure(0.8, pytest.approx(0.7), pytest.approx(0.9))
    assert rows[0].figures["P@10"] == Figure(0.8)
    assert "mAP@20" not in rows[0].figures


def test_row_without_figures_comes_last_of_its_kind():
    result = evaluation()
    result["rows"].insert(0, row("broken", "cosine", "rival", None))
    names = [r.name for r in metric_rows(result)]
    assert names.index("broken") == 4
    assert figure_of(raw(None)) is None
    assert figure_of(None) is None


def test_rows_are_found_by_name():
    result = evaluation()
    assert headline_row(result)["figures"]["map"]["value"] == 0.8
    assert best_of(result, "two streams")["ranking"] == "flat"
    with pytest.raises(ValueError, match="no student/none, expected one of chance/, rectangle only/cosine"):
        find_row(result, "student", "none")
    with pytest.raises(ValueError, match="no figures of nobody"):
        best_of(result, "nobody")
    with pytest.raises(ValueError, match="headline: none"):
        headline_row({"headline": None, "rows": []})


def test_breakdowns_leave_out_what_does_not_exist():
    assert breakdowns(evaluation()) == {
        "mAP by category": [("car", Figure(0.7))],
        "mAP by number of compatible patterns": [("one compatible (5 queries)", Figure(0.6))],
        "Attribute named rightly by the student": [("car: yaw", Figure(0.9))],
    }


@pytest.mark.parametrize(
    ("figures", "count"),
    [((0.8, 0.2, 0.5), 0), ((0.8, 0.4, 0.5), 0), ((0.8, 0.401, 0.5), 1), ((0.8, 0.2, 0.8), 1), ((0.3, 0.2, 0.5), 2)],
)
def test_verdict_of_the_demo(figures, count):
    missed = unmet(evaluation(*figures), rectangle_only="rectangle only", two_streams="two streams")
    assert len(missed) == count
    assert all(f"student mAP is {figures[0]:.3f}" in sentence for sentence in missed)


def test_verdict_is_not_fooled_by_nan():
    assert len(unmet(evaluation(float("nan")), rectangle_only="rectangle only", two_streams="two streams")) == 2


def test_curves_are_read_by_kind(tmp_path):
    lines = [
        {"step": 1, "kind": "train", "loss": 2.0},
        {"step": 2, "kind": "train", "loss": 1.5},
        {"step": 2, "kind": "validation", "score": 0.5},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    train = read_curve(tmp_path, "train", "loss", "training")
    assert (train.steps, train.values, train.is_validation) == ([1, 2], [2.0, 1.5], False)
    validation = read_curve(tmp_path, "validation", "score", "validation")
    assert (validation.values, validation.is_validation) == ([0.5], True)
    missing = read_curve(tmp_path, "train", "score", "none")
    assert missing is None
    assert panel("t", "y", [train, missing]).curves == [train]
    assert panel("t", "y", [missing]) is None
