"""Cells of the results: one method trained with one seed, as stages with a folder named after what is trained.

A training's folder bears a digest of the resolved config and what it reads, so that a changed config trains anew
beside the old run, methods that share a teacher train it once per seed, and nothing is ever overwritten. Code is not
part of the digest: an edited comment would throw hours away. Each cell records the commit it was trained at instead.
"""

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import ml_collections

from fos_jax.errors import InputError
from fos_jax.evaluation.scores import BOTH, COSINE, FACTORISED, FLAT
from fos_jax.experiments.stages import CONFIG_PACKAGE, Stage, config_folder

DATASET = "fos_synthetic"
SPLIT = "test"
# size of the results -> size of the data; full_small is the full data set with small networks
DATA_SIZES = {"mini": "mini", "demo": "demo", "full_small": "full", "full": "full"}
RANKINGS = (COSINE, FLAT, FACTORISED, BOTH)  # of a bundle with two encoders; some have more (PAIR_RANKINGS)


@dataclasses.dataclass(frozen=True)
class Training:
    """One run of `fos train`.

    Attributes:
      name: of its folder.
      config: name of a config file in launch/configs.
      suffix: what follows the size in the config's mode, such as "_rectangle_only".
      changes: config fields that differ from the file, e.g. {"distillation.feature_weight": 0.0}.
      reads: flag of the program -> training whose bundle it takes.
    """

    name: str
    config: str
    suffix: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reads: Mapping[str, "Training"] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the results, or several: one for each ranking.

    Attributes:
      name: of its cells; letters, digits and underscores.
      title: what readers see.
      kind: "ours", "rival", "control" or "oracle".
      training: its bundle is evaluated.
      rankings: those reported; empty for a bundle without query encoder, which gives chance and oracles.
      note: half a sentence for readers.
      group: of an ablation, e.g. "loss"; empty for a method of the main table.
    """

    name: str
    title: str
    kind: str
    training: Training
    rankings: Sequence[str] = RANKINGS
    note: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method with a seed at a size, on a version of the data set."""

    noun: ClassVar[str] = "cell"
    method: Method
    size: str
    seed: int
    version: str

    @property
    def title(self) -> str:
        """For people, while it runs."""
        return f"{': '.join(filter(None, [self.method.group, self.method.title]))}, seed {self.seed}"

    @property
    def key(self) -> str:
        """Of its record in the results file."""
        return f"cell-{self.method.name}-{self.seed}"

    @property
    def definition(self) -> str:
        """Digest of everything that was chosen for this cell; a result with another one is out of date."""
        key = training_key(self.method.training, self.size, self.version)
        return digest([key, list(self.method.rankings), SPLIT, self.seed])


@dataclasses.dataclass(frozen=True)
class Trial(Cell):
    """One of the trials that a config's numbers are chosen by: a training without evaluation on the test split."""

    noun: ClassVar[str] = "trial"
    number: int = 0
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.method.name}-{self.number}, {words(self.changes)}"

    @property
    def key(self) -> str:
        return f"trial-{self.method.name}-{self.number}"

    @property
    def definition(self) -> str:
        return training_key(self.method.training, self.size, self.version)


def resolved_config(training: Training, size: str) -> ml_collections.ConfigDict:
    """The config a training runs with, but for its seed; `InputError` for a change of a field that does not exist."""
    module = importlib.import_module(f"{CONFIG_PACKAGE}.{training.config}")
    config = module.get_config(size + training.suffix)
    try:
        config.update_from_flattened_dict(training.changes)  # locked: a field that does not exist is refused
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"results: {training.name} changes {dict(training.changes)}, refused: {error}") from None
    return config


def seedless_config(training: Training, size: str) -> dict[str, Any]:
    config = resolved_config(training, size).to_dict()
    del config["seed"]
    # Came after the first results: at their defaults they take no part in a digest, so that those stay what they were.
    for fields in (config.get(name, {}) for name in ("foreground", "query")):
        for name, default in (("init_weights", ""), ("tuned", "all")):
            if fields.get(name) == default:
                del fields[name]
    return config


def training_key(training: Training, size: str, version: str) -> str:
    """Digest of the resolved config without seed, the data and what is read."""
    reads = {flag: training_key(other, size, version) for flag, other in training.reads.items()}
    return digest([seedless_config(training, size), reads, DATASET, version])


def workdir_of(training: Training, cell: Cell, work: Path) -> Path:
    """Folder of a training of a cell."""
    key = training_key(training, cell.size, cell.version)
    return work / cell.size / f"seed_{cell.seed}" / f"{training.name}-{key}"


def trainings_of(method: Method) -> list[Training]:
    """All trainings behind a method, each after what it reads."""

    def walk(training: Training) -> list[Training]:
        return [*(t for other in training.reads.values() for t in walk(other)), training]

    out: list[Training] = []
    for training in walk(method.training):
        if training not in out:
            out.append(training)
    return out


def evaluation_path(cell: Cell, work: Path) -> Path:
    """The evaluation's JSON of a cell."""
    return work / cell.size / f"seed_{cell.seed}" / "evaluation" / f"{cell.method.name}-{cell.definition}.json"


def stages_of(cell: Cell, work: Path, data: Path) -> list[Stage]:
    """The programs of a cell: its trainings, the evaluated one last, and the evaluation, which a trial has not."""
    stages = []
    for training in trainings_of(cell.method):
        workdir = workdir_of(training, cell, work)
        command = [
            "launch.train",
            f"--config={config_folder() / training.config}.py:{cell.size}{training.suffix}",
            f"--config.seed={cell.seed}",
            *(f"--config.{name}={v if isinstance(v, str) else repr(v)}" for name, v in training.changes.items()),
            f"--workdir={workdir}",
            f"--data_dir={data}",
            *(f"{flag}={workdir_of(other, cell, work) / 'bundle'}" for flag, other in training.reads.items()),
        ]
        after = [workdir_of(other, cell, work).name for other in training.reads.values()]
        stages.append(Stage(workdir.name, command, [workdir], [], after, f"{cell.title}: train {training.name}"))
    if isinstance(cell, Trial):
        return stages
    output = evaluation_path(cell, work)
    command = [
        "launch.evaluate",
        f"--bundle={workdir_of(cell.method.training, cell, work) / 'bundle'}",
        f"--data_dir={data}",
        f"--dataset={DATASET}",
        f"--size={DATA_SIZES[cell.size]}",
        f"--split={SPLIT}",
        f"--name={cell.method.name}",
        "--per_query",
        "--cost",
        f"--output={output}",
    ]
    note = f"{cell.title}: rank the {SPLIT} split"
    return [*stages, Stage(f"evaluation-{output.stem}", command, [output], [], [stages[-1].name], note)]


def words(changes: Mapping[str, Any]) -> str:
    """Config fields and their values for people."""
    return ", ".join(f"{field} {v:g}" if isinstance(v, float) else f"{field} {v}" for field, v in changes.items())


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
