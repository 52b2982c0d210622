"""The whole evaluation with stand-ins for bundles: rows, figures, refusals, tables, files."""

import copy
import dataclasses
import errno
import io
import json

import numpy as np
import pytest
from evaluation_world import make_bundle, make_split, make_table

from fos_jax import files
from fos_jax.errors import InputError
from fos_jax.evaluation import from_files, tables
from fos_jax.evaluation.methods import BOX_OVERLAP, CONTROL, MASK_OVERLAP, EvaluatedModel
from fos_jax.evaluation.run import evaluate
from fos_jax.pattern_table import PatternTable

QUERIES, FOREGROUNDS, TABLE = make_split()


@pytest.fixture(scope="module")
def bundles():
    return {"student": make_bundle(), "blind": make_bundle(seed=1)}


@pytest.fixture(scope="module")
def results(bundles):
    other = EvaluatedModel("rectangle only", bundles["blind"], QUERIES, FOREGROUNDS, CONTROL)
    return evaluate(bundles["student"], QUERIES, FOREGROUNDS, TABLE, compare=[other], num_resamples=200)


def row(results, name, ranking):
    return next(r for r in results["rows"] if (r["name"], r["ranking"]) == (name, ranking))


def test_rows_are_chance_the_others_ours_and_the_oracles(results):
    rankings = ["cosine", "flat", "factorised", "both"]
    oracles = ["own-foreground oracle", "compatible-set oracle"]
    assert [(r["name"], r["ranking"]) for r in results["rows"]] == [
        ("chance", ""),
        (BOX_OVERLAP, ""),
        *(("rectangle only", ranking) for ranking in rankings),
        *(("student", ranking) for ranking in rankings),
        (MASK_OVERLAP, ""),
        *((oracle, ranking) for oracle in oracles for ranking in ("cosine", "posterior")),
    ]
    assert [r["kind"] for r in results["rows"]] == ["control"] * 6 + ["ours"] * 4 + ["oracle"] * 5


def test_results_are_json_and_name_their_convention(results):
    again = json.loads(json.dumps(results, allow_nan=False))
    assert again == results
    assert again["convention"]["name"] == "standard"
    assert again["counts"]["queries"] == len(QUERIES)
    assert again["counts"]["by_category"]["car"]["patterns"] == 4


def test_headline_is_the_combined_posterior_of_the_student(results):
    assert (results["headline"]["name"], results["headline"]["ranking"]) == ("student", "both")
    assert results["headline"]["figure"] == row(results, "student", "both")["figures"]["map"]


def test_every_figure_lies_in_its_interval_and_in_zero_to_one(results):
    for of in results["rows"]:
        for name, figure in of["figures"].items():
            assert 0 <= figure["value"] <= 1 + 1e-12, name
            assert figure["low"] - 1e-9 <= figure["value"] <= figure["high"] + 1e-9, name


def test_value_is_the_mean_over_categories_and_over_queries_is_weighted(results):
    of = row(results, "student", "both")
    by_category = of["by_category"].values()
    values = [c["figures"]["map"]["value"] for c in by_category]
    counts = [c["num_queries"] for c in by_category]
    assert of["figures"]["map"]["value"] == pytest.approx(np.mean(values))
    assert of["figures"]["map"]["over_queries"] == pytest.approx(np.average(values, weights=counts))
    assert sum(counts) == of["num_queries"] == len(QUERIES)


def test_one_and_several_compatible_patterns_are_apart(results):
    of = row(results, "student", "flat")["by_compatible"]
    several = int((QUERIES.is_compatible.sum(axis=1) > 1).sum())
    assert (of["one"]["num_queries"], of["several"]["num_queries"]) == (len(QUERIES) - several, several)
    assert of["one"]["figures"]["map"] != of["several"]["figures"]["map"]


def test_attributes_have_accuracy_and_map(results):
    of = row(results, "student", "factorised")["by_attribute"]
    assert {category: list(names) for category, names in of.items()} == {"car": ["yaw", "light"], "dog": ["pose"]}
    assert 0 <= of["car"]["yaw"]["accuracy"]["value"] <= 1
    assert row(results, "student", "cosine")["by_attribute"]["car"]["yaw"]["accuracy"] is None
    assert row(results, "chance", "")["by_attribute"]["dog"]["pose"]["accuracy"]["value"] == pytest.approx(0.5)


def test_differences_are_of_the_headline_to_every_other_row(results):
    assert len(results["differences"]) == len(results["rows"]) - 1
    first = results["differences"][0]
    assert first["minus"] == {"name": "chance", "ranking": ""}
    gap = results["headline"]["figure"]["value"] - row(results, "chance", "")["figures"]["map"]["value"]
    assert first["difference"] == pytest.approx(gap)
    assert first["low"] <= gap <= first["high"]


def test_a_gallery_is_encoded_once_for_bundles_with_the_same_teacher():
    student, blind = make_bundle(), make_bundle(seed=1)
    blind.config = student.config
    other = EvaluatedModel("rectangle only", blind, QUERIES, FOREGROUNDS, CONTROL)
    evaluate(student, QUERIES, FOREGROUNDS, TABLE, compare=[other], num_resamples=2)
    assert (blind.num_encoded_galleries, student.num_encoded_galleries) == (1, 0)
    student.variables["foreground"]["params"]["prototypes"] = student.prototypes + 1
    evaluate(student, QUERIES, FOREGROUNDS, TABLE, compare=[other], num_resamples=2)
    assert (blind.num_encoded_galleries, student.num_encoded_galleries) == (2, 1)


