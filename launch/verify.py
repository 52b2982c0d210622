"""Serve the page on which people verify proposed patterns, on this machine only.

  fos verify --cutouts=runs/cutouts --proposals=runs/proposals/proposals.parquet --store=runs/verified.sqlite

Open the printed address; each annotator enters a name. Every action is stored when the page shows it as done: stop the
server (Ctrl-C) at any time and go on later with the same command. --export writes the verified patterns as JSON
and ends; the page has a button for the same.
"""

from pathlib import Path

from absl import flags, logging

from fos_jax.errors import InputError
from fos_jax.program import run_program

_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder that fos cutouts wrote.")
_PROPOSALS = flags.DEFINE_string("proposals", None, "File that fos propose wrote.")
_STORE = flags.DEFINE_string("store", None, "SQLite file of the verification; made where it is missing.", required=True)
_EXPORT = flags.DEFINE_string("export", None, "Write the verified patterns to this file and end.")
_PORT = flags.DEFINE_integer("port", 8765, "Port on 127.0.0.1; 0 takes a free one.", 0, 65535)
_BLOCKS = flags.DEFINE_list("blocks", ["gradients", "shape", "truncation"], "Descriptors by which labels spread.")


def _export(path: str) -> None:
    from fos_jax.verification.export import write_export
    from fos_jax.verification.store import Store

    write_export(path, Store(_STORE.value))
    print(path)


def main() -> None:
    if _EXPORT.value:
        return _export(_EXPORT.value)
    if _CUTOUTS.value is None or _PROPOSALS.value is None:
        missing = _CUTOUTS if _CUTOUTS.value is None else _PROPOSALS
        raise InputError(f"--{missing.name}: missing, the page needs it (--export needs only --store)")
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.patterns.proposals import read_proposals
    from fos_jax.verification.server import make_app
    from fos_jax.verification.spread import Descriptors, read_or_describe
    from fos_jax.verification.store import Store
    from fos_jax.verification.views import Thumbnails
    from fos_jax.web.server import serve

    cutouts, proposals = CutoutSet(_CUTOUTS.value), read_proposals(_PROPOSALS.value)
    if proposals.cutouts != cutouts.fingerprint or list(proposals.cutout_ids) != cutouts.column("id"):
        raise InputError(f"{_PROPOSALS.value}: not made from {_CUTOUTS.value}, run fos propose on it first")
    store = Store(_STORE.value, proposals)
    blocks = read_or_describe(Path(_STORE.value).with_suffix(".descriptors.npz"), cutouts, _BLOCKS.value)
    app = make_app(store, Thumbnails(cutouts).webp, Descriptors.combined(proposals.categories, blocks))
    logging.info("%d cut-outs, %d actions so far", len(cutouts), len(store.history(limit=10**6)))
    serve(app, port=_PORT.value, ready=lambda address: print(address, flush=True))
    return None


if __name__ == "__main__":
    run_program(main)
