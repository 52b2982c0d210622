"""The demo on photographs: a gallery of a folder's objects, searches in its pictures, a page with all results."""

import base64
import dataclasses
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.experts.loading import load, shipped
from fos_jax.experts.training import own_percentile
from fos_jax.files import write_whole
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import CocoCutouts, CocoObject
from fos_jax.retrieval.contact_sheet import contact_sheet
from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.retrieval.rules import Filters
from fos_jax.retrieval.search import ForegroundSearch

MIN_FOREGROUNDS = 5  # of a category that is searched
NUM_HITS, NUM_QUERIES, MIN_SIDE_PX = 8, 12, 64


@dataclasses.dataclass(frozen=True)
class Searched:
    """One query of the page: its category, the sheet of its results, and why the best was found."""

    category: str
    sheet: Image.Image
    why: str


def photographs_demo(folder: Path, work: Path, *, bundle: Path | None = None, progress: bool = True) -> Path:
    """Builds `<work>/gallery` from the folder's objects, searches, and writes `<work>/report/index.html`.

    Args:
      folder: `instances.json` in COCO's format with masks, and `images/`.
      work: where gallery and report go.
      bundle: of experts; None for the one in the package.
      progress: show bars.

    Returns:
      The page.

    Raises:
      InputError: no such folder, or what its annotations and photographs are refused for.
    """
    annotations, images = folder / "instances.json", folder / "images"
    if not annotations.is_file() or not images.is_dir():
        raise InputError(f"{folder}: expected photographs with masks in COCO's format, instances.json and images/")
    bundle_path = bundle or shipped()
    model = load(bundle_path)
    source = CocoCutouts(annotations, images, categories=None, min_side_px=MIN_SIDE_PX, skip_defects=True)
    manifest = build_gallery(source, model, work / "gallery", bundle_path=bundle_path, progress=progress)
    built = manifest["built"]
    with ForegroundSearch.open(work / "gallery", model) as search:
        searched = list(_searches(search, source.objects, built["counts"]))
        places = own_places(search, source.objects)
    page = work / "report" / "index.html"
    write_whole(page, _page(built, searched, places, folder))
    return page


def own_places(search: ForegroundSearch, objects: list[CocoObject]) -> dict[str, float]:
    """Where objects stand when their own rectangle is searched: name of a score -> mean rank percentile.

    No rule takes part, and only categories of `MIN_FOREGROUNDS` or more; 0 is best, chance is .5.
    """
    counts = Counter(entry.category for entry in objects)
    wanted = [entry for entry in objects if counts[entry.category] >= MIN_FOREGROUNDS]
    queries = encode_queries([SearchQuery(e.path, e.box_xyxy_px, e.category) for e in wanted], search.bundle)
    out: dict[str, list[np.ndarray]] = {}
    for category in sorted({e.category for e in wanted}):
        rows = search.gallery.category(category)
        ids = rows.gallery.column("id", np.asarray(rows.rows)).tolist()
        asked = [
            (q, ids.index(e.id)) for q, e in zip(queries, wanted, strict=True) if e.category == category and e.id in ids
        ]
        own = np.array([place for _, place in asked])
        total = np.stack([rows.posteriors @ q.posterior for q, _ in asked])
        names = np.full(len(ids), category)
        for name in search.bundle.expert_weights:
            part = np.stack([rows.experts[name] @ q.experts[name] for q, _ in asked])
            out.setdefault(name, []).append(own_percentile(part, names, own))
            total = total + search.bundle.expert_weights[name] * part
        out.setdefault("all together", []).append(own_percentile(total, names, own))
    return {name: float(np.concatenate(values).mean()) for name, values in out.items()}


def _searches(search: ForegroundSearch, objects: list[CocoObject], counts: dict[str, int]) -> Iterator[Searched]:
    """A query of each of the larger categories: an object's own rectangle, nothing of its photograph in the answer."""
    rng = np.random.default_rng(0)
    large = [name for name, count in Counter(counts).most_common() if count >= MIN_FOREGROUNDS][:NUM_QUERIES]
    for category in large:
        usable = [e for e in objects if e.category == category and min(_sides(e)) >= MIN_SIDE_PX]
        for index in rng.permutation(len(usable)):
            chosen = usable[index]
            of_photograph = [e.id for e in objects if e.path == chosen.path]
            query = SearchQuery(chosen.path, chosen.box_xyxy_px, category)
            filters = Filters(exclude=of_photograph)
            hits = search.instances(query.photo, query.box, category, k=NUM_HITS, filters=filters)
            if len(hits) >= min(3, MIN_FOREGROUNDS):
                yield Searched(category, contact_sheet(query, hits), hits[0].why)
                break


def _sides(entry: CocoObject) -> tuple[int, int]:
    x0, y0, x1, y1 = entry.box_xyxy_px
    return x1 - x0, y1 - y0


def _page(built: dict[str, Any], searched: list[Searched], places: dict[str, float], folder: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fos_jax.experiments", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["data_uri"] = _data_uri
    known = sorted(set(built["counts"]) - set(built["categories_without_patterns"]))
    return environment.get_template("demo_photographs.html.jinja").render(
        built=built, known=known, searched=searched, places={"chance": 0.5, **places}, folder=folder.name
    )


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
