"""A gallery in Milvus: candidates come from the database, ranking and reasons from the code of all galleries."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import SCHEMA, Foregrounds, Layout
from fos_jax.gallery.gallery import FORMAT, FORMAT_VERSION
from fos_jax.gallery.recent import Recent
from fos_jax.gallery.snapshot import CategoryRows, RankBy, Snapshot
from fos_jax.gallery.store import RecentRow
from fos_jax.milvus.collection import CONSISTENCY_LEVELS, MOST_HITS, Collection
from fos_jax.milvus.conditions import Condition, ConditionPart, all_of, is_one_of, key_of
from fos_jax.milvus.connection import Connection
from fos_jax.milvus.entities import Entities
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.backends import Backend, Wish, check_ids
from fos_jax.retrieval.rules import NO_FILTERS, Filters, Place, Refusal

NAME = "fos_gallery"
_SEEN = {
    "Strong": "a search sees every change that was made before it",
    "Bounded": "a search sees changes once they are a few seconds old",
    "Session": "a search sees this process's own changes at once, others' later",
    "Eventually": "a search sees changes some time later",
}


class MilvusGallery(Backend):
    """A collection of Milvus. `milvus.search.MilvusSearch` searches it by photographs."""

    def __init__(self, connection: Connection, collection: str = NAME, *, consistency: str | None = None):
        """Opens what was pushed.

        Args:
          connection: to Milvus. collection: name of the collection.
          consistency: of `CONSISTENCY_LEVELS`; None for the collection's own.

        Raises:
          InputError: no such collection, or one of something else.
        """
        if consistency not in (None, *CONSISTENCY_LEVELS):
            raise InputError(f"consistency: got {consistency!r}, expected one of {', '.join(CONSISTENCY_LEVELS)}")
        self._collection = Collection(connection, collection)
        self.where = self._collection.where
        self.manifest, patterns = self._collection.open()
        self.layout, has_mirrored = read_layout(self.manifest, patterns, where=self.where)
        self._entities = Entities(self.layout, has_mirrored=has_mirrored, is_before_2_4=connection.is_before_2_4)
        self._collection.check(self._entities)
        self.table, self.experts = self.layout.table, self.layout.experts
        level, self.index = self._collection.describe(self._entities)
        self.consistency_level = consistency or level
        self._options = {"consistency_level": self.consistency_level}
        lite = "; Milvus Lite is always Strong" if connection.is_lite else ""
        self.consistency = f"{self.consistency_level}: {_SEEN.get(self.consistency_level, 'see the server')}{lite}"

    @classmethod
    def connect(
        cls,
        uri: str,
        collection: str = NAME,
        *,
        consistency: str | None = None,
        token: str = "",
        timeout_s: float = 10.0,
    ) -> Self:
        """`Connection` and `MilvusGallery` in one; `InputError` as both."""
        connection = Connection(uri, token=token, timeout_s=timeout_s)
        try:
            return cls(connection, collection, consistency=consistency)
        except InputError:
            connection.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        self._collection.connection.close()

    def candidates(
        self,
        category: str,
        wishes: Sequence[Wish] = (),
        filters: Filters = NO_FILTERS,
        place: Place | None = None,
        *,
        ids: Sequence[str] = (),
    ) -> "Candidates":
        """See `Backend`; those of `ids` come in any case.

        Raises:
          InputError: an unknown category or ranking, no mirrored cut-outs here, a vector of another size or that is
            not finite, more than 16,384 wanted, a server that does not answer in time.
        """
        stand_in = self._stand_in(category)
        empty = self._state(stand_in, is_live=False)
        rows = empty.category(category, mirror=filters.mirror)
        for wish in wishes:
            rows.search(wish.vector, wish.ranking, 1)  # refuses what no gallery takes
            if wish.k > MOST_HITS:
                raise InputError(f"k: got {wish.k:,}, Milvus gives at most {MOST_HITS:,}")
        keys = dict.fromkeys(map(key_of, ids))
        ordered = sorted(wishes, key=_group)
        for _, group in itertools.groupby(ordered, key=_group):
            for condition, prefix in self._conditions(category, filters, place, (same := list(group))[0].pattern):
                keys |= dict.fromkeys(self._search(same, f"{prefix}{_VECTORS[same[0].ranking]}", condition))
        found = self._collection.read(self._entities, list(keys), **self._options)
        return self._state(found, is_live=True) if found else empty

    def _search(self, wishes: Sequence[Wish], name: str, condition: Condition) -> list[str]:
        limit, queries = max(wish.k for wish in wishes), [self._entities.query(wish.vector, name) for wish in wishes]
        params = {
            "HNSW": {"ef": max(64, 2 * limit)},
            "IVF_FLAT": {"nprobe": 64},
            "SCANN": {"nprobe": 64, "reorder_k": max(1000, 4 * limit)},  # by default k: its codes alone find few
        }
        found = self._collection.connection.call(
            "search",
            self._collection.name,
            data=[vector for _, vector in queries],
            anns_field=queries[0][0],
            limit=limit,
            filter=condition.text,
            output_fields=["key"],
            search_params={"metric_type": "IP", "params": params.get(self.index, {})},
            **self._options,
        )
        shortest = min(map(len, found))
        if self.index != "FLAT" and shortest < limit and shortest < self._count(condition) <= MOST_HITS:
            return self._rank_all(queries, limit, condition)
        return [hit["entity"]["key"] for hits in found for hit in hits]

    def _rank_all(self, queries: Sequence[tuple[str, np.ndarray]], limit: int, condition: Condition) -> list[str]:
        """Keys of the best of all that pass; approximate indexes give up where few neighbours of a query do."""
        field, connection = queries[0][0], self._collection.connection
        pages = connection.pages(self._collection.name, condition.text, ["key", field], 1024, **self._options)
        entities = [entity for page in pages for entity in page]
        scores = np.array([entity[field] for entity in entities], np.float32) @ np.array([q for _, q in queries]).T
        best = np.argsort(-scores, axis=0, kind="stable")[:limit]
        return [entities[row]["key"] for row in np.unique(best)]

    def _conditions(
        self, category: str, filters: Filters, place: Place | None, pattern: int | None
    ) -> list[tuple[Condition, str]]:
        """What passes as it is and mirrored, each with the prefix of its fields."""
        found = []
        for is_mirrored in (False, True)[: 1 + filters.mirror]:
            prefix = "mirrored_" if is_mirrored else ""
            conditions = [is_one_of("category", [category])]
            conditions += [Condition("(has_mirrored == true)")] if is_mirrored else []
            conditions += [Condition(f"({prefix}pattern == {int(pattern)})")] if pattern is not None else []
            rules: Any = filters.rules(cast(Any, ConditionPart(is_mirrored)), place)  # conditions in place of masks
            found.append((all_of([*conditions, *(passes for _, _, passes in rules)]), prefix))
        return found

    def count(
        self, category: str, filters: Filters = NO_FILTERS, place: Place | None = None, *, pattern: int | None = None
    ) -> int:
        """See `Backend`."""
        self._stand_in(category)
        conditions = [condition for condition, _ in self._conditions(category, filters, place, pattern)]
        return self._count(conditions[0] if len(conditions) == 1 else conditions[0] | conditions[1])

    def _count(self, condition: Condition | None) -> int:
        text = condition.text if condition else ""
        found = self._query(text, ["count(*)"])
        return int(found[0]["count(*)"])

    def __len__(self) -> int:
        return self._count(None)

    def _query(self, condition: str, fields: list[str], **options: Any) -> list[dict[str, Any]]:
        settings = self._options | options
        call = self._collection.connection.call
        return call("query", self._collection.name, filter=condition, output_fields=fields, **settings)

    def refusals(
        self, category: str, filters: Filters, place: Place | None, *, pattern: int | None = None
    ) -> tuple[int, list[Refusal]]:
        """How many foregrounds there are, and how many each rule refuses; see `Filters.refusals`."""
        num_rows, counts = 0, dict[tuple[str, str], int]()
        for is_mirrored in (False, True)[: 1 + filters.mirror]:
            conditions = [
                is_one_of("category", [category]),
                *([Condition("(has_mirrored == true)")] if is_mirrored else []),
            ]
            held = all_of(conditions)
            num_rows += self._count(held)
            rules: list[tuple[str, str, Any]] = list(filters.rules(ConditionPart(is_mirrored), place))  # type: ignore[arg-type]
            if pattern is not None:
                field = "mirrored_pattern" if is_mirrored else "pattern"
                rules.append(("of another pattern", "another --pattern", Condition(f"({field} == {int(pattern)})")))
            for reason, flag, passes in rules:
                counts[reason, flag] = counts.get((reason, flag), 0) + self._count(held & ~passes)
        most = sorted(counts.items(), key=lambda of: -of[1])
        return num_rows, [Refusal(number, *rule) for rule, number in most if number]

    def upsert(self, batches: Iterable[Foregrounds]) -> None:
        """See `Backend`; each foreground is written as a whole, in an order that leaves none without its pictures.

        Raises:
          InputError: vectors that a gallery refuses, texts that are too long for Milvus, or a server that refuses or
            does not answer: what was written stays, and the same call goes on from there.
        """
        for batch in batches:
            batch.check(self.layout)
            if len(batch.mirrored) and not self._entities.has_mirrored:
                raise InputError(f"{self.where}: holds no mirrored cut-outs, as its manifest says")
            self._collection.upsert(self._entities, batch)

    def delete(self, ids: Sequence[str]) -> None:
        """See `Backend`."""
        keys = {identifier: key_of(identifier) for identifier in ids}
        there = self._collection.versions(list(keys.values())) if ids else {}
        check_ids(ids, [identifier for identifier in ids if keys[identifier] not in there], self.where)
        self._collection.delete(list(keys.values()))

    def batches(self) -> Iterator[Foregrounds]:
        """See `Backend`; in the order of keys, which is no order of anything else."""
        for rows in self._collection.read_all(self._entities):
            for category in dict.fromkeys(row.category for row in rows):
                yield self._foregrounds(category, [row for row in rows if row.category == category])

    def _foregrounds(self, category: str, rows: list[RecentRow]) -> Foregrounds:
        recent = Recent(self.layout, where=self.where)
        recent.append(row._replace(number=i) for i, row in enumerate(rows, 1))
        views = recent.views()
        own, flipped = views[category, False], views.get((category, True))
        return Foregrounds(
            category,
            own.columns.take(np.arange(len(rows))).select(SCHEMA.names),
            own.embeddings,
            own.vectors,
            [row.thumbnail for row in rows],
            [row.cutout for row in rows],
            np.zeros(0, np.int64) if flipped is None else np.asarray(flipped.rows),
            own.embeddings[:0] if flipped is None else flipped.embeddings,
            own.vectors[:0] if flipped is None else flipped.vectors,
        )

    def _stand_in(self, category: str) -> list[RecentRow]:
        """One foreground of a category that the table lacks, so that snapshots know of it."""
        if category in self.table.categories:
            return []
        found = self._query(is_one_of("category", [category]).text, self._entities.read_fields, limit=1)
        if not found:
            known = is_one_of("category", self.table.categories)
            others = self._query((~known).text, ["category"], limit=1000)
            names = [*self.table.categories, *sorted({entity["category"] for entity in others})]
            raise InputError(f"category: unknown {category!r}, expected one of {', '.join(names)}")
        return [self._entities.decode(found[0], 1)]

    def _state(self, rows: Sequence[RecentRow], *, is_live: bool) -> "Candidates":
        recent = Recent(self.layout, where=self.where)
        recent.append(row._replace(is_live=int(is_live)) for row in rows)
        has_mirrored = self._entities.has_mirrored
        return Candidates(self.where, self.layout, 0, [], recent, self._find_picture, has_mirrored=has_mirrored)

    def _find_picture(self, snapshot: Snapshot, number: int, blob: str) -> bytes:
        identifier, version = (snapshot.value(name, number) for name in ("id", "version"))
        found = self._collection.picture(key_of(identifier), version, blob)
        if found is None:
            raise InputError(f"{identifier}: was replaced or removed in {self.where} and its picture is gone")
        return found

    # What `ForegroundSearch` asks of a gallery besides.

    def snapshot(self) -> Snapshot:
        """Refused with `InputError`: what needs all foregrounds at once is not offered here."""
        raise InputError(f"{self.where}: this search needs a gallery's folder, expected --gallery")

    def category_of(self, identifier: str) -> str:
        """Category of a foreground; `InputError` where there is no such id."""
        found = self._query(is_one_of("key", [key_of(identifier)]).text, ["category"])
        check_ids([identifier], [] if found else [identifier], self.where)
        return found[0]["category"]

    def category(self, name: str, *, mirror: bool = False) -> CategoryRows:
        """A category without its foregrounds: its patterns, and how queries are laid out."""
        return self.candidates(name).category(name, mirror=mirror)


class Candidates(Snapshot):
    """Foregrounds that may be the best, as a snapshot that notes what is looked for in it.

    Attributes:
      asked: the lists that were looked for.
      count: how many foregrounds there are besides those here: `MilvusGallery.count` with all but the pattern given.
    """

    count: Callable[..., int]

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.asked: list[Wish] = []

    def snapshot(self) -> "Candidates":
        """Itself, for searches."""
        return self

    def _open(self, name: str, mirror: bool) -> CategoryRows:
        return _NotingRows(self, name, mirror=mirror)


class _NotingRows(CategoryRows):
    gallery: Candidates

    def search(
        self, vector: np.ndarray, ranking: RankBy, k: int, *, pattern: int | None = None, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        if not options.get("is_exact"):  # then it ranks what is here
            self.gallery.asked.append(Wish(np.asarray(vector, np.float32), ranking, k, pattern))
        return super().search(vector, ranking, k, pattern=pattern, **options)

    def count(self, allowed: np.ndarray | None, pattern: int | None = None) -> int:
        return self.gallery.count(pattern=pattern)


_VECTORS = {"cosine": "embedding", "posterior": "vector"}


def _group(wish: Wish) -> tuple[str, int]:
    """Wishes that differ only in their vectors are searched together."""
    return wish.ranking, -2 if wish.pattern is None else wish.pattern


def read_layout(manifest: Mapping[str, Any], patterns: bytes, *, where: str) -> tuple[Layout, bool]:
    """Layout of the vectors, and whether cut-outs are held mirrored; `InputError` where the manifest is none."""
    try:
        if (manifest["format"], manifest["format_version"]) != (FORMAT, FORMAT_VERSION):
            got = f"{manifest['format']} {manifest['format_version']}"
            raise InputError(f"{where}: holds {got}, expected {FORMAT} {FORMAT_VERSION}; push it again elsewhere")
        if hashlib.sha256(patterns).hexdigest() != manifest["patterns_sha256"]:
            raise InputError(f"{where}: its pattern table is not the one of its manifest")
        experts = {name: float(weight) for name, weight in manifest["experts"].items()}
        sizes = {name: int(manifest["expert_sizes"][name]) for name in experts}
        table = PatternTable.from_json(patterns.decode())
        str(manifest["bundle"]["fingerprint"])
        return Layout(table, int(manifest["embedding_size"]), experts, sizes), bool(manifest["mirror"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: not a gallery's manifest ({type(error).__name__}: {error})") from None
