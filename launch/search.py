"""Searches a gallery for foregrounds that fit a rectangle of a photograph.

  fos search --gallery=runs/demo/gallery --photo=street.jpg --box=410,220,640,380 --category=car --k=20
  fos search ... --level=patterns --k=3 --output=found
  fos search ... --level=overview --k=20
  fos search ... --pattern=12 --json

An overview shares --k places out over all patterns that may fit, most of them to the most probable. At the level of
patterns, groups of interchangeable foregrounds come, each with its probability and its best instances; --pattern then
searches inside one of them.
"""

import json
from pathlib import Path

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Directory of the gallery.", required=True)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; the one that built the gallery by default.")
_PHOTO = flags.DEFINE_string("photo", None, "The photograph.", required=True)
_BOX = flags.DEFINE_string("box", None, "The rectangle, x0,y0,x1,y1 in pixels of the upright picture.", required=True)
_CATEGORY = flags.DEFINE_string("category", None, "What is to be put there.", required=True)
_LEVEL = flags.DEFINE_enum(
    "level", "instance", ["instance", "instances", "pattern", "patterns", "overview"], "What to search for."
)
_K = flags.DEFINE_integer(
    "k", None, "How many: by default 20 instances, in an overview too, or 3 patterns.", lower_bound=1
)
_INSTANCES = flags.DEFINE_integer("instances", 8, "Instances shown of each pattern.", lower_bound=1)
_PATTERN = flags.DEFINE_integer("pattern", None, "Only instances of this pattern.")
_RANKING = flags.DEFINE_enum("ranking", "posterior", ["posterior", "cosine"], "By pattern posterior or embedding.")
_MIN_SIDE_PX = flags.DEFINE_integer("min_side_px", 0, "Least long side of a cut-out.", lower_bound=0)
_MAX_UPSCALE = flags.DEFINE_float("max_upscale", None, "Most that a cut-out may be enlarged to fill the rectangle.")
_ASPECT = flags.DEFINE_float("aspect_tolerance", None, "Most that width / height may differ, as a factor.")
_LICENCES = flags.DEFINE_multi_string("licence", None, "A licence that is allowed.")
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory for results.json, sheet.png and composites/.")
_COMPOSITES = flags.DEFINE_string("composites", None, "Directory for one composite a foreground, PNG.")
_SHEET = flags.DEFINE_string("sheet", None, "File for one picture of all results, PNG.")
_HARMONISE = flags.DEFINE_float("harmonise", 0.0, "How far composites take on the surroundings' colours, 0 to 1.", 0, 1)


def main() -> None:
    from fos_jax.boxes import parse_box_xyxy_px
    from fos_jax.retrieval.contact_sheet import contact_sheet
    from fos_jax.retrieval.gallery import RankBy
    from fos_jax.retrieval.queries import Filters, SearchQuery
    from fos_jax.retrieval.results import Found, results_json, results_text, write_composites, write_new
    from fos_jax.retrieval.search import ForegroundSearch

    query = SearchQuery(_PHOTO.value, parse_box_xyxy_px(_BOX.value, where="--box"), _CATEGORY.value)
    licences = tuple(_LICENCES.value) if _LICENCES.value else None
    filters = Filters(_MIN_SIDE_PX.value, _MAX_UPSCALE.value, licences, _ASPECT.value)
    ranking: RankBy = "cosine" if _RANKING.value == "cosine" else "posterior"
    found: Found
    with ForegroundSearch.open(_GALLERY.value, _BUNDLE.value) as search:
        if _LEVEL.value.startswith("pattern") and _PATTERN.value is None:
            found = search.patterns(
                query.photo,
                query.box,
                query.category,
                k=_K.value or 3,
                instances=_INSTANCES.value,
                ranking=ranking,
                filters=filters,
            )
        elif _LEVEL.value == "overview" and _PATTERN.value is None:
            found = search.overview(query.photo, query.box, query.category, total=_K.value or 20, filters=filters)
        else:
            found = search.instances(
                query.photo,
                query.box,
                query.category,
                k=_K.value or 20,
                pattern=_PATTERN.value,
                ranking=ranking,
                filters=filters,
            )
        results = results_json(query, found)
        print(json.dumps(results, indent=1) if _JSON.value else results_text(found))
        output = Path(_OUTPUT.value) if _OUTPUT.value else None
        if output:
            write_new(output / "results.json", json.dumps(results, indent=1).encode())
        if composites := _COMPOSITES.value or (output and output / "composites"):
            write_composites(composites, found, harmonise=_HARMONISE.value)
        if sheet := _SHEET.value or (output and output / "sheet.png"):
            write_new(Path(sheet), contact_sheet(query, found))


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
