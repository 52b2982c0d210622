"""Train, validation and test: no two share a photograph, and no label points from one into another."""

import dataclasses
import hashlib

from fos_jax.datasets.fosd.benchmark import Benchmark, Foreground, Query

SPLITS = ("train", "validation", "test")
VALIDATION_PERCENT = 5


@dataclasses.dataclass(frozen=True)
class Split:
    """Foregrounds (the split's gallery) and queries, whose labels name foregrounds of this split only."""

    foregrounds: tuple[Foreground, ...]
    queries: tuple[Query, ...]


def is_validation(source_id: str) -> bool:
    """Whether a photograph of FOSD's train part belongs to validation: by its id alone, the same on every machine.

    Source: design decision; FOSD has no validation split.
    """
    digest = hashlib.sha256(f"fosd validation {source_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < VALIDATION_PERCENT


def split_benchmark(benchmark: Benchmark) -> dict[str, Split]:
    """Name of the split -> its share of a benchmark, in the annotations' order."""
    train, queries = benchmark.foregrounds["train"], benchmark.queries["train"]
    out = {}
    for name in SPLITS:
        if name == "test":
            ids, share = benchmark.foregrounds["test"], benchmark.queries["test"]
        else:
            wanted = name == "validation"
            ids = {i: f for i, f in train.items() if is_validation(f.source_id) == wanted}
            share = [query for query in queries if is_validation(query.source_id) == wanted]
        out[name] = Split(tuple(ids.values()), tuple(_within(query, ids) for query in share))
    return out


def _within(query: Query, foregrounds: dict[str, Foreground]) -> Query:
    return dataclasses.replace(
        query,
        relevant=tuple(i for i in query.relevant if i in foregrounds),
        irrelevant=tuple(i for i in query.irrelevant if i in foregrounds),
    )
