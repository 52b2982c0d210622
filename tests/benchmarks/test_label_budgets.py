"""Label budgets: who gets a label, and both students in a world where labels are few and the teacher is right."""

import label_budgets
import numpy as np


def test_a_share_is_labelled_and_every_pattern_has_one():
    pattern = np.repeat([0, 1, 2, -1], [80, 15, 5, 20])
    thing = np.arange(120)
    thing[60:80] = np.arange(20)  # mirrored copies of the first twenty
    few, half = (label_budgets.draw_labelled(pattern, thing, share, 0) for share in (0.02, 0.5))
    assert set(pattern[few]) == {0, 1, 2}
    assert len(np.unique(thing[few])) == 3
    assert len(np.unique(thing[half])) == 40
    assert not half[pattern < 0].any()
    assert (half[60:80] == half[:20]).all()
    assert label_budgets.draw_labelled(pattern, thing, 1.0, 0).sum() == 100
    assert (few != label_budgets.draw_labelled(pattern, thing, 0.02, 1)).any()


def test_a_student_of_a_good_teacher_beats_one_of_few_labels(monkeypatch):
    """Foregrounds tell their pattern outright, queries in one of thirty noisy numbers each."""
    monkeypatch.setattr(label_budgets, "STRENGTHS", (1e-3,))
    rng = np.random.default_rng(0)

    def pairs(n):
        pattern = np.arange(n) % 2
        query = rng.normal(size=(n, 30))
        query[:, 0] += 3 * pattern
        return query, np.eye(2)[pattern] + 0.01 * rng.normal(size=(n, 2)), pattern

    def held(n):
        query, foreground, pattern = pairs(n)
        zeros, same = np.zeros(n, int), pattern[:, None] == pattern[None]
        return label_budgets.Held(query, zeros, foreground, zeros, pattern, same, np.ones_like(same))

    query, foreground, pattern = pairs(300)
    zeros = np.zeros(300, int)
    columns = (query, foreground, zeros, pattern, np.arange(300), np.zeros(2, int))
    world = label_budgets.World(*columns, held(60), held(60))
    found, with_truth, facts = label_budgets.run_budget(world, 0.02, 0)
    assert facts == {"labelled": 6, "teachers_accuracy": 1.0}
    means = {name: values.mean() for name, values in found.items()}
    assert means["distilled"] > means["labels"] + 0.1
    assert abs(means["argmax"] - means["oracle"]) < 0.02
    assert with_truth.keys() == found.keys() == set(label_budgets.STUDENTS)
