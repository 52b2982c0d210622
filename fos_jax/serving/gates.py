"""Back-pressure: so many calls at a time in threads, so many that wait, and the rest are refused at once."""

import asyncio
import concurrent.futures
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from fos_jax.serving.observing import Metrics

T = TypeVar("T")
_FORGOTTEN_S = 1.0  # without a call, after which earlier refusals mean nothing
_SMOOTHING = 0.03  # of the mean duration and the share of refusals, per call


class Gate:
    """A bounded queue in front of a few threads.

    Attributes:
      admitted: calls that run or wait.
    """

    def __init__(
        self,
        name: str,
        *,
        working: int,
        waiting: int,
        limit_s: float,
        calm: float = 1.0,
        metrics: "Metrics | None" = None,
    ):
        """A gate.

        Args:
          name: for threads and metrics.
          working: calls at a time. waiting: calls that may wait behind them.
          calm: share of calls that are refused above which nobody may wait: the queue is for bursts, and where it is
            always full it only makes all answers late.
          limit_s: seconds after which a caller is told that it took too long.
          metrics: where calls are counted.
        """
        self.name, self._limit_s = name, limit_s
        self._working, self._most, self._calm = working, working + waiting, calm
        self._threads = concurrent.futures.ThreadPoolExecutor(working, thread_name_prefix=f"fos-{name}")
        self.admitted, self._mean_s, self._refused = 0, 0.05, 0.0
        self._checked_s = 0.0
        self._count = metrics.admitted.labels(name) if metrics else None
        self._count_refused = metrics.refused.labels(name) if metrics else None

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """What the function returns, called in a thread.

        Raises:
          HTTPException: 429 where too many wait, 503 where it takes too long. A call that runs is not stopped and keeps
            its place until it is done.
        """
        self.check()
        loop = asyncio.get_running_loop()
        self._change(1)
        started_s = time.monotonic()
        future = self._threads.submit(function, *args)

        def leave(_: Any) -> None:
            self._change(-1)
            self._mean_s += _SMOOTHING * (time.monotonic() - started_s - self._mean_s)

        def leave_soon(done: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(leave, done)

        future.add_done_callback(leave_soon)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), self._limit_s)
        except TimeoutError:
            future.cancel()  # takes effect where it still waits
            raise HTTPException(
                503, f"{self.name}: took longer than {self._limit_s:g} s", headers={"Retry-After": "5"}
            ) from None

    def check(self) -> None:
        """`HTTPException` 429 where too many wait."""
        now_s = time.monotonic()
        if now_s - self._checked_s > _FORGOTTEN_S:
            self._refused = 0.0
        self._checked_s = now_s
        is_full = self.admitted >= (self._working if self._refused > self._calm else self._most)
        self._refused += _SMOOTHING * (is_full - self._refused)
        if is_full:
            if self._count_refused:
                self._count_refused.inc()
            retry_s = max(1, math.ceil(self.admitted * self._mean_s / self._working))
            raise HTTPException(
                429, f"{self.name}: too many requests wait, try again", headers={"Retry-After": str(retry_s)}
            )

    def _change(self, number: int) -> None:
        self.admitted += number
        if self._count:
            self._count.inc(number)

    def close(self) -> None:
        """Lets running calls finish and takes no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)
