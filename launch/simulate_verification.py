"""Verify proposed patterns by simulated annotators who know the truth.

  fos simulate verification --cutouts=work/cutouts --proposals=work/proposals/proposals.parquet \\
      --store=work/verified.sqlite --truth=yaw --export=work/verified.json

The first sorts everything, the second reviews some of it and errs now and then: agreement stays below one.
Their actions are those of the page (fos verify), which opens the same store: what comes after verification can be tried
at once. --truth=aspect serves where annotations carry no pattern: tall, square or wide silhouettes, which says nothing
about what fits where.
"""

from pathlib import Path

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder that fos cutouts wrote.", required=True)
_PROPOSALS = flags.DEFINE_string("proposals", None, "File that fos propose wrote.", required=True)
_STORE = flags.DEFINE_string("store", None, "SQLite file to write.", required=True)
_EXPORT = flags.DEFINE_string("export", None, "File of verified patterns to write.", required=True)
_TRUTH = flags.DEFINE_list("truth", ["aspect"], "Annotated attributes that make the true pattern, or aspect.")
_REVIEWED = flags.DEFINE_float("reviewed", 0.3, "Share of the cut-outs that the second annotator reviews.", 0.0, 1.0)
_MISTAKES = flags.DEFINE_float("mistakes", 0.03, "Share of the reviewed ones that are moved wrongly.", 0.0, 1.0)


def main() -> None:
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.experiments.simulated_session import review, true_attributes, verify_all
    from fos_jax.patterns.proposals import read_proposals
    from fos_jax.verification.export import export, write_export
    from fos_jax.verification.store import Store

    cutouts, proposals = CutoutSet(_CUTOUTS.value), read_proposals(_PROPOSALS.value)
    if proposals.cutouts != cutouts.fingerprint:
        raise InputError(f"{_PROPOSALS.value}: not made from {_CUTOUTS.value}, run fos propose on it first")
    if Path(_STORE.value).exists():
        raise InputError(f"{_STORE.value}: exists already, expected a new file (people's work is never mixed in)")
    truth = true_attributes(cutouts, _TRUTH.value)
    store = Store(_STORE.value, proposals)
    try:
        actions = verify_all(store, truth, "simulated 1")
        counts = review(store, "simulated 2", share=_REVIEWED.value, mistakes=_MISTAKES.value)
        write_export(_EXPORT.value, store)
        patterns = len(export(store)["patterns"])
    finally:
        store.close()
    print(f"{len(cutouts)} cut-outs, {patterns} patterns, {actions} actions; reviewed: {counts}")
    print(_EXPORT.value)


if __name__ == "__main__":
    run_program(main)
