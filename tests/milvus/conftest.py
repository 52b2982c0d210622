"""Milvus Lite, once a run; what needs it is skipped where it is not installed."""

import contextlib

import pytest


@pytest.fixture(scope="session")
def milvus(tmp_path_factory):
    """A connection to an empty Milvus Lite."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (extra milvus)")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (extra milvus)")
    from fos_jax.milvus.connection import Connection

    path = tmp_path_factory.mktemp("milvus") / "lite.db"
    with contextlib.closing(Connection(str(path), timeout_s=60)) as connection:
        yield connection
