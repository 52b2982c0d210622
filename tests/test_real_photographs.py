"""The whole way on real photographs: COCO annotations -> gallery -> search -> hits and composites.

The bundle is tiny and untrained: this shows that real input goes through, and claims nothing about quality.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from fos_jax import boxes, images
from fos_jax.encoders.build import abstract_variables
from fos_jax.encoders.bundle import load_bundle, save_bundle
from fos_jax.gallery.building import build_gallery
from fos_jax.gallery.sources import CocoCutouts
from fos_jax.pattern_table import Pattern, PatternTable
from fos_jax.retrieval.queries import SearchQuery
from fos_jax.retrieval.rules import Filters, Place
from fos_jax.retrieval.search import ForegroundSearch

SAMPLE = Path(__file__).resolve().parents[1].parent / "shared" / "real" / "coco_sample"
CATEGORIES = ("car", "chair", "person", "boat", "bottle", "plant")
NAMES = {"potted plant": "plant"}

pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no photographs in {SAMPLE}")


def _table() -> PatternTable:
    views = ("front", "side")
    patterns = [
        Pattern(2 * c + i, name, {"yaw": view}, f"{name} from the {view}", 2 * c + i, {})
        for c, name in enumerate(CATEGORIES)
        for i, view in enumerate(views)
    ]
    return PatternTable(CATEGORIES, {name: {"yaw": views} for name in CATEGORIES}, tuple(patterns))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with an untrained bundle and the gallery that it built from the sample's cut-outs."""
    path, table = tmp_path_factory.mktemp("real"), _table()
    config = {"foreground": {"image_size": 32, "embedding_size": 16}, "query": {"image_size": 48}}
    rng = np.random.default_rng(0)  # proper initialisation would compile longer than the whole test takes
    shapes = abstract_variables(config, table, has_query=True)
    variables = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes)
    save_bundle(
        path / "bundle",
        config=config,
        table=table,
        foreground_variables=variables["foreground"],
        query_variables=variables["query"],
    )
    source = CocoCutouts(
        SAMPLE / "instances.json", SAMPLE / "images", categories=CATEGORIES, category_names=NAMES, min_side_px=24
    )
    build_gallery(source, load_bundle(path / "bundle"), path / "gallery", bundle_path=path / "bundle", batch_size=64)
    return path


@pytest.fixture(scope="module")
def search(work):
    with ForegroundSearch.open(work / "gallery") as opened:
        yield opened


def test_the_gallery_holds_every_usable_object(search):
    manifest = search.gallery.manifest["built"]
    assert set(manifest["counts"]) == set(CATEGORIES)
    annotations = json.loads((SAMPLE / "instances.json").read_text())["annotations"]
    assert len(search.gallery) + sum(manifest["skipped"].values()) == len(annotations)
    assert np.isfinite(search.gallery.snapshot().embeddings()).all()
    for name in CATEGORIES:
        np.testing.assert_allclose(search.gallery.category(name).posteriors[:].sum(axis=1), 1, rtol=1e-4)
    assert all(licence for licence in search.gallery.column("licence"))
    for row in range(0, len(search.gallery), 25):
        height, width = search.gallery.cutout(row).shape[:2]
        assert (width, height) == tuple(search.gallery.column(f"{side}_px", [row])[0] for side in ("width", "height"))


