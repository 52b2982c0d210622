"""Run numbered shards of work by Apache Beam, on this machine or on a cluster."""

import contextlib
import io
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fos_jax.errors import InputError

IN_PROCESS = "in_process"
# Beam's own direct runner may fetch a program to run; this one runs in the process, or in others with
# --direct_running_mode=multi_processing, and needs nothing else.
_DIRECT = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_KNOWN = "in_process, direct, flink, spark, dataflow or the class of a Beam runner"
_WATCH_S = 0.5


def check_runner(runner: str, options: Sequence[str] = ()) -> None:
    """`InputError` unless the runner is `IN_PROCESS` or one that Beam has here, and takes the options."""
    if runner != IN_PROCESS:
        _pipeline(runner, options)


def _pipeline(runner: str, options: Sequence[str]) -> Any:
    # Which worker opened which channel is of no use to who waits, where a job can be watched is; what workers raise is
    # raised here, too.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    logging.getLogger("apache_beam.runners.dataflow").setLevel(logging.INFO)
    try:
        from apache_beam import Pipeline
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import PipelineRunner, create_runner
    except ImportError:
        raise InputError(
            f"runner: {runner} needs Apache Beam, which is not installed here; expected `pip install 'fos-jax[beam]'` "
            "(in a checkout `pip install -r requirements-beam.lock`) in an environment of its own"
        ) from None
    try:
        created = create_runner(_DIRECT if runner.lower() in ("direct", "directrunner") else runner)
    except ImportError as error:
        if "dataflow" in runner.lower():
            raise InputError(f"runner: {runner} needs `pip install 'apache-beam[gcp]'` beside Beam") from None
        raise InputError(f"runner: got {runner!r}, which cannot be loaded ({error}), expected {_KNOWN}") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"runner: got {runner!r}, expected {_KNOWN}") from None
    if not isinstance(created, PipelineRunner):
        raise InputError(f"runner: got {runner!r}, expected {_KNOWN}")
    complaints = io.StringIO()
    try:
        parsed = PipelineOptions(list(options))
        with contextlib.redirect_stderr(complaints):
            parsed.get_all_options()
        return Pipeline(runner=created, options=parsed)
    except SystemExit:  # of the parser, behind its list of all options
        reason = complaints.getvalue().strip().rpartition("error: ")[2]
        raise InputError(f"pipeline options of {runner}: {reason}") from None
    except ValueError as error:
        raise InputError(f"pipeline options of {runner}: {' '.join(str(error).split())}") from None


def run_shards(
    work: Callable[..., Any],
    shards: Sequence[int],
    *arguments: Any,
    runner: str,
    options: Sequence[str] = (),
    watch: Callable[[], Any] = lambda: None,
) -> None:
    """Calls `work(shard, *arguments)` for every shard, one element of a pipeline each, wherever the runner has workers.

    What comes of a shard is what `work` writes, so that it may be called again for a shard, or twice at once: runners
    retry.

    Args:
      work: a function of a module that workers can import.
      shards: their numbers.
      arguments: what Beam can send to workers.
      runner: "direct" for this machine, "flink", "spark", "dataflow", or the name of a class that Beam knows.
      options: pipeline options, such as `--flink_master=host:8081`.
      watch: called twice a second meanwhile and once at the end, to show progress.

    Raises:
      InputError: no Beam, no such runner, options that it refuses, or what a worker raised as one.
    """
    pipeline = _pipeline(runner, options)
    if not shards:
        return
    import apache_beam as beam
    from apache_beam.runners.portability.portable_runner import PortableRunner

    is_over = threading.Event()

    def watching() -> None:
        while not is_over.wait(_WATCH_S):
            watch()

    watcher = threading.Thread(target=watching, daemon=True)
    watcher.start()
    try:
        (
            pipeline
            | "shards" >> beam.Create(list(shards))
            | "spread" >> beam.Reshuffle()
            | "work" >> beam.Map(work, *arguments)
        )
        try:
            result = pipeline.run()
        except Exception as error:
            if isinstance(pipeline.runner, PortableRunner) and input_error_in(error) is None:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise InputError(f"runner: {runner} could not be given the work ({reason})") from error
            raise
        result.wait_until_finish()
    except Exception as error:
        # Beam wraps what a worker raised, some runners as text only.
        message = input_error_in(error)
        if message is None:
            raise
        raise InputError(message) from None
    finally:
        is_over.set()
        watcher.join()
        watch()


def input_error_in(error: BaseException) -> str | None:
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
