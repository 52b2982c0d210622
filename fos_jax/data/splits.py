"""From a built TFDS data set to aligned arrays: decoded and prepared once, then read from a cache."""

import concurrent.futures
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fos_jax import boxes, images
from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.data.cache import cached_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable

_PREPARATION = 1  # raise it whenever `images.prepare_*` changes what it returns: old caches are then left alone


def load_split(
    data_dir: str | Path,
    *,
    dataset: str = "fos_synthetic",
    size: str,
    split: str,
    foreground_size: int,
    query_size: int,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> tuple[Foregrounds, Queries, PatternTable]:
    """Foregrounds, queries and pattern table of one split of a built data set.

    Images are decoded and prepared by `images.prepare_cutout` and `images.prepare_query` the first time, then
    memory-mapped from a cache whose key holds a checksum of the stored records. No TensorFlow is needed.

    Args:
      data_dir: TFDS data directory; the data lies in `<data_dir>/<dataset>/<size>_{foregrounds,queries}/<version>`.
      dataset: name of the builder.
      size: first part of the configs' names: demo, full or tiny.
      split: train, validation or test.
      foreground_size: side of the prepared cut-outs, px.
      query_size: side of the prepared query images, px.
      cache_dir: where prepared arrays are kept; `<data_dir>/.prepared` by default.
      progress: show a progress bar while decoding.

    Raises:
      InputError: the data set is not there, incomplete, or its records do not fit its pattern table.

    Source: design decision; reading without TensorFlow as in the TFDS documentation on data sources.
    """
    roots = [version_directory(data_dir, dataset, f"{size}_{kind}") for kind in ("foregrounds", "queries")]
    table = PatternTable.read(roots[0] / "patterns.json")
    if PatternTable.read(roots[1] / "patterns.json").fingerprint() != table.fingerprint():
        raise InputError(f"{roots[1] / 'patterns.json'}: another pattern table than {roots[0] / 'patterns.json'}")
    cache = Path(cache_dir) if cache_dir is not None else Path(data_dir) / ".prepared"

    def cached(root: Path, side: int, prepare: Callable[[Path, str, int, PatternTable, bool], dict]) -> dict:
        key = f"{dataset}-{root.parent.name}-{split}-{side}px-v{_PREPARATION}-{split_checksum(root, split)}"
        return cached_arrays(cache, key, lambda: prepare(root, split, side, table, progress))

    foregrounds = Foregrounds(**cached(roots[0], foreground_size, _prepare_foregrounds))
    arrays = cached(roots[1], query_size, _prepare_queries)
    row_of_id = {name: row for row, name in enumerate(foregrounds.ids.tolist())}
    queries = Queries(
        ids=arrays["ids"],
        image=arrays["image"],
        box_yxyx_norm=arrays["box_yxyx_norm"],
        category=arrays["category"],
        is_compatible=arrays["is_compatible"],
        foreground_index=np.array([row_of_id.get(i, -1) for i in arrays["foreground_id"].tolist()], np.int32),
    )
    return foregrounds, queries, table


def version_directory(data_dir: str | Path, dataset: str, config: str) -> Path:
    """Directory of the newest built version of a config; `InputError` says how to build it where there is none."""
    root = Path(data_dir) / dataset / config
    versions = [p for p in root.glob("*.*.*") if re.fullmatch(r"\d+\.\d+\.\d+", p.name) and p.is_dir()]
    if not versions:
        raise InputError(
            f"data_dir: no built data set in {root}, expected <version>/dataset_info.json "
            f"(build it with python -m fos_jax.launch.build_dataset --size={config.rsplit('_', 1)[0]})"
        )
    newest = max(versions, key=lambda p: tuple(map(int, p.name.split("."))))
    if not (newest / "dataset_info.json").exists():
        raise InputError(f"data_dir: {newest} has no dataset_info.json, expected a completely built data set")
    return newest


def split_checksum(root: Path, split: str) -> str:
    """Hex digest of one split's record files and of the features and pattern table that give them their meaning."""
    shards = sorted(p for p in root.iterdir() if re.search(rf"-{re.escape(split)}\.", p.name))
    if not shards:
        raise InputError(f"data_dir: {root} has no records of split {split!r}, expected train, validation or test")
    digest = hashlib.sha256()
    for path in [root / "features.json", root / "patterns.json", *shards]:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def _records(root: Path, split: str) -> Sequence[dict[str, Any]]:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(root))
    # Images stay encoded: `images` decodes them, as it does for every other source.
    return builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _map_rows(function: Callable[[int], tuple], n: int, what: str, progress: bool) -> Iterable[tuple]:
    with concurrent.futures.ThreadPoolExecutor() as pool:  # decoding and resizing release the interpreter lock
        yield from tqdm(pool.map(function, range(n)), total=n, desc=what, unit="img", disable=not progress)


def _prepare_foregrounds(root: Path, split: str, side: int, table: PatternTable, progress: bool) -> dict:
    records = _records(root, split)
    n = len(records)
    image = np.empty((n, side, side, 4), np.uint8)

    def row(i: int) -> tuple[str, int, int]:
        record = records[i]
        image[i] = images.prepare_cutout(images.read_cutout(record["image"]), side)
        pattern = int(record["pattern"])
        if not -1 <= pattern < table.num_patterns:
            raise InputError(f"{root}, {split} row {i}: pattern is {pattern}, expected -1 to {table.num_patterns - 1}")
        return _text(record["id"]), int(record["category"]), pattern

    ids, category, pattern = zip(*_map_rows(row, n, f"{root.parent.name} {split}", progress), strict=True)
    return {
        "ids": np.array(ids, np.str_),
        "image": image,
        "category": np.array(category, np.int32),
        "pattern": np.array(pattern, np.int32),
    }


def _prepare_queries(root: Path, split: str, side: int, table: PatternTable, progress: bool) -> dict:
    records = _records(root, split)
    n = len(records)
    image = np.empty((n, side, side, 3), np.uint8)
    box = np.empty((n, 4), np.float32)
    is_compatible = np.zeros((n, table.num_patterns), bool)

    def row(i: int) -> tuple[str, str, int]:
        record = records[i]
        photo = images.read_image(record["image"])
        height, width = photo.shape[:2]
        box_px = boxes.box_yxyx_norm_to_xyxy_px(np.asarray(_box_values(record["box"])), width, height)
        image[i], box[i] = images.prepare_query(photo, box_px, side)
        patterns = [int(p) for p in np.asarray(record["patterns"]).ravel()]
        if any(not 0 <= p < table.num_patterns for p in patterns):
            raise InputError(
                f"{root}, {split} row {i}: patterns are {patterns}, expected 0 to {table.num_patterns - 1}"
            )
        is_compatible[i, patterns] = True
        return _text(record["id"]), _text(record["foreground_id"]), int(record["category"])

    rows = _map_rows(row, n, f"{root.parent.name} {split}", progress)
    ids, foreground_id, category = zip(*rows, strict=True)
    return {
        "ids": np.array(ids, np.str_),
        "foreground_id": np.array(foreground_id, np.str_),
        "image": image,
        "box_yxyx_norm": box,
        "category": np.array(category, np.int32),
        "is_compatible": is_compatible,
    }


def _box_values(box: Any) -> Sequence[float]:
    """ymin, xmin, ymax, xmax of a TFDS box, which is an array or a named tuple by version."""
    return [box.ymin, box.xmin, box.ymax, box.xmax] if hasattr(box, "ymin") else list(box)
