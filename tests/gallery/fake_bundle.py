"""A bundle without a network: colours are the latent space, so that tests know every answer by heart."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from fos_jax.gallery.building import build_gallery
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
    experts: Mapping[str, np.ndarray] = {}


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


class FakeExperts(FakeBundle):
    """Experts that tests can compute: appearance is brightness left and right, geometry is width / height.

    Both are angles: a cut-out's and a query's are alike where the numbers are. Categories outside the table have no
    posterior.
    """

    accepts_any_category = True
    expert_weights: ClassVar[dict[str, float]] = {"appearance": 0.5, "geometry": 0.25}

    def __init__(self, fingerprint="experts", table=None):
        super().__init__(fingerprint, table or make_table_with_mirrors())

    def foreground_inputs(self, rgba, truncated=None):
        height, width = rgba.shape[:2]
        half = max(width // 2, 1)
        weight = rgba[..., 3:].astype(np.float64)
        sides = [
            (rgba[:, part, :3] * weight[:, part]).sum() / max(3 * weight[:, part].sum(), 1) / 255
            for part in (np.s_[:half], np.s_[-half:])
        ]
        return prepare_cutout(rgba, self.foreground_size), _shape(width, height), np.float32(sides)

    def query_inputs(self, photo, box_xyxy_px):
        x0, y0, x1, y1 = box_xyxy_px
        image, box = prepare_query(photo, box_xyxy_px, self.query_size)
        return image, box, _shape(x1 - x0, y1 - y0)

    def encode_foregrounds(self, image, shape, light, category, *, batch_size=256, progress=False):
        encoding = super().encode_foregrounds(image, np.maximum(category, 0))
        return self._with_experts(encoding, shape, light, category)

    def encode_queries(self, image, box, shape, category, *, batch_size=256, progress=False):
        encoding = super().encode_queries(image, box, np.maximum(category, 0), batch_size=batch_size)
        half = self.query_size // 2
        light = np.stack([image[:, :, :half].mean((1, 2, 3)), image[:, :, half:].mean((1, 2, 3))], axis=1) / 255
        return self._with_experts(encoding, shape, light, category)

    def _with_experts(self, encoding, shape, light, category):
        log_posterior = np.where(category[:, None] < 0, np.float32(-np.inf), encoding.log_posterior)
        light = np.asarray(light, np.float64)
        appearance = np.concatenate([light, np.ones((len(light), 1))], axis=1)
        experts = {
            "appearance": appearance / np.linalg.norm(appearance, axis=1, keepdims=True),
            "geometry": np.asarray(shape),
        }
        experts = {name: value.astype(np.float32) for name, value in experts.items()}
        return _Encoding(encoding.embedding, log_posterior.astype(np.float32), experts)


def make_table_with_mirrors() -> PatternTable:
    """Of cars, red ones have no known mirror image and blue ones are their own; of chairs, all are."""
    table = make_table()
    patterns = [dataclasses.replace(p, mirror=-1 if p.description == "red car" else p.id) for p in table.patterns]
    return dataclasses.replace(table, patterns=tuple(patterns))


def _shape(width, height) -> np.ndarray:
    angle = np.arctan2(width, height)
    return np.float32([np.cos(2 * angle), np.sin(2 * angle)])


def disc(colour, width=20, height=20) -> np.ndarray:
    """uint8 [height, width, 4]: an opaque ellipse that touches all four sides."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5) / width - 0.5) ** 2 + ((y + 0.5) / height - 0.5) ** 2 <= 0.25
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[inside] = (*colour, 255)
    return rgba


class Source:
    name = "test"

    def __init__(self, records):
        self._records, self.skipped = records, Counter()

    def __len__(self):
        return len(self._records)

    def __iter__(self):
        return iter(self._records)


def photo(red=250, blue=5, width=60, height=40):
    return np.full((height, width, 3), (red, 0, blue), np.uint8)


def build_from(records, path, bundle, **options):
    return build_gallery(Source(records), bundle, path, bundle_path=path / "b", **options)
