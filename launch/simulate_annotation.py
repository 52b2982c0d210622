"""Measures how many actions an annotator needs with proposed groups and spread labels, against labelling one by one.

  fos simulate annotation
  fos simulate annotation --cutouts=runs/cutouts --proposals=runs/proposals/proposals.parquet --truth=viewpoint

Without --cutouts on synthetic descriptors. Prints one line of JSON a category and one for all together: actions until
--purity of all cut-outs carry the true pattern; marking one cut-out is an action, and so is each decision on a grid.
`times_fewer_at_best` is what one action for each of the fewest patterns that reach the purity would give: no way of
labelling can do better.
"""

import json
from pathlib import Path

import numpy as np
from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder that fos cutouts wrote.")
_PROPOSALS = flags.DEFINE_string("proposals", None, "File that fos propose wrote.")
_TRUTH = flags.DEFINE_string("truth", "viewpoint", "viewpoint, ring (only its elevation), or an annotated attribute.")
_PURITY = flags.DEFINE_float("purity", 0.95, "Share of cut-outs with the true label that is to be reached.", 0.01, 1.0)
_PATTERNS = flags.DEFINE_integer("patterns", 32, "Synthetic: patterns in a category.", lower_bound=2)
_MEMBERS = flags.DEFINE_integer("members", 60, "Synthetic: cut-outs in a pattern.", lower_bound=2)
_SPREAD = flags.DEFINE_float("spread", 1.2, "Synthetic: deviation of members; centres have 1.", lower_bound=0.0)


def _synthetic():
    from fos_jax.experiments.simulation import clustered_descriptors
    from fos_jax.patterns.grouping import default_config, group_rows

    features, truth = clustered_descriptors(patterns=_PATTERNS.value, members=_MEMBERS.value, spread=_SPREAD.value)
    yield "synthetic", features, group_rows(features, default_config()).group, truth


def _from_cutouts():
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.patterns.proposal_report import annotated_truth, viewpoint_bins
    from fos_jax.patterns.proposals import read_proposals
    from fos_jax.verification.spread import Features, read_or_describe

    if _PROPOSALS.value is None or _CUTOUTS.value is None:
        raise InputError("--cutouts and --proposals: one is missing, expected both")
    cutouts, proposals = CutoutSet(_CUTOUTS.value), read_proposals(_PROPOSALS.value)
    if list(proposals.cutout_ids) != cutouts.column("id"):
        raise InputError(f"{_PROPOSALS.value}: of other cut-outs than {_CUTOUTS.value}")
    if _TRUTH.value == "ring":
        truth = np.maximum(viewpoint_bins(cutouts.attributes()) + 7, 0) // 8
    else:
        truth = annotated_truth(cutouts, _TRUTH.value)
    features = Features.combined(
        proposals.categories, read_or_describe(Path(_PROPOSALS.value).with_name("descriptors.npz"), cutouts)
    )
    for category, rows in features.rows.items():
        yield category, features.values[category], proposals.group[rows], truth[rows]


def main() -> None:
    from fos_jax.experiments.simulation import simulate, summary, together

    parts = []
    for name, features, proposed, truth in _from_cutouts() if _CUTOUTS.value else _synthetic():
        parts.append(simulate(features, proposed, truth, purity=_PURITY.value))
        print(json.dumps({"category": name, **summary(parts[-1])}), flush=True)
    print(json.dumps({"category": "all", "purity": _PURITY.value, **summary(together(parts))}))


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
