"""Cells: run once, skipped when done, resumed when killed, stopped in time; programs are replaced by a script."""

import functools
import json
import sys
import time

import pytest

from fos_jax.experiments import methods as table
from fos_jax.experiments import running as results_run
from fos_jax.experiments import stages as stages_module
from fos_jax.experiments.results_file import read_records, results_path, write_records
from fos_jax.experiments.rows import read_size
from fos_jax.experiments.running import run_side_by_side

PROGRAM = """
import json, sys
from pathlib import Path
module, *arguments = sys.argv[1:]
flags = dict(a.removeprefix("--").split("=", 1) for a in arguments if "=" in a)
root = Path(__file__).parent
if module.endswith("train"): module += "_" + Path(flags["config"]).stem
with (root / "log").open("a") as log: log.write(module + " " + flags.get("name", flags.get("workdir", "")) + "\\n")
if module.endswith("dataset_build"): sys.exit(0)
if module.endswith("evaluate"):
    text = (root / "evaluation.json").read_text().replace("NAME", flags["name"])
    out = Path(flags["output"]); out.parent.mkdir(parents=True, exist_ok=True); out.write_text(text)
    sys.exit(0)
work = Path(flags["workdir"])
(work / "bundle").mkdir(parents=True, exist_ok=True)
if (root / "fail").exists() and (root / "fail").read_text() in str(work): sys.exit(3)
facts = {"commit": "abc", "cpu_count": 2, "devices": {"count": 1, "kind": "cpu", "processes": 1}}
(work / "run.json").write_text(json.dumps(facts))
"""


def figure(value):
    return {"value": value, "low": value, "high": value, "over_queries": value}


