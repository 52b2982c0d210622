"""Working off a plan: in this process, or as an Apache Beam pipeline."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from fos_jax.cutouts.extraction import Plan, is_done, make_plan, read_plan, run_shard
from fos_jax.cutouts.extraction_report import write_report
from fos_jax.cutouts.finishing import finish
from fos_jax.errors import InputError

RUNNERS = ("in_process", "beam")


def extract(
    folder: str | Path,
    source: Mapping[str, Any],
    config: ConfigDict,
    *,
    photographs_per_shard: int = 200,
    runner: str = "in_process",
    beam_options: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Plans, runs, finishes and reports an extraction; goes on where an earlier run stopped.

    Args:
      folder: that is written; see `extraction`.
      source: as `open_source` takes it.
      config: thresholds, as `filters.default_config` makes them.
      photographs_per_shard: size of one unit of work.
      runner: "in_process", or "beam" (the extra `beam`).
      beam_options: pipeline options such as `--runner=FlinkRunner`; Beam's direct runner without any. Every worker must
        reach `folder` and the photographs under the same paths (a shared file system).
      progress: show a bar.

    Returns:
      The manifest.

    Raises:
      InputError: what plan, shards or options have wrong.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner: got {runner!r}, expected one of {', '.join(RUNNERS)}")
    with tqdm(desc="annotations", unit=" photographs", disable=not progress) as bar:
        plan = make_plan(
            folder, source, config, photographs_per_shard=photographs_per_shard, on_photograph=lambda _: bar.update()
        )
    todo = [shard for shard in range(plan.num_shards) if not is_done(plan, shard)]
    if runner == "beam":
        _run_with_beam(plan, todo, beam_options, progress)
    else:
        with tqdm(desc="cut-outs", unit=" photographs", total=plan.num_photographs, disable=not progress) as bar:
            bar.update(min((plan.num_shards - len(todo)) * photographs_per_shard, plan.num_photographs))
            for shard in todo:
                run_shard(plan, shard, on_photograph=bar.update)
    manifest = finish(plan)
    write_report(plan.folder, manifest)
    return manifest


def _run_with_beam(plan: Plan, todo: Sequence[int], options: Sequence[str], progress: bool) -> None:
    """One element a shard. The workers' files are the result, so any runner's retries are harmless."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise InputError("runner: beam is not installed, expected `pip install fos-jax[beam]`") from None
    if not todo:
        return
    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    (
        pipeline
        | "shards" >> beam.Create(list(todo))
        | "spread" >> beam.Reshuffle()
        | "cut out" >> beam.Map(_beam_shard, str(plan.folder.resolve()))
    )
    is_over = threading.Event()
    watch = threading.Thread(target=_show_shards, args=(plan, is_over, progress), daemon=True)
    watch.start()
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        # Beam wraps what a worker raised, some runners as text only.
        message = _input_error_in(error)
        if message is None:
            raise
        raise InputError(message) from None
    finally:
        is_over.set()
        watch.join()


def _beam_shard(shard: int, folder: str) -> int:
    run_shard(read_plan(folder), shard)
    return shard


def _show_shards(plan: Plan, is_over: threading.Event, progress: bool) -> None:
    """A bar that counts the files, since workers may be anywhere."""
    with tqdm(desc="cut-outs", unit=" shards", total=plan.num_shards, disable=not progress) as bar:
        while True:
            done = is_over.wait(0.5)
            bar.update(sum(plan.shard_path(shard).exists() for shard in range(plan.num_shards)) - bar.n)
            if done:
                return


def _input_error_in(error: BaseException) -> str | None:
    """The message of an `InputError` inside Beam's own error, None where there is none."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, InputError):
            return str(seen).split(" [while running")[0]
        seen = seen.__cause__ or seen.__context__
    marker = f"{InputError.__name__}: "
    for line in reversed(str(error).splitlines()):
        if marker in line:
            return line.split(marker, 1)[1].split(" [while running")[0].strip()
    return None
