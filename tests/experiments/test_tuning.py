"""Trials: as many for each training, sound spaces, kept once run, and the configs have the best one's numbers."""

import json
from pathlib import Path

import pytest

from fos_jax.errors import InputError
from fos_jax.experiments import methods, running
from fos_jax.experiments import trials as table
from fos_jax.experiments.cells import Training, resolved_config
from fos_jax.experiments.results_file import read_records, results_path, write_records
from fos_jax.experiments.rows import read_size
from fos_jax.experiments.stages import Stage, StageError, StageRun

KEPT = Path(__file__).resolve().parents[2] / "results"
PLANS = table.planned("demo", "1.0.0")


def test_every_method_has_as_many_trials_and_every_rival_has_some():
    assert len({len(space) for space in table.SPACES.values()}) == 1
    rivals = {m.training.name for m in methods.METHODS if m.kind == methods.RIVAL}
    assert rivals | {"teacher", "student"} == set(table.SPACES)
    for space in table.SPACES.values():
        assert len({json.dumps(changes, sort_keys=True) for changes in space}) == len(space)
        assert len({tuple(sorted(changes)) for changes in space}) == 1  # each sets the same fields


@pytest.mark.parametrize("name", table.SPACES)
def test_a_trial_is_the_config_with_its_numbers_and_half_the_steps(name):
    whole = resolved_config(table.TRAININGS[name], "demo")
    for number, changes in enumerate(table.SPACES[name]):
        config = resolved_config(table.trial_training(name, number, "demo"), "demo")
        assert config.training.num_steps == whole.training.num_steps // 2
        for field, value in changes.items():
            room, key = field.split(".")
            assert config[room][key] == value
        if name in table.STAGES:
            room, key = table.STAGES[name].split(".")
            assert config[room][key] == whole[room][key] // 2 < config.training.num_steps


def test_trainings_in_stages_are_known():
    for name in table.SPACES:
        config = resolved_config(table.TRAININGS[name], "demo").to_dict()
        staged = {f"{room}.{key}" for room in ("extension", "mining", "disco", "ffr") for key in config.get(room, {})}
        assert {field for field in staged if field.endswith("_steps")} == {table.STAGES.get(name)} - {None}


@pytest.mark.parametrize("size", ["demo", "full"])
def test_the_configs_have_the_numbers_of_the_best_trial(size):
    records = read_records(results_path(KEPT, size))
    if not records:
        pytest.skip("no trials of this size are kept")
    for name in table.SPACES:
        own = [
            (t.number, t.definition, records.get(t.key)) for t in table.trials(size, running.dataset_version(), [name])
        ]
        scores = {number: record["score"] for number, d, record in own if record and record["definition"] == d}
        if len(scores) == len(table.SPACES[name]):
            assert table.chosen(name, size) == max(scores, key=scores.__getitem__), name


def test_trials_are_run_once_and_reported(tmp_path, monkeypatch):
    ran: list[str] = []

    def run_stages(stages: list[Stage], records: Path, *, announce, is_quiet) -> list[StageRun]:
        folder = stages[-1].outputs[0]
        assert len(stages) == 1
        assert not any("evaluate" in stage.command[0] for stage in stages)  # the test split is not touched
        ran.append(folder.name.rsplit("-", 1)[0])
        if folder.name.startswith("trial_gala_1"):
            raise StageError("gone")
        (folder / "bundle").mkdir(parents=True)
        metrics = {"validation": {"score": 0.5 + len(ran) / 100, "map_cosine": 0.5}}
        (folder / "bundle" / "metrics.json").write_text(json.dumps(metrics))
        facts = {"commit": "abc", "cpu_count": 2, "devices": {"count": 1, "kind": "cpu"}}
        (folder / "run.json").write_text(json.dumps(facts))
        return [StageRun(stages[-1], 60.0, False)]

    monkeypatch.setattr(running, "run_stages", run_stages)
    monkeypatch.setattr(running, "build_data", lambda size, data: None)
    given = {"work": tmp_path / "w", "data": tmp_path / "d", "results": tmp_path / "r", "announce": lambda line: None}
    trials = table.trials("mini", "1.0.0", ["gala"])
    failed = running.run_cells(trials, **given)
    total = len(table.SPACES["gala"])
    assert ran == [f"trial_gala_{k}" for k in range(total)]
    assert [line.split(":")[0] for line in failed] == ["gala-1"]
    line = next(line for line in table.summary("mini", "1.0.0", tmp_path / "r") if line.startswith("gala"))
    assert line == f"gala: 1 of {total} trials not run"
    running.run_cells(trials, **given)
    assert ran[total:] == ["trial_gala_1"]
    trial = read_records(results_path(tmp_path / "r", "mini"))["trial-gala-0"]
    assert (trial["score"], trial["seconds"], trial["commit"], trial["hardware"]) == (0.51, 60.0, "abc", "2 CPU cores")
    with pytest.raises(InputError, match="only: unknown nobody, expected some of teacher"):
        table.trials("mini", "1.0.0", ["nobody"])


def test_a_trial_defined_otherwise_was_not_run_and_a_damaged_one_is_named(tmp_path):
    path, plan = results_path(tmp_path, "demo"), {"kind": "plan", "seeds": [0], "methods": [], "definitions": {}}
    trial = {key: PLANS[0][key] for key in ("training", "number", "definition", "changes")}
    trial |= {"kind": "trial", "score": 0.5, "metrics": {}, "seconds": 1.0}
    write_records(path, [{**plan, "trials": PLANS[:2]}, trial])
    first, second = read_size(tmp_path, "demo").trials
    assert (first["score"], second) == (0.5, None)
    write_records(path, [{**trial, "definition": "other"}])
    assert read_size(tmp_path, "demo").trials == [None, None]
    path.write_text('{"kind": "trial", "format_version": 2}\n')
    with pytest.raises(InputError, match=r"demo\.jsonl, line 1: not a record"):
        read_size(tmp_path, "demo")


def test_trainings_are_the_tables():
    assert all(isinstance(training, Training) for training in table.TRAININGS.values())
    assert table.TRAININGS["student"] == methods.STUDENT
