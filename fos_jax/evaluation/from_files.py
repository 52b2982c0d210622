"""From directories to a result file: load bundles and a split, evaluate, record what the figures are figures of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.data.splits import load_split, records_checksum, version_directory
from fos_jax.encoders.bundle import Bundle, load_bundle
from fos_jax.errors import InputError
from fos_jax.evaluation import tables
from fos_jax.evaluation.methods import CONTROL, RIVAL, EvaluatedModel
from fos_jax.evaluation.run import evaluate
from fos_jax.files import write_whole
from fos_jax.pattern_table import PatternTable
from fos_jax.run_metadata import run_metadata


class Compared(NamedTuple):
    """Another bundle to evaluate: the name of its rows, its directory, and "rival" or "control"."""

    name: str
    path: str
    kind: str


def parse_compared(text: str) -> Compared:
    """Reads NAME=DIRECTORY or NAME=DIRECTORY:KIND; `InputError` shows what was expected."""
    name, separator, path = (part.strip() for part in text.partition("="))
    kind = RIVAL
    for known in (RIVAL, CONTROL):
        if path.endswith(f":{known}"):
            path, kind = path[: -len(known) - 1], known
    if not (separator and name and path):
        raise InputError(f"compare: {text!r}, expected NAME=DIRECTORY or NAME=DIRECTORY:{CONTROL}")
    return Compared(name, path, kind)


def evaluate_files(
    bundle_path: str | Path,
    *,
    data_dir: str | Path,
    dataset: str = "fos_synthetic",
    size: str,
    split: str,
    name: str = "student",
    compare: Sequence[Compared] = (),
    output: str | Path | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """`run.evaluate` on what lies on disk, with `data`, `bundle`, `compared` and `metadata` added to its result.

    Args:
      bundle_path: directory of the main bundle.
      data_dir, dataset, size, split: the data, as for `data.splits.load_split`.
      name: of the main bundle's rows. compare: further bundles.
      output: JSON file, written whole or not at all, with the tables beside it as `.md`; None for none.
      progress: show bars. options: further ones of `run.evaluate`, such as `num_resamples` or `cost`.

    Raises: InputError where a directory is not what it must be or `output` cannot be written.
    """
    if output is not None and (Path(output).suffix != ".json" or Path(output).is_dir()):
        raise InputError(f"output: {output}, expected a file that ends in .json")
    # The data is looked at first: it is the fastest to refuse.
    roots = [version_directory(data_dir, dataset, f"{size}_{kind}") for kind in ("queries", "foregrounds")]

    def load(bundle: Bundle) -> tuple[Foregrounds, Queries, PatternTable]:
        return load_split(
            data_dir,
            dataset=dataset,
            size=size,
            split=split,
            foreground_size=bundle.foreground_size,
            query_size=bundle.query_size if bundle.has_query_encoder else bundle.foreground_size,
            progress=progress,
        )

    bundle = load_bundle(bundle_path)
    foregrounds, queries, table = load(bundle)
    methods = []
    for other in compare:
        loaded = load_bundle(other.path)
        its_foregrounds, its_queries, _ = load(loaded)
        methods.append(EvaluatedModel(other.name, loaded, its_queries, its_foregrounds, other.kind))
    results = evaluate(bundle, queries, foregrounds, table, name=name, compare=methods, progress=progress, **options)
    results |= {
        "data": {
            "dataset": dataset,
            "size": size,
            "version": roots[0].name,
            "split": split,
            "checksum": records_checksum(roots, split),
            "pattern_table": table.fingerprint(),
        },
        "bundle": _identity(bundle_path, bundle),
        "compared": {
            method.name: _identity(other.path, method.bundle) for method, other in zip(methods, compare, strict=True)
        },
        "metadata": run_metadata(),
    }
    if output is not None:
        write_whole(Path(output).with_suffix(".md"), tables.markdown(results))
        write_results(output, results)
    return results


def _identity(path: str | Path, bundle: Bundle) -> dict[str, Any]:
    config = bundle.config.to_dict()
    return {"path": str(path), "fingerprint": bundle.fingerprint, "training_seed": config.get("seed"), "config": config}


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes `evaluate`'s results as JSON, whole or not at all."""
    write_whole(path, json.dumps(results, indent=1, allow_nan=False) + "\n")


def read_results(path: str | Path) -> dict[str, Any]:
    """Reads what `write_results` wrote; `InputError` names it where it is something else."""
    try:
        results = json.loads(Path(path).read_text("utf-8"))
        version = results["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an evaluation result ({type(error).__name__}: {error})") from None
    if version != 1:
        raise InputError(f"{path}: format_version is {version!r}, expected 1")
    return results
