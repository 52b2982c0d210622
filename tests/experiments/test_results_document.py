"""The document is what the results files say, byte for byte: on a small fixture and on the repository's own results.

After a wanted change of the document:
  fos results render --results=tests/experiments/results_fixture \\
      --document=tests/experiments/results_fixture/results.md --readme=
"""

import json
import shutil
from pathlib import Path

import pytest

from fos_jax.errors import InputError
from fos_jax.experiments.document import BEGIN, END, read_all, readme_block, render, write_document, write_readme
from fos_jax.experiments.results_file import read_records, results_path, write_records
from fos_jax.experiments.rows import comparisons, losses, main_entries, read_size
from fos_jax.experiments.tables import best_margin, margins, provenance

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).parent / "results_fixture"
KEPT = [(FIXTURE, FIXTURE / "results.md")]
if (ROOT / "results").exists():
    KEPT.append((ROOT / "results", ROOT / "docs" / "results.md"))
PAPER = (0.1042, 0.2406)


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(FIXTURE, tmp_path / "copy"))


def text_of(results: Path) -> str:
    return render(results, results / "results.md")


def drop(results: Path, *keys: str) -> None:
    """Takes records out of the file."""
    path = results_path(results, "mini")
    kept = [record for key, record in read_records(path).items() if key not in keys]
    path.unlink()
    write_records(path, kept)


def edit(results: Path, key: str, **changes) -> None:
    record = read_records(results_path(results, "mini"))[key]
    write_records(results_path(results, "mini"), [{**record, **changes}])


def cell_keys(results: Path) -> list[str]:
    return [key for key in read_records(results_path(results, "mini")) if key.startswith("cell-")]


@pytest.mark.parametrize(("results", "document"), KEPT, ids=lambda path: path.name)
def test_document_and_plots_are_rebuilt_from_the_results_files(results, document, tmp_path):
    copy = tmp_path / results.name
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("*.svg", "*.md"))
    at = tmp_path / document.relative_to(results.parent)
    write_document(copy, at)
    assert at.read_bytes() == document.read_bytes()
    made = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.svg")}
    assert made == {path.relative_to(results): path.read_bytes() for path in results.rglob("*.svg")}
    assert all(path.name in document.read_text() for path in made)
    assert made or results != FIXTURE


@pytest.mark.skipif(not (ROOT / "results").exists(), reason="no results are kept")
def test_readme_has_the_results_of_the_files_in_one_short_table(tmp_path):
    block = readme_block(read_all(ROOT / "results"))
    readme = Path(shutil.copy(ROOT / "README.md", tmp_path))
    write_readme(readme, block)
    assert readme.read_bytes() == (ROOT / "README.md").read_bytes()
    assert sum(line.startswith("|") for line in block.splitlines()) <= 8  # header, rule and six rows


def test_readme_gets_the_block_between_its_marks_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_readme(readme, "new")
    write_readme(readme, "newer")
    assert readme.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"
    readme.write_text("nothing")
    with pytest.raises(InputError, match="expected them around the results"):
        write_readme(readme, "new")
    assert readme.read_text() == "nothing"
    assert readme_block(read_all(FIXTURE)) == ""  # mini means nothing


def test_margins_are_those_over_the_nearest_rival(copy):
    (results,) = read_all(copy)
    rows = comparisons(results)
    row = best_margin(rows, "student", "cosine", ("cosine",))
    assert row.theirs.method == "two_streams"
    line = next(line for line in margins(rows, *PAPER).splitlines() if line.startswith("- By cosine"))
    assert f"{100 * row.result.difference:+.1f}".replace("-", "−") in line
    met = row.result.difference >= PAPER[0] and row.result.relative >= PAPER[1] and row.result.low > 0
    assert ("**less than the paper's margin**" in line) == (not met)
    assert line in text_of(copy)
    assert "|chance|control|" in text_of(copy)


def test_what_was_not_run_is_said(copy):
    drop(copy, "cell-student-1")
    text = text_of(copy)
    (line,) = (line for line in text.splitlines() if line.startswith("|student|ours|"))
    assert line.endswith("|1 of 2|")
    assert "|rectangle only|control|not run|" in text
    drop(copy, *cell_keys(copy))
    text = text_of(copy)
    assert "Nothing of this size was run." in text
    assert "0 of 8 cells" in text
    assert not list(copy.rglob("*.svg"))


def test_a_method_without_a_query_encoder_has_no_cost_per_query(copy):
    for key in cell_keys(copy):
        if key.startswith("cell-two_streams"):
            edit(copy, key, cost=None)
    lines = text_of(copy).split("### Cost")[1].splitlines()
    (line,) = (line for line in lines if line.startswith("|two streams|"))
    assert line.count("|–") == 5


