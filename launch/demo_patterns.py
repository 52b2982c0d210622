"""Go from photographs to patterns, a benchmark, training, a search and a report, on two CPU cores.

  fos demo patterns --workdir=runs/patterns_demo

Photographs are those of --coco (a folder with instances.json and images/), or rendered where it is absent. Annotators
are simulated: on rendered photographs they know which way an object faces, on real ones only the silhouette's aspect,
so that figures on real photographs show that everything runs and nothing about quality.
Stages whose output is up to date are skipped; an interrupted run goes on where it stopped.
"""

import sys
from pathlib import Path

from absl import flags

from fos_jax.errors import InputError
from fos_jax.experiments.demo_patterns_stages import (
    CONFIG,
    DATASET,
    RECTANGLE_ONLY,
    SIZES,
    commands,
    pictures,
    stages_of,
    summary,
)
from fos_jax.experiments.demo_report import write_demo_report
from fos_jax.experiments.stages import StageError, run_stages
from fos_jax.program import run_program

_WORKDIR = flags.DEFINE_string("workdir", "runs/patterns_demo", "Folder for everything.")
_COCO = flags.DEFINE_string("coco", "../shared/real/coco_sample", "Photographs in COCO's format, where they are there.")
_RENDERED = flags.DEFINE_bool("rendered", False, "Render photographs even where --coco is there.")
_SIZE = flags.DEFINE_enum("size", "demo", sorted(SIZES), "demo, or mini: shows only that it runs.")


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
        title="From photographs to patterns, to a search",
        summary=summary(coco.name if is_real else None),
        pictures=pictures(work),
    )
    return 0


if __name__ == "__main__":
    run_program(main)
