"""Building a gallery by shards: planned once (`shard_plan`), encoded in any process, assembled once."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fos_jax import beam
from fos_jax.errors import InputError
from fos_jax.experts.loading import load
from fos_jax.gallery import shard_plan
from fos_jax.gallery.building import check_target, gallery_settings, new_gallery, no_cutout, write_gallery
from fos_jax.gallery.encoding import Cutouts, Encoder, EncodesForegrounds
from fos_jax.gallery.foregrounds import Layout
from fos_jax.gallery.indexing import USUAL, Indexing
from fos_jax.gallery.reading import CutoutRecord, read_units
from fos_jax.gallery.segment import hash_ids
from fos_jax.gallery.shard_files import read_facts, read_ids, read_shard, write_shard
from fos_jax.gallery.shard_plan import Plan
from fos_jax.gallery.sources import DivisibleSource

SHARD_SIZE = 2048  # cut-outs: about a minute of encoding on a CPU

_loading = threading.Lock()
_bundles: dict[str, EncodesForegrounds] = {}  # by fingerprint: one model serves all the threads of a process


def build_by_shards(
    source: DivisibleSource,
    bundle: EncodesForegrounds,
    output: str | Path,
    *,
    bundle_path: str | Path,
    shards: str | Path | None = None,
    shard_size: int = SHARD_SIZE,
    runner: str = beam.IN_PROCESS,
    pipeline_options: Sequence[str] = (),
    cutouts: Cutouts = "copy",
    mirror: bool | None = None,
    thumbnail_size: int = 160,
    indexing: Indexing = USUAL,
    batch_size: int = 256,
    tags: Collection[str] = (),
    progress: bool = False,
) -> dict[str, Any]:
    """Builds the gallery that `building.build_gallery` builds; goes on where an earlier start of it was interrupted.

    Args:
      source: where the cut-outs come from.
      bundle, output, bundle_path, cutouts, mirror, thumbnail_size, indexing, batch_size, tags, progress: as
        `building.build_gallery`.
      shards: folder for the encoded shards, which takes about the space of the gallery until that is there. By default
        a hidden one beside the gallery, another one for each bundle, source and choice of options. Workers on other
        machines must reach it, the source's files and the bundle under the same paths.
      shard_size: cut-outs in a shard.
      runner, pipeline_options: "in_process", or as `beam.run_shards`.

    Returns:
      The manifest.

    Raises:
      InputError: as `building.build_gallery`; an unknown runner, a runner without Beam, a named folder of shards of
        another build, or one in which another process is building. Finished shards stay for the next start.
    """
    beam.check_runner(runner, pipeline_options)
    check_target(output)
    settings = gallery_settings(
        bundle,
        output,
        bundle_path=bundle_path,
        cutouts=cutouts,
        mirror=mirror,
        thumbnail_size=thumbnail_size,
    )
    options = {
        "cutouts": cutouts,
        "mirror": settings["mirror"],
        "thumbnail_size": thumbnail_size,
        # A shard's first batch is encoded as it is: where it is not full, that is one more size to compile.
        "batch_size": min(batch_size, shard_size),
        "tags": sorted(tags),
    }
    identity = shard_plan.identity_of(source, fingerprint=bundle.fingerprint, options=options, shard_size=shard_size)
    target = Path(output).absolute()
    hidden = f".{target.name}.shards-"
    named = target.with_name(hidden + shard_plan.digest_of(identity)[:8]) if shards is None else Path(shards)
    folder = named.resolve()
    shard_plan.check_folder(folder, identity)
    with shard_plan.locked(folder):
        try:
            plan = shard_plan.make_plan(source, identity, folder, bundle_path=bundle_path)
            with tqdm(desc="cut-outs", unit="", total=sum(plan.counts), disable=not progress) as bar:
                _encode(plan, bundle, runner, pipeline_options, bar)
            with new_gallery(output) as gallery:
                manifest = assemble(plan, bundle, gallery, settings, listed=source, indexing=indexing)
        except BaseException:
            if not shard_plan.has_shards(folder):
                shard_plan.remove_shards(folder)
            raise
        shard_plan.remove_shards(folder)
    if shards is None:
        for other in folder.parent.glob(f"{hidden}*"):  # of builds that were given up
            with contextlib.suppress(InputError), shard_plan.locked(other):
                shard_plan.remove_shards(other)
    return manifest


def _encode(plan: Plan, bundle: EncodesForegrounds, runner: str, options: Sequence[str], bar: Any) -> None:
    def watch() -> None:
        bar.update(sum(plan.counts) - sum(plan.counts[shard] for shard in plan.missing()) - bar.n)

    watch()
    if runner == beam.IN_PROCESS:
        for shard in plan.missing():
            encode_shard(plan, shard, bundle, on_record=bar.update)
            watch()
        return
    _bundles[bundle.fingerprint] = bundle
    try:
        work = (_encode_elsewhere, plan.missing(), str(plan.folder))
        beam.run_shards(*work, runner=runner, options=options, watch=watch)
    finally:
        _bundles.clear()


def _encode_elsewhere(shard: int, folder: str) -> None:
    """What a worker does; the model is loaded once per process."""
    plan = shard_plan.read_plan(Path(folder))
    fingerprint = plan.identity["bundle"]
    with _loading:
        if fingerprint not in _bundles:
            bundle = load(plan.bundle_path or None)
            if bundle.fingerprint != fingerprint:
                where = plan.bundle_path or "the bundle of this worker's package"
                raise InputError(f"{where}: has the fingerprint {bundle.fingerprint}, expected {fingerprint}")
            _bundles.clear()
            _bundles[fingerprint] = bundle
        bundle = _bundles[fingerprint]
    encode_shard(plan, shard, bundle)


class _Part:
    """The cut-outs of one shard, as a source."""

    def __init__(self, plan: Plan, shard: int, on_record: Callable[[], Any]):
        self._plan, self._shard, self._on_record = plan, shard, on_record
        self.name: str = plan.identity["source"]["name"]
        self.skipped: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._plan.counts[self._shard]

    def __iter__(self) -> Iterator[CutoutRecord]:
        with self._plan.work_path(self._shard).open(encoding="utf-8") as lines:
            items = (json.loads(line)[0] for line in lines)
            for record in read_units(self._plan.identity["source"]["settings"], items, self.skipped):
                yield record
                self._on_record()


def encode_shard(
    plan: Plan, shard: int, bundle: EncodesForegrounds, *, on_record: Callable[[], Any] = lambda: None
) -> None:
    """Encodes one shard and publishes its file; does nothing where that is there.

    Args:
      plan: of the build. shard: its number. bundle: the model.
      on_record: called after each cut-out, for progress.

    Raises:
      InputError: an unusable cut-out and whatever `Encoder.encode` raises, or the disk refuses; there is no file then.
    """
    if plan.path(shard).exists():
        return
    encoder = Encoder(bundle, **plan.identity["options"])
    part = _Part(plan, shard, on_record)

    def facts() -> dict[str, Any]:
        layout = None if encoder.layout is None else encoder.layout.to_json()
        return {"digest": plan.digests[shard], "layout": layout, "skipped": dict(part.skipped)}

    write_shard(plan.path(shard), encoder.encode(part), facts)


def assemble(
    plan: Plan,
    bundle: EncodesForegrounds,
    gallery: Path,
    settings: dict[str, Any],
    *,
    listed: DivisibleSource,
    indexing: Indexing = USUAL,
) -> dict[str, Any]:
    """Writes a gallery into a new folder from one file of each shard, read batch by batch; returns the manifest.

    Args:
      plan: of the build. bundle: that encoded the shards.
      gallery, settings, indexing: as `building.write_gallery`.
      listed: the source; what it left out while it was listed is counted too.

    Raises:
      InputError: a shard that is missing, damaged or another one, an id that comes twice, or no cut-out at all.
    """
    if missing := plan.missing():
        raise InputError(f"{plan.path(missing[0])}: is missing, {len(missing)} of {len(plan)} shards are")
    skipped, layouts = Counter(listed.skipped), list[dict[str, Any]]()
    for shard in range(len(plan)):
        facts = read_facts(plan.path(shard))
        if facts.get("digest") != plan.digests[shard]:
            raise InputError(f"{plan.path(shard)}: holds another shard than its name says, delete it")
        skipped.update(facts["skipped"])
        if facts["layout"] is not None and facts["layout"] not in layouts:
            layouts.append(facts["layout"])
    if not layouts:
        raise no_cutout(listed.name, skipped)
    if len(layouts) > 1:
        raise InputError(f"{plan.folder}: shards differ in the sizes of their vectors, delete it")
    _check_ids(plan, listed.name)
    layout = Layout(bundle.table, **layouts[0])
    batches = (batch for shard in range(len(plan)) for batch in read_shard(plan.path(shard), layout))
    options: Any = {"indexing": indexing, "source": listed.name, "skipped": skipped}
    return write_gallery(gallery, batches, layout, settings, **options)


def _check_ids(plan: Plan, name: str) -> None:
    """`InputError` that names an id of two shards; 8 bytes are held per cut-out."""
    hashes = np.concatenate([hash_ids(read_ids(plan.path(shard))) for shard in range(len(plan))])
    values, counts = np.unique(hashes, return_counts=True)
    seen = set[str]()
    for shard in range(len(plan)) if (counts > 1).any() else ():
        ids = read_ids(plan.path(shard))
        for i in np.flatnonzero(np.isin(hash_ids(ids), values[counts > 1])):
            if ids[i] in seen:
                raise InputError(f"{name}, {ids[i]}: this id comes twice")
            seen.add(ids[i])
