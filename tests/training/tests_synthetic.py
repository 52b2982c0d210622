"""Hand-made foregrounds and queries that a small encoder learns in seconds: colour says category, side says pattern."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.backbones import BACKBONES, Features
from fos_jax.pattern_table import Pattern, PatternTable

SIDE = 16
BACKBONE = "one_layer"  # compiles in a fraction of a real one's time


class OneLayer(nn.Module):
    """8x8 patches, one layer; the map keeps where things are, which is what these data's labels are about."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.gelu(nn.Conv(32, (8, 8), (8, 8))(x))
        return Features(x, x.reshape(len(x), -1).astype(jnp.float32))


BACKBONES.setdefault(BACKBONE, lambda dtype, axis_name, name: OneLayer(name=name))


def table():
    sides, places = ("left", "right"), ("up", "down")
    patterns = []
    for category in ("car", "boat"):
        for side in sides:
            for place in places:
                mirror = len(patterns) + (2 if side == "left" else -2)
                attributes = {"side": side, "place": place}
                patterns.append(Pattern(len(patterns), category, attributes, f"{category} {side} {place}", mirror, {}))
    attributes = {"side": sides, "place": places}
    return PatternTable(("car", "boat"), {"car": attributes, "boat": attributes}, tuple(patterns))


def make(n, seed, *, unknown_every=0):
    """n foregrounds and n queries; each query's rectangle is in the middle, its cue a bright quarter of the frame."""
    rng = np.random.default_rng(seed)
    pattern = rng.integers(0, 8, n).astype(np.int32)
    category = pattern // 4
    images, cutouts = rng.integers(90, 140, (n, SIDE, SIDE, 3)), rng.integers(90, 140, (n, SIDE, SIDE, 4))
    half = SIDE // 2
    for i, p in enumerate(pattern):
        x, y = half * ((p // 2) % 2), half * (p % 2)
        images[i, y : y + half, x : x + half] = 230
        cutouts[i, y : y + half, x : x + half, category[i]] = 250
    cutouts[..., 3] = 255
    is_compatible = np.eye(8, dtype=bool)[pattern]
    is_compatible[::5, :] |= np.eye(8, dtype=bool)[pattern[::5] ^ 1]  # some fit up and down alike
    if unknown_every:
        pattern = np.where(np.arange(n) % unknown_every == 0, -1, pattern).astype(np.int32)
    foregrounds = Foregrounds(np.array([f"f{i}" for i in range(n)]), cutouts.astype(np.uint8), category, pattern)
    box = np.tile(np.array([[0.4, 0.4, 0.6, 0.6]], np.float32), (n, 1))
    queries = Queries(
        np.array([f"q{i}" for i in range(n)]),
        images.astype(np.uint8),
        box,
        category.astype(np.int32),
        is_compatible,
        np.arange(n, dtype=np.int32),
    )
    return foregrounds, queries
