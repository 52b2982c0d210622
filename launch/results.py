"""Train and evaluate every method with every seed, and render docs/results.md from the results.

  fos results --size=full --seeds=0,1,2
  fos results --size=demo --only=student,two_streams --hours=3 --jobs=2

The methods stand in fos_jax/experiments/methods.py; with --ablations its ablations are run too. A cell (a method with
a seed) that <results>/<size>.jsonl holds, defined the same way, is skipped; a run that was killed goes on where it was.
All methods of one seed come before the next seed, so that what is finished can be compared. With --hours no cell is
begun that would, by the times of earlier ones, end later. --hours=0 runs nothing: it writes the plan and renders.

Exit code 1 where a cell failed; the others are run all the same.
"""

import sys
import time
from pathlib import Path

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_SIZE = flags.DEFINE_enum(
    "size",
    "demo",
    ["mini", "demo", "full_small", "full"],
    "Size of data and networks; full_small: the full data with small networks; mini shows only that it runs.",
)
_SEEDS = flags.DEFINE_list("seeds", None, "Training seeds, at least three for figures to report (default 0,1,2).")
_ONLY = flags.DEFINE_list("only", [], "Names of methods or ablations to run; all by default.")
_ABLATIONS = flags.DEFINE_bool("ablations", False, "Run the ablations too.")
_HOURS = flags.DEFINE_float("hours", None, "Begin no cell that would end later than this.", lower_bound=0)
_JOBS = flags.DEFINE_integer(
    "jobs",
    1,
    "Cells at a time: 2 suits two CPU cores, which one training does not fill; of small networks, a GPU takes as many "
    "as there are CPU cores.",
    lower_bound=1,
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/results", "Folder of the trainings.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data set; it is built where it is missing.")
_RESULTS = flags.DEFINE_string("results", "results", "Folder of the results files and plots.")
_DOCUMENT = flags.DEFINE_string("document", "docs/results.md", "File to render; empty for none.")
_README = flags.DEFINE_string(
    "readme", "README.md", "File that gets the results in short, between marks; empty for none."
)


def main() -> int:
    from rich.console import Console

    from fos_jax.experiments import methods as table
    from fos_jax.experiments import running
    from fos_jax.experiments.trials import planned

    console = Console(highlight=False, stderr=True)
    methods = [*table.methods(is_ablated=False), *table.methods(is_ablated=True)]
    size, seeds, version = _SIZE.value, _seeds(table.SEEDS), running.dataset_version()
    cells = running.select(
        methods, only=_ONLY.value, has_ablations=_ABLATIONS.value, size=size, seeds=seeds, version=version
    )
    running.write_plan(
        methods,
        size=size,
        seeds=seeds,
        version=version,
        results=_RESULTS.value,
        trials=[] if size == "full_small" else planned(size, version),  # it takes over demo's numbers
    )
    failed = running.run_cells(
        cells,
        work=Path(_WORKDIR.value),
        data=Path(_DATA_DIR.value),
        results=Path(_RESULTS.value),
        jobs=_JOBS.value,
        until_s=None if _HOURS.value is None else time.monotonic() + 3600 * _HOURS.value,
        announce=lambda line: console.print(line, style="bold", markup=False),
    )
    if _DOCUMENT.value:
        from fos_jax.experiments.document import write_document

        write_document(_RESULTS.value, _DOCUMENT.value, _README.value)
        print(_DOCUMENT.value)
    for sentence in failed:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if failed else 0


def _seeds(default: tuple[int, ...]) -> list[int]:
    if _SEEDS.value is None:
        return list(default)
    try:
        seeds = list(dict.fromkeys(int(text) for text in _SEEDS.value))
    except ValueError:
        raise InputError(f"seeds: {','.join(_SEEDS.value)}, expected whole numbers such as 0,1,2") from None
    if not seeds or min(seeds) < 0:
        raise InputError(f"seeds: {seeds}, expected at least one number from 0 on")
    return seeds


if __name__ == "__main__":
    run_program(main)