def evaluation() -> dict:
    """An evaluation of two queries, as `fos evaluate --per_query --cost` leaves it."""

    def row(name, ranking, kind, values):
        return {
            "name": name,
            "ranking": ranking,
            "kind": kind,
            "note": "",
            "num_queries": 2,
            "num_left_out": 0,
            "figures": {"map": figure(sum(values) / 2)},
            "by_category": {"car": {"num_queries": 2, "figures": {"map": figure(sum(values) / 2)}}},
            "by_compatible": {n: {"num_queries": 1, "figures": {"map": figure(0.5)}} for n in ("one", "several")},
            "by_attribute": {"car": {"yaw": {"num_queries": 2, "accuracy": None, "map": figure(0.25)}}},
            "calibration": None,
            "fosd": None,
            "per_query": values,
            "ranking_ms": 0.01,
        }

    return {
        "format_version": 1,
        "convention": {"name": "standard"},
        "queries": {"fingerprint": "q", "category": ["car", "car"]},
        "rows": [row("chance", "", "control", [0.1, 0.1])]
        + [row("NAME", r, "ours", [0.5, 0.75]) for r in ("cosine", "flat", "factorised", "both")]
        + [row("own-foreground oracle", "cosine", "oracle", [0.9, 0.9])],
        "counts": {"queries": 2, "foregrounds": 4, "queries_without_relevant": 0},
        "bundle": {"fingerprint": "b"},
        "teacher": {"pattern": 0.5},
        "data": {"dataset": "fos_synthetic", "size": "mini", "version": "1", "split": "test", "checksum": "c"},
        "metadata": {"commit": "abc", "time": "t", "versions": {}, "devices": {"count": 1, "kind": "cpu"}},
        "cost": {"NAME": {"one_ms": 1.0, "batch_ms": 1.0, "batch_size": 2, "gflop": 0.1, "parameters": 5}},
    }


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Runs the table's cells below a folder; returns failures, announcements and the modules that were started."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    real = stages_module.subprocess.run

    def run(command, **options):
        if command[:2] != [sys.executable, "-m"]:
            return real(command, **options)
        return real([sys.executable, str(script), *command[2:]], **options)

    monkeypatch.setattr(stages_module.subprocess, "run", run)
    methods = [m for m in table.methods(is_ablated=False) if m.name in ("student", "rectangle_only", "teacher")]
    results = tmp_path / "results"

    def go(seeds=(0,), **options):
        (tmp_path / "log").write_text("")
        cells = results_run.select(methods, only=[], has_ablations=False, size="mini", seeds=seeds, version="1")
        said = []
        failed = results_run.run_cells(
            cells, work=tmp_path / "work", data=tmp_path / "data", results=results, announce=said.append, **options
        )
        return failed, said, [line.split()[0].rsplit(".", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]

    go.results, go.folder, go.methods = results, tmp_path, methods
    go.path = results_path(results, "mini")
    return go


def test_a_teacher_is_trained_once_a_seed_and_done_cells_are_skipped(world):
    failed, _, started = world()
    assert not failed
    assert [s for s in started if s != "dataset_build"] == [
        *("train_teacher", "train_student", "evaluate"),
        *("train_student", "evaluate"),
        "evaluate",
    ]
    failed, said, started = world()
    assert (failed, started) == ([], [])
    assert said == ["3 of 3 cells are done, 0 to run"]
    _, _, started = world(seeds=(0, 1))
    assert started.count("train_teacher") == 1  # of the new seed


def test_cells_side_by_side_train_a_shared_teacher_once_and_print_into_files(world, capfd):
    failed, said, started = world(seeds=(0, 1), jobs=4)
    assert not failed
    assert sorted(s for s in started if s != "dataset_build") == sorted(
        2 * ["train_teacher", "train_student", "train_student", "evaluate", "evaluate", "evaluate"]
    )
    assert sum(key.startswith("cell-") for key in read_records(world.path)) == 6
    assert sum("up to date" in line for line in said) > 0
    logs = sorted(path.name for path in (world.folder / "work/mini/seed_0/stages").glob("*.log"))
    assert len(logs) == 6
    (world.folder / "fail").write_text("seed_2")
    failed, _, _ = world(seeds=(2,), jobs=2)
    assert len(failed) == 3
    assert all("its message is in" in sentence for sentence in failed)
    assert world(seeds=(0, 1), jobs=2)[2] == []


def test_an_interruption_begins_no_further_task():
    begun = []

    def task(number):
        begun.append(number)
        time.sleep(0.05)
        if number == 1:
            raise KeyboardInterrupt
        return number

    assert run_side_by_side([functools.partial(task, n) for n in (5, 3, 2)], 2) == [5, 3, 2]
    begun.clear()
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([functools.partial(task, n) for n in range(40)], 2)
    assert len(begun) < 10


def test_a_cell_holds_its_rows_and_what_it_can_be_traced_to(world):
    world()
    records = read_records(world.path)
    student = records["cell-student-0"]
    assert [row["ranking"] for row in student["rows"]] == ["cosine", "flat", "factorised", "both"]
    assert student["rows"][0]["average_precision"] == {"car": "5000 7500"}
    assert student["rows"][0]["figures"] == {"map": 0.625}
    teacher, distilled = student["trainings"]
    assert (teacher["name"], teacher["commit"], teacher["hardware"]) == ("teacher", "abc", "2 CPU cores")
    assert distilled["seconds"] > 0
    config = records[f"config-{distilled['config']}"]["config"]
    assert (config["task"], "seed" in config) == ("student", False)
    assert student["seed"] == 0
    assert sum(key.startswith("config-") for key in records) == 3  # the shared teacher's once
    assert student["cost"]["parameters"] == 5
    oracles = records["cell-teacher-0"]
    assert [row["name"] for row in oracles["rows"]] == ["chance", "own-foreground oracle"]
    assert oracles["cost"] is None or oracles["cost"]["parameters"] == 5


def test_a_lost_result_is_made_again_from_what_is_trained(world):
    world()
    kept = [record for key, record in read_records(world.path).items() if key != "cell-student-0"]
    world.path.unlink()
    write_records(world.path, kept)
    _, _, started = world()
    assert started == ["dataset_build"]
    assert "cell-student-0" in read_records(world.path)


def test_a_result_of_another_definition_is_made_again(world):
    world()
    write_records(world.path, [{**read_records(world.path)["cell-student-0"], "definition": "old"}])
    _, said, _ = world()
    assert said[0] == "2 of 3 cells are done, 1 to run"
    assert read_records(world.path)["cell-student-0"]["definition"] != "old"


def test_a_failed_cell_leaves_the_others_running_and_goes_on_later(world):
    (world.folder / "fail").write_text("rectangle_only")
    failed, _, _ = world()
    assert len(failed) == 1
    assert failed[0].startswith("rectangle_only-0: stage rectangle_only-")
    assert "cell-teacher-0" in read_records(world.path)
    (world.folder / "fail").unlink()
    failed, _, started = world()
    assert not failed
    assert started == ["dataset_build", "train_student", "evaluate"]


def test_no_cell_is_begun_that_would_end_too_late(world):
    failed, said, started = world(until_s=time.monotonic())
    assert (failed, started) == ([], [])
    assert said[-1] == "time is up: 3 cells are not run"
    world()
    cell = read_records(world.path)["cell-student-0"]
    for training in cell["trainings"]:
        training["seconds"] = 1000.0
    write_records(world.path, [cell])
    _, said, started = world(seeds=(0, 1), until_s=time.monotonic() + 400)
    assert (said[-1], started) == ("time is up: 3 cells are not run", [])


def test_expected_time_counts_a_shared_training_once(world, tmp_path):
    cells = results_run.select(world.methods, only=[], has_ablations=False, size="mini", seeds=[0], version="1")
    seconds = {"teacher": 10.0, "student": 3.0, "rectangle_only": 2.0}
    assert results_run.expected_seconds(cells, tmp_path, seconds) == 15.0
    assert results_run.expected_seconds(cells, tmp_path, {"teacher": 10.0}) is None
    assert results_run.expected_seconds([], tmp_path, {}) == 0


def test_plans_keep_earlier_seeds_and_leave_out_what_is_out_of_date(world):
    made = [
        results_run.write_plan(world.methods, size="mini", seeds=seeds, version="1", results=world.results)
        for seeds in ([1], [0])
    ]
    assert [plan["seeds"] for plan in made] == [[1], [0, 1]]
    world()
    assert len(read_size(world.results, "mini").cells) == 3
    newer = results_run.write_plan(world.methods, size="mini", seeds=[0], version="2", results=world.results)
    assert read_size(world.results, "mini").plan["definitions"] == newer["definitions"]
    assert read_size(world.results, "mini").cells == {}
    demo = results_run.write_plan(world.methods, size="demo", seeds=[5], version="1", results=world.results)
    assert demo["seeds"] == [0, 1, 2, 5]
