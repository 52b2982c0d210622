"""Evaluate a model bundle on one split of a data set, beside chance, oracles and others.

  fos evaluate --bundle=runs/demo/student/bundle --size=demo --split=test \\
      --compare="rectangle only=runs/demo/rectangle_only/bundle:control" --output=runs/demo/evaluation.json

Every query is ranked against all foregrounds of its category in the same split. Printed are percent: mAP (standard:
full ranking, divided by all relevant; mean over categories) with its bootstrap interval, mAP@20, and the share of
queries whose best pattern (or one of the best three) fits. --output takes many more figures as JSON, in fractions:
mAP@100, precision@k, recall@k, by category, by attribute, with one and with several compatible patterns, calibration,
differences between methods, FOSD's convention; and writes wider tables as markdown beside it.

With --dataset=fosd --size=sfosd (or rfosd) the figures are those of FOSD's test set, by its own convention and by the
standard one.

Choose and tune on --split=validation; the figure to report is that of --split=test, looked at once.
"""

from absl import flags

from fos_jax.program import run_program

_BUNDLE = flags.DEFINE_string("bundle", None, "Directory of the model bundle.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Directory that data sets were built in.")
_DATASET = flags.DEFINE_string("dataset", "fos_synthetic", "Name of the data set.")
_SIZE = flags.DEFINE_string("size", "demo", "Size of the data set: demo, full or mini.")
_SPLIT = flags.DEFINE_enum("split", "validation", ["train", "validation", "test"], "Split to evaluate on.")
_NAME = flags.DEFINE_string("name", "student", "Name of the bundle in the tables.")
_COMPARE = flags.DEFINE_multi_string(
    "compare",
    [],
    "Another bundle to compare with: NAME=DIRECTORY, or NAME=DIRECTORY:control for a control. Repeatable.",
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write; the tables go beside it as .md.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Bootstrap resamples for the intervals.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the bootstrap.")
_PER_QUERY = flags.DEFINE_bool("per_query", False, "Write the average precision of each query to --output too.")
_COST = flags.DEFINE_bool("cost", False, "Measure time and operations per query too.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 256, "Images per batch.", lower_bound=1)


def main() -> None:
    import rich

    from fos_jax.evaluation import from_files, tables

    if _DATASET.value == "fosd":
        return _evaluate_fosd()
    results = from_files.evaluate_files(
        _BUNDLE.value,
        data_dir=_DATA_DIR.value,
        dataset=_DATASET.value,
        size=_SIZE.value,
        split=_SPLIT.value,
        name=_NAME.value,
        compare=[from_files.parse_compared(text) for text in _COMPARE.value],
        output=_OUTPUT.value,
        num_resamples=_RESAMPLES.value,
        seed=_SEED.value,
        batch_size=_BATCH_SIZE.value,
        progress=True,
        per_query=_PER_QUERY.value,
        cost=_COST.value,
    )
    rich.print(tables.rich_tables(results))
    if _OUTPUT.value:
        print(_OUTPUT.value)


def _evaluate_fosd() -> None:
    """FOSD's own convention and the standard one side by side, of the cosine ranking."""
    import json

    from fos_jax.datasets.fosd.evaluation import evaluate_bundle
    from fos_jax.encoders.bundle import load_bundle
    from fos_jax.files import write_whole

    results = evaluate_bundle(
        load_bundle(_BUNDLE.value), _DATA_DIR.value, _SIZE.value, split=_SPLIT.value, batch_size=_BATCH_SIZE.value
    )
    for convention, unit, scale in (("fosd", "percent", 1), ("standard", "fractions, printed in percent", 100)):
        figures = (f"{name} {value * scale:.2f}" for name, value in results[convention]["overall"].items())
        print(f"{_SIZE.value} {_SPLIT.value}, convention {convention} ({unit}): {', '.join(figures)}")
    if _OUTPUT.value:
        write_whole(_OUTPUT.value, json.dumps(results, indent=1))
        print(_OUTPUT.value)


if __name__ == "__main__":
    run_program(main)
