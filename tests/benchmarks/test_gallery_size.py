"""Galleries that grow: both ways of counting by hand, and chunks that are rendered and encoded once."""

from types import SimpleNamespace

import gallery_size
import numpy as np
import pytest


def test_both_ways_of_counting_by_hand():
    scores = np.array([[5.0, 4.0, 3.0, 2.0, 1.0]], np.float32)
    pattern = np.array([1, 0, 1, 0, 0])  # the first two are the data set's; pattern 0 fits
    found = gallery_size.average_precisions(scores, np.array([[True, False]]), pattern, num_own=2)
    assert found["grown"][0] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert found["distractors"][0] == pytest.approx(1 / 2)  # the third alone is added, behind the only relevant one
    last_first = gallery_size.average_precisions(-scores, np.array([[True, False]]), pattern, num_own=2)
    assert last_first["distractors"][0] == pytest.approx(1 / 2)  # of ranks: the third, the second, the first


def test_chunks_are_rendered_and_encoded_once_and_cut_to_what_is_asked_for(tmp_path, monkeypatch):
    rendered = []

    def render(category, start, sides):
        rendered.append(start)
        pattern = np.arange(start, start + gallery_size.CHUNK) % 2
        return pattern, {side: np.full((len(pattern), side, side, 4), start % 255, np.uint8) for side in sides}

    class Bundle:
        foreground_size, fingerprint = 8, "abc"

        def encode_foregrounds(self, image, category):
            assert set(category.tolist()) == {1}
            posterior = np.log(np.full((len(image), 5), 0.2, np.float32))
            return SimpleNamespace(embedding=image[:, 0, 0, :2].astype(np.float32), log_posterior=posterior)

    table = SimpleNamespace(category_of_pattern=np.array([0, 0, 0, 1, 1]), category_id=lambda name: 1)
    monkeypatch.setattr(gallery_size, "_render", render)
    n = gallery_size.CHUNK + 10
    first, second = gallery_size.chunks({"x": Bundle()}, table, "dog", n, tmp_path)
    assert (len(first["x"].pattern), len(second["x"].pattern)) == (gallery_size.CHUNK, 10)
    assert set(second["x"].pattern.tolist()) == {3, 4}  # numbers of the table, not of the category
    assert second["x"].posterior.shape == (10, 2)
    again = list(gallery_size.chunks({"x": Bundle()}, table, "dog", n, tmp_path))
    assert rendered == [0, gallery_size.CHUNK]
    np.testing.assert_array_equal(again[1]["x"].embedding, second["x"].embedding)


def test_a_bundle_without_a_name_is_refused():
    with pytest.raises(gallery_size.argparse.ArgumentTypeError, match="'runs/x', expected NAME=DIRECTORY"):
        gallery_size._named("runs/x")
