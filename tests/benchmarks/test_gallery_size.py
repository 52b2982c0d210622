"""Galleries that grow: both ways of counting by hand, and chunks that are rendered and encoded once."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "gallery_size.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("gallery_size", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_both_ways_of_counting_by_hand(program):
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0]], np.float32)
    pattern = np.array([1, 0, 1, 0, 0])  # the first two are the data set's; pattern 0 fits
    found = program.average_precisions(scores, np.array([[True, False]]), pattern, num_own=2)
    assert found["grown"][0] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert found["distractors"][0] == pytest.approx(1 / 2)  # the third alone is added, behind the only relevant one
    last_first = program.average_precisions(-scores, np.array([[True, False]]), pattern, num_own=2)
    assert last_first["distractors"][0] == pytest.approx(1 / 2)  # of ranks: the third, the second, the first


def test_chunks_are_rendered_and_encoded_once_and_cut_to_what_is_asked_for(program, tmp_path, monkeypatch):
    rendered = []

    def render(category, start, sides):
        rendered.append(start)
        pattern = np.arange(start, start + program.CHUNK) % 2
        return pattern, {side: np.full((len(pattern), side, side, 4), start % 255, np.uint8) for side in sides}

    class Bundle:
        foreground_size, fingerprint = 8, "abc"

        def encode_foregrounds(self, image, category):
            assert set(category.tolist()) == {1}
            posterior = np.log(np.full((len(image), 5), 0.2, np.float32))
            return SimpleNamespace(embedding=image[:, 0, 0, :2].astype(np.float32), log_posterior=posterior)

    table = SimpleNamespace(category_of_pattern=np.array([0, 0, 0, 1, 1]), category_id=lambda name: 1)
    monkeypatch.setattr(program, "_render", render)
    n = program.CHUNK + 10
    first, second = program.chunks({"x": Bundle()}, table, "dog", n, tmp_path)
    assert (len(first["x"].pattern), len(second["x"].pattern)) == (program.CHUNK, 10)
    assert set(second["x"].pattern.tolist()) == {3, 4}  # numbers of the table, not of the category
    assert second["x"].posterior.shape == (10, 2)
    again = list(program.chunks({"x": Bundle()}, table, "dog", n, tmp_path))
    assert rendered == [0, program.CHUNK]
    np.testing.assert_array_equal(again[1]["x"].embedding, second["x"].embedding)


def test_a_bundle_without_a_name_is_refused(program):
    with pytest.raises(program.argparse.ArgumentTypeError, match="'runs/x', expected NAME=DIRECTORY"):
        program._named("runs/x")
