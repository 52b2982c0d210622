"""Search a gallery for foregrounds that fit a rectangle of a photograph.

  fos search --gallery=runs/demo/gallery --photo=street.jpg --box=410,220,640,380 --category=car --output=found

Add --level=patterns --k=3 for groups of interchangeable foregrounds, each with its probability and its best ones;
--pattern=12 for foregrounds of one of them; --level=overview for --k places shared out over all patterns that may fit,
most of them to the most probable; --why=why.png for a picture of what in the photograph speaks for the best pattern;
--json for machines.

With a bundle for photographs, only cut-outs come that can be pasted as they are: not cut off where the rectangle ends
inside the picture (--any_truncation relaxes that), of about its shape (--aspect_tolerance), not enlarged much
(--max_upscale). --mirror offers them mirrored too.

--backend=exact computes every score, without indexes; --backend=milvus searches what fos gallery push has copied into
Milvus, at --uri instead of --gallery (the environment variable MILVUS_TOKEN holds user:password or the key).
"""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from fos_jax.program import keep_compiled_programs, run_program

if TYPE_CHECKING:
    from fos_jax.retrieval.search import ForegroundSearch

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.")
_BACKEND = flags.DEFINE_enum("backend", "segments", ["exact", "segments", "milvus"], "Where the gallery is searched.")
_URI = flags.DEFINE_string("uri", None, "Backend milvus: its address, or a file that ends with .db (Lite).")
_COLLECTION = flags.DEFINE_string("collection", "fos_gallery", "Backend milvus: name of the collection.")
_CONSISTENCY = flags.DEFINE_enum(
    "consistency",
    None,
    ["Strong", "Session", "Bounded", "Eventually"],
    "Backend milvus: consistency level; by default the collection's.",
)
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 10.0, "Backend milvus: seconds that any request may take.", 0.1)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one that built the gallery.")
_PHOTO = flags.DEFINE_string("photo", None, "The photograph.", required=True)
_BOX = flags.DEFINE_string("box", None, "The rectangle, x0,y0,x1,y1 in pixels of the upright picture.", required=True)
_CATEGORY = flags.DEFINE_string("category", None, "What to put there, such as car.", required=True)
_LEVEL = flags.DEFINE_enum("level", "instances", ["instances", "patterns", "overview"], "What to search for.")
_K = flags.DEFINE_integer("k", None, "How many foregrounds (default 20); level patterns: how many patterns (3).", 1)
_INSTANCES = flags.DEFINE_integer("instances", 8, "Level patterns: foregrounds per pattern.", lower_bound=1)
_PATTERN = flags.DEFINE_integer("pattern", None, "Only foregrounds of this pattern.")
_RANKING = flags.DEFINE_enum("ranking", "posterior", ["posterior", "cosine"], "By pattern posterior or embedding.")
_MIN_SIDE_PX = flags.DEFINE_integer("min_side_px", 0, "Least length of a cut-out's long side in pixels.", lower_bound=0)
_MAX_UPSCALE = flags.DEFINE_string(
    "max_upscale", None, "Most that a cut-out may be enlarged to fill the rectangle; 0 or any: without limit."
)
_ASPECT = flags.DEFINE_string(
    "aspect_tolerance", None, "Most that width / height may differ, as a factor; 0 or any: without limit."
)
_ANY_TRUNCATION = flags.DEFINE_bool(
    "any_truncation", None, "Offer cut-outs that their photograph cut at a side that the rectangle does not touch."
)
_MIRROR = flags.DEFINE_bool("mirror", False, "Offer cut-outs mirrored too, where their pattern has a mirror image.")
_WEIGHTS = {
    name: flags.DEFINE_float(f"{name}_weight", None, f"Weight of {what} in the score; by default the bundle's.")
    for name, what in (("appearance", "light, tone and sharpness"), ("geometry", "shape and place"))
}
_LICENCES = flags.DEFINE_multi_string("licence", None, "Only foregrounds of this licence. Repeatable.")
_TAGS = flags.DEFINE_multi_string("tag", [], "Only foregrounds with this tag. Repeatable: with all of them.")
_SOURCES = flags.DEFINE_multi_string("source", None, "Only foregrounds cut from this image. Repeatable.")
_ONLY = flags.DEFINE_string("only", None, "File of ids, one per line: only these foregrounds.")
_ADDED_SINCE = flags.DEFINE_string(
    "added_since", None, "Only foregrounds added since, as 2026-11-27 or 2026-11-27T15:00."
)
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for results.json, sheet.png and composites/.")
_COMPOSITES = flags.DEFINE_string("composites", None, "Folder for one composite per foreground, PNG.")
_SHEET = flags.DEFINE_string("sheet", None, "File for one picture of all results, PNG.")
_WHY = flags.DEFINE_string("why", None, "File for the photograph with what speaks for the best pattern in red, PNG.")
_HARMONISE = flags.DEFINE_float("harmonise", 0.0, "How far composites take on the surroundings' colours, 0 to 1.", 0, 1)
_SHADOW = flags.DEFINE_float("shadow", 0.0, "Strength of a contact shadow in composites, 0 to 1.", 0, 1)
_BLEND = flags.DEFINE_enum(
    "blend", "none", ["none", "poisson"], "How composites go over into the photograph at their edges."
)


