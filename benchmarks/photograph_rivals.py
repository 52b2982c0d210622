"""Earlier methods on frozen features of photographs: the same inputs, principal components and trials for each.

Each trains on pairs (a query, its own foreground) by steps of AdamW on batches of one size, foregrounds of the query's
category being the negatives. Losses are the project's own (`fos_jax.losses`); what is left out against the methods on
pixels stands with each.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fos_jax import losses
from fos_jax.experts.canonical import Reduced, join_reduced, reduce_block
from fos_jax.posteriors import unit

BATCH, SIZE, HIDDEN, DROPOUT = 256, 64, 128, 0.3
TRIALS = tuple({"num_steps": steps, "components": k} for steps in (150, 400) for k in (64, 256))
_reductions: dict[tuple[int, str], Reduced] = {}
MINED = 4  # further positives per query that UFO takes from its discriminator


class Pairs(NamedTuple):
    """Blocks of queries, foregrounds and mirrored foregrounds, float [n, F_i] each; int [n] category and object."""

    query: list[np.ndarray]
    foreground: list[np.ndarray]
    mirrored: list[np.ndarray]
    category: np.ndarray
    object: np.ndarray


class Towers(NamedTuple):
    """A trained method: maps blocks of either side to vectors; `score` takes those to float [q, g]."""

    query: Callable[[Sequence[np.ndarray]], np.ndarray]
    foreground: Callable[[Sequence[np.ndarray]], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _dense(key, num_in, num_out):
    return {"w": jax.random.normal(key, (num_in, num_out)) / np.sqrt(num_in), "b": jnp.zeros(num_out)}


def _tower(params, x, key=None):
    if key is not None:
        x = x * jax.random.bernoulli(key, 1 - DROPOUT, x.shape) / (1 - DROPOUT)
    return unit(x @ params["w"] + params["b"])


def _pair_logit(params, query, foreground):
    """float [q, g]: a network that looks at both streams' vectors together."""
    both = query[:, None] * foreground[None]
    wide = jax.nn.gelu(query @ params["q"]["w"] + params["q"]["b"])[:, None] + (foreground @ params["f"]["w"])[None]
    hidden = jax.nn.gelu(wide + both @ params["m"]["w"])
    return (hidden @ params["out"]["w"] + params["out"]["b"])[..., 0]


@jax.jit
def _pair_logits(params, query, foreground):
    return jax.lax.map(lambda row: _pair_logit(params, row[None], foreground)[0], query)


def _init(key, num_query, num_foreground):
    keys = jax.random.split(key, 6)
    return {
        "query": _dense(keys[0], num_query, SIZE),
        "foreground": _dense(keys[1], num_foreground, SIZE),
        "pair": {
            "q": _dense(keys[2], SIZE, HIDDEN),
            "f": _dense(keys[3], SIZE, HIDDEN),
            "m": _dense(keys[4], SIZE, HIDDEN),
            "out": _dense(keys[5], HIDDEN, 1),
        },
        "scale": jnp.log(jnp.float32(10)),
    }


def _info_nce(params, q, f, mirrored, batch, constants):
    """Pick the own foreground among the batch's of the category, and the query among the queries."""
    rows, scale = jnp.arange(len(q)), jnp.exp(params["scale"])
    return losses.info_nce(q, f, rows, batch["other"], scale=scale) + losses.info_nce(
        f, q, rows, batch["other"], scale=scale
    )


def _gala(params, q, f, mirrored, batch, constants):
    """GALA: contrastive, the mirrored own foreground among the negatives (a change of geometry; no change of light)."""
    rows = jnp.arange(len(q))
    others = jnp.concatenate([batch["other"], jnp.eye(len(q), dtype=bool)], axis=1)
    both = jnp.concatenate([f, mirrored])
    return losses.info_nce(q, both, rows, others, scale=jnp.exp(params["scale"]))


def _cfo(params, q, f, mirrored, batch, constants):
    """CFO-Search: hinge on squared distances, margin .3."""
    cosine = q @ f.T
    return losses.triplet(jnp.diagonal(cosine), cosine, batch["other"])


def _two_streams(params, q, f, mirrored, batch, constants):
    """Two streams joined late: does this pair belong together?"""
    logit = _pair_logit(params["pair"], q, f)
    own = jnp.eye(len(q), dtype=bool)
    weight = jnp.where(own, 1.0, batch["other"] / jnp.maximum(batch["other"].sum(1, keepdims=True), 1))
    return (optax.sigmoid_binary_cross_entropy(logit, own) * weight).sum(1)


