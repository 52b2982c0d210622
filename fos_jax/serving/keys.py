"""Keys and roles: who may read, who may change; and how many requests one client may make.

A key is `name.secret`. The file of keys holds a scrypt hash of each secret and no secret; it is read again when it
changes, so that a key is withdrawn by removing its entry.
"""

import dataclasses
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Literal

from starlette.exceptions import HTTPException

from fos_jax.errors import InputError
from fos_jax.files import write_whole

Role = Literal["reader", "editor"]
ROLES: tuple[Role, ...] = ("reader", "editor")
HEADER, COOKIE = "x-api-key", "fos_key"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_COST = {"n": 2**14, "r": 8, "p": 1}
_REMEMBERED = 1024
_LOOK_S = 1.0


@dataclasses.dataclass(frozen=True)
class Client:
    """Who sends a request: name of the key or address, and what it may do; role None may do nothing."""

    name: str
    role: Role | None


class Keys:
    """A file of keys."""

    def __init__(self, path: Path):
        """Reads it; `InputError` where it is not one."""
        self._path, self._secret = path, secrets.token_bytes(32)
        self._read()

    def _read(self) -> None:
        self._looked_s, self._stamp = time.monotonic(), _stamp(self._path)
        self._entries = {entry["name"]: entry for entry in read_keys(self._path)}
        self._known: dict[bytes, Role | None] = {}  # hashes of keys that were seen: scrypt is slow on purpose

    def remembered(self, key: str) -> tuple[bool, Role | None]:
        """Whether the key was seen lately, and its role."""
        if time.monotonic() - self._looked_s > _LOOK_S and _stamp(self._path) != self._stamp:
            self._read()
        digest = self._digest(key)
        return digest in self._known, self._known.get(digest)

    def role(self, key: str) -> Role | None:
        """The role of a key, None where it is none: takes some 50 ms."""
        name, _, secret = key.partition(".")
        entry = self._entries.get(name, {"salt": "00", "scrypt": "00", "role": None})
        found = hash_secret(secret, bytes.fromhex(entry["salt"]))
        role = entry["role"] if hmac.compare_digest(found, bytes.fromhex(entry["scrypt"])) else None
        while len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)), None)
        self._known[self._digest(key)] = role
        return role

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "replace"), "sha256")


def needed_role(method: str, path: str) -> Role | None:
    """The role that a request needs; None where anybody may."""
    if not path.startswith("/api/"):
        return "reader" if path in ("/metrics", "/openapi.json") else None
    if path == "/api/session":
        return None
    is_change = path.startswith(("/api/foregrounds", "/api/jobs")) and method not in ("GET", "HEAD")
    return "editor" if is_change else "reader"


def check_role(client: Client, needed: Role | None, *, has_keys: bool) -> None:
    """`HTTPException` 401 or 403 where a client may not do what needs a role."""
    if needed is None or client.role == "editor" or client.role == needed:
        return
    if client.role is None:
        raise HTTPException(401, "x-api-key: missing or unknown", headers={"WWW-Authenticate": "ApiKey"})
    how = "needs the key of an editor" if has_keys else "is not allowed here: start the service with --allow_changes"
    raise HTTPException(403, f"changing the gallery {how}")


def hash_secret(secret: str, salt: bytes) -> bytes:
    """scrypt of a secret."""
    return hashlib.scrypt(secret.encode("utf-8", "replace"), salt=salt, dklen=32, **_COST)


def read_keys(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of keys; `InputError` where it is not one."""
    try:
        entries = json.loads(path.read_bytes())["keys"]
        for entry in entries:
            is_good = _NAME.fullmatch(entry["name"]) and entry["role"] in ROLES
            bytes.fromhex(entry["salt"] + entry["scrypt"])
            if not is_good or set(entry) != {"name", "role", "salt", "scrypt"}:
                raise ValueError(f"entry {str(entry.get('name'))[:40]!r}")
        return entries
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a file of keys ({type(error).__name__}: {error})") from None


def add_key(path: Path, name: str, role: str) -> str:
    """Adds a key to a file, which is made where it is missing; returns the key, which is stored nowhere.

    Raises:
      InputError: a name that is taken or has other signs than letters, digits, - and _; an unknown role; a file of
        another kind.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"name: got {name!r}, expected 1 to 40 letters, digits, - and _")
    if role not in ROLES:
        raise InputError(f"role: got {role!r}, expected {' or '.join(ROLES)}")
    entries = read_keys(path) if path.exists() else []
    if any(entry["name"] == name for entry in entries):
        raise InputError(f"name: {path} has a key {name!r} already")
    secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
    entries.append({"name": name, "role": role, "salt": salt.hex(), "scrypt": hash_secret(secret, salt).hex()})
    _write_keys(path, entries)
    return f"{name}.{secret}"


def remove_key(path: Path, name: str) -> None:
    """Withdraws a key; `InputError` where there is none of this name."""
    entries = read_keys(path)
    rest = [entry for entry in entries if entry["name"] != name]
    if len(rest) == len(entries):
        raise InputError(f"name: {path} has no key {name!r}")
    _write_keys(path, rest)


def _write_keys(path: Path, entries: list[dict[str, Any]]) -> None:
    write_whole(path, json.dumps({"keys": entries}, indent=1) + "\n")
    os.chmod(path, 0o600)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_ino
