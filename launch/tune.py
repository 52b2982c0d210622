"""Run the trials that settings are chosen by, on the validation split, and print the best.

  fos tune --size=demo
  fos tune --size=demo --only=cfo,ufo

The trials stand in fos_jax/experiments/trials.py. A trial that <results>/<size>.jsonl holds, defined the same way, is
skipped. Put the numbers of the best trial into its config file, then `fos results`.
"""

from pathlib import Path

from absl import flags

from fos_jax.program import run_program

_SIZE = flags.DEFINE_enum("size", "demo", ["mini", "demo", "full"], "Size of the data; mini shows only that it runs.")
_ONLY = flags.DEFINE_list("only", [], "Names of trainings to tune; all by default.")
_JOBS = flags.DEFINE_integer(
    "jobs", 1, "Trials at a time: 2 suits two CPU cores, which one training does not fill.", lower_bound=1
)
_WORKDIR = flags.DEFINE_string("workdir", "runs/results", "Folder of the trainings.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data set; it is built where it is missing.")
_RESULTS = flags.DEFINE_string("results", "results", "Folder of the results files.")


def main() -> int:
    from rich.console import Console

    from fos_jax.experiments.running import dataset_version, run_cells
    from fos_jax.experiments.trials import summary, trials

    console, version = Console(highlight=False, stderr=True), dataset_version()
    failed = run_cells(
        trials(_SIZE.value, version, _ONLY.value),
        work=Path(_WORKDIR.value),
        data=Path(_DATA_DIR.value),
        results=Path(_RESULTS.value),
        jobs=_JOBS.value,
        announce=lambda line: console.print(line, style="bold", markup=False),
    )
    for line in summary(_SIZE.value, version, _RESULTS.value):
        print(line)
    for sentence in failed:
        console.print(f"error: {sentence}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
