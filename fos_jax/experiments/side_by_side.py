"""Tasks that wait for programs of their own, some of them at a time."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_side_by_side(tasks: Sequence[Callable[[], Result]], jobs: int) -> list[Result]:
    """Runs tasks in their order, `jobs` at a time; returns their results in the same order.

    An exception, or an interruption, ends it: no further task is begun, those under way are waited for. Programs that
    run side by side share a GPU: from here on none takes most of its memory beforehand, unless the environment already
    says something about that (XLA_PYTHON_CLIENT_PREALLOCATE).

    Source: design decision.
    """
    if jobs == 1:  # in this thread, where an interruption arrives
        return [task() for task in tasks]
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
