"""Probes of a data set: each attribute from the query image alone, and from what must not tell it.

A query may fit several patterns. Under the rule used throughout, a prediction counts as right where any compatible
pattern has the predicted value; an example counts towards every value it may have, with equal shares; balanced
accuracy is the mean over values.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from fos_jax.pattern_table import PatternTable


@dataclasses.dataclass(frozen=True)
class ProbeData:
    """n queries of one split.

    Attributes:
      image: uint8 [n, S, S, 3].
      box_yxyx_norm: float32 [n, 4].
      category: int32 [n].
      is_compatible: bool [n, P].
    """

    image: np.ndarray
    box_yxyx_norm: np.ndarray
    category: np.ndarray
    is_compatible: np.ndarray


def allowed_values(table: PatternTable, is_compatible: np.ndarray) -> np.ndarray:
    """bool [n, V]: values of each attribute output that some compatible pattern has; from bool [n, P]."""
    return (is_compatible.astype(np.int32) @ table.has_value.astype(np.int32)) > 0


def balanced_accuracy(predicted: np.ndarray, allowed: np.ndarray) -> float:
    """Balanced accuracy under the rule of this module.

    Args:
      predicted: int [n], or float [n, K] probabilities of a guess (its expected accuracy is taken).
      allowed: bool [n, K], right values of each example, at least one each.

    Raises:
      ValueError: an example without a right value.
    """
    if not allowed.any(1).all():
        raise ValueError("an example has no right value, expected at least one each")
    guess = np.eye(allowed.shape[1])[predicted] if predicted.ndim == 1 else predicted
    right = (guess * allowed).sum(1)
    share = allowed / allowed.sum(1, keepdims=True)
    total = share.sum(0)
    return float(((share * right[:, None]).sum(0)[total > 0] / total[total > 0]).mean())


def chance(allowed: np.ndarray) -> float:
    """Balanced accuracy of guessing every value with equal probability; `allowed` bool [n, K]."""
    return balanced_accuracy(np.full(allowed.shape, 1 / allowed.shape[1]), allowed)


def filled(image: jax.Array, box_yxyx_norm: jax.Array) -> jax.Array:
    """float32 [n, S, S, 4]: images scaled to -1..1 with the rectangle set to 0, and the rectangle's mask."""
    size = image.shape[1]
    centre = (jnp.arange(size) + 0.5) / size
    y0, x0, y1, x1 = box_yxyx_norm.T[:, :, None]
    # A pixel more on every side: no edge of the silhouette's neighbourhood stays.
    rows, columns = (
        (centre > y0 - 1 / size) & (centre < y1 + 1 / size),
        (centre > x0 - 1 / size) & (centre < x1 + 1 / size),
    )
    mask = (rows[:, :, None] & columns[:, None, :]).astype(jnp.float32)[..., None]
    return jnp.concatenate([(image.astype(jnp.float32) / 127.5 - 1) * (1 - mask), mask], -1)


class ProbeNet(nn.Module):
    """A thin convolutional network with one group of outputs for each attribute of each category."""

    num_values: int
    num_categories: int

    @nn.compact
    def __call__(self, x: jax.Array, category: jax.Array) -> jax.Array:
        """float32 [n, S, S, 4] and int32 [n] to logits [n, V]."""
        for width, stride in ((24, 2), (32, 2), (48, 1), (64, 2), (64, 1)):
            x = nn.relu(nn.GroupNorm(num_groups=8)(nn.Conv(width, (3, 3), strides=stride)(x)))
        x = nn.Conv(24, (1, 1))(x)
        x = x.reshape(len(x), -1)
        x = jnp.concatenate([x, jax.nn.one_hot(category, self.num_categories)], -1)
        x = nn.relu(nn.Dense(192)(x))
        return nn.Dense(self.num_values)(x)


