"""RESULTS.md is what the JSON files say, byte for byte: on a small fixture and on the repository's own results.

After a wanted change of the document:
  python -m fos_jax.launch.results_render --results=tests/report/results_fixture \\
      --document=tests/report/results_fixture/RESULTS.md --readme=
"""

import json
import shutil
from pathlib import Path

import pytest

from fos_jax.errors import InputError
from fos_jax.experiments.cell_files import read_cells, read_plan
from fos_jax.experiments.document import read_all, render, write_document
from fos_jax.experiments.headline import BEGIN, END, best_margin, headline, readme_block, write_readme
from fos_jax.experiments.lost_points import losses
from fos_jax.experiments.rows import SizeResults, comparisons, main_entries
from fos_jax.experiments.tables import circumstances

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = Path(__file__).parent / "results_fixture"
KEPT = [(FIXTURE, FIXTURE / "RESULTS.md")]
if (ROOT / "results").exists():
    KEPT.append((ROOT / "results", ROOT / "RESULTS.md"))


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(FIXTURE, tmp_path / "copy"))


@pytest.mark.parametrize(("results", "document"), KEPT, ids=lambda path: path.name)
def test_document_and_plots_are_rebuilt_from_the_json(results, document, tmp_path):
    copy = tmp_path / results.name
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("*.svg", "*.md"))
    at = tmp_path / document.relative_to(results.parent if results != FIXTURE else FIXTURE.parent)
    write_document(copy, at)
    assert at.read_bytes() == document.read_bytes()
    made = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.svg")}
    assert made == {path.relative_to(results): path.read_bytes() for path in results.rglob("*.svg")}
    assert made or results != FIXTURE


@pytest.mark.skipif(not (ROOT / "results").exists(), reason="no results are kept")
def test_readme_has_the_results_of_the_json(tmp_path):
    readme = Path(shutil.copy(ROOT / "README.md", tmp_path))
    write_readme(readme, readme_block(read_all(ROOT / "results")))
    assert readme.read_bytes() == (ROOT / "README.md").read_bytes()


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
    text = headline(results)
    line = next(line for line in text.splitlines() if line.startswith("- By cosine"))
    assert f"{100 * row.result.difference:+.1f}".replace("-", "−") in line
    met = row.result.difference >= 0.1042 and row.result.relative >= 0.2406 and row.result.low > 0
    assert ("**less than the paper's margin**" in line) == (not met)
    assert "| chance | control |" in text


def test_what_was_not_run_is_said(copy):
    (copy / "mini" / "student-1.json").unlink()
    text = render(copy, copy / "RESULTS.md")
    lines = [line for line in text.split("### Methods")[1].splitlines() if line.startswith("| student | ours |")]
    assert len(lines) == 4
    assert all(line.endswith("| 1 of 2 |") for line in lines)
    assert "| rectangle only | control | cosine | not run |" in text
    for path in (copy / "mini").glob("*-*.json"):
        path.unlink()
    text = render(copy, copy / "RESULTS.md")
    assert "Nothing of this size was run." in text
    assert "0 of 8 cells" in text
    assert not list(copy.rglob("*.svg"))


