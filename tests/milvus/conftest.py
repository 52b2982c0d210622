"""Milvus Lite, and a server where the environment variable FOS_MILVUS_URI names one; both once a run and empty."""

import contextlib
import os
import secrets

import pytest

KINDS = ("milvus_lite", *["milvus_server"] * ("FOS_MILVUS_URI" in os.environ))


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory):
    """A connection to an empty Milvus Lite; what needs it is skipped where it is not installed."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed (extra milvus)")
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed (extra milvus)")
    from fos_jax.milvus.connection import Connection

    path = tmp_path_factory.mktemp("milvus") / "lite.db"
    with contextlib.closing(Connection(str(path), timeout_s=60)) as connection:
        yield connection


@pytest.fixture(scope="session")
def milvus_server():
    """A connection to a database of its own on the server, which is dropped afterwards."""
    from fos_jax.milvus.connection import Connection

    uri, name = os.environ["FOS_MILVUS_URI"].rstrip("/"), f"fos_test_{secrets.token_hex(6)}"
    with contextlib.closing(Connection(uri, timeout_s=60)) as server:
        server.call("create_database", name)
        try:
            with contextlib.closing(Connection(f"{uri}/{name}", timeout_s=60)) as connection:
                yield connection
                for collection in connection.call("list_collections"):
                    connection.call("drop_collection", collection)
        finally:
            server.call("drop_database", name)


@pytest.fixture(scope="session", params=KINDS)
def milvus(request):
    """A connection to each Milvus that there is."""
    return request.getfixturevalue(request.param)
