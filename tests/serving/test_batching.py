"""Queries that come together are encoded together, each with its own answer; a lone one does not wait."""

import concurrent.futures
import threading

import numpy as np
import pytest
from fake_bundle import FakeBundle, photo

from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.serving.batching import BatchingBundle

BOX = (10, 10, 40, 30)


class Counting(FakeBundle):
    """Keeps the sizes of batches, and encodes when it is allowed to."""

    def __init__(self):
        super().__init__()
        self.sizes, self.may_go, self.is_busy = [], threading.Event(), threading.Event()
        self.may_go.set()

    def encode_queries(self, *inputs, **options):
        self.is_busy.set()
        self.may_go.wait()
        self.sizes.append(len(inputs[0]))
        return super().encode_queries(*inputs, **options)


@pytest.fixture
def bundle():
    batching = BatchingBundle(Counting())
    batching.compile(8)
    batching.sizes.clear()
    batching.is_busy.clear()
    return batching


def encoded(bundle, red):
    return encode_queries([SearchQuery(photo(red, 255 - red), BOX, "car")], bundle)[0]


def test_a_lone_query_is_encoded_alone_and_remembered(bundle):
    first = encoded(bundle, 200)
    assert bundle.sizes == [1]
    np.testing.assert_array_equal(encoded(bundle, 200).embedding, first.embedding)
    assert bundle.sizes == [1]
    np.testing.assert_array_equal(first.log_posterior, encoded(FakeBundle(), 200).log_posterior)


def test_queries_that_wait_share_a_batch_and_get_their_own_answers(bundle):
    bundle.may_go.clear()
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        first = threads.submit(encoded, bundle, 0)
        bundle.is_busy.wait()
        rest = [threads.submit(encoded, bundle, 10 * n) for n in range(1, 12)]
        while len(bundle._waiting) < 11:
            pass
        bundle.may_go.set()
        answers = [first.result(), *(future.result() for future in rest)]
    assert bundle.sizes == [1, 8, 8]  # 1, then 8, then 3 that are padded
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.embedding, encoded(FakeBundle(), 10 * number).embedding)


def test_many_go_past_and_failures_reach_all_who_wait(bundle, monkeypatch):
    queries = [SearchQuery(photo(n, 255 - n), BOX, "car") for n in range(20)]
    found = encode_queries(queries, bundle)
    assert bundle.sizes == [20]
    for answer, expected in zip(found, encode_queries(queries, FakeBundle()), strict=True):
        np.testing.assert_array_equal(answer.embedding, expected.embedding)

    def fail(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(bundle._bundle, "encode_queries", fail)
    with pytest.raises(MemoryError):
        encoded(bundle, 99)
    monkeypatch.undo()
    encoded(bundle, 99)  # it goes on
