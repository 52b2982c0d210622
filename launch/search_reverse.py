"""Search in reverse: of many photographs and rectangles those that a foreground fits best.

  # a foreground of the gallery
  fos search reverse --gallery=runs/demo/gallery --foreground=ID --queries=queries.jsonl
  # any cut-out, a picture with transparency
  fos search reverse --gallery=runs/demo/gallery --cutout=car.png --category=car --queries=queries.jsonl

A line of the queries is {"photo": "street.jpg", "box": [410, 220, 640, 380]}; photographs are found from the file's
folder. The percentile says what share of the gallery's foregrounds fits the place less well.
"""

import json
import shutil
from pathlib import Path

from absl import flags

from fos_jax.program import keep_compiled_programs, run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one that built the gallery.")
_FOREGROUND = flags.DEFINE_string("foreground", None, "Id of a foreground of the gallery.")
_CUTOUT = flags.DEFINE_string("cutout", None, "Picture with transparency, in place of --foreground.")
_CATEGORY = flags.DEFINE_string("category", None, "With --cutout: its category, such as car.")
_QUERIES = flags.DEFINE_string("queries", None, "File of queries, JSON lines.", required=True)
_K = flags.DEFINE_integer("k", 20, "How many places.", lower_bound=1)
_JSON = flags.DEFINE_bool("json", False, "Print JSON lines.")


def main() -> None:
    keep_compiled_programs()
    from fos_jax.errors import InputError
    from fos_jax.retrieval.batches import read_queries
    from fos_jax.retrieval.queries import SearchQuery
    from fos_jax.retrieval.results import places_text
    from fos_jax.retrieval.search import ForegroundSearch

    if (_FOREGROUND.value is None) == (_CUTOUT.value is None):
        raise InputError("give exactly one of --foreground and --cutout (--help shows each)")
    foreground = _FOREGROUND.value if _CUTOUT.value is None else Path(_CUTOUT.value)
    lines, queries = list(read_queries(_QUERIES.value, needs_category=False)), list[SearchQuery]()
    for line in lines:
        if line.query is None:
            raise InputError(f"{_QUERIES.value}, line {line.number}, {line.error}")
        queries.append(line.query)
    with ForegroundSearch.open(_GALLERY.value, _BUNDLE.value) as search:
        found = search.reverse(
            foreground,
            [query if query.category else (query.photo, query.box) for query in queries],
            k=_K.value,
            category=_CATEGORY.value,
            names=[f"{_QUERIES.value}, line {line.number}" for line in lines],
            progress=not _JSON.value,
        )
        table = search.table
    if not _JSON.value:
        print(places_text(found, queries, table, width=shutil.get_terminal_size((160, 24)).columns))
        return
    for hit in found:
        print(json.dumps({"line": lines[hit.query].number, "asked": lines[hit.query].asked} | hit.to_json()))


if __name__ == "__main__":
    run_program(main)