def test_every_photograph_is_searched_with_its_own_rectangle(search):
    raw = json.loads((SAMPLE / "instances.json").read_text())
    largest = {}
    for annotation in sorted(raw["annotations"], key=lambda a: a["area"]):
        largest[annotation["image_id"]] = annotation
    queries = []
    for i, image in enumerate(raw["images"]):
        box = boxes.box_xywh_px_to_xyxy_px(largest[image["id"]]["bbox"], image["width"], image["height"])
        queries.append(SearchQuery(SAMPLE / "images" / image["file_name"], box, CATEGORIES[i % len(CATEGORIES)]))
    assert len(queries) == 175
    for ranking in ("posterior", "cosine"):
        for query, hits in zip(queries, search.instances_batch(queries, k=2, ranking=ranking), strict=True):
            assert len(hits) == 2
            assert {hit.category for hit in hits} == {query.category}
            assert hits[0].score >= hits[1].score
            assert hits[0].why
            if ranking == "posterior":
                composite = np.array(hits[0].composite())
                photo = images.read_image(query.photo)
                x0, y0, x1, y1 = query.box
                assert composite.shape == photo.shape
                assert (composite[y0:y1, x0:x1] != photo[y0:y1, x0:x1]).any()
                reach = 2 + (y1 - y0) // 5  # what stands on the ground may have tips that hang lower
                around = np.s_[max(y0 - 2, 0) : y1 + reach, max(x0 - 2, 0) : x1 + 2]
                composite[around] = photo[around]
                np.testing.assert_array_equal(composite, photo)


def test_objects_find_their_own_place_through_the_file_system(work, search):
    cars = [
        entry for entry in _objects() if entry.category == "car" and entry.box_xyxy_px[2] - entry.box_xyxy_px[0] > 60
    ]
    entry = cars[0]
    groups = search.patterns(entry.path, entry.box_xyxy_px, "car", k=2, instances=3)
    assert sum(group.size for group in groups) == search.gallery.manifest["built"]["counts"]["car"]
    pair = search.score(entry.path, entry.box_xyxy_px, "car", groups[0].hits[0].cutout())
    assert pair.posterior == pytest.approx(groups[0].hits[0].score, abs=1e-3)


def test_every_object_meets_what_its_own_rectangle_demands(search):
    """No enlargement, the same shape, and cut only where its rectangle touches the picture; of others, many are not."""
    own, others = [], []
    for entry in _objects():
        with Image.open(entry.path) as picture:
            size = picture.size
        rows = search.gallery.category(entry.category)
        allowed = Filters().demanded().allowed(rows, Place(entry.box_xyxy_px, *size))
        place = rows.place_of(search.gallery.row_of(entry.id))
        own.append(allowed[place])
        others.append(np.delete(allowed, place).mean())
    assert np.mean(own) > 0.99
    assert 0.2 < np.mean(others) < 0.6
    truncated = search.gallery.column("truncated")
    assert 0.1 < np.mean(truncated != "") < 0.5


def _objects():
    source = CocoCutouts(
        SAMPLE / "instances.json", SAMPLE / "images", categories=CATEGORIES, category_names=NAMES, min_side_px=24
    )
    return source.objects


def test_the_programs_on_a_rotated_photograph(work, tmp_path):
    """A phone's picture: stored on its side, upright by EXIF; the rectangle refers to the upright one."""
    entry = next(entry for entry in _objects() if entry.category == "boat")
    upright = Image.open(entry.path).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    box = ",".join(map(str, entry.box_xyxy_px))
    command = [sys.executable, "-m", "fos_jax.launch.search", "--gallery", work / "gallery", "--category=boat"]
    found = subprocess.run(
        [
            *command,
            "--photo",
            tmp_path / "phone.jpg",
            f"--box={box}",
            "--k=3",
            "--json",
            "--output",
            tmp_path / "found",
        ],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    hits = json.loads(found.stdout)["hits"]
    assert len(hits) == 3
    assert json.loads((tmp_path / "found" / "results.json").read_text())["hits"] == hits
    composites = sorted((tmp_path / "found" / "composites").iterdir())
    assert [images.read_image(path).shape[:2] for path in composites] == [upright.size[::-1]] * 3
    assert images.read_image(tmp_path / "found" / "sheet.png").shape[2] == 3

    wrong = subprocess.run(
        [*command, "--photo", tmp_path / "phone.jpg", "--box=0,0,99999,5"], capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("error: box: got (0, 0, 99999, 5)")
    assert "Traceback" not in wrong.stderr
