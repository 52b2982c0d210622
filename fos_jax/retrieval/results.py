"""Writing what a search returned: JSON, text and pictures."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fos_jax.files import write_whole
from fos_jax.images import encode_png
from fos_jax.retrieval.hits import Hit, PatternGroup
from fos_jax.retrieval.queries import SearchQuery

Found = Sequence[Hit] | Sequence[PatternGroup]


def results_json(query: SearchQuery, found: Found) -> dict[str, Any]:
    """The query and its hits or groups, best first, as what JSON can hold."""
    photo = str(query.photo) if isinstance(query.photo, str | os.PathLike) else None
    asked = {"photo": photo, "box_xyxy_px": [int(v) for v in query.box], "category": query.category}
    is_grouped = any(isinstance(entry, PatternGroup) for entry in found)
    return {"query": asked, "groups" if is_grouped else "hits": [entry.to_json() for entry in found]}


def results_text(found: Found) -> str:
    """One line a hit, with its reason; groups under a line with their pattern."""
    lines = []
    for entry in found:
        if isinstance(entry, PatternGroup):
            lines.append(f"pattern {entry.id}: {entry.description} (p = {entry.probability:.3f}, {entry.size} of it)")
            lines += [f"  {_line(hit)}" for hit in entry.hits]
        else:
            lines.append(_line(entry))
    return "\n".join(lines) or "nothing found"


def write_composites(folder: str | Path, found: Found, *, harmonise: float = 0.0) -> list[Path]:
    """One PNG a foreground, named by place and id: `003_<id>.png`, or `p012_003_<id>.png` inside a pattern.

    Raises:
      InputError: the disk refuses, or the file of a cut-out is gone.
    """
    written = []
    for entry in found:
        prefix, hits = (f"p{entry.id:03d}_", entry.hits) if isinstance(entry, PatternGroup) else ("", [entry])
        for hit in hits:
            name = f"{prefix}{hit.rank + 1:03d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', hit.id)[-80:]}"
            written.append(write_new(Path(folder) / f"{name}.png", hit.composite(harmonise=harmonise)))
    return written


def write_new(path: Path, contents: bytes | Image.Image) -> Path:
    """Writes bytes, or a picture as PNG, wholly or not at all; `InputError` where the disk refuses."""
    if not isinstance(contents, bytes):
        contents = encode_png(np.asarray(contents), compress_level=6)
    write_whole(path, contents)
    return path


def _line(hit: Hit) -> str:
    return f"{hit.rank + 1:3d}. {hit.score:.4f}  {hit.id}  {hit.why}"
