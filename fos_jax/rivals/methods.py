"""The rivals by name, as `config.task` names them."""

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
from fos_jax.rivals.two_streams import two_streams_task
from fos_jax.rivals.ufo import train_ufo
from fos_jax.training.loop import Runner


def train_two_streams(
    config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner
) -> None:
    """Trains two streams, from patterns' own foregrounds or, where there are no patterns, from labels of pairs."""
    make_task = two_streams_task if table.num_patterns else pair_label_task
    task = make_task(config, train, validation, table, bundle_path=workdir / "bundle", axis_name=run.axis_name)
    run(task, config, workdir)


RIVALS: dict[str, Callable[[Any, Split, Split, PatternTable, Path, Runner], None]] = {
    "two_streams": train_two_streams,
    "cfo": train_cfo,
    "ufo": train_ufo,
    "gala": train_gala,
    "disco": train_disco,
    "ffr": train_ffr,
}


def train_rival(
    config: Any, train: Split, validation: Split, table: PatternTable, workdir: str | Path, run: Runner
) -> None:
    """Trains the rival that a config names; `<workdir>/bundle` is its model.

    Args:
      config: with `task` and the sections that the rival's module names.
      train, validation: foregrounds and queries.
      table: pattern table; rivals learn from pairs, only their prototypes and validation read patterns.
      workdir: of the run. run: trains a stage.

    Raises:
      InputError: an unknown rival, one that needs patterns where the data set has none, or a wrong field.
    """
    name = config.task
    if name not in RIVALS:
        raise InputError(f"config: task: {name!r}, expected one of {', '.join(RIVALS)}")
    if name != "two_streams" and not table.num_patterns:
        raise InputError(f"config: task: {name!r} needs a data set with patterns, expected two_streams for this one")
    RIVALS[name](config, train, validation, table, Path(workdir), run)
