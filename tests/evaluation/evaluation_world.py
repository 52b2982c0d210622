"""A hand-made data set and tiny random bundles for the tests of evaluation."""

import jax
import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.build import init_foreground, init_query
from fos_jax.encoders.bundle import Bundle
from fos_jax.pattern_table import Pattern, PatternTable

ATTRIBUTES = {"car": {"yaw": ("left", "right"), "light": ("left", "right")}, "dog": {"pose": ("up", "down")}, "cat": {}}
CONFIG = {
    "foreground": {"backbone": "small", "embedding_size": 8, "image_size": 32},
    "query": {"backbone": "small", "image_size": 32, "hidden_size": 8, "condition_size": 4},
}


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


def make_bundle(*, seed=0, views=("frame",), has_query=True, table=None) -> Bundle:
    """Random variables."""
    table = table or make_table()
    config = {"foreground": CONFIG["foreground"], "query": {**CONFIG["query"], "views": views}}
    variables = {"foreground": jax.device_get(init_foreground(jax.random.key(0), complete(config), table))}
    if has_query:
        variables["query"] = jax.device_get(init_query(jax.random.key(seed), complete(config), table))
    return Bundle(
        config=complete(config), table=table, variables=variables, metrics={}, fingerprint=f"test{seed}{len(views)}"
    )


def complete(config):
    from fos_jax.encoders.config import complete_foreground, complete_query

    return {"foreground": complete_foreground(config["foreground"]), "query": complete_query(config["query"])}
