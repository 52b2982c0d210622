"""Make a data set, train, evaluate, build a gallery and write a report, on two CPU cores.

  fos demo --workdir=runs/demo --data_dir=data

  fos demo --photographs=FOLDER    # instances.json with masks and images/: no training, the model in the package

It trains the teacher, the student, a control and a rival, and ends with the commands to search with pictures of your
own. Stages whose output is up to date are skipped; an interrupted run goes on where it stopped. Exit code 1 where a
stage fails or the student does not beat its controls.
"""

import sys
from pathlib import Path

from absl import flags

from fos_jax.experiments.demo_report import write_demo_report
from fos_jax.experiments.demo_stages import RECTANGLE_ONLY, TWO_STREAMS, search_commands, stages_of
from fos_jax.experiments.stages import StageError, run_stages
from fos_jax.program import command_prefix, run_program

_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Folder for everything but the data set.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data set.")
_SIZE = flags.DEFINE_enum("size", "demo", ["demo", "mini"], "demo: figures that count. mini: shows only that it runs.")
_PHOTOGRAPHS = flags.DEFINE_string(
    "photographs", None, "Instead: search in this folder of photographs in COCO's format."
)


def main() -> int:
    from rich.console import Console

    console = Console(highlight=False)
    if _PHOTOGRAPHS.value:
        from fos_jax.experiments.demo_photographs import photographs_demo

        work = Path(_WORKDIR.value).with_name(f"{Path(_WORKDIR.value).name}_photographs")
        page = photographs_demo(Path(_PHOTOGRAPHS.value), work)
        console.print(f"Gallery: {(work / 'gallery').resolve()}\nReport:  {page.resolve()}", soft_wrap=True)
        return 0
    work, data, size = Path(_WORKDIR.value), Path(_DATA_DIR.value), _SIZE.value
    try:
        stages = stages_of(work, data, size)
        runs = run_stages(
            stages, work / "stages", announce=lambda line: console.print(line, style="bold", markup=False)
        )
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(
        f"[{len(runs)} of {len(runs)} stages done] report: search, composites, map", style="bold", markup=False
    )
    _, missed = write_demo_report(
        console,
        work,
        data,
        runs,
        dataset="fos_synthetic",
        size=size,
        rivals={RECTANGLE_ONLY: "rectangle_only", TWO_STREAMS: "two_streams"},
        rectangle_only=RECTANGLE_ONLY,
        two_streams=TWO_STREAMS,
        commands=search_commands(work),
    )
    if size == "mini":
        console.print("\nSize mini shows that everything runs; its figures mean nothing.")
        return 0
    console.print(f"\nThe page: {command_prefix()} serve --gallery={work / 'gallery'}", soft_wrap=True, markup=False)
    for sentence in missed:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    run_program(main)
