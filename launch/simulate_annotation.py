"""Count the actions that proposed groups and spread labels save an annotator, by a simulation.

  fos simulate annotation
  fos simulate annotation --cutouts=runs/cutouts --proposals=runs/proposals/proposals.parquet --truth=viewpoint

Compared with labelling one by one; without --cutouts on synthetic descriptors. Prints one line of JSON per category and
one for all together: actions until --purity of all cut-outs carry the true pattern; marking one cut-out is an action,
and so is each decision on a grid.
`times_fewer_at_best` is what one action for each of the fewest patterns that reach the purity would give: no way of
labelling can do better.
"""

import json

from absl import flags

from fos_jax.program import run_program

_CUTOUTS = flags.DEFINE_string("cutouts", None, "Folder that fos cutouts wrote.")
_PROPOSALS = flags.DEFINE_string("proposals", None, "File that fos propose wrote.")
_TRUTH = flags.DEFINE_string("truth", "viewpoint", "viewpoint, ring (only its elevation), or an annotated attribute.")
_PURITY = flags.DEFINE_float("purity", 0.95, "Share of cut-outs with the true label to reach.", 0.01, 1.0)
_PATTERNS = flags.DEFINE_integer("patterns", 32, "Synthetic: patterns per category.", lower_bound=2)
_MEMBERS = flags.DEFINE_integer("members", 60, "Synthetic: cut-outs per pattern.", lower_bound=2)
_SPREAD = flags.DEFINE_float("spread", 1.2, "Synthetic: deviation of members; centres have 1.", lower_bound=0.0)


def main() -> None:
    from fos_jax.experiments.simulation import of_cutouts, simulate, summary, synthetic, together

    if _CUTOUTS.value:
        categories = of_cutouts(_CUTOUTS.value, _PROPOSALS.value, _TRUTH.value)
    else:
        categories = synthetic(patterns=_PATTERNS.value, members=_MEMBERS.value, spread=_SPREAD.value)
    parts = []
    for name, features, proposed, truth in categories:
        parts.append(simulate(features, proposed, truth, purity=_PURITY.value))
        print(json.dumps({"category": name, **summary(parts[-1])}), flush=True)
    print(json.dumps({"category": "all", "purity": _PURITY.value, **summary(together(parts))}))


if __name__ == "__main__":
    run_program(main)