def _ufo(params, q, f, mirrored, batch, constants):
    """UFO-Search: the hinge, with positives that a discriminator found; those are no negatives."""
    cosine = q @ f.T
    mined = constants["mined"][batch["object"][:, None], batch["object"][None]] & batch["other"]
    negative = batch["other"] & ~mined
    own = losses.triplet(jnp.diagonal(cosine), cosine, negative)
    positive = jnp.where(mined, cosine, 0).sum(1) / jnp.maximum(mined.sum(1), 1)
    more = losses.triplet(positive, cosine, negative)
    return own + jnp.where(mined.any(1), more, 0)


def _disco(params, q, f, mirrored, batch, constants):
    """DiscoFOS by embedding: what the pair network says of every pair, distilled into cosines (no composites)."""
    pairs = batch["other"] | jnp.eye(len(q), dtype=bool)
    logit = jnp.exp(params["scale"]) * (q @ f.T) + params["pair"]["out"]["b"]
    told = jax.nn.sigmoid(constants["logit"][batch["row"][:, None], batch["row"][None]])
    distilled = jnp.where(pairs, optax.sigmoid_binary_cross_entropy(logit, told), 0).sum(1) / pairs.sum(1)
    return 10 * distilled + _cfo(params, q, f, mirrored, batch, constants)


LOSSES = {
    "one network": _info_nce,
    "two streams": _two_streams,
    "CFO": _cfo,
    "GALA-like": _gala,
    "UFO": _ufo,
    "DiscoFOS by embedding": _disco,
}


def train(
    name: str, pairs: Pairs, *, num_steps: int, components: int, seed: int, constants: Mapping[str, Any] | None = None
) -> Towers:
    """Trains one method of `LOSSES`; UFO and DiscoFOS first train the pair network they learn from."""
    if name in ("UFO", "DiscoFOS by embedding") and constants is None:
        teacher = train("two streams", pairs, num_steps=num_steps, components=components, seed=seed)
        logit = teacher.score(teacher.query(pairs.query), teacher.foreground(pairs.foreground))
        constants = {"logit": jnp.asarray(logit), "mined": _mined(logit, pairs)}
    of_query, of_foreground = (_reduced(blocks, components) for blocks in (pairs.query, pairs.foreground))
    q, f, m = of_query.rows, of_foreground.rows, of_foreground.apply(pairs.mirrored)
    params = _init(jax.random.key(seed), q.shape[1], f.shape[1])
    params = _fit(
        LOSSES[name],
        num_steps,
        params,
        *(jnp.asarray(x, jnp.float32) for x in (q, f, m)),
        jnp.asarray(pairs.category),
        jnp.asarray(pairs.object),
        constants or {},
        jax.random.key(seed + 1),
    )
    return Towers(
        lambda blocks: np.asarray(_tower(params["query"], jnp.asarray(of_query.apply(blocks), jnp.float32))),
        lambda blocks: np.asarray(_tower(params["foreground"], jnp.asarray(of_foreground.apply(blocks), jnp.float32))),
        lambda a, b: np.asarray(_pair_logits(params["pair"], a, b)) if name == "two streams" else a @ b.T,
    )


def _reduced(blocks: Sequence[np.ndarray], components: int) -> Reduced:
    """Principal components of each block, once for all methods of a seed."""
    parts = []
    for block in blocks:
        key = components, hashlib.sha256(np.ascontiguousarray(block)).hexdigest()
        if key not in _reductions:
            _reductions[key] = reduce_block(block, components=components)
        parts.append(_reductions[key])
    return join_reduced(parts)


def _mined(logit: np.ndarray, pairs: Pairs) -> jax.Array:
    """bool [objects, objects]: the foregrounds that the discriminator likes best for each query."""
    other = (pairs.category[:, None] == pairs.category[None]) & (pairs.object[:, None] != pairs.object[None])
    best = np.argsort(-np.where(other, logit, -np.inf), axis=1)[:, :MINED]
    out = np.zeros((pairs.object.max() + 1,) * 2, bool)
    out[pairs.object[:, None], pairs.object[best]] = True
    return jnp.asarray(out)


@functools.partial(jax.jit, static_argnames=("loss_of", "num_steps"))
def _fit(loss_of, num_steps, params, q, f, m, category, thing, constants, key):
    optimizer = optax.adamw(optax.cosine_decay_schedule(3e-3, num_steps), weight_decay=1e-2)
    batch_size = min(BATCH, len(q))

    def loss(params, key):
        keys = jax.random.split(key, 4)
        rows = jax.random.choice(keys[0], len(q), (batch_size,), replace=False)
        c, o = category[rows], thing[rows]
        batch = {"row": rows, "object": o, "other": (c[:, None] == c[None]) & (o[:, None] != o[None])}
        sides = ("query", q, 1), ("foreground", f, 2), ("foreground", m, 3)
        vectors = [_tower(params[side], x[rows], keys[i]) for side, x, i in sides]
        return loss_of(params, *vectors, batch, constants).mean()

    def step(carry, key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, key), state, params)
        return (optax.apply_updates(params, updates), state), None

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]
