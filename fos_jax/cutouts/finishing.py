"""The end of an extraction: near-duplicates across all shards, the index, counts and checksums.

`index.parquet` has a row for each cut-out, also the rejected ones: the shards' metadata columns (`rejected_by` now
with "near_duplicate"), `duplicate_of` (id of the cut-out that is kept instead, else ""), `shard` and `row` (where its
picture lies).
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fos_jax
from fos_jax.cutouts.duplicates import near_duplicates
from fos_jax.cutouts.extraction import FORMAT_VERSION, Plan
from fos_jax.cutouts.shards import METADATA_COLUMNS, SCHEMA, read_rows, read_summary, write_json
from fos_jax.errors import InputError
from fos_jax.files import published_file

INDEX_SCHEMA = pa.schema(
    [
        *(SCHEMA.field(name) for name in METADATA_COLUMNS),
        pa.field("duplicate_of", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
    ]
)


def finish(plan: Plan) -> dict[str, Any]:
    """Writes `index.parquet` and `manifest.json` and returns the manifest.

    Near-duplicates are sought within a category; the first cut-out in the order of the plan is kept.

    Raises:
      InputError: a shard is missing.
    """
    missing = [shard for shard in range(plan.num_shards) if not plan.shard_path(shard).exists()]
    if missing:
        raise InputError(f"{plan.shard_path(missing[0])}: is missing, {len(missing)} of {plan.num_shards} shards are")
    kept_instead = _find_duplicates(plan)
    counts: Counter[str] = Counter()
    by_category: dict[str, Counter[str]] = {}
    defects: Counter[str] = Counter(plan.defects)
    messages = list(plan.messages)
    shards = []
    with (
        published_file(plan.folder / "index.parquet") as aside,
        pq.ParquetWriter(aside, INDEX_SCHEMA, compression="zstd") as writer,
    ):
        for shard in range(plan.num_shards):
            path = plan.shard_path(shard)
            table = _index_of_shard(path, shard, kept_instead)
            writer.write_table(table)
            summary = read_summary(path)
            counts.update(summary["rejected_by_annotation"])
            defects.update(summary["defects"])
            messages += summary["messages"]
            for category, name in zip(table["category"].to_pylist(), table["rejected_by"].to_pylist(), strict=True):
                by_category.setdefault(category, Counter())[name or "kept"] += 1
                counts[name or "kept"] += 1
            shards.append({"file": path.name, "rows": table.num_rows, "sha256": _checksum(path)})
    manifest = {
        "format_version": FORMAT_VERSION,
        "fos_jax": fos_jax.__version__,
        "plan": plan.fingerprint(),
        "source": plan.source_name,
        "photographs": plan.num_photographs,
        "counts": dict(counts),
        "by_category": {name: dict(values) for name, values in sorted(by_category.items())},
        "left_out": dict(plan.left_out),
        "defects": dict(defects),
        "messages": messages[:100],
        "config": dict(plan.config),
        "shards": shards,
    }
    write_json(plan.folder / "manifest.json", manifest)
    return manifest


def _find_duplicates(plan: Plan) -> dict[tuple[int, int], str]:
    """(shard, row) of each near-duplicate -> id of the cut-out that is kept instead."""
    places, hashes, codes = [], [], []
    category_codes: dict[str, int] = {}
    for shard in range(plan.num_shards):
        row = 0
        for batch in read_rows(plan.shard_path(shard), ("category", "hash", "rejected_by")):
            is_kept = np.array(batch["rejected_by"].to_pylist(), object) == ""
            rows = row + np.flatnonzero(is_kept)
            places.append(np.stack([np.full(rows.size, shard), rows], axis=1))  # [kept, 2]
            hashes.append(batch["hash"].to_numpy()[is_kept])
            names = np.array(batch["category"].to_pylist(), object)[is_kept]
            codes.append(np.array([category_codes.setdefault(n, len(category_codes)) for n in names], np.int32))
            row += batch.num_rows
    if not places:
        return {}
    place, bits, code = np.concatenate(places), np.concatenate(hashes), np.concatenate(codes)
    limit = plan.config["near_duplicate"]["max_distance_bits"]
    stands_for = np.arange(bits.size)
    for category in range(len(category_codes)):
        members = np.flatnonzero(code == category)
        stands_for[members] = members[near_duplicates(bits[members], limit)]
    duplicates = np.flatnonzero(stands_for != np.arange(bits.size))
    ids = _ids_of(plan, {tuple(place[stands_for[i]].tolist()) for i in duplicates})
    return {tuple(place[i].tolist()): ids[tuple(place[stands_for[i]].tolist())] for i in duplicates}


def _ids_of(plan: Plan, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], str]:
    found = {}
    for shard in sorted({shard for shard, _ in wanted}):
        row = 0
        for batch in read_rows(plan.shard_path(shard), ("id",)):
            for identifier in batch["id"].to_pylist():
                if (shard, row) in wanted:
                    found[shard, row] = identifier
                row += 1
    return found


def _index_of_shard(path: Path, shard: int, kept_instead: dict[tuple[int, int], str]) -> pa.Table:
    batches = list(read_rows(path, METADATA_COLUMNS))
    table = pa.Table.from_batches(batches) if batches else SCHEMA.empty_table().select(METADATA_COLUMNS)
    originals = [kept_instead.get((shard, row), "") for row in range(table.num_rows)]
    verdicts = [
        "near_duplicate" if original else name
        for name, original in zip(table["rejected_by"].to_pylist(), originals, strict=True)
    ]
    columns = {name: table[name] for name in METADATA_COLUMNS}
    columns["rejected_by"] = pa.array(verdicts, pa.string())
    columns["duplicate_of"] = pa.array(originals, pa.string())
    columns["shard"] = pa.array(np.full(table.num_rows, shard, np.int32))
    columns["row"] = pa.array(np.arange(table.num_rows, dtype=np.int32))
    return pa.table(columns, schema=INDEX_SCHEMA)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
