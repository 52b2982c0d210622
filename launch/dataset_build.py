"""Build a data set: its foregrounds and its queries; what is built already is left alone.

  fos dataset build --dataset=fos_synthetic --size=demo --data_dir=data
  fos dataset build --dataset=fosd --size=sfosd --manual_dir=FOSD/data --validate_only

fos_synthetic is made by code; fosd and fos_patterns are made from files, which --validate_only checks one by one.
"""

from absl import flags, logging

from fos_jax.errors import InputError
from fos_jax.program import run_program

_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set.")
_SIZE = flags.DEFINE_string("size", "demo", "Size of the data set, such as mini, demo or full; fosd: sfosd or rfosd.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder that data sets are built in.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Folder of the files that the data set is made from.")
_VALIDATE_ONLY = flags.DEFINE_bool("validate_only", False, "List all that is wrong with --manual_dir; build nothing.")


def main() -> None:
    from fos_jax.datasets.building import build, validate

    logging.set_verbosity(logging.INFO)
    if _VALIDATE_ONLY.value:
        if not _MANUAL_DIR.value:
            raise InputError("--manual_dir: missing, --validate_only needs the folder to validate")
        problems = validate(_DATASET.value, _SIZE.value, _MANUAL_DIR.value)
        for problem in problems:
            print(problem)
        errors = sum(problem.is_error for problem in problems)
        if errors:
            raise InputError(f"{_MANUAL_DIR.value}: {errors} problems, listed above")
        print(f"{_MANUAL_DIR.value}: nothing is wrong, {len(problems)} notes")
        return
    for path in build(_DATASET.value, _SIZE.value, _DATA_DIR.value, manual_dir=_MANUAL_DIR.value):
        print(path)


if __name__ == "__main__":
    run_program(main)
