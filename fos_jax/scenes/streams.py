"""Streams of rendered examples: one numbered, reproducible sequence of scenes for each split and category."""

import collections
import concurrent.futures
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.scenes.attributes import CATEGORIES, pattern_rows
from fos_jax.scenes.render import Scene, render_cutout, render_mask, render_photograph, render_query, target_box
from fos_jax.scenes.world import sample_scene

SPLITS = ("train", "validation", "test")
CHUNK = 64
_THREADS = 2  # one renders or compiles while another does; each computation is itself spread over the cores
# Sampling is thousands of operations on scalars: compiling them well takes longer than running them badly.
_QUICK_COMPILE = {"xla_backend_optimization_level": 0}
# XLA's default of strict NaN order and half-width vectors makes the intersection loops about 1.6 times slower.
_FAST_LOOPS = {"xla_cpu_enable_fast_min_max": True, "xla_cpu_prefer_vector_width": 512}
_compile_lock = threading.RLock()
_compiled: dict[Any, Any] = {}


def scene_keys(seed: int, split: str, category: str, indices: np.ndarray) -> jax.Array:
    """PRNG keys [n] of numbered scenes (int [n]) of a data set's seed: no two splits or categories share one."""
    key = jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))
    key = jax.random.fold_in(key, CATEGORIES.index(category))
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices, jnp.uint32))


def patterns_of(category: str, indices: np.ndarray) -> np.ndarray:
    """int32 [n]: the pattern of each numbered scene; every pattern comes equally often."""
    return (np.asarray(indices) % len(pattern_rows(category))).astype(np.int32)


def _run(name: tuple, function: Callable, options: dict, *arguments, on_cpu: bool = False):
    """Calls `function` compiled for these shapes; two threads never compile the same thing twice.

    `options` are for a CPU, which is used where `on_cpu` is set or nothing else is there.
    """
    key = (name, *((x.shape, x.dtype) for x in jax.tree.leaves(arguments)))
    with _compile_lock:
        lock = _compiled.setdefault((key, "lock"), threading.Lock())
    with lock:
        if key not in _compiled:
            chosen = options if on_cpu or jax.default_backend() == "cpu" else None
            with jax.default_matmul_precision("highest"):  # a GPU would round coordinates to ten bits
                _compiled[key] = jax.jit(function, compiler_options=chosen).lower(*arguments).compile()
    return _compiled[key](*arguments)


def _map(function: Callable) -> Callable:
    """One scene after another on a CPU (its caches hold one image), side by side on an accelerator."""
    batch = None if jax.default_backend() == "cpu" else CHUNK
    return functools.partial(jax.lax.map, function, batch_size=batch)


def _only(scene: Scene, *names: str) -> Scene:
    """The scene without the tables a renderer does not read, so that it compiles once for all categories."""
    empty: dict[str, Any] = {n: np.zeros((len(scene.pattern), 0), np.float32) for n in scene._fields if n not in names}
    return scene._replace(**empty)


def sample_scenes(seed: int, split: str, category: str, indices: np.ndarray) -> Scene:
    """Scenes by number, numpy arrays batched along the first axis.

    They are sampled on the CPU even where there is an accelerator: thousands of operations on scalars gain nothing
    there, and the scenes are the same whatever renders them.
    """
    sampler = jax.vmap(functools.partial(sample_scene, category=category))
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        pattern = jnp.asarray(patterns_of(category, indices))
        keys = scene_keys(seed, split, category, indices)
        scenes = _run(("sample", category), sampler, _QUICK_COMPILE, keys, pattern, on_cpu=True)
    return jax.tree.map(np.asarray, scenes)


