"""FOSD's images, and validation of its folder: every deviation in one pass, before anything is written.

FOSD stores a foreground on white, cropped to its box, and a mask of the whole photograph; here the mask becomes the
cut-out's alpha, so that no white is baked in (matting on white gives FOSD's own picture back). FOSD's boxes refer to
the pixels as stored: an EXIF orientation, which its derived files may have inherited, is never applied.
Source: docs/field.md section 3.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from fos_jax.boxes import BoxXyxyPx
from fos_jax.datasets.builders import LayoutError, Problem
from fos_jax.datasets.fosd.benchmark import BENCHMARKS, PARTS, Foreground, Query, read_benchmark
from fos_jax.errors import InputError
from fos_jax.images import MAX_PIXELS, encode_png


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
    image = read_rgb(foreground.image, file)
    mask = read_mask(foreground.mask, _shown(manual_dir, foreground.mask), *_frame_size(manual_dir, foreground))
    return cut_out(image, mask, foreground.box_xyxy_norm, file)


def _frame_size(manual_dir: str | Path, foreground: Foreground) -> tuple[int, int]:
    """Of the photograph; without one the mask's own, which FOSD's script leaves at the photograph's size."""
    path = foreground.frame or foreground.mask
    return frame_size(path, _shown(manual_dir, path))


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

    image = attempt(lambda: read_rgb(foreground.image, file))
    size = attempt(lambda: _frame_size(root, foreground))
    mask = attempt(lambda: read_mask(foreground.mask, mask_file, *size)) if size else None
    if image is not None and mask is not None:
        attempt(lambda: cut_out(image, mask, foreground.box_xyxy_norm, file))
    return problems


def _query_problems(root: Path, query: Query) -> list[Problem]:
    file = _shown(root, query.background)
    try:
        height, width = read_rgb(query.background, file).shape[:2]
        pixel_box(query.box_xyxy_norm, width, height, file)
    except LayoutError as error:
        return [error.problem]
    return []


def _shown(root: str | Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


_FORMATS = ("PNG", "JPEG")
_ORIENTATION = 0x0112


def pixel_box(box_xyxy_norm: tuple[float, float, float, float], width: int, height: int, file: str) -> BoxXyxyPx:
    """FOSD's whole-pixel box: fractions times size, truncated, clipped; `LayoutError` where nothing is left of it."""
    x1, y1, x2, y2 = box_xyxy_norm
    box = max(int(x1 * width), 0), max(int(y1 * height), 0), min(int(x2 * width), width), min(int(y2 * height), height)
    if box[0] >= box[2] or box[1] >= box[3]:
        raise LayoutError(Problem(file, "box", f"{box} in {width} x {height} px", "at least one pixel"))
    return box


def frame_size(path: Path, file: str) -> tuple[int, int]:
    """Width and height in pixels, from the file's header alone."""
    return _open(path, file, lambda image: image.size)


def read_rgb(path: Path, file: str) -> np.ndarray:
    """uint8 [h, w, 3], the pixels as they are stored."""
    return _open(path, file, lambda image: np.asarray(image.convert("RGB")))


def query_bytes(path: Path, file: str) -> bytes:
    """An encoded image that every reader shows as FOSD's code does: RGB, upright as stored.

    The file's own bytes where that is so already, otherwise a PNG of its
    """

    def plain(image: Image.Image) -> bool:
        orientation = image.getexif().get(_ORIENTATION, 1)
        image.load()  # a truncated file must not get into the data set
        return image.mode == "RGB" and orientation == 1

    return path.read_bytes() if _open(path, file, plain) else encode_png(read_rgb(path, file))


def read_mask(path: Path, file: str, width: int, height: int) -> np.ndarray:
    """bool [height, width]: the object's pixels in its photograph.

    A mask of another size is resized by nearest neighbour, as FOSD does, if it has the photograph's proportions.
    Masks of one bit, of 0 and 1, and of 0 and 255 are all met: what lies above half of the largest value is object.

    Raises:
      LayoutError: unreadable, of several channels, of other proportions, or empty.
    """

    def decode(image: Image.Image) -> np.ndarray:
        if len(image.getbands()) != 1:
            raise LayoutError(Problem(file, "mode", image.mode, "a mask of one channel"))
        w, h = image.size
        # Rounding both sides of one scaled frame to whole pixels explains no more than this.
        if abs(w * height - h * width) > width + height:
            raise LayoutError(Problem(file, "size", f"{w} x {h} px", f"the proportions of {width} x {height} px"))
        return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))

    values = _open(path, file, decode)
    if values.max() <= 0:
        raise LayoutError(Problem(file, "pixels", "an empty mask", "an object"))
    return values > values.max() / 2


def cut_out(
    image: np.ndarray, mask: np.ndarray, box_xyxy_norm: tuple[float, float, float, float], file: str
) -> np.ndarray:
    """The object with its mask as alpha.

    Args:
      image: uint8 [h, w, 3], the stored foreground.
      mask: bool [height, width], in the photograph.
      box_xyxy_norm: the object's box in the photograph.
      file: what messages call the foreground.

    Returns:
      uint8 [h, w, 4], straight alpha.

    Raises:
      LayoutError: the foreground is not as large as its box, or the mask shows nothing inside it.
    """
    x0, y0, x1, y1 = pixel_box(box_xyxy_norm, mask.shape[1], mask.shape[0], file)
    height, width = image.shape[:2]
    if (width, height) != (x1 - x0, y1 - y0):
        expected = f"{x1 - x0} x {y1 - y0} px, its box in {mask.shape[1]} x {mask.shape[0]} px"
        raise LayoutError(Problem(file, "size", f"{width} x {height} px", expected))
    inside = mask[y0:y1, x0:x1]
    if not inside.any():
        raise LayoutError(Problem(file, "mask", "nothing inside the box", "an object"))
    return np.concatenate([image, np.where(inside, 255, 0).astype(np.uint8)[..., None]], axis=-1)


def _open(path: Path, file: str, use):
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                got, expected = f"{width} x {height} px", f"at most {MAX_PIXELS:,} pixels"
                raise LayoutError(Problem(file, "size", got, expected))
            return use(image)
    except LayoutError:
        raise
    except Exception as error:  # decoders raise nearly every type on damaged data
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LayoutError(
            Problem(file, "pixels", f"a damaged or unreadable image ({reason})", "a whole PNG or JPEG")
        ) from None
