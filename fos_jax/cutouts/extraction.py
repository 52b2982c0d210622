"""Photographs to shards of cut-outs: planned once, worked off shard by shard in any process, finished once.

Layout of the folder that is written:

    plan/plan.json                   source, config, number of shards (written last in plan/)
    plan/photographs-00000.jsonl     work of one shard: photographs with their annotated objects
    shards/cutouts-00000.parquet     see `shards`
    index.parquet                    metadata of all cut-outs with the final verdict; see `finishing`
    report.json, report.html         what fell to which filter
    manifest.json                    counts and checksums (written last)

A shard is one unit of work whatever runs it (a loop here, Apache Beam elsewhere). What exists is whole, so a run that
was interrupted goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fos_jax.cutouts.filters import check_config
from fos_jax.cutouts.records import Defects, Photograph
from fos_jax.cutouts.shard_rows import cut_rows
from fos_jax.cutouts.shards import ShardWriter, read_summary, write_json
from fos_jax.cutouts.sources.opening import open_source
from fos_jax.errors import InputError

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `plan/plan.json` says.

    Attributes:
      folder: of the extraction.
      source: description for `open_source`.
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

    def work_path(self, shard: int) -> Path:
        return self.folder / "plan" / f"photographs-{shard:05d}.jsonl"

    def shard_path(self, shard: int) -> Path:
        return self.folder / "shards" / f"cutouts-{shard:05d}.parquet"

    def fingerprint(self) -> str:
        return _fingerprint(self.source, self.config)


def make_plan(
    folder: str | Path,
    source: Mapping[str, Any],
    config: ConfigDict,
    *,
    photographs_per_shard: int = 200,
    on_photograph: Callable[[int], None] | None = None,
) -> Plan:
    """Reads the annotations once and writes down the work of each shard; takes up a plan that is there.

    Args:
      folder: of the extraction; made if missing.
      source: as `open_source` takes it.
      config: as `filters.default_config` makes it.
      photographs_per_shard: size of one unit of work.
      on_photograph: told the total (-1 before it is known) for each photograph planned.

    Raises:
      InputError: the folder holds an extraction of another source or with other thresholds; what the source raises;
        no photograph at all.
    """
    check_config(config)
    folder = Path(folder)
    source, settings = json.loads(json.dumps(dict(source))), json.loads(config.to_json())
    if (folder / "plan" / "plan.json").exists():
        plan = read_plan(folder)
        if plan.fingerprint() != _fingerprint(source, settings):
            raise InputError(
                f"{folder}: holds an extraction of another source or with other thresholds, expected an empty folder"
            )
        return plan
    aside = folder / ".plan.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(folder / "plan", ignore_errors=True)
    aside.mkdir(parents=True)
    (folder / "shards").mkdir(exist_ok=True)
    reader = open_source(source)
    count, file = 0, None
    try:
        for photograph in reader:
            if count % photographs_per_shard == 0:
                if file is not None:
                    file.close()
                file = (aside / f"photographs-{count // photographs_per_shard:05d}.jsonl").open("w", encoding="utf-8")
            assert file is not None
            file.write(json.dumps(photograph.to_json()) + "\n")
            count += 1
            if on_photograph is not None:
                on_photograph(count)
    finally:
        if file is not None:
            file.close()
        reader.close()
    if not count:
        reasons = ", ".join(f"{n} {reason}" for reason, n in (reader.left_out + reader.defects.counts).items())
        raise InputError(f"{reader.name}: no usable photograph ({reasons or 'none listed'})")
    write_json(
        aside / "plan.json",
        {
            "format_version": FORMAT_VERSION,
            "source": source,
            "config": settings,
            "num_shards": -(-count // photographs_per_shard),
            "num_photographs": count,
            "skip_defects": reader.defects.skip,
            "root": str(reader.root.resolve()),
            "mask_root": str(reader.mask_root.resolve()),
            "source_name": reader.name,
            "left_out": dict(reader.left_out),
            "defects": dict(reader.defects.counts),
            "messages": reader.defects.messages,
        },
    )
    aside.rename(folder / "plan")
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


def is_done(plan: Plan, shard: int) -> bool:
    """Whether the shard is there; a file of another plan is an error."""
    path = plan.shard_path(shard)
    if not path.exists():
        return False
    if read_summary(path).get("plan") != plan.fingerprint():
        raise InputError(f"{path}: belongs to another extraction")
    return True


def run_shard(plan: Plan, shard: int, *, on_photograph: Callable[[], None] | None = None) -> None:
    """Cuts, measures and filters the photographs of one shard and publishes it; does nothing where that is done.

    Raises:
      InputError: a defect, unless the plan says to skip them.
    """
    if is_done(plan, shard):
        return
    defects = Defects(skip=plan.skip_defects)
    config = ConfigDict(plan.config)
    counts: Counter[str] = Counter()
    examples: Counter[str] = Counter()
    with ShardWriter(plan.shard_path(shard)) as writer, plan.work_path(shard).open(encoding="utf-8") as work:
        for line in work:
            photograph = Photograph.from_json(json.loads(line))
            for row in cut_rows(photograph, plan.root, plan.mask_root, config, defects, counts, examples):
                writer.add(row)
            if on_photograph is not None:
                on_photograph()
        writer.set_summary(
            {
                "plan": plan.fingerprint(),
                "rejected_by_annotation": dict(counts),
                "defects": dict(defects.counts),
                "messages": defects.messages,
            }
        )


def _fingerprint(source: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    text = json.dumps([FORMAT_VERSION, source, config], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