def render_queries(scenes: Scene, *, size: int, samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Query images uint8 [n, size, size, 3] and boxes float32 [n, 4] (yxyx, fractions) of a batch of scenes."""
    draw = _map(functools.partial(render_query, size=size, samples=samples))
    image = _run(("query", size, samples), draw, _FAST_LOOPS, _only(scenes, "camera", "light", "ground", "context"))
    box = _run(("box",), _map(target_box), _FAST_LOOPS, _only(scenes, "camera", "target"))
    return np.asarray(image), np.asarray(box)


def render_cutouts(scenes: Scene, *, size: int, samples: int = 2) -> np.ndarray:
    """Cut-outs uint8 [n, size, size, 4] of a batch of scenes."""
    draw = _map(functools.partial(render_cutout, size=size, samples=samples))
    return np.asarray(_run(("cutout", size, samples), draw, _FAST_LOOPS, _only(scenes, "camera", "light", "target")))


def render_photographs(scenes: Scene, *, size: int, samples: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Scenes with their targets, uint8 [n, size, size, 3], and where the targets are seen, bool [n, size, size]."""
    draw = _map(functools.partial(render_photograph, size=size, samples=samples))
    names = ("camera", "light", "ground", "context", "target")
    image = _run(("photograph", size, samples), draw, _FAST_LOOPS, _only(scenes, *names))
    mask = _run(("mask", size), _map(functools.partial(render_mask, size=size)), _FAST_LOOPS, _only(scenes, *names))
    return np.asarray(image), np.asarray(mask)


def _stream(render: Callable[[Scene], dict], seed: int, split: str, counts: Mapping[str, int]) -> Iterator[dict]:
    def chunk(category: str, start: int) -> dict[str, np.ndarray]:
        # The last chunk is rendered whole and cut afterwards: one compiled shape, and the same pixels for any count.
        scenes = sample_scenes(seed, split, category, np.arange(start, start + CHUNK))
        return {"pattern": np.asarray(scenes.pattern), **render(scenes)}

    jobs = [(category, start) for category, count in counts.items() for start in range(0, count, CHUNK)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:  # renders ahead while the caller encodes and writes
        waiting: collections.deque = collections.deque()
        submitted = 0
        for category, start in jobs:
            while submitted < len(jobs) and len(waiting) < 2 * _THREADS:
                waiting.append(pool.submit(chunk, *jobs[submitted]))
                submitted += 1
            rows = waiting.popleft().result()
            for i in range(min(CHUNK, counts[category] - start)):
                yield {"category": category, "index": start + i, **{k: v[i] for k, v in rows.items()}}


def query_stream(
    seed: int, split: str, counts: Mapping[str, int], *, size: int = 128, samples: int = 1
) -> Iterator[dict[str, Any]]:
    """The first queries of a split's streams, category after category.

    Args:
      seed: the data set's seed.
      split: one of `SPLITS`.
      counts: category -> number of queries.
      size: side in pixels.
      samples: rays along each side of a pixel.

    Yields:
      category, index, pattern (inside the category), image uint8 [size, size, 3], box_yxyx_norm float32 [4],
      compatible bool [patterns of the category], nuisance float32 [F].
    """

    def render(scenes: Scene) -> dict[str, np.ndarray]:
        image, box = render_queries(scenes, size=size, samples=samples)
        compatible, nuisance = np.asarray(scenes.compatible), np.asarray(scenes.nuisance)
        return {"image": image, "box_yxyx_norm": box, "compatible": compatible, "nuisance": nuisance}

    return _stream(render, seed, split, counts)


def cutout_stream(
    seed: int, split: str, counts: Mapping[str, int], *, size: int = 64, samples: int = 2
) -> Iterator[dict[str, Any]]:
    """The targets of the same scenes as cut-outs; arguments as `query_stream`.

    Yields:
      category, index, pattern (inside the category), image uint8 [size, size, 4].
    """
    return _stream(lambda scenes: {"image": render_cutouts(scenes, size=size, samples=samples)}, seed, split, counts)


def photograph_stream(
    seed: int, split: str, counts: Mapping[str, int], *, size: int = 160, samples: int = 2
) -> Iterator[dict[str, Any]]:
    """The same scenes with their targets in them, as photographs with instance masks; arguments as `query_stream`.

    Yields:
      category, index, pattern (inside the category), image uint8 [size, size, 3], mask bool [size, size].
    """

    def render(scenes: Scene) -> dict[str, np.ndarray]:
        image, mask = render_photographs(scenes, size=size, samples=samples)
        return {"image": image, "mask": mask}

    return _stream(render, seed, split, counts)