def test_figures_are_the_means_of_the_cells(copy):
    results, records = read_size(copy, "mini"), read_records(results_path(copy, "mini"))
    values = []
    for seed in (0, 1):
        rows = records[f"cell-student-{seed}"]["rows"]
        values.append(next(r["figures"]["map"] for r in rows if r["ranking"] == "both"))
    figure = results.entry("student", "both").spread("figures", "map")
    assert figure.values == tuple(values)
    assert figure.mean == pytest.approx(sum(values) / 2)
    assert f"{100 * figure.mean:.1f} ± {100 * figure.deviation:.1f}" in text_of(copy)


def test_comparisons_are_of_like_with_like(copy):
    rows = comparisons(read_size(copy, "mini"))
    pairs = [(r.ours.method, r.ours.ranking, r.theirs.method, r.theirs.ranking) for r in rows]
    assert pairs == [
        ("student", "cosine", "two_streams", "cosine"),
        ("student", "flat", "two_streams", "flat"),
        ("student", "both", "two_streams", "flat"),
    ]
    assert [list(r.result.by_seed) for r in rows] == [[0]] * 3  # the rival was run with one seed


def test_main_ranking_is_fixed_by_rule(copy):
    entries = read_size(copy, "mini").entries()
    chosen = [(e.method, e.ranking) for e in main_entries(entries) if e.kind != "oracle"]
    assert chosen == [
        *(("student", "cosine"), ("student", "both")),
        *(("two_streams", "cosine"), ("two_streams", "flat")),
        *(("rectangle_only", "cosine"), ("rectangle_only", "both")),
        ("teacher", ""),
    ]


def test_a_cell_of_another_definition_counts_as_not_run(copy):
    edit(copy, "cell-student-1", definition="old")
    (results,) = read_all(copy)
    assert list(results.of_method("student")) == [0]
    assert "|student|ours|" in text_of(copy)


def test_no_plan_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no results of full, full_small, demo, mini"):
        text_of(tmp_path)
    (tmp_path / "demo.jsonl").write_text('{"kind": "plan", "format_version": 2}\n')
    with pytest.raises(InputError, match=r"demo\.jsonl, line 1: not a record"):
        text_of(tmp_path)


def test_losses_add_up_to_what_is_missing_and_start_at_the_oracle(copy):
    results = read_size(copy, "mini")
    factors, steps = losses(results)
    assert factors
    oracle = next(e for e in results.entries() if (e.title, e.ranking) == ("compatible-set oracle", "posterior"))
    cosine = results.entry("student", "cosine").spread("figures", "map")
    after, lost = zip(*(figures[:2] for _, figures in steps), strict=True)
    assert after[0].mean == pytest.approx(oracle.spread("figures", "map").mean)
    assert after[2].mean == pytest.approx(cosine.mean)
    assert 1 - sum(figure.mean for figure in lost) == pytest.approx(after[2].mean)
    drop(copy, *(key for key in cell_keys(copy) if key.startswith("cell-teacher")))
    assert losses(read_size(copy, "mini")) is None


def test_a_margin_that_a_perfect_ranking_would_miss_is_told(copy):
    for key, cell in read_records(results_path(copy, "mini")).items():
        if key.startswith("cell-two_streams"):
            rows = json.loads(json.dumps(cell["rows"]))
            for row in rows:
                row["figures"]["map"] = 0.9
            edit(copy, key, rows=rows)
    rows = comparisons(read_all(copy)[0])
    line = next(line for line in margins(rows, *PAPER).splitlines() if line.startswith("- By cosine"))
    assert line.endswith("**less than the paper's margin** (a perfect ranking, 100, would be +11.1 % over this rival).")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("checksum", "0123456789abcdef", "there are 2 renderings"),
        ("checksum", None, "**Of 1 cells it is not known which rendering"),
        ("query_ids", "0123456789abcdef", "**The cells were not evaluated on the same data: their figures cannot be"),
    ],
)
def test_cells_evaluated_on_other_pictures_or_other_scenes_are_told(copy, field, value, said):
    assert said not in text_of(copy)
    data = read_records(results_path(copy, "mini"))["cell-student-1"]["data"]
    edit(copy, "cell-student-1", data={**data, field: value})
    assert said in text_of(copy)


def test_ablations_on_other_pictures_than_the_students_are_told_with_the_ablations(copy):
    key = next(key for key in cell_keys(copy) if key.startswith("cell-ablation_") and key.endswith("-0"))
    data = read_records(results_path(copy, "mini"))[key]["data"]
    edit(copy, key, data={**data, "checksum": "0123456789abcdef"})
    (results,) = read_all(copy)
    assert "renderings" not in provenance(results)
    assert "there are 2 renderings" in provenance(results, is_ablation=True)
