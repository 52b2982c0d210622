"""Which rival a config names, and its training: `config.task`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.cfo import train_cfo
from fos_jax.rivals.disco import train_disco
from fos_jax.rivals.ffr import train_ffr
from fos_jax.rivals.gala import train_gala
from fos_jax.rivals.joint import Split
from fos_jax.rivals.pair_labels import pair_label_task
from fos_jax.rivals.stages import Circumstances
from fos_jax.rivals.two_stream import two_stream_task
from fos_jax.rivals.ufo import train_ufo
from fos_jax.training.loop import train as train_task

Trainer = Callable[[Any, Split, Split, PatternTable, Path, Circumstances], None]


def train_two_stream(
    config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, circumstances: Circumstances
) -> None:
    """Trains two streams, from patterns' own foregrounds or, where there are no patterns, from labels of pairs."""
    make_task = two_stream_task if table.num_patterns else pair_label_task
    task = make_task(
        config,
        train,
        validation,
        table,
        bundle_path=workdir / "bundle",
        measure_ranking=circumstances.measure_ranking,
        axis_name=circumstances.axis_name,
    )
    train_task(task, config, workdir, parallelism=circumstances.parallelism, progress=circumstances.progress)


METHODS: dict[str, Trainer] = {
    "two_streams": train_two_stream,
    "cfo": train_cfo,
    "ufo": train_ufo,
    "gala": train_gala,
    "disco": train_disco,
    "ffr": train_ffr,
}


def train_method(
    config: Any,
    train: Split,
    validation: Split,
    table: PatternTable,
    workdir: str | Path,
    circumstances: Circumstances,
) -> Path:
    """Trains the method that a config names; returns the path of its bundle.

    Raises:
      InputError: an unknown method, or one that needs patterns where the data set has none.

    Source: design decision.
    """
    name = config.task
    if name not in METHODS:
        raise InputError(f"config: task: {name!r}, expected one of {', '.join(METHODS)}")
    if name != "two_streams" and not table.num_patterns:
        raise InputError(f"config: task: {name!r} needs a data set with patterns, expected two_streams for this one")
    workdir = Path(workdir)
    METHODS[name](config, train, validation, table, workdir, circumstances)
    return workdir / "bundle"