def test_repeats_exactly(results, bundles):
    other = EvaluatedModel("rectangle only", bundles["blind"], QUERIES, FOREGROUNDS, CONTROL)
    again = evaluate(bundles["student"], QUERIES, FOREGROUNDS, TABLE, compare=[other], num_resamples=200)
    assert again == results


def test_order_of_the_gallery_does_not_matter(results, bundles):
    order = np.random.default_rng(1).permutation(len(FOREGROUNDS))
    moved = dataclasses.replace(
        FOREGROUNDS, **{f.name: getattr(FOREGROUNDS, f.name)[order] for f in dataclasses.fields(FOREGROUNDS)}
    )
    queries = dataclasses.replace(
        QUERIES, foreground_index=np.argsort(order)[QUERIES.foreground_index].astype(np.int32)
    )
    got = evaluate(bundles["student"], queries, moved, TABLE, num_resamples=10)
    for ranking in ("cosine", "both"):
        new, old = (row(r, "student", ranking)["figures"]["map"]["value"] for r in (got, results))
        assert new == pytest.approx(old, abs=1e-6)


def test_a_teacher_alone_gets_chance_and_oracles():
    got = evaluate(make_bundle(has_query=False), QUERIES, FOREGROUNDS, TABLE, num_resamples=10)
    assert {r["kind"] for r in got["rows"]} == {"control", "oracle"}
    assert got["headline"] is None
    assert got["differences"] == []
    assert "own-foreground oracle" in tables.markdown(got)


def test_features_of_a_classifier_are_a_control_that_sees_the_own_foreground(bundles):
    """Its rows are those of the own-foreground oracle of the same encoder, under its own name; it is no teacher."""
    classifier = make_bundle(has_query=False)
    oracle = evaluate(classifier, QUERIES, FOREGROUNDS, TABLE, num_resamples=10)
    classifier.config.labels = "categories"
    alone = evaluate(classifier, QUERIES, FOREGROUNDS, TABLE, name="features", num_resamples=10)
    assert [(r["name"], r["kind"]) for r in alone["rows"]] == [
        ("chance", "control"),
        (BOX_OVERLAP, "control"),
        ("features", "control"),
        ("features", "control"),
    ]
    for ranking, same in (("cosine", "cosine"), ("flat", "posterior")):
        expected = row(oracle, "own-foreground oracle", same)["figures"]
        assert row(alone, "features", ranking)["figures"] == expected
    other = EvaluatedModel("features", classifier, QUERIES, FOREGROUNDS, CONTROL)
    beside = evaluate(bundles["student"], QUERIES, FOREGROUNDS, TABLE, compare=[other], num_resamples=10)
    assert row(beside, "features", "cosine")["figures"] == row(alone, "features", "cosine")["figures"]
    assert row(beside, "own-foreground oracle", "cosine")["kind"] == "oracle"


def test_what_cannot_be_compared_is_refused(bundles):
    student, blind = bundles["student"], bundles["blind"]
    fewer = dataclasses.replace(QUERIES, ids=QUERIES.ids[::-1])
    for method, message in (
        (EvaluatedModel("student", blind, QUERIES, FOREGROUNDS), "'student' is taken"),
        (EvaluatedModel("chance", blind, QUERIES, FOREGROUNDS), "'chance' is taken"),
        (EvaluatedModel("other", blind, fewer, FOREGROUNDS), "queries of other are not those of student"),
        (EvaluatedModel("teacher", make_bundle(has_query=False), QUERIES, FOREGROUNDS), "no query encoder"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(student, QUERIES, FOREGROUNDS, TABLE, compare=[method])


def test_a_bundle_of_another_pattern_table_is_refused(bundles):
    table = make_table()
    other = PatternTable(table.categories, table.attributes, table.patterns[:-1])
    with pytest.raises(InputError, match="bundle: trained with pattern table"):
        evaluate(bundles["student"], QUERIES, FOREGROUNDS, other)


def test_tables_show_every_row_in_percent(results):
    text = tables.markdown(results)
    assert text.count("\n| student, ") == 0  # markdown keeps method and ranking apart
    assert text.count("| student | ") == 4
    chance = 100 * row(results, "chance", "")["figures"]["map"]["value"]
    assert f"| chance | – | {chance:.1f} [" in text
    assert "Convention: standard" in text
    assert "| car | " in text


def test_terminal_table_fits_80_columns(results):
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=80).print(tables.rich_tables(results))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("student" in line for line in lines) == 2  # its first ranking, and the title of the second table
    assert any(line.split()[:2] == ["own-foreground", "oracle"] and "cosine" in line for line in lines)


def test_file_round_trip_and_refusals(results, tmp_path):
    path = tmp_path / "deep" / "evaluation.json"
    from_files.write_results(path, results)
    assert from_files.read_results(path) == results
    assert [p.name for p in path.parent.iterdir()] == ["evaluation.json"]
    broken = copy.deepcopy(results) | {"format_version": 99}
    from_files.write_results(path, broken)
    with pytest.raises(InputError, match="format_version is 99, expected 1"):
        from_files.read_results(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"evaluation\.json: not an evaluation result"):
        from_files.read_results(path)


def test_full_disk_leaves_the_old_file(results, tmp_path, monkeypatch):
    path = tmp_path / "evaluation.json"
    path.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(InputError, match=r"evaluation\.json: cannot be written \(No space left on device\)"):
        from_files.write_results(path, results)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
