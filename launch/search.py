"""Search a gallery for foregrounds that fit a rectangle of a photograph.

  fos search --gallery=runs/demo/gallery --photo=street.jpg --box=410,220,640,380 --category=car --output=found

Add --level=patterns --k=3 for groups of interchangeable foregrounds, each with its probability and its best ones, and
--attribute=yaw=back for those with this value only; --pattern=12 for foregrounds of one of them; --level=overview for
--k places shared out over all patterns that may fit, most of them to the most probable; --diversity=0.5 for a list of
foregrounds that look less alike; --why=why.png for a picture of what in the photograph speaks for the best pattern;
--json for machines.

  # many queries, a line {"photo": "street.jpg", "box": [410, 220, 640, 380], "category": "car"} for each
  fos search --gallery=runs/demo/gallery --queries=queries.jsonl --output=found

A line may have "k", "pattern" and "id" too; photographs are found from the file's folder. found/results.jsonl gets a
line for each, in their order; the same command goes on where it was stopped. A bad line ends the search, or with
--skip_bad becomes a line with its error.

With a bundle for photographs, only cut-outs come that can be pasted as they are: not cut off where the rectangle ends
inside the picture (--any_truncation relaxes that), of about its shape (--aspect_tolerance), not enlarged much
(--max_upscale). --mirror offers them mirrored too.

--backend=exact computes every score, without indexes; --backend=milvus searches what fos gallery push has copied into
Milvus, at --uri instead of --gallery (the environment variable MILVUS_TOKEN holds user:password or the key).
"""

import json
import shutil
from pathlib import Path
from typing import Any

from absl import flags

from fos_jax.errors import InputError
from fos_jax.launch import search_flags
from fos_jax.program import keep_compiled_programs, run_program

flags.adopt_module_key_flags(search_flags)
_PHOTO = flags.DEFINE_string("photo", None, "The photograph.")
_BOX = flags.DEFINE_string("box", None, "The rectangle, x0,y0,x1,y1 in pixels of the upright picture.")
_CATEGORY = flags.DEFINE_string("category", None, "What to put there, such as car.")
_QUERIES = flags.DEFINE_string("queries", None, "File of queries, JSON lines, in place of these three.")
_SKIP_BAD = flags.DEFINE_bool("skip_bad", False, "With --queries: write a line with the error of a bad line.")
_LEVEL = flags.DEFINE_enum("level", "instances", ["instances", "patterns", "overview"], "What to search for.")
_K = flags.DEFINE_integer("k", None, "How many foregrounds (default 20); level patterns: how many patterns (3).", 1)
_INSTANCES = flags.DEFINE_integer("instances", 8, "Level patterns: foregrounds per pattern.", lower_bound=1)
_ATTRIBUTES = flags.DEFINE_multi_string(
    "attribute", [], "Level patterns: NAME=VALUE, only patterns with this value. Repeatable: with all of them."
)
_PATTERN = flags.DEFINE_integer("pattern", None, "Only foregrounds of this pattern.")
_DIVERSITY = flags.DEFINE_float(
    "diversity", 0.0, "Level instances: 0 ranks by score, up to 1 foregrounds look less alike.", 0, 1
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
_OF_ONE = (_PHOTO, _BOX, _CATEGORY)


def main() -> None:
    keep_compiled_programs()
    level = "instances" if _PATTERN.value is not None else _LEVEL.value
    for flag, needed in ((_ATTRIBUTES, "patterns"), (_DIVERSITY, "instances")):
        if flag.value and level != needed:
            raise InputError(f"--{flag.name}: is not for --level={level}, expected --level={needed}")
    if _QUERIES.value is None:
        search_one(level)
    else:
        search_many(level, _QUERIES.value)


def search_many(level: str, queries: str) -> None:
    """Answers the queries of a file."""
    from fos_jax.retrieval.batches import RESULTS, Settings, search_file

    single = (*_OF_ONE, _COMPOSITES, _SHEET, _WHY)
    if given := [flag.name for flag in single if flag.value is not None]:
        raise InputError(f"--{given[0]}: is not for --queries")
    if level != "instances":
        raise InputError(f"--level: got {level}, expected instances with --queries")
    output = _OUTPUT.value
    if output is None:
        raise InputError("--output: missing (--help explains)")
    settings = Settings(
        k=_K.value or 20,
        pattern=_PATTERN.value,
        filters=search_flags.filters(),
        diversity=_DIVERSITY.value,
        **search_flags.ranking(),
    )
    with search_flags.open_search() as search:
        done = search_file(search, queries, output, settings, skip_bad=_SKIP_BAD.value, progress=not _JSON.value)
    counts = [f"{done.earlier} by earlier runs"] * bool(done.earlier) + [f"{done.bad} bad"] * bool(done.bad)
    also = f" ({', '.join(counts)})" if counts else ""
    print(f"{Path(output, RESULTS)}: {done.total} queries{also}")


def search_one(level: str) -> None:
    """Answers the query of the flags."""
    from fos_jax.boxes import parse_box_xyxy_px
    from fos_jax.files import write_whole
    from fos_jax.retrieval.queries import SearchQuery
    from fos_jax.retrieval.results import Found, results_json, results_text, write_composites, write_picture

    if missing := [f"--{flag.name}" for flag in _OF_ONE if flag.value is None]:
        raise InputError(f"{', '.join(missing)}: missing (--help explains)")
    photo, box, category = (str(flag.value) for flag in _OF_ONE)
    query = SearchQuery(photo, parse_box_xyxy_px(box, where="--box"), category)
    place = (query.photo, query.box, query.category)
    ranking = search_flags.ranking()
    asked: dict[str, Any] = {"filters": search_flags.filters(), "weights": ranking["weights"]}
    ranked = asked | ranking
    found: Found
    with search_flags.open_search() as search:
        if level == "patterns":
            only = parse_attributes(_ATTRIBUTES.value)
            found = search.patterns(*place, k=_K.value or 3, instances=_INSTANCES.value, attributes=only, **ranked)
            if only and not found and search.patterns(*place, k=1, instances=1, **ranked):
                said = " and ".join(_ATTRIBUTES.value)
                raise InputError(f"--attribute: the gallery has no foreground of {category} with {said}")
        elif level == "overview":
            found = search.overview(*place, total=_K.value or 20, **asked)
        else:
            ranked["diversity"] = _DIVERSITY.value
            found = search.instances(*place, k=_K.value or 20, pattern=_PATTERN.value, **ranked)
        results = results_json(query, found)
        width = shutil.get_terminal_size((160, 24)).columns
        text = results_text(found, width=width)
        is_short = level == "instances" and len(found) < (_K.value or 20)
        if not found or is_short:
            why_few = search.why_few(*place, pattern=_PATTERN.value, filters=asked["filters"])
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


def parse_attributes(texts: list[str]) -> dict[str, str]:
    """Name -> value of NAME=VALUE."""
    found = dict[str, str]()
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or found.setdefault(name, value) != value:
            raise InputError(f"--attribute: got {text!r}, expected NAME=VALUE, a name once")
        found[name] = value
    return found


if __name__ == "__main__":
    run_program(main)
