"""A photograph to answers: decode, encode, search, hits with their reasons and thumbnails, stage by stage.

  python benchmarks/end_to_end.py --bundle=runs/demo/student/bundle --data_dir=data --rows=1000000 --workdir=FOLDER
  python benchmarks/end_to_end.py --bundle=shipped --rows=1000000 --workdir=FOLDER

A query is a JPEG file of COCO (`coco_sample`, about 640 x 480 px) and the rectangle of one of its objects. It is
answered by `instances` (k = 20) and by `patterns` (3 of them, with 8 instances and 3 representatives each); then `why`
of every hit is read and every thumbnail decoded. All files were read before.

The gallery holds one category. With a student's bundle: `--real` rendered foregrounds (as `gallery_size.py` renders
and keeps them), with the metadata and thumbnails of a hundred cut-outs of the test split. With --bundle=shipped: the
persons of the COCO sample. Beyond their number the same come again with noise (`widening.py`), each with an id and a
copy of the thumbnail of its own, so as many different places of the file are read as in a gallery of different
pictures. The gallery is kept in --workdir and not built again.

Prints one JSON line per kind of answer: milliseconds at the median and the 99th percentile, of the whole and of

  decode      the file to pixels
  encode      pixels to embedding and posterior: preparation of the inputs and the network
  search      `CategoryRows.search`: the index, or exact search inside a pattern
  answers     the rest of the call: filters, choice of patterns, hits with their metadata
  reasons     `why` of all hits
  thumbnails  reading and decoding them

and the share of our own layer, answers and reasons, in the whole and in the whole without decoding and thumbnails.
"""

import contextlib
import functools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import widening
from reporting import REAL, Report, machine, make_parser, work_folder

from fos_jax.experts.loading import SHIPPED, load
from fos_jax.gallery import snapshot
from fos_jax.retrieval import queries, search

STAGES = ("decode", "encode", "search", "answers", "reasons", "thumbnails")
# Stages that are functions of the library, as they are called by whatever module has imported them.
_CLOCKED = {"decode": queries.read_image, "encode": queries.encode_queries, "search": snapshot.CategoryRows.search}


class Asked(NamedTuple):
    """A query: a JPEG file and a rectangle in it."""

    photo: Path
    box_xyxy_px: tuple[int, int, int, int]


def rectangles(folder: Path, number: int) -> list[Asked]:
    """So many objects of an annotation file, drawn at random."""
    annotated = json.loads((folder / "instances.json").read_bytes())
    images = {image["id"]: image for image in annotated["images"]}
    found = []
    for entry in annotated["annotations"]:
        image, (x, y, w, h) = images[entry["image_id"]], entry["bbox"]
        box = (int(x), int(y), min(image["width"], int(x + w) + 1), min(image["height"], int(y + h) + 1))
        if min(w, h) >= 32 and not entry["iscrowd"]:
            found.append(Asked(folder / "images" / image["file_name"], box))
    return [found[i] for i in np.random.default_rng(0).integers(0, len(found), number)]


@contextlib.contextmanager
def clocked(spent: Counter[str]) -> Iterator[None]:
    """Adds up the seconds that the stages take which are functions."""

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                spent[stage] += time.perf_counter() - started

        return call

    with contextlib.ExitStack() as stack:
        modules = [module for name, module in sys.modules.items() if name.startswith("fos_jax.retrieval.")]
        for stage, function in _CLOCKED.items():
            name = function.__name__
            for owner in (*modules, snapshot.CategoryRows):
                if vars(owner).get(name) is function:
                    stack.enter_context(mock.patch.object(owner, name, timed(function, stage)))
        yield


def answer(found: search.ForegroundSearch, kind: str, asked: Asked, category: str) -> dict[str, float]:
    """Seconds of each stage of one query, and of the whole."""
    spent: Counter[str] = Counter()
    started = time.perf_counter()
    with clocked(spent):
        if kind == "instances":
            hits = shown = found.instances(*asked, category)
        else:
            groups = found.patterns(*asked, category)
            hits = [hit for group in groups for hit in group.hits]
            shown = [*hits, *(hit for group in groups for hit in group.representatives)]
    answered = time.perf_counter()
    assert all(hit.why for hit in hits)
    explained = time.perf_counter()
    assert all(hit.thumbnail().width for hit in shown)
    ended = time.perf_counter()
    spent["encode"] -= spent["decode"]
    spent["answers"] = answered - started - sum(spent.values())
    spent |= Counter(reasons=explained - answered, thumbnails=ended - explained)
    return {**{stage: spent[stage] for stage in STAGES}, "whole": ended - started, "hits": len(hits)}


def figures(took: list[dict[str, float]]) -> dict[str, Any]:
    """Milliseconds by stage at two quantiles, and the layer's share."""
    by_stage = {name: np.array([one[name] for one in took]) for name in (*STAGES, "whole")}
    line: dict[str, Any] = {}
    for name, seconds in by_stage.items():
        line |= {f"{name}_p{q}_ms": round(1e3 * float(np.percentile(seconds, q)), 3) for q in (50, 99)}
    layer = by_stage["answers"].sum() + by_stage["reasons"].sum()
    query = layer + by_stage["encode"].sum() + by_stage["search"].sum()
    shares = {"layer_of_whole": layer / by_stage["whole"].sum(), "layer_of_query": layer / query}
    return line | {name: round(float(share), 3) for name, share in shares.items()}


def base(bundle: Any, args: Any, workdir: Path) -> widening.Base:
    """The foregrounds that the gallery is widened from; see the module."""
    from fos_jax.gallery.sources import CocoCutouts

    if bundle.expert_weights:
        coco = CocoCutouts(REAL / "coco_sample/instances.json", REAL / "coco_sample/images", categories=["person"])
        return widening.encoded(bundle, coco, "person")
    return widening.rendered(bundle, args.data_dir, args.size, args.real, workdir)


def main() -> None:
    parser = make_parser(__doc__, "bundle", "data_dir", "size", "workdir", "output")
    parser.add_argument("--rows", type=int, default=1_000_000, help="foregrounds of the gallery, all of one category")
    parser.add_argument("--real", type=int, default=61_440, help="foregrounds to render")
    parser.add_argument("--queries", type=int, default=500, help="timed, of each kind")
    args, report = parser.parse_args(), Report("end_to_end")
    is_shipped = args.bundle == "shipped"
    path = SHIPPED if is_shipped else Path(args.bundle)
    if report.lacks(path, REAL / "coco_sample", *([] if is_shipped else [args.data_dir])):
        return
    bundle, asked = load(path), rectangles(REAL / "coco_sample", args.queries)
    with work_folder(args.workdir) as workdir:
        gallery = workdir / f"gallery-{args.rows}-{bundle.fingerprint}"
        if not gallery.exists():
            of = base(bundle, args, workdir)
            widening.write(gallery, widening.widened(of, args.rows), of, str(path))
        with search.ForegroundSearch.open(gallery, bundle) as found:
            category = max(found.gallery.manifest["built"]["counts"])
            about = {"rows": args.rows, "bundle": args.bundle, "queries": args.queries}
            for kind in ("instances", "patterns"):
                for one in asked[:50]:
                    answer(found, kind, one, category)
                took = [answer(found, kind, one, category) for one in asked]
                hits = {"hits": round(float(np.mean([one["hits"] for one in took])), 1)}
                report({**about, "answer": kind, **hits, **figures(took), **machine()})
    report.write(args.output)


if __name__ == "__main__":
    main()