def open_search() -> "ForegroundSearch":
    """The search over the backend that the flags name."""
    from fos_jax.errors import InputError

    is_milvus = _BACKEND.value == "milvus"
    where, other = (_URI, _GALLERY) if is_milvus else (_GALLERY, _URI)
    place = where.value
    if place is None:
        raise InputError(f"--{where.name}: missing (--help explains)")
    if other.value is not None:
        raise InputError(f"--{other.name}: is not for --backend={_BACKEND.value}, expected --{where.name} alone")
    if is_milvus:
        from fos_jax.milvus.gallery import MilvusGallery
        from fos_jax.milvus.search import MilvusSearch

        gallery = MilvusGallery.connect(
            place,
            _COLLECTION.value,
            consistency=_CONSISTENCY.value,
            token=os.environ.get("MILVUS_TOKEN", ""),
            timeout_s=_TIMEOUT_S.value,
        )
        return MilvusSearch.of(gallery, _BUNDLE.value, where=gallery.where)
    from fos_jax.retrieval.search import ForegroundSearch

    if _BACKEND.value == "exact":
        from fos_jax.retrieval.backends import InMemory

        return ForegroundSearch.of(InMemory.read(place), _BUNDLE.value, where=place)
    return ForegroundSearch.open(place, _BUNDLE.value)


def main() -> None:
    keep_compiled_programs()
    from fos_jax.boxes import parse_box_xyxy_px
    from fos_jax.files import write_whole
    from fos_jax.retrieval.queries import SearchQuery
    from fos_jax.retrieval.results import Found, results_json, results_text, write_composites, write_picture
    from fos_jax.retrieval.rules import Filters, parse_limit, parse_time_s, read_ids

    query = SearchQuery(_PHOTO.value, parse_box_xyxy_px(_BOX.value, where="--box"), _CATEGORY.value)
    filters = Filters(
        min_side_px=_MIN_SIDE_PX.value,
        max_upscale=parse_limit(_MAX_UPSCALE.value, where="--max_upscale"),
        licences=tuple(_LICENCES.value) if _LICENCES.value else None,
        aspect_tolerance=parse_limit(_ASPECT.value, where="--aspect_tolerance"),
        only=None if _ONLY.value is None else read_ids(_ONLY.value),
        tags=tuple(_TAGS.value),
        sources=tuple(_SOURCES.value) if _SOURCES.value else None,
        added_since_s=parse_time_s(_ADDED_SINCE.value, where="--added_since"),
        any_truncation=_ANY_TRUNCATION.value,
        mirror=_MIRROR.value,
    )
    place = (query.photo, query.box, query.category)
    weights = {name: flag.value for name, flag in _WEIGHTS.items() if flag.value is not None}
    asked: dict[str, Any] = {"filters": filters, "weights": weights}
    ranked = asked | {"ranking": _RANKING.value}
    level = "instances" if _PATTERN.value is not None else _LEVEL.value
    found: Found
    with open_search() as search:
        if level == "patterns":
            found = search.patterns(*place, k=_K.value or 3, instances=_INSTANCES.value, **ranked)
        elif level == "overview":
            found = search.overview(*place, total=_K.value or 20, **asked)
        else:
            found = search.instances(*place, k=_K.value or 20, pattern=_PATTERN.value, **ranked)
        results = results_json(query, found)
        width = shutil.get_terminal_size((160, 24)).columns
        text = results_text(found, width=width)
        is_short = level == "instances" and len(found) < (_K.value or 20)
        if not found or is_short:
            why_few = search.why_few(*place, pattern=_PATTERN.value, filters=filters)
            if why_few:
                results["refused"] = why_few
                text += f"\n{why_few}"
        print(json.dumps(results, indent=1) if _JSON.value else text)
        output = Path(_OUTPUT.value) if _OUTPUT.value else None
        if output:
            write_whole(output / "results.json", json.dumps(results, indent=1))
        if composites := _COMPOSITES.value or (output and output / "composites"):
            write_composites(composites, found, harmonise=_HARMONISE.value, shadow=_SHADOW.value, blend=_BLEND.value)
        if sheet := _SHEET.value or (output and output / "sheet.png"):
            from fos_jax.retrieval.contact_sheet import contact_sheet

            write_picture(sheet, contact_sheet(query, found))
        if _WHY.value:
            write_picture(_WHY.value, search.evidence(*place, _PATTERN.value, **asked, progress=True))


if __name__ == "__main__":
    run_program(main)