def group_log_probabilities(logits: jax.Array, group: np.ndarray) -> jax.Array:
    """float32 [n, V]: log-softmax inside each group; `group` int [V]."""
    member = np.eye(group.max() + 1, dtype=np.float32)[group]  # [V, G]
    shifted = logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    return shifted - (jnp.log(jnp.exp(shifted) @ member + 1e-30)) @ member.T


def train_probe(
    table: PatternTable,
    train: ProbeData,
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> Callable[[ProbeData], np.ndarray]:
    """Trains one network on the queries of all categories, under a cosine schedule with the peak `learning_rate`.

    `seed` is that of initialisation, order and mirroring; `on_step` gets the step and the loss of every 50th step.
    Returns: a function from queries to log-probabilities float32 [n, V], softmax inside each (category, attribute).
    """
    mirror, group = table.mirror, table.attribute_group
    in_category = table.has_value.T.astype(np.float32) @ np.eye(len(table.categories))[table.category_of_pattern]
    in_category = (in_category > 0).T.astype(np.float32)  # [C, V]
    member = np.eye(group.max() + 1, dtype=np.float32)[group]
    net = ProbeNet(num_values=len(group), num_categories=len(table.categories))
    size = train.image.shape[1]
    params = net.init(jax.random.key(seed), jnp.zeros((1, size, size, 4)), jnp.zeros(1, jnp.int32))
    schedule = optax.cosine_onecycle_schedule(max(steps, 2), learning_rate, pct_start=0.1)
    optimiser = optax.adamw(schedule, weight_decay=1e-3)

    def loss_of(params, image, box, category, allowed):
        logs = group_log_probabilities(jnp.asarray(net.apply(params, filled(image, box), category)), group)
        right = jnp.where(allowed, jnp.exp(logs), 0.0) @ member  # [n, G], mass on right values
        is_group = jnp.asarray(in_category)[category] @ member > 0
        return -jnp.where(is_group, jnp.log(jnp.maximum(right, 1e-9)), 0.0).sum(-1).mean()

    @jax.jit
    def step(params, state, *batch):
        loss, grads = jax.value_and_grad(loss_of)(params, *batch)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = optimiser.init(params)
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(len(train.category)) for _ in range(steps * batch_size // len(train.category) + 1)]
    )
    for i in range(steps):
        rows = order[i * batch_size : (i + 1) * batch_size]
        image, box, compatible = train.image[rows], train.box_yxyx_norm[rows], train.is_compatible[rows]
        if rng.random() < 0.5:  # a mirrored batch takes its mirrored patterns
            image, box = image[:, :, ::-1], np.stack([box[:, 0], 1 - box[:, 3], box[:, 2], 1 - box[:, 1]], -1)
            compatible = compatible[:, mirror]
        params, state, loss = step(params, state, image, box, train.category[rows], allowed_values(table, compatible))
        if on_step and i % 50 == 0:
            on_step(i, float(loss))

    apply = jax.jit(
        lambda image, box, c: group_log_probabilities(jnp.asarray(net.apply(params, filled(image, box), c)), group)
    )

    def predict(data: ProbeData) -> np.ndarray:
        parts = []
        for start in range(0, len(data.category), 256):
            rows = np.minimum(np.arange(start, start + 256), len(data.category) - 1)  # padded: one compiled shape
            out = np.asarray(apply(data.image[rows], data.box_yxyx_norm[rows], data.category[rows]))
            parts.append(out[: len(data.category) - start])
        return np.concatenate(parts)

    return predict


def tabular_probe(
    train_features: np.ndarray, train_allowed: np.ndarray, test_features: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """int [n_test]: values that gradient-boosted trees predict from a few numbers, float [n, F].

    An example with several right values (`train_allowed`, bool [n, K]) is learned as each, with equal weights.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    row, value = np.nonzero(train_allowed)
    weight = 1.0 / train_allowed.sum(1)[row]
    trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, early_stopping=False, random_state=seed)
    with threadpool_limits(1):  # its threads spin while they wait, which is very slow on a busy machine
        return trees.fit(train_features[row], value, sample_weight=weight).predict(test_features)
