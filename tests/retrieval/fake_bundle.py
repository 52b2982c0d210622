"""A bundle without a network: colours are the latent space, so that tests know every answer by heart."""

from typing import ClassVar, NamedTuple

import numpy as np

from fos_jax.images import prepare_cutout, prepare_query, query_window
from fos_jax.pattern_table import Pattern, PatternTable

# Two patterns a category: reddish and bluish. The query's posterior is its photograph's mean colour.
COLOURS = ("red", "blue")


def make_table(categories=("car", "chair")) -> PatternTable:
    patterns = [
        Pattern(2 * c + i, name, {"colour": colour}, f"{colour} {name}", 2 * c + i, {"train": 1})
        for c, name in enumerate(categories)
        for i, colour in enumerate(COLOURS)
    ]
    return PatternTable(tuple(categories), {name: {"colour": COLOURS} for name in categories}, tuple(patterns))


class _Encoding(NamedTuple):
    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: dict[str, np.ndarray] = {}  # noqa: RUF012 - never changed


class FakeBundle:
    """Embedding: unit (red, green, blue) of the visible pixels; posterior: red and blue shares of it."""

    has_query_encoder = True
    accepts_any_category = False
    expert_weights: ClassVar[dict[str, float]] = {}
    foreground_size = 16
    query_size = 24

    def __init__(self, fingerprint="fake", table=None):
        self.table = table or make_table()
        self.fingerprint = fingerprint
        self.prototypes = np.array([[1, 0, 0], [0, 0, 1]] * len(self.table.categories), np.float32)
        self.batch_sizes = []

    def foreground_inputs(self, rgba, truncated=None):
        return (prepare_cutout(rgba, self.foreground_size),)

    def query_inputs(self, photo, box_xyxy_px):
        return prepare_query(photo, box_xyxy_px, self.query_size)

    def query_window(self, box_xyxy_px, width, height):
        return query_window(box_xyxy_px, width, height)

    def encode_foregrounds(self, image, category, *, batch_size=256, progress=False):
        assert image.shape[1:] == (self.foreground_size, self.foreground_size, 4)
        weight = image[..., 3:].astype(np.float64)
        colour = (image[..., :3] * weight).sum((1, 2)) / weight.sum((1, 2))
        return _Encoding(*self._encode(colour, category))

    def encode_queries(self, image, box_yxyx_norm, category, *, batch_size=256, progress=False):
        assert image.shape[1:] == (self.query_size, self.query_size, 3)
        self.batch_sizes.append(batch_size)
        embedding, log_posterior = self._encode(image.astype(np.float64).mean((1, 2)), category)
        return _Encoding(embedding, log_posterior)

    def _encode(self, colour, category):
        embedding = colour / np.maximum(np.linalg.norm(colour, axis=1, keepdims=True), 1e-9)
        share = (colour[:, 0] + 1) / (colour[:, 0] + colour[:, 2] + 2)
        log_posterior = np.full((len(colour), self.table.num_patterns), -np.inf)
        for i, c in enumerate(category):
            log_posterior[i, 2 * c : 2 * c + 2] = np.log([share[i], 1 - share[i]])
        return embedding.astype(np.float32), log_posterior.astype(np.float32)


def disc(colour, width=20, height=20) -> np.ndarray:
    """uint8 [height, width, 4]: an opaque ellipse that touches all four sides."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 <= 0.25
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[inside] = (*colour, 255)
    return rgba
