"""Searches for the queries of a file, one JSON object per line, that go on where they were stopped.

A line is {"photo": "street.jpg", "box": [410, 220, 640, 380], "category": "car"} and may have "k", "pattern" and "id".
Photographs are found from the file's folder.
"""

import dataclasses
import fcntl
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fos_jax.errors import InputError
from fos_jax.files import write_whole
from fos_jax.gallery.snapshot import RankBy
from fos_jax.retrieval.queries import BATCH_SIZE, SearchQuery, encode_prepared, prepare_query
from fos_jax.retrieval.rules import NO_FILTERS, Filters

if TYPE_CHECKING:
    from fos_jax.retrieval.search import ForegroundSearch

RESULTS, SETTINGS = "results.jsonl", "settings.json"
_KINDS: dict[str, tuple[type, str]] = {
    "photo": (str, "a path"),
    "box": (list, "[x0, y0, x1, y1]"),
    "category": (str, "a name"),
    "k": (int, "a whole number"),
    "pattern": (int, "a whole number"),
    "id": (str, "a text"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What holds for all queries of a file; see `ForegroundSearch.instances`. A line's own k and pattern come first."""

    k: int = 20
    pattern: int | None = None
    ranking: RankBy = "posterior"
    weights: Mapping[str, float] | None = None
    filters: Filters = NO_FILTERS
    diversity: float = 0.0


@dataclasses.dataclass(frozen=True)
class QueryLine:
    """A line of a file of queries.

    Attributes:
      number: of the line, from 1.
      asked: what it says; its text where it is no JSON object.
      query: what is asked for, None where the line makes no sense.
      error: why it makes none.
    """

    number: int
    asked: Any
    query: SearchQuery | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Done:
    """How many queries were answered, how many of them by earlier runs, and how many lines are errors."""

    total: int
    earlier: int
    bad: int


def read_queries(path: str | Path, *, needs_category: bool = True) -> Iterator[QueryLine]:
    """The lines of a file of queries that are not empty; whether photographs and categories exist is not looked at.

    Args:
      path: the file.
      needs_category: whether a line without one is an error; its category is "" otherwise.

    Raises:
      InputError: the file cannot be read.
    """
    folder = Path(path).parent
    try:
        with open(path, "rb") as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                asked: Any = text.decode("utf-8", "replace").strip()
                try:
                    asked = _parse(asked)
                    query = _query(asked, folder, needs_category)
                except InputError as error:
                    yield QueryLine(number, asked, None, str(error))
                else:
                    yield QueryLine(number, asked, query)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError("not JSON, expected an object per line") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and its like are no JSON


def _query(asked: Any, folder: Path, needs_category: bool) -> SearchQuery:
    if not isinstance(asked, dict):
        raise InputError("not a JSON object, expected photo, box and category")
    for name, value in asked.items():
        if name not in _KINDS:
            raise InputError(f"{name}: unknown, expected {', '.join(_KINDS)}")
        kind, expected = _KINDS[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{name}: got {json.dumps(value)[:80]}, expected {expected}")
    for name in ("photo", "box", "category")[: 2 + needs_category]:
        if name not in asked:
            raise InputError(f"{name}: missing")
    return SearchQuery(folder / asked["photo"], asked["box"], asked.get("category", ""))


def answers(
    search: "ForegroundSearch", lines: Iterable[QueryLine], settings: Settings | None = None
) -> Iterator[dict[str, Any]]:
    """A result per line, in their order, as what JSON can hold: "line", "query" and "hits", or "error" in their place.

    Fewer hits than k come with "refused", as `ForegroundSearch.why_few` says it. Photographs are read and encoded in
    batches, and none is kept.
    """
    settings, lines = settings or Settings(), iter(lines)
    while batch := list(itertools.islice(lines, BATCH_SIZE)):
        prepared, errors = {}, {line.number: line.error for line in batch if line.query is None}
        for line in batch:
            try:
                if line.query is not None:
                    prepared[line.number] = prepare_query(line.query, search.bundle, keep_photo=False)
            except InputError as error:
                errors[line.number] = str(error)
        encoded = encode_prepared(list(prepared.values()), search.bundle, weights=settings.weights)
        found = dict(zip(prepared, encoded, strict=True))
        for line in batch:
            result = {"line": line.number, "query": line.asked}
            try:
                if line.number in errors:
                    raise InputError(errors[line.number])
                k, pattern = (line.asked.get(name, getattr(settings, name)) for name in ("k", "pattern"))
                options: Any = {"pattern": pattern, "filters": settings.filters}
                more: Any = {"ranking": settings.ranking, "diversity": settings.diversity}
                query = found[line.number]
                hits = search.search_encoded(query, k=k, **options, **more)
                result["hits"] = [hit.to_json() for hit in hits]
                if len(hits) < k and (refused := search.why_few_at(query.place, query.category, **options)):
                    result["refused"] = refused
            except InputError as error:
                field = str(error).partition(":")[0]
                result["error"] = str(error) if field in _KINDS or line.query is None else f"photo: {error}"
            yield result


def search_file(
    search: "ForegroundSearch",
    queries: str | Path,
    output: str | Path,
    settings: Settings | None = None,
    *,
    skip_bad: bool = False,
    progress: bool = False,
) -> Done:
    """Answers the queries of a file, a line of `results.jsonl` for each, in their order (`answers`).

    The same call goes on after the last line that is there; half a line, which a killed process leaves, is dropped.

    Args:
      search: where to look.
      queries: the file. output: folder of `results.jsonl` and `settings.json`; made where it is missing.
      settings: what holds for all queries.
      skip_bad: write an error's line and go on, where otherwise the first bad line ends the search. Lines that are no
        queries are then found before anything is searched.
      progress: whether to show a progress bar.

    Raises:
      InputError: a bad line (file, line and field are named), a file that cannot be read or written, results of other
        queries or settings there, or another process that writes them.
    """
    settings, output = settings or Settings(), Path(output)
    total = 0
    for line in read_queries(queries):
        total += 1
        if line.error and not skip_bad:
            raise InputError(f"{queries}, line {line.number}, {line.error}")
    _check_settings(search, settings, output / SETTINGS)
    try:
        with open(output / RESULTS, "a+b") as file:
            return _continue(search, Path(queries), file, settings, total, skip_bad=skip_bad, progress=progress)
    except OSError as error:
        raise InputError(f"{output / RESULTS}: cannot be written ({error.strerror})") from None


def _check_settings(search: "ForegroundSearch", settings: Settings, path: Path) -> None:
    """Writes the settings beside the results; `InputError` where those there were made with others."""
    told = {"bundle": search.bundle.fingerprint} | dataclasses.asdict(settings)
    told["filters"] = {name: "any" if limit == math.inf else limit for name, limit in told["filters"].items()}
    new = json.loads(json.dumps(told, default=list))
    if not path.exists():
        write_whole(path, json.dumps(new, indent=1))
        return
    try:
        old = dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{path}: cannot be read, expected the settings of earlier results") from None
    for name in new:
        if old.get(name) != new[name]:
            was, now = (json.dumps(value)[:80] for value in (old.get(name), new[name]))
            raise InputError(f"{path}: results there have {name} {was}, got {now}; expected another output or the same")


def _continue(
    search: "ForegroundSearch",
    queries: Path,
    file: IO[bytes],
    settings: Settings,
    total: int,
    *,
    skip_bad: bool,
    progress: bool,
) -> Done:
    from tqdm import tqdm

    where = file.name
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{where}: another process is writing it") from None
    lines, earlier, bad = read_queries(queries), 0, 0
    file.seek(0)
    end = 0
    for text in file:
        if not text.endswith(b"\n"):
            break
        line, result = next(lines, None), _result(text)
        if line is None or (line.number, line.asked) != (result.get("line"), result.get("query")):
            other = f"another query than line {line.number}" if line else "no line"
            is_of = f"is of {other} of {queries}, expected another output or the same queries"
            raise InputError(f"{where}, line {earlier + 1}: {is_of}")
        earlier, bad, end = earlier + 1, bad + ("error" in result), end + len(text)
    file.truncate(end)
    with tqdm(desc="queries", unit="", total=total, initial=earlier, disable=not progress) as bar:
        for result in answers(search, lines, settings):
            if "error" in result and not skip_bad:
                raise InputError(f"{queries}, line {result['line']}, {result['error']}")
            bad += "error" in result
            file.write(json.dumps(result).encode() + b"\n")
            bar.update()
    file.flush()
    os.fsync(file.fileno())
    return Done(total, earlier, bad)


def _result(text: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}
