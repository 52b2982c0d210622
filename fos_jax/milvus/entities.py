"""Foregrounds as entities of Milvus: fields, and the way there and back.

Vectors for the ranking by posterior are of different sizes in different categories; they are filled up with zeros,
which changes no inner product. In servers before 2.4 all vectors of a foreground lie side by side in one field, and
queries are zero elsewhere: the same inner products. Pictures are cut into pieces, since a string of Milvus holds 65,535
bytes.
"""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import Foregrounds, Layout
from fos_jax.gallery.store import RecentRow, rows_of
from fos_jax.milvus.conditions import key_of, packed

Entity = dict[str, Any]
TEXT_BYTES, NAME_BYTES, KEY_BYTES, MOST_TAGS = 65_535, 2_048, 32, 1_000
_PIECE_BYTES = TEXT_BYTES // 4 * 3  # as base64 it fits into a string
_JOINED = "vectors"
_TEXTS = ("id", "licence", "source_id", "tags")
# Of files: a picture of a foreground, or of the gallery (manifest, pattern table), in pieces.
FILE_FIELDS: dict[str, dict[str, Any]] = {
    "key": {"datatype": "VARCHAR", "is_primary": True, "max_length": 128},
    "owner": {"datatype": "VARCHAR", "max_length": KEY_BYTES},
    "version": {"datatype": "INT64"},
    "name": {"datatype": "VARCHAR", "max_length": 32},
    "number": {"datatype": "INT32"},
    "total": {"datatype": "INT32"},
    "data": {"datatype": "VARCHAR", "max_length": TEXT_BYTES},
    "nothing": {"datatype": "FLOAT_VECTOR", "dim": 2},  # Milvus wants a vector
}


class Entities:
    """How a gallery's foregrounds look in Milvus."""

    def __init__(self, layout: Layout, *, has_mirrored: bool, is_before_2_4: bool = False):
        """Takes the layout of the vectors, whether cut-outs are held mirrored too, and whether the server is old."""
        self.layout, self.has_mirrored, self.is_before_2_4 = layout, has_mirrored, is_before_2_4
        largest = max(map(layout.vector_size, ("", *layout.table.categories)))
        sizes = {"embedding": max(2, layout.embedding_size), "vector": max(2, largest)}  # Milvus wants 2 at least
        prefixes = ("", "mirrored_")[: 1 + has_mirrored]
        self._sizes = {f"{prefix}{name}": size for prefix in prefixes for name, size in sizes.items()}
        text, real = {"datatype": "VARCHAR", "max_length": NAME_BYTES}, {"datatype": "DOUBLE"}
        self.fields: dict[str, dict[str, Any]] = {
            "key": {"datatype": "VARCHAR", "is_primary": True, "max_length": KEY_BYTES},
            "category": text if is_before_2_4 else text | {"is_partition_key": True},
            **dict.fromkeys(("id", "licence", "source_id"), text),
            "tags": text | {"datatype": "ARRAY", "element_type": "VARCHAR", "max_capacity": MOST_TAGS},
            **dict.fromkeys(("width_px", "height_px", "log_aspect", "added_s"), real),
            "version": {"datatype": "INT64"},
            "metadata": {"datatype": "VARCHAR", "max_length": TEXT_BYTES},
        }
        self.fields |= {
            f"{prefix}{name}": {"datatype": "INT32"} for prefix in prefixes for name in ("pattern", "sides")
        }
        held = {_JOINED: sum(self._sizes.values())} if is_before_2_4 else self._sizes
        self.fields |= {name: {"datatype": "FLOAT_VECTOR", "dim": size} for name, size in held.items()}
        if has_mirrored:
            self.fields["has_mirrored"] = {"datatype": "BOOL"}
        self.vector_fields = list(held)
        self.read_fields = ["id", "category", "metadata", *held, *(["has_mirrored"] if has_mirrored else [])]

    def encode(self, batch: Foregrounds) -> Iterator[tuple[Entity, list[Entity]]]:
        """Yields each foreground and the pieces of its pictures; `InputError` where one does not fit into Milvus."""
        patterns = self.layout.patterns(batch.category)
        for row in rows_of(batch):
            known = json.loads(row.metadata)
            entity = {name: known[name] for name in ("version", "added_s", "pattern", *_TEXTS)}
            entity |= {"key": key_of(row.id), "category": row.category, "metadata": row.metadata}
            entity |= {name: float(known[name]) for name in ("width_px", "height_px")}
            entity["log_aspect"] = float(np.log(known["width_px"] / known["height_px"]))
            entity["sides"] = packed(known["truncated"])
            entity |= {"embedding": self.pad(row.embedding), "vector": self.pad(row.vector, "vector")}
            if self.has_mirrored:
                vector, is_held = row.mirrored_vector or b"", row.mirrored_vector is not None
                posterior = np.frombuffer(vector, np.float32)[: len(patterns)]
                entity["has_mirrored"] = is_held
                entity["mirrored_pattern"] = int(patterns[posterior.argmax()]) if len(posterior) else -1
                entity["mirrored_sides"] = packed(known["truncated"], is_mirrored=True)
                entity["mirrored_embedding"] = self.pad(row.mirrored_embedding or b"")
                entity["mirrored_vector"] = self.pad(vector, "vector")
            if self.is_before_2_4:
                entity[_JOINED] = np.concatenate([entity.pop(name) for name in self._sizes])
            _check_texts(entity)
            files = {"thumbnail": row.thumbnail, "cutout": row.cutout}
            yield entity, cut_files(entity["key"], entity["version"], files)

    def pad(self, vector: np.ndarray | bytes, kind: str = "embedding") -> np.ndarray:
        """float32 of the field's size, filled up with zeros."""
        values = np.frombuffer(vector, np.float32) if isinstance(vector, bytes) else np.asarray(vector, np.float32)
        return np.pad(values, (0, self._sizes[kind] - len(values)))

    def query(self, vector: np.ndarray, name: str) -> tuple[str, np.ndarray]:
        """The field that holds a kind of vectors, and what to search it by."""
        if not self.is_before_2_4:
            return name, self.pad(vector, name)
        return _JOINED, np.concatenate([self.pad(vector if of == name else b"", of) for of in self._sizes])

    def decode(self, entity: Mapping[str, Any], number: int, *, files: Mapping[str, bytes] | None = None) -> RecentRow:
        """A foreground from an entity's `read_fields`, under a number, with its pictures where they are given."""
        size = {"embedding": self.layout.embedding_size, "vector": self.layout.vector_size(entity["category"])}
        vectors: dict[str, bytes | None] = {"mirrored_embedding": None, "mirrored_vector": None}
        if self.is_before_2_4:
            parts = np.split(np.asarray(entity[_JOINED], np.float32), np.cumsum(list(self._sizes.values()))[:-1])
            entity = {**entity, **dict(zip(self._sizes, parts, strict=True))}
        for name in self._sizes:
            kind = name.removeprefix("mirrored_")
            if name == kind or entity["has_mirrored"]:
                vectors[name] = np.asarray(entity[name], np.float32)[: size[kind]].tobytes()
        blobs = files or {}
        return RecentRow(
            number=number,
            id=entity["id"],
            is_live=1,
            category=entity["category"],
            metadata=entity["metadata"],
            **vectors,  # type: ignore[arg-type]
            thumbnail=blobs.get("thumbnail", b""),
            cutout=blobs.get("cutout", b""),
        )


