"""Extraction of cut-outs: planned once, worked off shard by shard in any process, finished once.

Layout of the folder that is written:

    plan/plan.json                   source, config, number of shards
    plan/photographs-00000.jsonl     work of one shard: photographs with their annotated objects
    shards/cutouts-00000.parquet     see `shards`
    index.parquet                    a row per cut-out, also the rejected ones: the shards' metadata (`rejected_by` now
                                     with "near_duplicate"), `duplicate_of` (id of the cut-out that is kept instead,
                                     else ""), `shard` and `row` (where its picture lies)
    report.json, report.html         what fell to which filter
    manifest.json                    counts and checksums (written last)

A shard is one unit of work whatever runs it (a loop here, Apache Beam elsewhere). Every file is written whole or not at
all, so a run that was interrupted goes on where it stopped.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ml_collections import ConfigDict
from tqdm import tqdm

import fos_jax
from fos_jax import beam
from fos_jax.cutouts.duplicates import near_duplicates
from fos_jax.cutouts.extraction_report import write_report
from fos_jax.cutouts.filters import check_config
from fos_jax.cutouts.records import Defects, Photograph
from fos_jax.cutouts.segmenter import open_segmenter
from fos_jax.cutouts.shards import METADATA_COLUMNS, SCHEMA, cut_rows, read_summary, write_shard
from fos_jax.cutouts.sources import open_source
from fos_jax.errors import InputError
from fos_jax.files import published_directory, published_file, write_whole

FORMAT_VERSION = 1
_INDEX_SCHEMA = pa.schema(
    [
        *(SCHEMA.field(name) for name in METADATA_COLUMNS),
        pa.field("duplicate_of", pa.string()),
        pa.field("shard", pa.int32()),
        pa.field("row", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Contents of `plan/plan.json`.

    Attributes:
      folder: of the extraction.
      source: description for `open_source`, with the checksum of a segmenter.
      config: thresholds, as a plain mapping.
      num_shards, num_photographs: amount of work.
      skip_defects: whether defects are counted instead of raised.
      root, mask_root: the source's folders.
      source_name: one phrase.
      left_out, defects, messages: what the source left out while it was read.
    """

    folder: Path
    source: Mapping[str, Any]
    config: Mapping[str, Any]
    num_shards: int
    num_photographs: int
    skip_defects: bool
    root: Path
    mask_root: Path
    source_name: str
    left_out: Mapping[str, int]
    defects: Mapping[str, int]
    messages: tuple[str, ...]

    def shard_path(self, shard: int) -> Path:
        return self.folder / "shards" / f"cutouts-{shard:05d}.parquet"

    def fingerprint(self) -> str:
        text = json.dumps([FORMAT_VERSION, self.source, self.config], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def extract(
    folder: str | Path,
    source: Mapping[str, Any],
    config: ConfigDict,
    *,
    photographs_per_shard: int = 200,
    runner: str = beam.IN_PROCESS,
    pipeline_options: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Plans, runs, finishes and reports an extraction; goes on where an earlier run stopped.

    Args:
      folder: that is written; see the top of the module.
      source: as `open_source` takes it; its field `segmenter`, where there is one, as `open_segmenter` takes it.
      config: thresholds, as `filters.default_config` makes them.
      photographs_per_shard: size of one unit of work.
      runner, pipeline_options: "in_process", or as `beam.run_shards`. Every worker must reach `folder` and the
        photographs under the same paths (a shared file system).
      progress: show a bar.

    Returns:
      The manifest.

    Raises:
      InputError: what plan, shards or options have wrong.
    """
    beam.check_runner(runner, pipeline_options)
    plan = make_plan(folder, source, config, photographs_per_shard=photographs_per_shard, progress=progress)
    todo = [shard for shard in range(plan.num_shards) if not _is_done(plan, shard)]
    if runner != beam.IN_PROCESS:
        _run_with_beam(plan, todo, runner, pipeline_options, progress)
    else:
        with tqdm(desc="cut-outs", unit=" photographs", total=plan.num_photographs, disable=not progress) as bar:
            bar.update(min((plan.num_shards - len(todo)) * photographs_per_shard, plan.num_photographs))
            for shard in todo:
                run_shard(plan, shard, on_photograph=bar.update)
    manifest = finish(plan)
    write_report(plan.folder, manifest)
    return manifest


def make_plan(
    folder: str | Path,
    source: Mapping[str, Any],
    config: ConfigDict,
    *,
    photographs_per_shard: int = 200,
    progress: bool = False,
) -> Plan:
    """Reads the annotations once and writes down the work of each shard; takes up a plan that is there.

    Args: as `extract`.

    Raises:
      InputError: the folder holds another extraction; what source and segmenter raise; no photograph at all.
    """
    check_config(config)
    folder, settings = Path(folder), json.loads(config.to_json())
    source = dict[str, Any](json.loads(json.dumps(dict(source))))
    if (segmenter := open_segmenter(source.get("segmenter"))) is not None:
        source["segmenter"] = segmenter.description()  # with its checksum
    if (folder / "plan" / "plan.json").exists():
        plan = read_plan(folder)
        if (plan.source, plan.config) != (source, settings):
            raise InputError(
                f"{folder}: holds an extraction of another source, by another segmenter or with other thresholds, "
                "expected an empty folder"
            )
        return plan
    with published_directory(folder / "plan") as aside:
        reader = open_source(source)
        try:
            photographs = iter(tqdm(reader, desc="annotations", unit=" photographs", disable=not progress))
            count = num_shards = 0
            while batch := list(itertools.islice(photographs, photographs_per_shard)):
                with (aside / f"photographs-{num_shards:05d}.jsonl").open("w", encoding="utf-8") as file:
                    file.writelines(json.dumps(photograph.to_json()) + "\n" for photograph in batch)
                count, num_shards = count + len(batch), num_shards + 1
        finally:
            reader.close()
        if not count:
            reasons = ", ".join(f"{n} {reason}" for reason, n in (reader.left_out + reader.defects.counts).items())
            raise InputError(f"{reader.name}: no usable photograph ({reasons or 'none listed'})")
        facts = {
            "format_version": FORMAT_VERSION,
            "source": source,
            "config": settings,
            "num_shards": num_shards,
            "num_photographs": count,
            "skip_defects": reader.defects.skip,
            "root": str(reader.root.resolve()),
            "mask_root": str(reader.mask_root.resolve()),
            "source_name": reader.name if segmenter is None else f"{reader.name}, masks by {segmenter}",
            "left_out": dict(reader.left_out),
            "defects": dict(reader.defects.counts),
            "messages": reader.defects.messages,
        }
        (aside / "plan.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return read_plan(folder)


def read_plan(folder: str | Path) -> Plan:
    """Reads the plan of an extraction; `InputError` where there is none."""
    path = Path(folder) / "plan" / "plan.json"
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw.pop("format_version") != FORMAT_VERSION:
            raise InputError(f"{path}: format_version is not {FORMAT_VERSION}")
        raw |= {"root": Path(raw["root"]), "mask_root": Path(raw["mask_root"]), "messages": tuple(raw["messages"])}
        return Plan(folder=Path(folder), **raw)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected the plan of an extraction") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not the plan of an extraction ({error})") from None


def _is_done(plan: Plan, shard: int) -> bool:
    """Whether the shard is there; a file of another plan is an error."""
    path = plan.shard_path(shard)
    if not path.exists():
        return False
    if read_summary(path).get("plan") != plan.fingerprint():
        raise InputError(f"{path}: belongs to another extraction")
    return True


def run_shard(plan: Plan, shard: int, *, on_photograph: Callable[[], Any] = lambda: None) -> None:
    """Cuts, measures and filters the photographs of one shard and publishes it; does nothing where that is done.

    Raises:
      InputError: a defect, unless the plan says to skip them.
    """
    if _is_done(plan, shard):
        return
    defects, config = Defects(skip=plan.skip_defects), ConfigDict(plan.config)
    segmenter = open_segmenter(plan.source.get("segmenter"))
    counts, examples = Counter[str](), Counter[str]()

    def rows() -> Iterator[dict[str, Any]]:
        for line in work:
            photograph = Photograph.from_json(json.loads(line))
            yield from cut_rows(photograph, plan.root, plan.mask_root, config, defects, counts, examples, segmenter)
            on_photograph()

    def summary() -> dict[str, Any]:
        return {
            "plan": plan.fingerprint(),
            "rejected_by_annotation": dict(counts),
            "defects": dict(defects.counts),
            "messages": defects.messages,
        }

    with (plan.folder / "plan" / f"photographs-{shard:05d}.jsonl").open(encoding="utf-8") as work:
        write_shard(plan.shard_path(shard), rows(), summary)


def finish(plan: Plan) -> dict[str, Any]:
    """Writes `index.parquet` and `manifest.json` and returns the manifest.

    Near-duplicates are sought within a category, across all shards; the first cut-out in the order of the plan is kept.

    Raises:
      InputError: a shard is missing.
    """
    missing = [shard for shard in range(plan.num_shards) if not plan.shard_path(shard).exists()]
    if missing:
        raise InputError(f"{plan.shard_path(missing[0])}: is missing, {len(missing)} of {plan.num_shards} shards are")
    kept_instead = _find_duplicates(plan)
    counts, defects = Counter[str](), Counter[str](plan.defects)
    by_category: dict[str, Counter[str]] = {}
    messages, shards = list(plan.messages), list[dict[str, Any]]()
    with (
        published_file(plan.folder / "index.parquet") as aside,
        pq.ParquetWriter(aside, _INDEX_SCHEMA, compression="zstd") as writer,
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
            with path.open("rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            shards.append({"file": path.name, "rows": table.num_rows, "sha256": checksum})
    manifest = {
        "format_version": FORMAT_VERSION,
        "fos_jax": fos_jax.__version__,
        "plan": plan.fingerprint(),
        "source": plan.source_name,
        "segmenter": plan.source.get("segmenter"),
        "photographs": plan.num_photographs,
        "counts": dict(counts),
        "by_category": {name: dict(values) for name, values in sorted(by_category.items())},
        "left_out": dict(plan.left_out),
        "defects": dict(defects),
        "messages": messages[:100],
        "config": dict(plan.config),
        "shards": shards,
    }
    write_whole(plan.folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def _read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(columns))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as a shard of cut-outs ({' '.join(str(error).split())})") from None


def _find_duplicates(plan: Plan) -> dict[tuple[int, int], str]:
    """(shard, row) of each near-duplicate -> id of the cut-out that is kept instead."""
    tables = []
    for shard in range(plan.num_shards):
        table = _read_columns(plan.shard_path(shard), ("id", "category", "hash", "rejected_by"))
        rows = np.flatnonzero(np.array(table["rejected_by"].to_pylist(), object) == "")
        place = {"shard": np.full(rows.size, shard), "row": rows}
        tables.append(pa.table({name: table[name].take(rows) for name in ("id", "category", "hash")} | place))
    kept = pa.concat_tables(tables)
    hashes, category = kept["hash"].to_numpy(), np.array(kept["category"].to_pylist(), object)
    instead = np.arange(kept.num_rows)
    for name in set(category):
        members = np.flatnonzero(category == name)
        limit = plan.config["near_duplicate"]["max_distance_bits"]
        instead[members] = members[near_duplicates(hashes[members], limit)]
    copies = np.flatnonzero(instead != np.arange(kept.num_rows))
    places = zip(kept["shard"].take(copies).to_pylist(), kept["row"].take(copies).to_pylist(), strict=True)
    return dict(zip(places, kept["id"].take(instead[copies]).to_pylist(), strict=True))


def _index_of_shard(path: Path, shard: int, kept_instead: Mapping[tuple[int, int], str]) -> pa.Table:
    table = _read_columns(path, METADATA_COLUMNS)
    originals = [kept_instead.get((shard, row), "") for row in range(table.num_rows)]
    verdicts = zip(table["rejected_by"].to_pylist(), originals, strict=True)
    columns = {name: table[name] for name in METADATA_COLUMNS}
    columns["rejected_by"] = ["near_duplicate" if original else name for name, original in verdicts]
    columns["duplicate_of"] = originals
    columns["shard"] = np.full(table.num_rows, shard, np.int32)
    columns["row"] = np.arange(table.num_rows, dtype=np.int32)
    return pa.table(columns, schema=_INDEX_SCHEMA)


def _run_with_beam(plan: Plan, todo: Sequence[int], runner: str, options: Sequence[str], progress: bool) -> None:
    """With a bar that counts the files, since workers may be anywhere."""
    with tqdm(desc="cut-outs", unit=" shards", total=plan.num_shards, disable=not progress) as bar:

        def watch() -> None:
            bar.update(sum(plan.shard_path(shard).exists() for shard in range(plan.num_shards)) - bar.n)

        folder = str(plan.folder.resolve())
        beam.run_shards(_beam_shard, todo, folder, runner=runner, options=options, watch=watch)


def _beam_shard(shard: int, folder: str) -> None:
    run_shard(read_plan(folder), shard)
