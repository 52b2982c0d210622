"""Copy a gallery into Milvus: what is there already is left alone, so that a push that was stopped goes on."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.columns import Columns
from fos_jax.gallery.compaction import live_foregrounds
from fos_jax.gallery.gallery import PATTERNS, Gallery
from fos_jax.milvus.collection import Collection
from fos_jax.milvus.conditions import key_of
from fos_jax.milvus.connection import Connection
from fos_jax.milvus.entities import Entities
from fos_jax.milvus.gallery import NAME, MilvusGallery


class Pushed(NamedTuple):
    """What a push did: foregrounds written, there already, removed, and in the collection that the gallery lacks."""

    num_written: int
    num_there: int
    num_removed: int
    num_others: int
    consistency: str
    index_type: str


def push_gallery(
    gallery: str | Path,
    connection: Connection,
    collection: str = NAME,
    *,
    index: str = "auto",
    consistency: str = "Bounded",
    remove: bool = False,
    progress: bool = False,
) -> Pushed:
    """Makes a collection hold what a gallery holds now, pictures included; makes it where there is none.

    Foregrounds that are there in the same version are left alone. Memory: some hundred foregrounds at a time and the
    ids of all.

    Args:
      gallery: its folder.
      connection: to Milvus. collection: name of the collection.
      index, consistency: see `Collection.create`; of a collection that is there they stay as they are.
      remove: whether foregrounds are removed that the gallery does not hold.
      progress: show a bar.

    Raises:
      InputError: no gallery, a collection of something else or of another bundle, or a server that refuses or does not
        answer in time; what was written stays, and the same push goes on from there.
    """
    from tqdm import tqdm

    with contextlib.closing(Gallery.open(gallery)) as opened:
        target = Collection(connection, collection)
        entities = Entities(
            opened.layout, has_mirrored=opened.manifest["mirror"], is_before_2_4=connection.is_before_2_4
        )
        if target.exists():
            with contextlib.suppress(_Unfinished):
                _check_same(opened, target)
        patterns = (opened.path / PATTERNS).read_bytes()
        target.create(entities, opened.manifest, patterns, index=index, consistency=consistency)
        held = MilvusGallery(connection, collection, consistency="Strong")
        state, keys, num_there = opened.snapshot(), set[str](), 0
        there = target.all_versions()

        def lacks(columns: Columns, places: np.ndarray) -> np.ndarray:
            """Which foregrounds the collection holds not at all or in another version."""
            nonlocal num_there
            taken = columns.take(places)
            own = dict(zip(map(key_of, taken["id"].to_pylist()), taken["version"].to_pylist(), strict=True))
            keys.update(own)
            is_lacking = np.array([there.get(key) != version for key, version in own.items()])
            num_there += int((~is_lacking).sum())
            bar.update(int((~is_lacking).sum()))
            return is_lacking

        num_written = 0
        with tqdm(total=len(state), desc="foregrounds", unit="", disable=not progress) as bar:
            try:
                for batch in live_foregrounds(state, lacks):
                    held.upsert([batch])
                    num_written += len(batch)
                    bar.update(len(batch))
            except InputError as error:
                done = f"{num_written + num_there:,} of {len(state):,} foregrounds are there"
                raise InputError(f"{error}; {done}, the same command goes on from there") from None
        others = [key for key in there if key not in keys]
        if remove:
            target.delete(others)
        level, built = target.describe(entities)
        removed, left = (len(others), 0) if remove else (0, len(others))
        return Pushed(num_written, num_there, removed, left, level, built)


class _Unfinished(Exception):
    """A collection whose push was stopped before the manifest was there."""


def _check_same(gallery: Gallery, target: Collection) -> None:
    """`InputError` where the collection is of something else."""
    try:
        manifest, _ = target.open()
    except InputError:
        raise _Unfinished from None  # making it anew checks the fields of what is there
    mine, theirs = gallery.manifest, manifest
    if theirs.get("bundle", {}).get("fingerprint") != mine["bundle"]["fingerprint"]:
        raise InputError(
            f"{target.where}: holds foregrounds of bundle {theirs.get('bundle', {}).get('fingerprint')}, "
            f"{gallery.path} is of {mine['bundle']['fingerprint']}; choose another --collection"
        )
    for name in ("embedding_size", "experts", "expert_sizes", "patterns_sha256", "mirror"):
        if theirs.get(name) != mine[name]:
            raise InputError(f"{target.where}: its {name} is {theirs.get(name)!r}, {gallery.path} has {mine[name]!r}")