def cut_files(owner: str, version: int, files: Mapping[str, bytes]) -> list[Entity]:
    """Files of an owner's version in pieces; an empty file is one."""
    pieces = []
    for name, data in files.items():
        total = max(1, math.ceil(len(data) / _PIECE_BYTES))
        for number in range(total):
            part = base64.b64encode(data[number * _PIECE_BYTES : (number + 1) * _PIECE_BYTES]).decode()
            place = {"owner": owner, "version": version, "name": name, "number": number, "total": total}
            key = f"{owner}:{version}:{name}:{number}"
            pieces.append({"key": key, **place, "data": part, "nothing": np.zeros(2, np.float32)})
    return pieces


def join_files(pieces: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, str], bytes]:
    """(owner, version, name) -> file; those of which a piece is missing are left out."""
    found: dict[tuple[str, int, str], dict[int, str]] = {}
    totals: dict[tuple[str, int, str], int] = {}
    for piece in pieces:
        place = (piece["owner"], piece["version"], piece["name"])
        found.setdefault(place, {})[piece["number"]] = piece["data"]
        totals[place] = piece["total"]
    return {
        place: b"".join(base64.b64decode(parts[number]) for number in range(totals[place]))
        for place, parts in found.items()
        if len(parts) == totals[place]
    }


def _check_texts(entity: Entity) -> None:
    texts = [(name, value) for name in _TEXTS for value in (entity[name] if name == "tags" else [entity[name]])]
    limits = {"metadata": TEXT_BYTES}
    for name, value in [*texts, ("category", entity["category"]), ("metadata", entity["metadata"])]:
        size, most = len(value.encode()), limits.get(name, NAME_BYTES)
        if size > most:
            raise InputError(f"{entity['id'][:100]}: its {name} has {size:,} bytes, Milvus holds at most {most:,}")
    if len(entity["tags"]) > MOST_TAGS:
        raise InputError(f"{entity['id']}: has {len(entity['tags'])} tags, Milvus holds at most {MOST_TAGS:,}")
