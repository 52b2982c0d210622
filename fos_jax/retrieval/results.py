"""Results of a search as JSON, tables and pictures."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.files import write_whole
from fos_jax.images import encode_png
from fos_jax.pattern_table import PatternTable
from fos_jax.retrieval.groups import PatternGroup
from fos_jax.retrieval.hits import Hit
from fos_jax.retrieval.pairs import ReverseHit
from fos_jax.retrieval.queries import SearchQuery

Found = Sequence[Hit] | Sequence[PatternGroup]


def results_json(query: SearchQuery, found: Found) -> dict[str, Any]:
    """The query and its hits or groups, best first, as what JSON can hold."""
    photo = str(query.photo) if isinstance(query.photo, str | os.PathLike) else None
    asked = {"photo": photo, "box_xyxy_px": [int(v) for v in query.box], "category": query.category}
    is_grouped = any(isinstance(entry, PatternGroup) for entry in found)
    return {"query": asked, "groups" if is_grouped else "hits": [entry.to_json() for entry in found]}


def results_text(found: Found, *, width: int = 160) -> str:
    """A table of the foregrounds, best first, and a table of their patterns with the reason of each.

    Args:
      found: hits or groups. width: of the terminal, in characters.
    """
    from rich.table import Column, Table

    groups = {entry.id: entry for entry in found if isinstance(entry, PatternGroup)}
    hits = [hit for entry in found for hit in (entry.hits if isinstance(entry, PatternGroup) else [entry])]
    if not hits:
        return "nothing found"
    parts = list(hits[0].parts) if hits[0].expert_vectors and hits[0].ranking == "posterior" else []
    numbers = [*(parts if len(parts) > 1 else []), "size in px"]
    columns = ("place", "foreground", "pattern", "score", *numbers, "licence")
    foregrounds = Table(*(Column(name, no_wrap=True) for name in columns), box=None, pad_edge=False)
    patterns = Table("pattern", "probability", "foregrounds", "how probable here", box=None, pad_edge=False)
    for table, right in ((foregrounds, (0, *range(2, 4 + len(numbers)))), (patterns, (0, 1, 2))):
        for column in right:
            table.columns[column].justify = "right"
    for hit in hits:
        of_parts = [f"{hit.parts[name]:.4f}" for name in numbers[:-1]]
        name = f"{hit.id} (mirrored)" if hit.is_mirrored else hit.id
        pattern = "-" if hit.pattern < 0 else str(hit.pattern)
        size = f"{hit.width_px} x {hit.height_px}"
        foregrounds.add_row(str(hit.rank + 1), name, pattern, f"{hit.score:.4f}", *of_parts, size, hit.licence)
    of_pattern = {hit.pattern: hit for hit in reversed(hits)}  # the best hit of each
    for number in dict.fromkeys(hit.pattern for hit in hits):
        count = groups[number].size if groups else sum(hit.pattern == number for hit in hits)
        best = of_pattern[number]
        known = (str(number), f"{100 * best.pattern_probability:.1f} %") if number >= 0 else ("-", "-")
        patterns.add_row(*known, str(count), best.pattern_reason)
    return _printed(*((patterns, "", foregrounds) if groups else (foregrounds, "", patterns)), width=width)


def _printed(*parts: Any, width: int) -> str:
    import io

    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=width, highlight=False, color_system=None).print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def places_text(found: Sequence[ReverseHit], queries: Sequence[SearchQuery], table: PatternTable, *, width: int) -> str:
    """A table of the places that a foreground fits, best first.

    Args:
      found: of reverse search. queries: those that were searched. table: of patterns. width: in characters.
    """
    from rich.table import Column, Table

    if not found:
        return "nothing found"
    columns = ("place", "score", "percentile", "photograph", "rectangle", "pattern")
    rows = Table(*(Column(name, no_wrap=name != "pattern") for name in columns), box=None, pad_edge=False)
    for hit in found:
        query = queries[hit.query]
        box = ",".join(f"{value:g}" for value in query.box)
        pattern = table.patterns[hit.pattern].description if hit.pattern >= 0 else "-"
        rows.add_row(
            str(hit.rank + 1), f"{hit.score:.4f}", f"{100 * hit.percentile:.0f} %", str(query.photo), box, pattern
        )
    for column in rows.columns[:3]:
        column.justify = "right"
    return _printed(rows, width=width)


def write_composites(folder: str | Path, found: Found, **options: Any) -> list[Path]:
    """One PNG per foreground, named by place and id: `003_<id>.png`, or `p012_003_<id>.png` inside a pattern.

    Args:
      folder: made where it is missing. found: hits or groups. options: of `Hit.composite`.

    Raises:
      InputError: the disk refuses, or the file of a cut-out is gone.
    """
    written = []
    for entry in found:
        hits = entry.hits if isinstance(entry, PatternGroup) else [entry]
        prefix = f"p{entry.id:03d}_" if isinstance(entry, PatternGroup) and entry.id >= 0 else ""
        for hit in hits:
            name = f"{prefix}{hit.rank + 1:03d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', hit.id)[-80:]}"
            path = Path(folder) / f"{name}{'_mirrored' if hit.is_mirrored else ''}.png"
            write_picture(path, hit.composite(**options))
            written.append(path)
    return written


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """Writes a picture as PNG, wholly or not at all; `InputError` where the disk refuses."""
    write_whole(path, encode_png(np.asarray(picture), compress_level=6))
