"""Queries of a file that indexes are measured with."""

import json

import numpy as np
import pytest
from fake_bundle import FakeBundle, photo
from PIL import Image

from fos_jax.errors import InputError
from fos_jax.gallery.foregrounds import Layout
from fos_jax.retrieval.queries import SearchQuery, encode_queries
from fos_jax.retrieval.tuning import encode_tuning_queries

BOX = [10, 5, 30, 25]


@pytest.fixture
def folder(tmp_path):
    """Nine photographs from red to blue."""
    for i in range(9):
        Image.fromarray(photo(250 - 30 * i, 10 + 30 * i)).save(tmp_path / f"p{i}.png")
    return tmp_path


def write(folder, lines):
    path = folder / "queries.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def lines(number, category="car"):
    return [{"photo": f"p{i % 9}.png", "box": BOX, "category": category} for i in range(number)]


def test_vectors_are_those_of_searches(folder):
    bundle = FakeBundle()
    found = encode_tuning_queries(write(folder, lines(70) + lines(50, "chair")), bundle)
    assert {name: {r: len(v) for r, v in of.items()} for name, of in found.items()} == {
        "car": {"posterior": 70, "cosine": 70},
        "chair": {"posterior": 50, "cosine": 50},
    }
    (query,) = encode_queries([SearchQuery(folder / "p4.png", BOX, "car")], bundle)
    layout = Layout(bundle.table, len(query.embedding), {}, {})
    for ranking in ("posterior", "cosine"):
        np.testing.assert_allclose(found["car"][ranking][4], layout.query_vector(query, ranking), rtol=1e-5)


def test_bad_lines_and_too_few_are_named(folder):
    for changed, message in (
        ({"photo": "gone.png"}, r"queries.jsonl, line 2, .*gone.png"),
        ({"box": [10, 5]}, r"queries.jsonl, line 2, box"),
        ({"category": "boat"}, r"queries.jsonl, line 2, .*boat"),
    ):
        asked = lines(60)
        asked[1] |= changed
        with pytest.raises(InputError, match=message):
            encode_tuning_queries(write(folder, asked), FakeBundle())
    with pytest.raises(InputError, match=r"queries\.jsonl: 49 queries of chair, expected 50 or none"):
        encode_tuning_queries(write(folder, lines(60) + lines(49, "chair")), FakeBundle())
    with pytest.raises(InputError, match=r"queries\.jsonl: no query"):
        encode_tuning_queries(write(folder, []), FakeBundle())