def test_a_method_without_a_query_encoder_has_no_cost_a_query(copy):
    for path in (copy / "mini").glob("two_streams-*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "cost": None}))
    lines = render(copy, copy / "RESULTS.md").split("### Cost")[1].splitlines()
    (line,) = (line for line in lines if line.startswith("| two streams |"))
    assert line.count("| – ") == 5


def test_figures_are_the_means_of_the_cells(copy):
    plan = read_plan(copy, "mini")
    results = SizeResults("mini", plan, read_cells(copy, "mini", plan))
    values = []
    for seed in (0, 1):
        cell = json.loads((copy / "mini" / f"student-{seed}.json").read_text())
        values.append(next(r["figures"]["map"] for r in cell["rows"] if r["ranking"] == "both"))
    figure = results.entry("student", "both").spread("figures", "map")
    assert figure.values == tuple(values)
    assert figure.mean == pytest.approx(sum(values) / 2)
    assert f"{100 * figure.mean:.1f} ± {100 * figure.deviation:.1f}" in render(copy, copy / "RESULTS.md")


def test_comparisons_are_of_like_with_like(copy):
    plan = read_plan(copy, "mini")
    rows = comparisons(SizeResults("mini", plan, read_cells(copy, "mini", plan)))
    pairs = [(r.ours.method, r.ours.ranking, r.theirs.method, r.theirs.ranking) for r in rows]
    assert pairs == [
        ("student", "cosine", "two_streams", "cosine"),
        ("student", "flat", "two_streams", "flat"),
        ("student", "both", "two_streams", "flat"),
    ]
    assert [list(r.result.by_seed) for r in rows] == [[0]] * 3  # the rival was run with one seed


def test_main_ranking_is_fixed_by_rule(copy):
    plan = read_plan(copy, "mini")
    entries = SizeResults("mini", plan, read_cells(copy, "mini", plan)).entries()
    chosen = [(e.method, e.ranking) for e in main_entries(entries) if e.kind != "oracle"]
    assert chosen == [
        *(("student", "cosine"), ("student", "both")),
        *(("two_streams", "cosine"), ("two_streams", "flat")),
        *(("rectangle_only", "cosine"), ("rectangle_only", "both")),
        ("teacher", ""),
    ]


def test_cells_on_other_data_are_pointed_out(copy):
    path = copy / "mini" / "student-1.json"
    cell = json.loads(path.read_text())
    assert "cannot be compared" not in render(copy, copy / "RESULTS.md")
    cell["data"]["checksum"] = "other"
    path.write_text(json.dumps(cell))
    assert "cannot be compared" in render(copy, copy / "RESULTS.md")


def test_a_cell_of_another_definition_counts_as_not_run(copy):
    path = copy / "mini" / "student-1.json"
    path.write_text(path.read_text().replace(json.loads(path.read_text())["definition"], "old"))
    assert "| student | ours | cosine |" in (text := render(copy, copy / "RESULTS.md"))
    assert "student-1" not in text


def test_no_plan_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"no plan\.json in full, full_small, demo, mini"):
        render(tmp_path, tmp_path / "RESULTS.md")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="not a plan of results"):
        render(tmp_path, tmp_path / "RESULTS.md")


def test_losses_add_up_to_what_is_missing_and_start_at_the_oracle():
    plan = read_plan(FIXTURE, "mini")
    results = SizeResults("mini", plan, read_cells(FIXTURE, "mini", plan))
    header, lines = losses(results)
    assert header[:3] == ["step", "mAP after it", "lost"]

    def mean(text):
        return float(text.split(" ± ")[0].replace("−", "-"))

    oracle = next(e for e in results.entries() if (e.title, e.ranking) == ("compatible-set oracle", "posterior"))
    cosine = results.entry("student", "cosine")
    assert mean(lines[0][1]) == pytest.approx(100 * oracle.spread("figures", "map").mean, abs=0.06)
    assert mean(lines[2][1]) == pytest.approx(100 * cosine.spread("figures", "map").mean, abs=0.06)
    assert 100 - sum(mean(line[2]) for line in lines) == pytest.approx(mean(lines[2][1]), abs=0.16)
    assert (
        losses(SizeResults("mini", plan, {c: cell for c, cell in results.cells.items() if c.method != "teacher"}))
        is None
    )


def test_a_margin_that_a_perfect_ranking_would_miss_is_told(copy):
    for path in (copy / "mini").glob("two_streams-*.json"):
        cell = json.loads(path.read_text())
        for row in cell["rows"]:
            row["figures"]["map"] = 0.9
        path.write_text(json.dumps(cell))
    line = next(line for line in headline(read_all(copy)[0]).splitlines() if line.startswith("- By cosine"))
    assert line.endswith("**less than the paper's margin** (a perfect ranking, 100, would be +11.1 % over this rival).")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("checksum", "0123456789abcdef", "there are 2 renderings"),
        ("checksum", None, "**Of 1 cells it is not known which rendering"),
        ("query_ids", "0123456789abcdef", "**The cells were not evaluated on the same data"),
    ],
)
def test_cells_evaluated_on_other_pictures_or_other_scenes_are_told(copy, field, value, said):
    assert said not in render(copy, copy / "RESULTS.md")
    path = copy / "mini" / "student-1.json"
    cell = json.loads(path.read_text())
    cell["data"][field] = value
    path.write_text(json.dumps(cell))
    assert said in render(copy, copy / "RESULTS.md")


def test_ablations_on_other_pictures_than_the_students_are_told_with_the_ablations(copy):
    path = next(iter((copy / "mini").glob("ablation_*-0.json")))
    cell = json.loads(path.read_text())
    cell["data"]["checksum"] = "0123456789abcdef"
    path.write_text(json.dumps(cell))
    (results,) = read_all(copy)
    assert "renderings" not in circumstances(results)
    assert "there are 2 renderings" in circumstances(results, is_ablation=True)
