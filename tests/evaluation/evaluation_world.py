"""A hand-made data set and a stand-in for bundles, for the tests of evaluation."""

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.bundle import ForegroundEncoding, QueryEncoding
from fos_jax.pattern_table import Pattern, PatternTable

ATTRIBUTES = {"car": {"yaw": ("left", "right"), "light": ("left", "right")}, "dog": {"pose": ("up", "down")}, "cat": {}}


def make_table() -> PatternTable:
    """Car: patterns 0 to 3 (yaw x light); dog: 4 and 5; cat: 6 and 7, without attributes."""
    named = [("car", {"yaw": yaw, "light": light}) for yaw in ("left", "right") for light in ("left", "right")]
    named += [("dog", {"pose": "up"}), ("dog", {"pose": "down"}), ("cat", {}), ("cat", {})]
    patterns = tuple(Pattern(i, c, a, f"{c} {i}", -1, {}) for i, (c, a) in enumerate(named))
    return PatternTable(("car", "dog", "cat"), ATTRIBUTES, patterns)


def make_split(*, seed=0, num_queries=30, num_foregrounds=50, foreground_size=32, query_size=32):
    """Random images; each query fits the pattern of its own foreground and sometimes one more of the category."""
    rng, table = np.random.default_rng(seed), make_table()
    pattern = np.concatenate([np.arange(8), rng.integers(0, 8, num_foregrounds - 8)]).astype(np.int32)
    image = rng.integers(0, 256, (num_foregrounds, foreground_size, foreground_size, 4), np.uint8)
    image[..., 3] = 0
    image[:, 4:28, 8:24, 3] = 255
    category = table.category_of_pattern[pattern]
    foregrounds = Foregrounds(np.array([f"f{i}" for i in range(num_foregrounds)]), image, category, pattern)
    own = rng.integers(0, num_foregrounds, num_queries).astype(np.int32)
    is_compatible = np.zeros((num_queries, 8), bool)
    is_compatible[np.arange(num_queries), pattern[own]] = True
    more = rng.integers(0, 8, num_queries)
    same = table.category_of_pattern[more] == category[own]
    is_compatible[np.arange(num_queries)[same], more[same]] = True
    queries = Queries(
        np.array([f"q{i}" for i in range(num_queries)]),
        rng.integers(0, 256, (num_queries, query_size, query_size, 3), np.uint8),
        np.tile(np.float32([0.25, 0.25, 0.75, 0.5]), (num_queries, 1)),
        category[own],
        is_compatible,
        own,
    )
    return queries, foregrounds, table


@dataclasses.dataclass
class StandInBundle:
    """What evaluation needs of `encoders.bundle.Bundle`, with random encodings: compiling real encoders takes long."""

    table: PatternTable
    seed: int
    has_query_encoder: bool
    foreground_size: int = 32
    query_size: int = 32

    def __post_init__(self):
        self.config = ConfigDict({"foreground": {"image_size": self.foreground_size}, "seed": self.seed})
        self.variables = {"foreground": {"params": {"prototypes": self.prototypes}}}
        self.fingerprint = f"stand-in-{self.seed}"
        self.num_encoded_galleries = 0

    @property
    def prototypes(self):
        return _unit(np.random.default_rng(7).normal(size=(self.table.num_patterns, 8)))

    def encode_foregrounds(self, image, category, *, batch_size=256, progress=False):
        """A random linear function of some pixels, so that the same image gives the same row."""
        self.num_encoded_galleries += 1
        embedding = _features(image, seed=7)
        return ForegroundEncoding(embedding, self._log_posterior(8 * embedding @ self.prototypes.T, category))

    def encode_queries(self, image, box_yxyx_norm, category, *, batch_size=256, progress=False):
        embedding = _features(image, seed=self.seed)
        flat, factorised = (self._log_posterior(k * embedding @ self.prototypes.T, category) for k in (6, -6))
        return QueryEncoding(embedding, flat, factorised, self._log_posterior(flat + factorised / 2, category))

    def _log_posterior(self, logits, category):
        is_allowed = category[:, None] == self.table.category_of_pattern[None, :]
        logits = np.where(is_allowed, np.nan_to_num(logits, neginf=-99), -np.inf)
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def make_bundle(*, seed=0, has_query=True, table=None) -> StandInBundle:
    return StandInBundle(table or make_table(), seed, has_query)


def _features(image, seed):
    flat = np.asarray(image).reshape(len(image), -1)[:, :64].astype(np.float64) - 128
    return _unit(flat @ np.random.default_rng(seed).normal(size=(64, 8)))


def _unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
