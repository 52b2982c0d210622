import concurrent.futures
import gc
import sys

from fos_jax.cutouts.sources.grouping_index import GroupingIndex


def test_an_index_may_be_collected_in_another_thread(monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        index = pool.submit(GroupingIndex).result()
    del index
    gc.collect()
    assert raised == []
