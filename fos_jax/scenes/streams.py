"""Streams of rendered examples: one numbered, reproducible sequence of scenes for each split and category."""

import concurrent.futures
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.attributes import CATEGORIES, pattern_rows
from fos_jax.scenes.render import Scene, render_cutout, render_query, target_box
from fos_jax.scenes.world import sample_scene

SPLITS = ("train", "validation", "test")
CHUNK = 64


def scene_keys(seed: int, split: str, category: str, indices: np.ndarray) -> jax.Array:
    """Keys of numbered scenes: no two splits or categories share one.

    Args:
      seed: the data set's seed.
      split: one of `SPLITS`.
      category: one of `attributes.CATEGORIES`.
      indices: int [n], numbers of the scenes in their stream.

    Returns:
      PRNG keys [n].
    """
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    key = jax.random.fold_in(key, CATEGORIES.index(category))
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices, jnp.uint32))


def patterns_of(category: str, indices: np.ndarray) -> np.ndarray:
    """int32 [n]: the pattern of each numbered scene; every pattern comes equally often."""
    return (np.asarray(indices) % len(pattern_rows(category))).astype(np.int32)


@functools.cache
def _sampler(category: str):
    return jax.jit(jax.vmap(functools.partial(sample_scene, category=category)))


def sample_scenes(seed: int, split: str, category: str, indices: np.ndarray) -> Scene:
    """Scenes by number, batched along the first axis."""
    return _sampler(category)(scene_keys(seed, split, category, indices), patterns_of(category, indices))


@functools.cache
def _query_renderer(size: int, samples: int):
    return jax.jit(functools.partial(jax.lax.map, functools.partial(render_query, size=size, samples=samples)))


@functools.cache
def _box_finder():
    return jax.jit(functools.partial(jax.lax.map, target_box))


@functools.cache
def _cutout_renderer(size: int, samples: int):
    return jax.jit(functools.partial(jax.lax.map, functools.partial(render_cutout, size=size, samples=samples)))


def _only(scene: Scene, *names: str) -> Scene:
    """The scene without the tables a renderer does not read, so that it compiles once for all categories."""
    return scene._replace(**{n: jnp.zeros((len(scene.pattern), 0)) for n in scene._fields if n not in names})


def _queries(scenes: Scene, *, size: int, samples: int) -> dict[str, np.ndarray]:
    image = _query_renderer(size, samples)(_only(scenes, "camera", "light", "ground", "context"))
    box = _box_finder()(_only(scenes, "camera", "target"))
    return {"image": image, "box_yxyx_norm": box, "compatible": scenes.compatible, "nuisance": scenes.nuisance}


def _cutouts(scenes: Scene, *, size: int, samples: int) -> dict[str, np.ndarray]:
    return {"image": _cutout_renderer(size, samples)(_only(scenes, "camera", "light", "target"))}


def _stream(render, seed: int, split: str, category: str, count: int, **options) -> Iterator[dict[str, Any]]:
    def chunk(start: int) -> Mapping[str, np.ndarray]:
        # The last chunk is rendered whole and cut afterwards: one compiled shape, and the same pixels for any count.
        indices = np.arange(start, start + CHUNK)
        scenes = sample_scenes(seed, split, category, indices)
        return {"pattern": np.asarray(scenes.pattern), **jax.tree.map(np.asarray, render(scenes, **options))}

    starts = range(0, count, CHUNK)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # renders ahead while the caller encodes and writes
        pending = [pool.submit(chunk, s) for s in starts[:3]]
        for number, start in enumerate(starts):
            rows = pending.pop(0).result()
            if number + 3 < len(starts):
                pending.append(pool.submit(chunk, starts[number + 3]))
            for i in range(min(CHUNK, count - start)):
                yield {"index": start + i, **{k: v[i] for k, v in rows.items()}}


def query_stream(
    seed: int, split: str, category: str, count: int, *, size: int = 96, samples: int = 2
) -> Iterator[dict[str, Any]]:
    """The first `count` queries of a stream.

    Yields:
      index, pattern (inside the category), image uint8 [size, size, 3], box_yxyx_norm float32 [4],
      compatible bool [patterns of the category], nuisance float32 [F].
    """
    return _stream(_queries, seed, split, category, count, size=size, samples=samples)


def cutout_stream(
    seed: int, split: str, category: str, count: int, *, size: int = 64, samples: int = 2
) -> Iterator[dict[str, Any]]:
    """The first `count` targets of a stream as cut-outs.

    Yields:
      index, pattern (inside the category), image uint8 [size, size, 4].
    """
    return _stream(_cutouts, seed, split, category, count, size=size, samples=samples)
