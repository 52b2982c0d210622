"""Micro-batches: queries that come at the same time are encoded together.

While the encoder is at work, further queries gather; it takes them all at once when it is free. A query that comes
alone is encoded at once: nobody waits for company.
"""

import collections
import concurrent.futures
import hashlib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

# Batches are padded to one of these, so that only as many programs are compiled; the first is needed to begin.
SIZES = (1, 8, 2, 4)
MOST = max(SIZES)


class Rows(NamedTuple):
    """What an encoder makes of queries, as `retrieval.queries.EncodesQueries.encode_queries` returns it."""

    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: dict[str, np.ndarray]


class BatchingBundle:
    """A model bundle whose single queries are encoded in batches, one at a time; otherwise the bundle itself.

    Encodings of the last queries are remembered: one rectangle is searched by pattern, by instance and explained.
    """

    def __init__(self, bundle: Any, *, remembered: int = 512, tell: Callable[[int], None] = lambda size: None):
        """Wraps it.

        Args:
          bundle: the bundle.
          remembered: how many encodings are.
          tell: called with the number of queries of each batch.
        """
        self._bundle, self._remembered, self._tell = bundle, remembered, tell
        self._waiting: collections.deque[tuple[tuple[np.ndarray, ...], bytes, Any]] = collections.deque()
        self._known: collections.OrderedDict[bytes, Rows] = collections.OrderedDict()
        self._last = threading.local()
        self._lock, self._encoding = threading.Lock(), threading.Lock()
        self._sizes = frozenset(SIZES[:1])  # that are compiled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bundle, name)

    def query_inputs(self, photo: np.ndarray, box_xyxy_px: Sequence[float]) -> tuple[np.ndarray, ...]:
        """As the bundle's; a thread's last ones are remembered for the parts of a search that ask again."""
        last, box = getattr(self._last, "inputs", None), tuple(box_xyxy_px)
        if last is None or last[0]() is not photo or last[1] != box:
            last = self._last.inputs = (weakref.ref(photo), box, self._bundle.query_inputs(photo, box_xyxy_px))
        return last[2]

    def encode_queries(self, *inputs: np.ndarray, batch_size: int = 1, progress: bool = False) -> Any:
        """As the bundle's; rows of a single query or a few wait for the encoder, many go to it directly."""
        num_rows = len(inputs[0])
        if num_rows > MOST:
            return self._bundle.encode_queries(*inputs, batch_size=batch_size, progress=progress)
        futures = [self._submit(tuple(column[i] for column in inputs)) for i in range(num_rows)]
        while not all(future.done() for future in futures):
            with self._encoding:  # whoever comes first encodes for all that came meanwhile
                self._encode([self._waiting.popleft() for _ in range(min(max(self._sizes), len(self._waiting)))])
        return _stacked([future.result() for future in futures])

    def _submit(self, row: tuple[np.ndarray, ...]) -> "concurrent.futures.Future[Rows]":
        digest = hashlib.blake2b(digest_size=16)
        for value in row:
            digest.update(np.ascontiguousarray(value).data)
        key, future = digest.digest(), concurrent.futures.Future[Rows]()
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
        if known is not None:
            future.set_result(known)
        else:
            self._waiting.append((row, key, future))
        return future

    def _encode(self, batch: list[tuple[tuple[np.ndarray, ...], bytes, Any]]) -> None:
        if not batch:
            return
        try:
            rows = self.encode_padded([row for row, _, _ in batch])
        except BaseException as error:  # each caller gets it
            for _, _, future in batch:
                future.set_exception(error)
            return
        self._tell(len(batch))
        for (_, key, future), row in zip(batch, rows, strict=True):
            with self._lock:
                self._known[key] = row
                while len(self._known) > self._remembered:
                    self._known.popitem(last=False)
            future.set_result(row)

    def compile(self, size: int) -> None:
        """Encodes a batch of a size, so that later ones of this size are quick."""
        photo = np.full((64, 64, 3), 128, np.uint8)
        row = (*self._bundle.query_inputs(photo, (16, 16, 48, 48)), np.int32(0))
        self._bundle.encode_queries(*(np.stack([column] * size) for column in row), batch_size=size)
        self._sizes |= {size}

    def encode_padded(self, rows: list[tuple[np.ndarray, ...]]) -> list[Rows]:
        """Encodes at most 8 queries, each given as its inputs and its category."""
        size = min(size for size in self._sizes if size >= len(rows))
        padded = rows + rows[-1:] * (size - len(rows))
        found = self._bundle.encode_queries(*(np.stack(c) for c in zip(*padded, strict=True)), batch_size=size)
        return [
            Rows(
                np.asarray(found.embedding)[i : i + 1],
                np.asarray(found.log_posterior)[i : i + 1],
                {name: np.asarray(values)[i : i + 1] for name, values in getattr(found, "experts", {}).items()},
            )
            for i in range(len(rows))
        ]


def _stacked(rows: list[Rows]) -> Rows:
    experts = {name: np.concatenate([row.experts[name] for row in rows]) for name in rows[0].experts}
    embeddings, posteriors = (np.concatenate(column) for column in list(zip(*rows, strict=True))[:2])
    return Rows(embeddings, posteriors, experts)
