"""Connections to Milvus, a server or Milvus Lite in a file: time limits, and errors in one line."""

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

from fos_jax.errors import InputError

LITE_SUFFIX = ".db"
_PACKAGES = "pip install 'fos-jax[milvus]'"


class Connection:
    """A client whose every call has a time limit and fails with an `InputError`."""

    def __init__(self, uri: str, *, token: str = "", timeout_s: float = 10.0):
        """Connects.

        Args:
          uri: "http://host:19530" of a server or cluster, or a file whose name ends with .db (Milvus Lite).
          token: "user:password" or an API key, where the server asks for one.
          timeout_s: how long any one call may take.

        Raises:
          InputError: no pymilvus, or nobody answers there in time.
        """
        try:
            from pymilvus import MilvusClient
        except ImportError:
            raise InputError(f"--backend=milvus needs pymilvus: {_PACKAGES}") from None
        # They print tracebacks of what they raise as well, and Milvus Lite of what it lacks.
        for name in ("pymilvus", "milvus_lite", *(("grpc._server",) if uri.endswith(LITE_SUFFIX) else ())):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.where = re.sub(r"//[^/@]*@", "//", uri)  # messages show no password
        self.timeout_s, self._is_file = timeout_s, uri.endswith(LITE_SUFFIX)
        with self._errors("cannot be opened" if self._is_file else "no Milvus answers there"):
            self._client = MilvusClient(uri, token=token, timeout=timeout_s)
            self.version: str = self._client.get_server_version(timeout=timeout_s)

    @property
    def is_lite(self) -> bool:
        """Whether this is Milvus Lite; servers that are embedded in Python call their version "lite" too."""
        return self._is_file

    @property
    def is_before_2_4(self) -> bool:
        """Whether this is a server whose collections hold one field of vectors, and that loses rows by partition keys.

        2.3.5 takes the partition of an upserted row from a wrong field, and then does not find the row by its key.
        """
        return not self.is_lite and re.match(r"v?2\.[0-3]\.", self.version) is not None

    @property
    def client(self) -> Any:
        """The client, for what needs no connection."""
        return self._client

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Calls a method of the client; `InputError` where the server refuses, is gone or takes too long."""
        with self._errors(f"{method} failed"):
            return getattr(self._client, method)(*args, timeout=self.timeout_s, **options)

    def pages(
        self, collection: str, condition: str, fields: list[str], size: int, **options: Any
    ) -> Iterator[list[dict[str, Any]]]:
        """All entities that meet a condition, `size` at a time."""
        with self._errors("reading failed"):
            pages = self._client.query_iterator(
                collection, batch_size=size, filter=condition, output_fields=fields, timeout=self.timeout_s, **options
            )
        try:
            while True:
                with self._errors("reading failed"):
                    page = pages.next()
                if not page:
                    return
                yield [dict(entity) for entity in page]
        finally:
            with contextlib.suppress(Exception):
                pages.close()

    def close(self) -> None:
        """Ends the connection, and Milvus Lite with the last one to its file."""
        self._client.close()

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(getattr(error, "message", None) or error).split())
            if "not installed" in reason or "milvus-lite is required" in reason:
                reason = f"Milvus Lite is not installed: {_PACKAGES}"
            elif self._is_file and what == "cannot be opened":
                reason += "; Milvus Lite serves one process at a time"
            limit = f" within {self.timeout_s:g} s" if re.search("(?i)timeout|deadline|connect", reason) else ""
            raise InputError(f"{self.where}: {what}{limit} ({reason[:300]})") from None
