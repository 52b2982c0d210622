"""The whole way on photographs: cut-outs, proposed patterns, verification, benchmark, training, search and a report.

Photographs are those of --coco (a folder with instances.json and images/), or rendered where it is absent. Annotators
are simulated: on rendered photographs they know which way an object faces, on real ones only the silhouette's aspect,
so that figures on real photographs show that everything runs and nothing about quality.
Stages whose output is up to date are skipped; an interrupted run goes on where it stopped.
"""

import json
import sys
from pathlib import Path

import numpy as np
from absl import flags

from fos_jax.errors import InputError
from fos_jax.experiments.demo_patterns_stages import CONFIG, DATASET, RECTANGLE_ONLY, SIZES, commands, stages_of
from fos_jax.experiments.demo_report import write_demo_report
from fos_jax.experiments.stages import StageError, run_stages
from fos_jax.program import run_program

_WORKDIR = flags.DEFINE_string("workdir", "runs/patterns_demo", "Folder for everything.")
_COCO = flags.DEFINE_string("coco", "../shared/real/coco_sample", "Photographs in COCO's format, where they are there.")
_RENDERED = flags.DEFINE_bool("rendered", False, "Render photographs even where --coco is there.")
_SIZE = flags.DEFINE_enum("size", "demo", sorted(SIZES), "demo, or mini: shows only that it runs.")

TITLE = "From photographs to patterns, to a search"
_SUMMARY = (
    "Objects were cut out of {photographs}, grouped by what they look like, and sorted into patterns by two simulated "
    "annotators who went by {truth}. From what they verified came a benchmark, and on it a teacher and a student were "
    "trained for a few hundred steps. Everything found below is from its test split, which shares no photograph with "
    "training."
)


def main() -> int:
    from rich.console import Console

    console = Console(highlight=False)
    work, coco = Path(_WORKDIR.value), Path(_COCO.value)
    is_real = not _RENDERED.value and (coco / "instances.json").is_file()
    if flags.FLAGS["coco"].present and not is_real and not _RENDERED.value:
        raise InputError(f"--coco: no instances.json in {coco}, expected a folder with it and images/")
    try:
        runs = run_stages(
            stages_of(work, coco if is_real else None, _SIZE.value),
            work / "stages",
            announce=lambda line: console.print(line, style="bold", markup=False),
        )
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    summary = _SUMMARY.format(
        photographs=f"the photographs of {coco.name}" if is_real else "rendered photographs",
        truth="the aspect of the silhouette, a stand-in that says little about what fits" if is_real else "its yaw",
    )
    write_demo_report(
        console,
        work,
        work / "data",
        runs,
        dataset=DATASET,
        size=CONFIG,
        rivals={RECTANGLE_ONLY: "rectangle_only"},
        rectangle_only=RECTANGLE_ONLY,
        two_streams=None,
        commands=commands(work),
        title=TITLE,
        summary=summary,
        pictures=_pictures(work),
    )
    return 0


def _pictures(work: Path) -> list:
    """What was kept, what was proposed, and what was verified."""
    from fos_jax.cutouts.cutout_set import CutoutSet
    from fos_jax.patterns.proposal_report import contact_sheet, group_sheet
    from fos_jax.patterns.proposals import read_proposals
    from fos_jax.report.contents import Picture
    from fos_jax.verification.export import read_export

    cutouts, verified = CutoutSet(work / "cutouts"), read_export(work / "verified.json")
    counts = cutouts.manifest["counts"]
    fell = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sorted(counts.items()) if name != "kept")
    proposals = read_proposals(work / "proposals" / "proposals.parquet")
    row_of_id = {name: row for row, name in enumerate(cutouts.column("id"))}
    rng = np.random.default_rng(0)
    shown = [verified.patterns[i] for i in sorted(rng.permutation(len(verified.patterns))[:12])]
    rows = [(f"{p.category}\n{p.name}", [row_of_id[m.cutout_id] for m in p.members[:16]]) for p in shown]
    pixels = dict(cutouts.pictures(sorted({row for _, members in rows for row in members})))
    card = json.loads((work / "data" / DATASET / f"{CONFIG}_queries" / "1.0.0" / "data_card.json").read_text("utf-8"))
    agreement = ", ".join(f"kappa {a['kappa']:.2f}" for a in card["agreement"] if a["kappa"] is not None)
    return [
        Picture(
            "Proposed groups",
            f"{counts.get('kept', 0)} cut-outs were kept ({fell or 'none'} fell to filters) and grouped into "
            f"{len(proposals.groups())} groups, more than there are patterns, on purpose. Some of them, the surest "
            "members first:",
            group_sheet(cutouts, proposals, count=12),
        ),
        Picture(
            "Verified patterns",
            f"{len(verified.patterns)} patterns after {verified.last_action} actions "
            f"({agreement or 'agreement not known'}). Some of them:",
            contact_sheet([(label, [pixels[row] for row in members]) for label, members in rows], columns=16),
        ),
    ]


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
