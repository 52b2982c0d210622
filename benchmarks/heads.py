"""Training steps of heads on cached features, ours against the same in PyTorch; one JSON line.

    python benchmarks/heads.py

Features of both sides, float16, lie in memory. A step picks a batch, maps queries and foregrounds by a linear tower
each to unit vectors (InfoNCE, both ways), maps queries by a linear layer to patterns (softmax), and takes a step of
AdamW. Both frameworks have the same rows, weights and order of batches; the line says how far their losses are apart
after the first step and after as many steps as both made. Matrices lie as [columns, features], as PyTorch's own layers
have them: with that order XLA takes half as long for their gradients. Both take turns in one process; the ratio is that
of each round, above 1 where ours is faster. The faster of PyTorch's AdamW (for each parameter, or fused) counts. On a
busy machine threads wait for each other, PyTorch's most of all: take --threads=1 and the ratio of CPU time. Needs
PyTorch (2.13.0 was used), which the project itself does not.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from in_turns import fastest, lacks_packages, limit_threads, ratio, seconds_in_turns, versions
from reporting import Report, make_parser

SCALE, LEARNING_RATE, WEIGHT_DECAY = 10.0, 1e-3, 0.05


class Data(NamedTuple):
    """queries, foregrounds: float16 [n, F]; pattern: int64 [n]; order: int32 [steps, B], rows of each batch."""

    queries: np.ndarray
    foregrounds: np.ndarray
    pattern: np.ndarray
    order: np.ndarray


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=4096, help="cached rows")
    parser.add_argument("--features", type=int, default=3712, help="numbers per row: three maps of EfficientNet-Lite0")
    parser.add_argument("--size", type=int, default=64, help="numbers that a tower gives")
    parser.add_argument("--patterns", type=int, default=64)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="per round")
    parser.add_argument("--threads", type=int, default=2, help="of each framework")
    options, report = parser.parse_args(), Report("heads")
    if lacks_packages(report, "torch"):
        return
    limit_threads(options.threads)
    report(measure(options))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The benchmark's line."""
    data, weights = make_data(options), make_weights(options)
    runs = {
        "jax": jax_step(data, weights),
        "torch": torch_step(data, weights),
        "torch fused": torch_step(data, weights, is_fused=True),
    }
    first = {name: run() for name, run in runs.items()}
    times, cpu = seconds_in_turns(runs, rounds=options.rounds, calls=options.steps)
    last = {name: run() for name, run in runs.items()}
    name = fastest(times, ("torch", "torch fused"))
    ours, theirs = times["jax"], times[name]
    return {
        "row": "step on cached features",
        **{field: getattr(options, field) for field in ("features", "size", "patterns", "batch", "threads")},
        "ms": round(1e3 * statistics.median(ours), 2),
        "torch_ms": round(1e3 * statistics.median(theirs), 2),
        **ratio(ours, theirs),
        "ratio_of_cpu_time": ratio(cpu["jax"], cpu[name])["ratio"],
        "torch_optimiser": "fused" if name == "torch fused" else "for each parameter",
        "first_loss_difference": float(f"{abs(first['jax'] - first[name]):.1e}"),
        "last_loss": round(last["jax"], 4),
        "last_loss_difference": float(f"{abs(last['jax'] - last[name]):.1e}"),
        **versions(),
    }


def make_data(options: argparse.Namespace) -> Data:
    """Rows around a centre per pattern: a query and its foreground share what is noise to other pairs."""
    rng = np.random.default_rng(0)
    pattern = rng.integers(0, options.patterns, options.rows)
    centres = rng.normal(size=(2, options.patterns, options.features)).astype(np.float32)
    own = rng.normal(size=(options.rows, options.features)).astype(np.float32)
    sides = [(c[pattern] + own + rng.normal(size=own.shape)).astype(np.float16) for c in centres]
    order = rng.integers(0, options.rows, (64, options.batch)).astype(np.int32)
    return Data(*sides, pattern, order)


def make_weights(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Matrices float32 [columns, F] and biases of the two towers and of the pattern layer."""
    rng = np.random.default_rng(1)
    sizes = {"query": options.size, "foreground": options.size, "pattern": options.patterns}
    deviation = options.features**-0.5
    matrices = {name: rng.normal(0, deviation, (n, options.features)).astype(np.float32) for name, n in sizes.items()}
    return matrices | {f"{name} bias": np.zeros(n, np.float32) for name, n in sizes.items()}


def jax_step(data: Data, weights: dict[str, np.ndarray]) -> Callable[[], float]:
    """A function that makes one step, waits for it and returns the loss."""
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_of(params, queries, foregrounds, pattern):
        own = jnp.arange(len(pattern))
        query = _unit(jnp, queries @ params["query"].T + params["query bias"])
        foreground = _unit(jnp, foregrounds @ params["foreground"].T + params["foreground bias"])
        cosine = SCALE * query @ foreground.T
        of_patterns = queries @ params["pattern"].T + params["pattern bias"]
        terms = ((cosine, own), (cosine.T, own), (of_patterns, pattern))
        return sum(optax.softmax_cross_entropy_with_integer_labels(*term).mean() for term in terms)

    def step(state, arrays, rows):
        params, opt_state = state
        queries, foregrounds = (x[rows].astype(jnp.float32) for x in arrays[:2])
        loss, gradient = jax.value_and_grad(loss_of)(params, queries, foregrounds, arrays[2][rows])
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    step = jax.jit(step, donate_argnums=0)
    params = jax.tree.map(jnp.array, weights)
    held = {"state": (params, optimizer.init(params)), "number": 0}
    arrays = tuple(map(jnp.asarray, (data.queries, data.foregrounds, data.pattern.astype(np.int32))))

    def run() -> float:
        rows = data.order[held["number"] % len(data.order)]
        held["number"] += 1
        held["state"], loss = step(held["state"], arrays, rows)
        jax.block_until_ready(held["state"])
        return float(loss)

    return run


def torch_step(data: Data, weights: dict[str, np.ndarray], *, is_fused: bool = False) -> Callable[[], float]:
    """The same in PyTorch."""
    import torch
    import torch.nn.functional as F

    params = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    optimizer = torch.optim.AdamW(
        params.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True if is_fused else None
    )
    arrays = tuple(map(torch.from_numpy, (data.queries, data.foregrounds, data.pattern)))
    order = torch.from_numpy(data.order)
    held = {"number": 0}

    def run() -> float:
        rows = order[held["number"] % len(order)]
        held["number"] += 1
        optimizer.zero_grad(set_to_none=True)
        queries, foregrounds = (x.index_select(0, rows).float() for x in arrays[:2])
        own = torch.arange(len(rows))
        query = _unit(torch, F.linear(queries, params["query"], params["query bias"]))
        foreground = _unit(torch, F.linear(foregrounds, params["foreground"], params["foreground bias"]))
        cosine = SCALE * query @ foreground.T
        of_patterns = F.linear(queries, params["pattern"], params["pattern bias"])
        terms = ((cosine, own), (cosine.T, own), (of_patterns, arrays[2][rows]))
        loss = sum(F.cross_entropy(*term) for term in terms)
        loss.backward()
        optimizer.step()
        return loss.item()

    return run


def _unit(library, x):
    """Rows of unit length; `library` is jax.numpy or torch."""
    return x / library.sqrt((x * x).sum(-1)[:, None] + 1e-12)


if __name__ == "__main__":
    main()
