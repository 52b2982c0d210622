"""Run the trials that settings are chosen by, on the validation split, and print the best.

  fos tune --size=demo
  fos tune --size=demo --only=cfo,ufo

The trials stand in launch/configs/trials.py. One JSON each goes to <results>/<size>/trials; a trial whose file is there
and defined the same way is skipped. Put the numbers of the best trial into its config file, then `fos results`.
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
_RESULTS = flags.DEFINE_string("results", "results", "Folder of the JSON files.")


def main() -> int:
    from rich.console import Console

    from fos_jax.experiments import tuning

    console = Console(highlight=False, stderr=True)
    failed = tuning.run_trials(
        tuning.select(_ONLY.value),
        _SIZE.value,
        work=Path(_WORKDIR.value),
        data=Path(_DATA_DIR.value),
        results=Path(_RESULTS.value),
        jobs=_JOBS.value,
        announce=lambda line: console.print(line, style="bold", markup=False),
    )
    for line in tuning.summary(_SIZE.value, _RESULTS.value):
        print(line)
    for sentence in failed:
        console.print(f"error: {sentence}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    run_program(main)
