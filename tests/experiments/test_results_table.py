"""The table of results: every entry names programs, configs and flags that exist, and cells are told apart rightly."""

import dataclasses
import importlib
import re
import sys
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from fos_jax.errors import InputError
from fos_jax.evaluation.methods import CONTROL, ORACLE, OURS, RIVAL
from fos_jax.evaluation.scores import PAIR_RANKINGS
from fos_jax.experiments import methods as table
from fos_jax.experiments import running as results_run
from fos_jax.experiments.cells import (
    DATA_SIZES,
    RANKINGS,
    Cell,
    Method,
    Training,
    resolved_config,
    stages_of,
    training_key,
    trainings_of,
    workdir_of,
)
from fos_jax.experiments.stages import _source_files

ALL = [*table.methods(is_ablated=False), *table.methods(is_ablated=True)]
WORK, DATA = Path("work"), Path("data")


def cell(method: Method, *, size="demo", seed=1, version="1.0.0") -> Cell:
    return Cell(method, size, seed, version)


def flags_of(module: str) -> set[str]:
    (source,) = _source_files(module)
    return set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source.read_text("utf-8")))


def test_names_are_file_names_and_taken_once():
    names = [method.name for method in ALL]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\w+", name) for name in names)
    titles = [(method.group, method.title) for method in ALL]
    assert len(titles) == len(set(titles))
    assert not {"chance"} & set(names)


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_every_entry_is_sound(method):
    assert method.kind in (OURS, RIVAL, CONTROL, ORACLE)
    assert set(method.rankings) <= {*RANKINGS, *PAIR_RANKINGS}
    assert bool(method.rankings) == (method.kind != ORACLE)
    for size in DATA_SIZES:
        for training in trainings_of(method):
            assert resolved_config(training, size).is_locked
    for stage in stages_of(cell(method), WORK, DATA):
        module, *arguments = stage.command
        names = {re.match(r"--(\w+)", text)[1] for text in arguments if not text.startswith("--config.")}
        assert names <= flags_of(module), f"{module} has no {names - flags_of(module)}"


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # how ml_collections reads a config file
@pytest.mark.parametrize("method", ALL, ids=lambda method: method.name)
def test_flags_give_the_config_that_is_recorded(method):
    """What the program parses from a stage's command is the resolved config with the cell's seed."""
    for training, stage in zip(trainings_of(method), stages_of(cell(method, seed=7), WORK, DATA), strict=False):
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=stage.command)
        values([sys.argv[0], *(text for text in stage.command if text.startswith("--config"))])
        expected = resolved_config(training, "demo").to_dict()
        assert values.config.to_dict() == {**expected, "seed": 7}


def test_stages_read_what_earlier_ones_leave():
    for method in ALL:
        done: dict[str, Path] = {}
        for stage in stages_of(cell(method), WORK, DATA):
            assert set(stage.after) <= set(done)
            read = {Path(m) for text in stage.command for m in re.findall(r"=(\S+/)bundle$", text)}
            assert read <= set(done.values())
            done[stage.name] = stage.outputs[0]


def test_a_teacher_is_shared_until_its_config_changes():
    student, contrastive, crop = (table.METHODS[0], table.ablated("contrastive"), table.ablated("crop"))
    teachers = [workdir_of(trainings_of(m)[0], cell(m), WORK) for m in (student, crop, contrastive)]
    assert teachers[0] == teachers[1] != teachers[2]
    students = [training_key(m.training, "demo", "1.0.0") for m in (student, crop, contrastive)]
    assert len(set(students)) == 3  # also where only what it reads differs


def test_definition_changes_with_all_that_was_chosen():
    base = cell(table.METHODS[0])
    others = [
        dataclasses.replace(base, seed=2),
        dataclasses.replace(base, size="full"),
        dataclasses.replace(base, version="2.0.0"),
        dataclasses.replace(base, method=dataclasses.replace(base.method, rankings=("cosine",))),
        dataclasses.replace(base, method=table.ablated("margin")),
    ]
    assert len({c.definition for c in (base, *others)}) == len(others) + 1
    retitled = dataclasses.replace(base, method=dataclasses.replace(base.method, title="x", note="y"))
    assert retitled.definition == base.definition
    assert workdir_of(base.method.training, base, WORK).parent.name == "seed_1"


@pytest.mark.parametrize("changes", [{"distillation.feture_weight": 0.0}, {"query.views": 3}])
def test_a_change_the_config_has_no_room_for_is_refused(changes):
    with pytest.raises(InputError, match="results: x changes"):
        resolved_config(Training("x", "student", changes=changes), "demo")


def test_cells_are_chosen_seed_by_seed():
    chosen = results_run.select(ALL, only=[], has_ablations=False, size="demo", seeds=[0, 1], version="1")
    main = [method.name for method in table.METHODS]
    assert [(c.seed, c.method.name) for c in chosen] == [(s, name) for s in (0, 1) for name in main]
    one = results_run.select(ALL, only=["ablation_crop"], has_ablations=False, size="demo", seeds=[0], version="1")
    assert [c.method.name for c in one] == ["ablation_crop"]
    every = results_run.select(ALL, only=[], has_ablations=True, size="demo", seeds=[0], version="1")
    assert len(every) == len(ALL)
    with pytest.raises(InputError, match="only: unknown studnt, expected some of student"):
        results_run.select(ALL, only=["studnt"], has_ablations=False, size="demo", seeds=[0], version="1")


def test_version_is_the_builders():
    module = importlib.import_module("fos_jax.datasets.fos_synthetic.fos_synthetic_dataset_builder")
    assert results_run.dataset_version() == str(module.Builder.VERSION)


def test_a_method_must_be_a_file_name(tmp_path):
    wrong = Method("a b", "a b", "ours", Training("student", "student"))
    with pytest.raises(ValueError, match="letters, digits"):
        results_run.write_plan([wrong], size="mini", seeds=[], version="1", results=tmp_path)
    assert not list(tmp_path.iterdir())
