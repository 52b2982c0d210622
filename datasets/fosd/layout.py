"""Is a folder FOSD? Every deviation in one pass, before anything is written."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fos_jax.datasets.fosd import pixels
from fos_jax.datasets.fosd.benchmark import BENCHMARKS, PARTS, Foreground, Query, read_benchmark
from fos_jax.datasets.problems import LayoutError, Problem
from fos_jax.errors import InputError


def validate(
    manual_dir: str | Path,
    *,
    sizes: Iterable[str] = BENCHMARKS,
    check_pixels: bool = True,
    progress: bool = False,
) -> list[Problem]:
    """Every deviation from FOSD's layout, sorted by file; writes nothing and unpickles nothing.

    `metadata/` and `number_per_category.csv` are not looked at: nothing needs them.

    Args:
      manual_dir: FOSD's folder `data`.
      sizes: "sfosd", "rfosd" or both (first part of the configs' names).
      check_pixels: also decode each image and mask once (about as long as building takes).
      progress: show a progress bar while decoding.

    Raises:
      InputError: no such directory, or an unknown benchmark.
    """
    root = Path(manual_dir)
    if not root.is_dir():
        raise InputError(f"manual_dir: {root} is not a directory, expected FOSD's folder with train/ and test/")
    problems: dict[Problem, None] = {}  # what both benchmarks read is reported once
    foregrounds: dict[Path, Foreground] = {}
    queries: dict[tuple, Query] = {}
    for name in sizes:
        benchmark = read_benchmark(root, name, lambda problem: problems.setdefault(problem))
        for part in PARTS:
            foregrounds |= {f.image: f for f in benchmark.foregrounds[part].values()}
            queries |= {(q.background, q.box_xyxy_norm): q for q in benchmark.queries[part]}
    if check_pixels:
        jobs: list[Callable[[], list[Problem]]] = [
            *(lambda f=f: _foreground_problems(root, f) for f in foregrounds.values()),
            *(lambda q=q: _query_problems(root, q) for q in queries.values()),
        ]
        with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
            found = pool.map(lambda job: job(), jobs)
            for batch in tqdm(found, total=len(jobs), desc="checking images", unit="img", disable=not progress):
                problems |= dict.fromkeys(batch)
    return sorted(problems)


def require_valid(problems: Iterable[Problem], manual_dir: str | Path) -> None:
    """Raises `InputError` with the number of errors and the first of them; notes pass."""
    errors = [problem for problem in problems if problem.is_error]
    if errors:
        raise InputError(f"{manual_dir}: {len(errors)} problems (--validate_only lists them), first {errors[0]}")


def make_cutout(manual_dir: str | Path, foreground: Foreground) -> np.ndarray:
    """uint8 [h, w, 4], straight alpha, as large as FOSD's own crop; `LayoutError` where its files do not fit."""
    file = _shown(manual_dir, foreground.image)
    image = pixels.read_rgb(foreground.image, file)
    mask = pixels.read_mask(foreground.mask, _shown(manual_dir, foreground.mask), *_frame_size(manual_dir, foreground))
    return pixels.cut_out(image, mask, foreground.box_xyxy_norm, file)


def _frame_size(manual_dir: str | Path, foreground: Foreground) -> tuple[int, int]:
    """Of the photograph; without one the mask's own, which FOSD's script leaves at the photograph's size."""
    path = foreground.frame or foreground.mask
    return pixels.frame_size(path, _shown(manual_dir, path))


def _foreground_problems(root: Path, foreground: Foreground) -> list[Problem]:
    """All that is wrong with one foreground's files: each on its own, then together."""
    file, mask_file = _shown(root, foreground.image), _shown(root, foreground.mask)
    problems: list[Problem] = []

    def attempt(step: Callable):
        try:
            return step()
        except LayoutError as error:
            problems.append(error.problem)
            return None

    image = attempt(lambda: pixels.read_rgb(foreground.image, file))
    size = attempt(lambda: _frame_size(root, foreground))
    mask = attempt(lambda: pixels.read_mask(foreground.mask, mask_file, *size)) if size else None
    if image is not None and mask is not None:
        attempt(lambda: pixels.cut_out(image, mask, foreground.box_xyxy_norm, file))
    return problems


def _query_problems(root: Path, query: Query) -> list[Problem]:
    file = _shown(root, query.background)
    try:
        height, width = pixels.read_rgb(query.background, file).shape[:2]
        pixels.pixel_box(query.box_xyxy_norm, width, height, file)
    except LayoutError as error:
        return [error.problem]
    return []


def _shown(root: str | Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
