"""From a built TFDS data set to aligned arrays: decoded and prepared once, then read from a cache."""

import concurrent.futures
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fos_jax import boxes, images
from fos_jax.data.arrays import Foregrounds, Pairs, Queries
from fos_jax.data.cache import cached_arrays
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable

_PREPARATION = 2  # raise it whenever prepared arrays change: old caches are then left alone
_LABELS = ("relevant", "irrelevant")


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
    memory-mapped from a cache whose key holds a checksum of the stored files. No TensorFlow is needed.

    Args:
      data_dir: TFDS data directory; the data lies in `<data_dir>/<dataset>/<size>_{foregrounds,queries}/<version>`.
      dataset: name of the builder.
      size: first part of the configs' names: demo, full or mini.
      split: train, validation or test.
      foreground_size: side of the prepared cut-outs, px.
      query_size: side of the prepared query images, px.
      cache_dir: where prepared arrays are kept; `<data_dir>/.prepared` by default.
      progress: show a progress bar while decoding.

    Raises:
      InputError: the data set is not there, incomplete, or its records do not fit its pattern table.

    Source: decision 17; reading without TensorFlow as in the TFDS documentation on data sources.
    """
    foregrounds, table = load_foregrounds(
        data_dir,
        dataset=dataset,
        size=size,
        split=split,
        foreground_size=foreground_size,
        cache_dir=cache_dir,
        progress=progress,
    )
    root = version_directory(data_dir, dataset, f"{size}_queries")
    if PatternTable.read(root / "patterns.json").fingerprint() != table.fingerprint():
        raise InputError(f"{root / 'patterns.json'}: another pattern table than that of {size}_foregrounds")
    arrays = cached_arrays(
        *_cache_of(data_dir, cache_dir, dataset, root, split, query_size),
        lambda: _prepare_queries(root, split, query_size, table, progress),
    )
    row_of_id = {name: row for row, name in enumerate(foregrounds.ids.tolist())}
    queries = Queries(
        ids=arrays["ids"],
        image=arrays["image"],
        box_yxyx_norm=arrays["box_yxyx_norm"],
        category=arrays["category"],
        is_compatible=arrays["is_compatible"],
        foreground_index=np.array([row_of_id.get(i, -1) for i in arrays["foreground_id"].tolist()], np.int32),
        relevant=_pairs(arrays["relevant_id"], arrays["relevant_offset"], row_of_id),
        irrelevant=_pairs(arrays["irrelevant_id"], arrays["irrelevant_offset"], row_of_id),
    )
    return foregrounds, queries, table


def _pairs(ids: np.ndarray, offsets: np.ndarray, row_of_id: Mapping[str, int]) -> Pairs | None:
    """Labels by foreground ids as rows; ids that the split does not hold are left out. None where no query has any."""
    if not len(ids):
        return None
    rows = np.array([row_of_id.get(name, -1) for name in ids.tolist()], np.int32)
    is_here = np.concatenate([[0], np.cumsum(rows >= 0)])
    return Pairs(is_here[offsets], rows[rows >= 0])


def load_foregrounds(
    data_dir: str | Path,
    *,
    dataset: str = "fos_synthetic",
    size: str,
    split: str,
    foreground_size: int,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> tuple[Foregrounds, PatternTable]:
    """Foregrounds and pattern table alone; arguments and errors as of `load_split`."""
    root = version_directory(data_dir, dataset, f"{size}_foregrounds")
    table = PatternTable.read(root / "patterns.json")
    arrays = cached_arrays(
        *_cache_of(data_dir, cache_dir, dataset, root, split, foreground_size),
        lambda: _prepare_foregrounds(root, split, foreground_size, table, progress),
    )
    return Foregrounds(**arrays), table


def _cache_of(
    data_dir: str | Path, cache_dir: str | Path | None, dataset: str, root: Path, split: str, side: int
) -> tuple[Path, str]:
    """Directory and key of prepared arrays."""
    directory = Path(cache_dir) if cache_dir is not None else Path(data_dir) / ".prepared"
    checksum = files_checksum(root, split)
    return directory, f"{dataset}-{root.parent.name}-{split}-{side}px-v{_PREPARATION}-{checksum}"


def version_directory(data_dir: str | Path, dataset: str, config: str) -> Path:
    """Directory of the newest built version of a config; `InputError` says how to build it where there is none."""
    root = Path(data_dir) / dataset / config
    versions = [p for p in root.glob("*.*.*") if re.fullmatch(r"\d+\.\d+\.\d+", p.name) and p.is_dir()]
    if not versions:
        raise InputError(
            f"data_dir: no built data set in {root}, expected <version>/dataset_info.json "
            f"(build it with fos dataset build --dataset={dataset} --size={config.rsplit('_', 1)[0]})"
        )
    newest = max(versions, key=lambda p: tuple(map(int, p.name.split("."))))
    if not (newest / "dataset_info.json").exists():
        raise InputError(f"data_dir: {newest} has no dataset_info.json, expected a completely built data set")
    return newest


def records_checksum(roots: Sequence[Path], split: str) -> str:
    """Hex digest of what one split's records in some directories say, with the pattern tables they refer to.

    Two builds with the same pictures and labels have the same; of their files that is not true, since the fields of a
    record are written in no fixed order.

    Args:
      roots: `version_directory` of each config.
      split: train, validation or test.

    Raises:
      InputError: a directory has no records of the split.

    Source: decision 17.
    """
    import jax

    digest = hashlib.sha256()
    for root in roots:
        _shards(root, split)
        digest.update((root / "patterns.json").read_bytes())
        for record in _records(root, split):
            for path, value in jax.tree_util.tree_leaves_with_path(record):
                array = np.asarray(value)
                said = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
                for part in (jax.tree_util.keystr(path), str(array.dtype), str(array.shape)):
                    digest.update(part.encode())
                digest.update(value if isinstance(value, bytes) else said)
    return digest.hexdigest()[:16]


def files_checksum(root: Path, split: str) -> str:
    """Hex digest of one split's record files and of the features and pattern table that give them their meaning.

    Fast, and another one for every build: it tells that a cache is of this very build.
    """
    digest = hashlib.sha256()
    for path in [root / "features.json", root / "patterns.json", *_shards(root, split)]:
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def _shards(root: Path, split: str) -> list[Path]:
    shards = sorted(p for p in root.iterdir() if re.search(rf"-{re.escape(split)}\.", p.name))
    if not shards:
        raise InputError(f"data_dir: {root} has no records of split {split!r}, expected train, validation or test")
    return shards


def open_split(root: Path, split: str) -> tuple[Mapping[str, Any], Sequence[dict[str, Any]]]:
    """Features and records of one split (also "test[:100]") of the built data set in `root`; images stay encoded.

    Raises:
      InputError: no built data set there, or no such split.
    """
    import tensorflow_datasets as tfds

    if not (root / "dataset_info.json").is_file():
        raise InputError(f"{root}: no built data set (dataset_info.json is missing)")
    builder = tfds.builder_from_directory(str(root))
    if split.split("[")[0] not in builder.info.splits:
        raise InputError(f"{root}: unknown split {split!r}, expected one of {', '.join(builder.info.splits)}")
    # `images` decodes, as it does for every other source.
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    return builder.info.features, source


def _records(root: Path, split: str) -> Sequence[dict[str, Any]]:
    return open_split(root, split)[1]


def text(value: bytes | str) -> str:
    """A stored string, which TFDS returns as bytes."""
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
        return text(record["id"]), int(record["category"]), pattern

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

    labels: list[dict[str, list[str]]] = [{}] * n

    def row(i: int) -> tuple[str, str, int]:
        record = records[i]
        # A builder that labels by patterns alone may lack either list.
        labels[i] = {kind: [text(v) for v in record.get(f"{kind}_foregrounds", ())] for kind in _LABELS}
        photo = images.read_image(record["image"])
        height, width = photo.shape[:2]
        box_px = boxes.box_yxyx_norm_to_xyxy_px(_box_values(record["box"]), width, height)
        image[i], box[i] = images.prepare_query(photo, box_px, side)
        patterns = [int(p) for p in np.asarray(record["patterns"]).ravel()]
        if any(not 0 <= p < table.num_patterns for p in patterns):
            raise InputError(
                f"{root}, {split} row {i}: patterns are {patterns}, expected 0 to {table.num_patterns - 1}"
            )
        is_compatible[i, patterns] = True
        return text(record["id"]), text(record["foreground_id"]), int(record["category"])

    rows = _map_rows(row, n, f"{root.parent.name} {split}", progress)
    ids, foreground_id, category = zip(*rows, strict=True)
    pairs = {}
    for kind in _LABELS:
        pairs[f"{kind}_id"] = np.array([name for label in labels for name in label[kind]], np.str_)
        pairs[f"{kind}_offset"] = np.cumsum([0, *(len(label[kind]) for label in labels)])
    return {
        **pairs,
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
