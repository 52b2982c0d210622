"""Serve the page and the HTTP interface for searching a gallery, on this machine unless told so.

  fos serve --gallery=runs/demo/gallery

Open the printed address: choose a photograph, draw a rectangle, see what fits. /openapi.json describes the interface.

Nothing is changed unless --allow_changes is given, or a key of an editor: fos keys --file=keys.json --add=ann:editor
prints a key once, --keys=keys.json asks for keys. Others than this machine reach it with --host=0.0.0.0, under a name
of --allowed_hosts; put a proxy that speaks TLS in front of it.
"""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one that built the gallery.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; by default only this machine reaches it.")
_PORT = flags.DEFINE_integer("port", 8766, "Port; 0 takes a free one.", 0, 65535)
_HOSTS = flags.DEFINE_list("allowed_hosts", [], "Further names that browsers may call it by; * for any.")
_WORKERS = flags.DEFINE_integer("workers", 1, "Processes that serve.", 1, 64)
_KEYS = flags.DEFINE_string("keys", None, "File of keys (fos keys); by default everybody who reaches it may read.")
_ALLOW = flags.DEFINE_bool("allow_changes", False, "Let everybody on this machine change the gallery, without keys.")
_EXAMPLES = flags.DEFINE_string(
    "examples", None, "Folder of photographs to try, with examples.json; by default examples/ beside the gallery."
)
_FOLDER = flags.DEFINE_string("folder", None, "Temporary folder of uploads; by default one in the user's cache.")
_LOG = flags.DEFINE_bool("log", True, "Write a line of JSON to stderr for each request.")
_RATE = flags.DEFINE_string(
    "rate", None, "Requests of one client in one worker, as 50/second; by default 50/second where there are keys."
)
_LIMITS = {
    "working": flags.DEFINE_integer("working", None, "Searches at a time in one worker.", 1, 256),
    "waiting": flags.DEFINE_integer(
        "waiting", None, "Searches that may wait in one worker; others get 429.", 0, 10_000
    ),
    "upload_bytes": flags.DEFINE_integer("upload_bytes", None, "Most bytes of an uploaded picture.", 1_000),
    "pixels": flags.DEFINE_integer("pixels", None, "Most pixels of an uploaded picture.", 1_000),
    "k": flags.DEFINE_integer("most_k", None, "Most foregrounds in an answer.", 1),
    "request_s": flags.DEFINE_float("request_s", None, "Seconds that an answer may take.", 0.1),
}


def main() -> None:
    from fos_jax.serving.process import run
    from fos_jax.serving.settings import Limits, Settings
    from fos_jax.web.guard import LOOPBACK

    is_local = _HOST.value in ("127.0.0.1", "::1", "localhost")
    if _ALLOW.value and not is_local:
        raise InputError("--allow_changes: is for this machine only, expected --keys for other hosts")
    rate = _RATE.value if _RATE.value is not None else "50/second" if _KEYS.value else ""
    given: Any = {name: flag.value for name, flag in _LIMITS.items() if flag.value is not None}
    gallery = Path(_GALLERY.value)
    beside = gallery.parent / "examples"
    examples = Path(_EXAMPLES.value) if _EXAMPLES.value else beside if (beside / "examples.json").exists() else None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = cache / "fos_jax" / "serving" / str(_PORT.value) if _PORT.value else Path(tempfile.mkdtemp(prefix="fos-"))
    settings = Settings(
        gallery=gallery,
        bundle=Path(_BUNDLE.value) if _BUNDLE.value else None,
        folder=Path(_FOLDER.value) if _FOLDER.value else own,
        examples=examples,
        keys=Path(_KEYS.value) if _KEYS.value else None,
        allow_changes=_ALLOW.value,
        hosts=LOOPBACK | set(_HOSTS.value) | ({_HOST.value} - {"0.0.0.0", "::"}),
        workers=_WORKERS.value,
        limits=dataclasses.replace(Limits(), rate=rate, **given),
    )
    run(settings, host=_HOST.value, port=_PORT.value, ready=lambda a: print(a, flush=True), has_log=_LOG.value)


if __name__ == "__main__":
    run_program(main)
