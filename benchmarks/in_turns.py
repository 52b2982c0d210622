"""Times of functions that take turns, so that other work on the machine disturbs all of them alike."""

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reporting import Report, machine

Times = dict[str, list[float]]


def lacks_packages(report: Report, *packages: str) -> bool:
    """Whether one of the packages is not installed; the benchmark then says so and is skipped."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        report({"skipped": f"{', '.join(absent)} not installed"})
    return bool(absent)


def limit_threads(threads: int) -> None:
    """Limits JAX on the CPU and PyTorch; before jax is imported, whose pool has a thread per processor it may use."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import torch

    torch.set_num_threads(threads)


def seconds_in_turns(runs: Mapping[str, Callable[[], Any]], *, rounds: int, calls: int = 1) -> tuple[Times, Times]:
    """Wall and CPU seconds per call, a number per round; in a round each function is called `calls` times.

    Each is called once before, to compile. Every other round goes backwards, so that none always follows the same one.
    """
    for run in runs.values():
        run()
    wall, cpu = ({name: list[float]() for name in runs} for _ in range(2))
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            start, start_cpu = time.perf_counter(), time.process_time()
            for _ in range(calls):
                runs[name]()
            wall[name].append((time.perf_counter() - start) / calls)
            cpu[name].append((time.process_time() - start_cpu) / calls)
    return wall, cpu


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as fast ours is, round by round: median, smallest and largest."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "lowest_ratio": round(min(ratios), 3),
        "highest_ratio": round(max(ratios), 3),
    }


def fastest(times: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """The one of `names` with the smallest median."""
    return min(names, key=lambda name: statistics.median(times[name]))


def versions() -> dict[str, Any]:
    """Versions of both frameworks, and the processor."""
    import jax
    import torch

    return {"jax": jax.__version__, "torch": torch.__version__, **machine()}
