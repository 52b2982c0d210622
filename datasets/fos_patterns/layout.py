"""Contents of the manual directory, read and checked before anything is written.

    <manual_dir>/cutouts/        folder that fos cutouts wrote
    <manual_dir>/verified.json   export of the verification (fos verify --export)
    <manual_dir>/annotated.json  instead of it: patterns made from annotations (fos dataset build --from)
    <manual_dir>/images/         the photographs; where it is absent, the folder that extraction read them from

Each may be a link.
"""

from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.datasets.builders import Problem
from fos_jax.datasets.fos_patterns.annotated import AnnotatedPatterns, plan_annotated, read_annotated
from fos_jax.datasets.fos_patterns.benchmark import SIZES, SPLITS, Benchmark, Settings, plan_benchmark, query_picture
from fos_jax.errors import InputError
from fos_jax.verification.export import VerifiedPatterns, read_export


def read_inputs(manual_dir: str | Path) -> tuple[CutoutSet, VerifiedPatterns | AnnotatedPatterns, Path | None]:
    """Cut-outs, patterns (verified or made from annotations), and the folder of photographs where there is an own one.

    Raises:
      InputError: one of them is missing or damaged, or there are patterns of both kinds.
    """
    root = Path(manual_dir)
    if not root.is_dir():
        raise InputError(f"manual_dir: {root} is not a directory, expected one with cutouts/ and verified.json")
    images, verified, annotated = root / "images", root / "verified.json", root / "annotated.json"
    if verified.exists() and annotated.exists():
        raise InputError(f"{root}: holds verified.json and annotated.json, expected one of them")
    cutouts = CutoutSet(root / "cutouts")
    folder = images if images.is_dir() else None
    if annotated.exists():
        return cutouts, read_annotated(annotated), folder
    return cutouts, read_export(verified), folder


def plan(manual_dir: str | Path, settings: Settings) -> Benchmark:
    """The benchmark that a manual directory makes.

    Raises:
      InputError: see `read_inputs` and `plan_benchmark`; also a split without foregrounds or without queries.
    """
    cutouts, labels, images = read_inputs(manual_dir)
    if isinstance(labels, AnnotatedPatterns):
        benchmark = plan_annotated(cutouts, labels, settings, photographs=images)
    else:
        benchmark = plan_benchmark(cutouts, labels, settings, photographs=images)
    for split in SPLITS:
        entries = benchmark.of_split(split)
        foregrounds = sum(entry.has_cutout for entry in entries)
        queries = sum(bool(entry.photograph) for entry in entries)
        if not foregrounds or not queries:
            raise InputError(
                f"{manual_dir}: split {split} has {foregrounds} foregrounds and {queries or 'no'} "
                f"{'query' if not queries else 'queries'}, expected some of each (label more cut-outs that come with a "
                "photograph)"
            )
    return benchmark


def validate(manual_dir: str | Path, *, sizes: Iterable[str] = SIZES, progress: bool = False) -> list[Problem]:
    """Everything that keeps the data set from being built; reads every photograph, writes nothing.

    Raises:
      InputError: no such directory.
    """
    problems: dict[Problem, None] = {}
    read_inputs(manual_dir)
    for size in sizes:
        try:
            benchmark = plan(manual_dir, SIZES[size])
        except InputError as error:
            problems[Problem(str(manual_dir), "", str(error), "a benchmark that can be built")] = None
            continue
        queries = [entry for entry in benchmark.entries if entry.photograph]
        for entry in tqdm(queries, desc="checking photographs", unit="img", disable=not progress):
            try:
                query_picture(entry, benchmark)
            except InputError as error:
                problems[Problem(entry.photograph, entry.id, str(error), "the photograph it was cut from")] = None
    return sorted(problems)
