"""A gallery's two collections in Milvus: <name> holds its foregrounds, <name>_files pictures, manifest and patterns.

A foreground's entity is written once its pictures are there, and removed before they are.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import Foregrounds
from fos_jax.gallery.store import RecentRow
from fos_jax.milvus.conditions import is_one_of
from fos_jax.milvus.connection import Connection
from fos_jax.milvus.entities import FILE_FIELDS, Entities, Entity, cut_files, join_files

INDEXES = ("auto", "FLAT", "IVF_FLAT", "HNSW", "SCANN", "AUTOINDEX")
CONSISTENCY_LEVELS = ("Strong", "Session", "Bounded", "Eventually")  # by the numbers that Milvus gives them
_BUILD_PARAMS = {"IVF_FLAT": {"nlist": 1024}, "SCANN": {"nlist": 1024}, "HNSW": {"M": 16, "efConstruction": 200}}
_STRONG = {"consistency_level": "Strong"}  # what a change builds on is as it is now
MOST_HITS = 16_384  # that Milvus gives at once
_OWNER, _MANIFEST, _PATTERNS = "gallery", "manifest.json", "patterns.json"
_REQUEST_BYTES = 16 << 20  # servers refuse 64 MiB
_CHUNK = 256  # entities in one request
_FEW = 8  # foregrounds whose pictures are read in one request


class Collection:
    """The collections of one name."""

    def __init__(self, connection: Connection, name: str):
        """Names them; `InputError` where that is no name."""
        if not (name.isidentifier() and name.isascii() and len(name) < 200):
            raise InputError(f"--collection: got {name!r}, expected letters, digits and _")
        self.connection, self.name, self.files = connection, name, f"{name}_files"
        self.where = f"{connection.where}, collection {name}"

    def exists(self) -> bool:
        """Whether there is one of this name, be it of something else."""
        return any(self.connection.call("has_collection", name) for name in (self.files, self.name))

    def create(
        self, entities: Entities, manifest: dict[str, Any], patterns: bytes, *, index: str, consistency: str
    ) -> None:
        """Makes what is not there yet of an empty gallery.

        Args:
          entities: its fields.
          manifest, patterns: what `open` will give back.
          index: of `INDEXES`; "auto" is exact search (FLAT) in Milvus Lite and IVF_FLAT on a server: HNSW loses
            its way among posteriors, which crowd near one-hot vectors.
          consistency: of `CONSISTENCY_LEVELS`, for searches that do not ask for another.

        Raises:
          InputError: an index that Milvus Lite lacks, or a server that refuses.
        """
        is_lite = self.connection.is_lite
        if index == "SCANN" and is_lite:
            raise InputError("--index=SCANN: Milvus Lite accepts it and does not build it, expected FLAT or HNSW there")
        index = ("FLAT" if is_lite else "IVF_FLAT") if index == "auto" else index
        self._create(self.files, FILE_FIELDS, "FLAT", consistency)
        self._write_files(cut_files(_OWNER, 0, {_MANIFEST: json.dumps(manifest).encode(), _PATTERNS: patterns}))
        self._create(self.name, entities.fields, index, consistency)

    def _create(self, name: str, fields: dict[str, dict[str, Any]], index: str, consistency: str) -> None:
        from pymilvus import DataType

        client = self.connection.client
        schema, indexes = client.create_schema(auto_id=False, enable_dynamic_field=False), client.prepare_index_params()
        for field, options in fields.items():
            kinds = {key: DataType[value] for key, value in options.items() if key in ("datatype", "element_type")}
            schema.add_field(field, **options | kinds)
            if options["datatype"] == "FLOAT_VECTOR":
                indexes.add_index(field, index_type=index, metric_type="IP", params=_BUILD_PARAMS.get(index, {}))
        if not self.connection.call("has_collection", name):
            settings = {"schema": schema, "index_params": indexes, "consistency_level": consistency}
            self.connection.call("create_collection", name, **settings)
            return
        self._check(name, fields)
        if not self.connection.call("list_indexes", name):  # killed between making it and its indexes
            self.connection.call("create_index", name, indexes)

    def open(self) -> tuple[dict[str, Any], bytes]:
        """Loads them and gives the gallery's manifest and pattern table.

        Raises:
          InputError: no such collections, or some of something else.
        """
        for name in (self.files, self.name):
            if not self.connection.call("has_collection", name):
                raise InputError(f"{self.connection.where}: no collection {name} there; fos gallery push makes it")
        self._check(self.files, FILE_FIELDS)
        for name in (self.files, self.name):
            self.connection.call("load_collection", name)
        files = self._read_files([_OWNER])
        try:
            return json.loads(files[_OWNER, 0, _MANIFEST]), files[_OWNER, 0, _PATTERNS]
        except (KeyError, ValueError):
            raise InputError(f"{self.where}: no gallery's manifest in it; the same fos gallery push goes on") from None

    def describe(self, entities: Entities) -> tuple[str, str]:
        """Consistency level and index."""
        level = self.connection.call("describe_collection", self.name).get("consistency_level", 0)
        index = self.connection.call("describe_index", self.name, entities.vector_fields[0]).get("index_type", "FLAT")
        return CONSISTENCY_LEVELS[level] if level in range(4) else str(level), index

    def check(self, entities: Entities) -> None:
        """`InputError` where the fields are not those of such entities."""
        self._check(self.name, entities.fields)

    def _check(self, name: str, expected: dict[str, dict[str, Any]]) -> None:
        described = self.connection.call("describe_collection", name)["fields"]
        got = {of["name"]: _kind(of["type"].name, of.get("params", {}).get("dim")) for of in described}
        wanted = {field: _kind(of["datatype"], of.get("dim")) for field, of in expected.items()}
        for field in wanted | got:
            if got.get(field) != wanted.get(field):
                raise InputError(
                    f"{self.connection.where}: collection {name} has another schema (field {field} is "
                    f"{got.get(field, 'missing')}, expected {wanted.get(field, 'none')}); choose another --collection"
                )

    def upsert(self, entities: Entities, batch: Foregrounds) -> None:
        """Writes foregrounds, each as a whole; where it fails, each is the new one, the one before, or not there."""
        encoded = list(entities.encode(batch))
        for start in range(0, len(encoded), _CHUNK):
            chunk = encoded[start : start + _CHUNK]
            now = {entity["key"]: entity["version"] for entity, _ in chunk}
            before = self.versions(list(now))
            self._write_files([piece for _, pieces in chunk for piece in pieces])
            self.connection.call("upsert", self.name, [entity for entity, _ in chunk])
            if old := {key: version for key, version in before.items() if now[key] != version}:
                condition = is_one_of("owner", old).text + f" and version in {list(old.values())}"
                self.connection.call("delete", self.files, filter=condition, **_STRONG)

    def delete(self, keys: Sequence[str]) -> None:
        """Removes foregrounds by their keys."""
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            self.connection.call("delete", self.name, filter=is_one_of("key", chunk).text)
            self.connection.call("delete", self.files, filter=is_one_of("owner", chunk).text, **_STRONG)

    def versions(self, keys: Sequence[str]) -> dict[str, int]:
        """Key -> version of those foregrounds that are there now."""
        found = self._query(keys, ["key", "version"], **_STRONG)
        return {entity["key"]: entity["version"] for entity in found}

    def read(self, entities: Entities, keys: Sequence[str], **options: Any) -> list[RecentRow]:
        """Foregrounds by their keys, in that order, without pictures; those that are gone are left out."""
        found = {entity["key"]: entity for entity in self._query(keys, ["key", *entities.read_fields], **options)}
        there = [found[key] for key in keys if key in found]
        return [entities.decode(entity, number) for number, entity in enumerate(there, 1)]

    def _query(self, keys: Sequence[str], fields: list[str], **options: Any) -> Iterator[Entity]:
        for start in range(0, len(keys), _CHUNK):
            condition = is_one_of("key", keys[start : start + _CHUNK]).text
            yield from self.connection.call("query", self.name, filter=condition, output_fields=fields, **options)

    def read_all(self, entities: Entities) -> Iterator[list[RecentRow]]:
        """All foregrounds with their pictures."""
        fields = ["key", "version", *entities.read_fields]
        for page in self.connection.pages(self.name, "", fields, _CHUNK):
            files: dict[tuple[str, int, str], bytes] = {}
            for start in range(0, len(page), _FEW):
                files |= self._read_files([entity["key"] for entity in page[start : start + _FEW]])
            rows = []
            for number, entity in enumerate(page, 1):
                place = (entity["key"], entity["version"])
                pictures = {name: files[*place, name] for name in ("thumbnail", "cutout") if (*place, name) in files}
                rows.append(entities.decode(entity, number, files=pictures))
            yield rows

    def all_versions(self) -> dict[str, int]:
        """Key -> version of all foregrounds that are there now."""
        pages = self.connection.pages(self.name, "", ["key", "version"], 4 * _CHUNK, **_STRONG)
        return {entity["key"]: entity["version"] for page in pages for entity in page}

    def picture(self, key: str, version: int, name: str) -> bytes | None:
        """A picture of a foreground; None where it is gone."""
        return self._read_files([key], f" and version == {version} and name == {json.dumps(name)}").get(
            (key, version, name)
        )

    def _write_files(self, pieces: list[Entity]) -> None:
        waiting, size = list[Entity](), 0
        for piece in pieces:
            if size + len(piece["data"]) > _REQUEST_BYTES:
                self.connection.call("upsert", self.files, waiting)
                waiting, size = [], 0
            waiting.append(piece)
            size += len(piece["data"])
        if waiting:
            self.connection.call("upsert", self.files, waiting)

    def _read_files(self, owners: Sequence[str], more: str = "") -> dict[tuple[str, int, str], bytes]:
        condition, fields = (
            is_one_of("owner", owners).text + more,
            [f for f in FILE_FIELDS if f not in ("key", "nothing")],
        )
        options = {"filter": condition, "output_fields": fields, "limit": MOST_HITS}
        return join_files(self.connection.call("query", self.files, **options, **_STRONG))


def _kind(name: str, size: int | None) -> str:
    return f"{name}[{size}]" if size else name
