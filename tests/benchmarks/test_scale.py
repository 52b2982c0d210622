"""Benchmarks of galleries by size and of whole queries: what they build and count, and the rendered document."""

import argparse
import json
from pathlib import Path

import end_to_end
import numpy as np
import pytest
import scale
import scale_table
import widening
from fake_bundle import FakeBundle, make_table

from fos_jax.errors import InputError
from fos_jax.gallery.gallery import Gallery
from fos_jax.gallery.sources import CocoCutouts
from fos_jax.retrieval.search import ForegroundSearch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def base(coco_folder):
    annotations, images = coco_folder(photographs=4)
    source = CocoCutouts(annotations, images, categories=None, min_side_px=1)
    category = source.objects[0].category
    bundle = FakeBundle(table=make_table(sorted({entry.category for entry in source.objects})))
    return bundle, widening.encoded(bundle, source, category), annotations.parent


def test_a_widened_gallery_holds_the_base_and_noisy_copies(base, tmp_path):
    _, of, _ = base
    own, n = of.foregrounds, 5 * len(of.foregrounds) + 1
    widening.write(tmp_path / "g", widening.widened(of, n), of)
    with_noise = Gallery.open(tmp_path / "g").category(own.category)
    assert len(with_noise) == n
    embeddings = np.asarray(with_noise.embeddings)
    np.testing.assert_allclose(embeddings[: len(own)], own.embeddings, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert with_noise.gallery.picture(len(own), "thumbnail") == own.thumbnails[0]
    line = scale.on_disk(tmp_path / "g")
    assert line["vectors_mb"] == pytest.approx((n * 4 * (3 + 2) + 256) / 1e6, abs=0.05)
    queries = {"cosine": embeddings[:3], "posterior": np.asarray(with_noise.posteriors)[:3]}
    line |= scale.search(argparse.Namespace(), tmp_path / "g", queries)
    assert line["cosine_recall"] == 1
    assert 0 < line["posterior_p50_ms"] <= line["posterior_p99_ms"]
    assert (line["size"], line["patterns"]) == (3, 2)


@pytest.mark.parametrize("kind", ["instances", "patterns"])
def test_the_stages_of_a_query_add_up(base, tmp_path, kind):
    bundle, of, folder = base
    widening.write(tmp_path / "g", widening.widened(of, 30), of)
    photo = next(folder.rglob("*.jpg"), None) or next(folder.rglob("*.png"))
    with ForegroundSearch.open(tmp_path / "g", bundle) as search:
        asked = end_to_end.Asked(photo, (2, 3, 40, 50))
        took = end_to_end.answer(search, kind, asked, of.foregrounds.category)
    stages = [took[stage] for stage in end_to_end.STAGES]
    assert min(stages) > 0
    assert sum(stages) == pytest.approx(took["whole"])
    line = end_to_end.figures([took, took])
    assert line["whole_p50_ms"] == pytest.approx(1e3 * took["whole"], abs=1e-2)
    assert 0 < line["layer_of_whole"] < line["layer_of_query"] < 1


def line(rows, **changed):
    """A made-up line: figures grow in proportion, the time of a query by its square root."""
    sizes = ("build_mb", "memory_mb", "vectors_mb", "cosine_index_mb", "posterior_index_mb", "metadata_mb")
    made = dict.fromkeys(sizes, rows / 1e3) | {"build_cpu_s": rows / 1e4, "open_s": 1 + rows / 1e6}
    for ranking in scale.RANKINGS:
        made |= {f"{ranking}_{name}": (rows / 1e6) ** 0.5 for name in ("p50_ms", "p99_ms", "cpu_ms")}
        made[f"{ranking}_recall"] = 1
    return {"rows": rows, "filter_ms": rows / 1e6, **made, **changed}


def test_what_follows_from_two_points():
    lines = [line(10**6), line(10**7)]
    assert scale_table.cpu_ms(lines, "cosine", 10**8) == pytest.approx(10)
    text = scale_table.render({"lines": [*lines, {"rows": 10**8, "failed": "more than 16 GiB"}]})
    # 3,000 bytes to serve, more than to build: 10**8 take 300 GB; a machine has 51.5. Each of 6 shards takes 4.08 ms.
    assert "|100,000,000|400 + 1,050|300|6|24.5 / 24.5|2.78|1,040|" in text
    assert "100,000,000 foregrounds: more than 16 GiB." in text
    assert "|9,000,000|opening takes 10 s" in text
    with pytest.raises(InputError, match="1 sizes were measured"):
        scale_table.render({"lines": lines[:1]})


def test_the_document_is_what_is_rendered(tmp_path):
    text, results = (ROOT / "docs/scale.md").read_text("utf-8"), json.loads((ROOT / "results/scale.json").read_bytes())
    assert len(text.encode()) <= 6 * 1024
    copy = tmp_path / "scale.md"
    copy.write_text(text, "utf-8")
    scale_table.write(copy, scale_table.render(results))
    assert copy.read_text("utf-8") == text
    copy.write_text("no marks", "utf-8")
    with pytest.raises(InputError, match="expected them around the tables"):
        scale_table.write(copy, "")
