"""GALA-like: two streams whose negatives are also the true foreground itself, turned, scaled, mirrored or relit.

Zhu et al. (ECCV 2022) make a search aware of geometry and light by such negatives. Taken from public descriptions: the
contrastive training of two streams with transformed true foregrounds as negatives. Chosen here: which transformations
and how far, one geometric and one of light a row, the loss of `two_streams` around them, and that a
transformation that hardly changes the picture (a bottle's mirror image) is left out. Their alternating training of the
two streams and their backbones are not reproduced.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from fos_jax import losses
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.joint import Split, apply_both, joint_task
from fos_jax.rivals.settings import NUMBER, checked
from fos_jax.rivals.triplets import triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import Runner
from fos_jax.training.step import Gather, LossFunction, Metrics

_MEAN = 128.0  # of `images.MEAN_COLOUR`, which cut-outs are matted on
_LEAST_TURN = 1 / 3  # of the largest: a smaller one would hardly be wrong


def make_gala_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    *,
    scale: float,
    same_category_only: bool = True,
    largest_turn_degrees: float = 45.0,
    smallest_scale: float = 0.6,
    largest_shade: float = 0.8,
    smallest_difference: float = 0.02,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of `triplets.triplet_rows`, own foregrounds only.

    The softmax of `two_streams`, in both directions; towards the foregrounds, a query's own foreground under one
    geometric and one lighting transformation joins its negatives, but no other query's.

    Args:
      foreground_encoder, query_encoder: trained together; params are {"foreground": ..., "query": ...}.
      scale: inverse temperature of the softmax.
      same_category_only: whether negatives are of the row's category only, as in the search itself.
      largest_turn_degrees, smallest_scale: of geometric transformations.
      largest_shade: of lighting transformations.
      smallest_difference: mean change of the picture, in 0..1, below which a transformed foreground is no negative.
      augmentation: of queries and foregrounds; a foreground's versions get the same colours.

    Raises:
      InputError: a number out of its range.

    Source: Zhu et al., ECCV 2022 (the negatives); decision 20.
    """
    for name, value, low, high in (
        ("largest_turn_degrees", largest_turn_degrees, 0, 180),
        ("smallest_scale", smallest_scale, 0, 1),
        ("largest_shade", largest_shade, 0, 1),
        ("scale", scale, 0, float("inf")),
    ):
        if not low < value <= high:
            raise InputError(f"config: gala.{name}: {value!r}, expected more than {low} and at most {high}")

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        del constants
        flip_keys, box_keys, query_keys, foreground_keys, turn_keys, light_keys = augment.split_keys(keys, 6)
        image, box, foreground = augment.mirror_pairs(
            batch["image"],
            batch["box_yxyx_norm"],
            batch["positive_image"],
            flip_keys,
            probability=augmentation.mirror_probability,
        )
        box = augment.expand_boxes(box, box_keys, largest=augmentation.box_expansion)
        image = augment.jitter_colours(image, query_keys, augmentation.jitter)
        foreground = augment.jitter_colours(foreground, foreground_keys, augmentation.jitter)
        turned = change_geometry(
            foreground, turn_keys, largest_turn_degrees=largest_turn_degrees, smallest_scale=smallest_scale
        )
        relit = change_light(foreground, light_keys, largest_shade=largest_shade)
        is_changed = jnp.stack([difference(foreground, x) >= smallest_difference for x in (turned, relit)], 1)  # [B, 2]
        of_query, of_all, stats = apply_both(
            (foreground_encoder, query_encoder),
            params,
            batch_stats,
            (image, box, batch["category"]),
            (jnp.concatenate([foreground, turned, relit]), jnp.tile(batch["positive_category"], 3)),
        )
        gathered = gather(
            (of_query.embedding, *jnp.split(of_all.embedding, 3), is_changed, batch["category"], batch["weight"])
        )
        query, candidate, turned, relit, is_changed, category, weight = gathered
        own = jnp.arange(len(weight))
        is_candidate = jnp.broadcast_to(weight > 0, (len(weight), len(weight)))
        if same_category_only:
            is_candidate &= category[:, None] == category[None, :]
        is_own = jnp.eye(len(weight), dtype=bool)
        among = jnp.concatenate([candidate, turned, relit])  # [3B, D]
        is_among = jnp.concatenate([is_candidate, is_own & is_changed[:, :1], is_own & is_changed[:, 1:]], axis=1)
        forth = losses.weighted_mean(losses.info_nce(query, among, own, is_among, scale=scale), weight)
        back = losses.weighted_mean(losses.info_nce(candidate, query, own, is_candidate, scale=scale), weight)
        versions = jnp.stack([jnp.sum(query * x, axis=1) for x in (turned, relit)], axis=1)  # [B, 2]
        is_right = jnp.sum(query * candidate, axis=1)[:, None] > versions
        metrics = {"own_above_changed": losses.weighted_mean(is_right, weight[:, None] * is_changed)}
        return (forth + back) / 2, (metrics, stats)

    return loss_function


def train_gala(config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner) -> None:
    """Trains the rival; `<workdir>/bundle` is its model.

    Args:
      config: with `seed`, `foreground`, `query`, `augment` and `gala` (arguments of the loss).
      train, validation, table, workdir, run: as of `methods.train_rival`.

    Raises:
      InputError: a wrong field in the config.

    Source: Zhu et al., ECCV 2022; the module names what was chosen here (decision 20).
    """
    settings = checked(
        config.gala,
        "gala",
        scale=NUMBER,
        same_category_only=bool,
        largest_turn_degrees=NUMBER,
        smallest_scale=NUMBER,
        largest_shade=NUMBER,
        smallest_difference=NUMBER,
    )
    task = joint_task(
        config,
        train,
        validation,
        table,
        rows=triplet_rows(*train),
        make_loss=lambda *encoders: make_gala_loss(
            *encoders,
            augmentation=augment.from_config(config.augment),
            **settings,
        ),
        bundle_path=workdir / "bundle",
        axis_name=run.axis_name,
    )
    run(task, config, workdir)


def change_geometry(
    image: jax.Array, keys: jax.Array, *, largest_turn_degrees: float, smallest_scale: float
) -> jax.Array:
    """Mirrors, turns or scales each cut-out, one of the three with equal chances.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255, matted on the mean colour.
      keys: random keys [B].
      largest_turn_degrees: turns are drawn from a third of it to all of it, to either side.
      smallest_scale: scales are drawn from it to halfway between it and 1.

    Returns:
      float32 of the same shape; what comes from outside is transparent mean colour.
    """

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        kind_key, size_key, side_key = jax.random.split(key, 3)
        kind = jax.random.randint(kind_key, (), 0, 3)
        amount = jax.random.uniform(size_key)
        side = jnp.where(jax.random.bernoulli(side_key), 1.0, -1.0)
        turn = side * jnp.radians(largest_turn_degrees) * (_LEAST_TURN + (1 - _LEAST_TURN) * amount)
        scale = smallest_scale + amount * (1 - smallest_scale) / 2
        return kind == 0, jnp.where(kind == 1, turn, 0.0), jnp.where(kind == 2, scale, 1.0)

    return transform(image, *jax.vmap(draw)(keys))


def transform(image: jax.Array, is_mirrored: jax.Array, turn: jax.Array, scale: jax.Array) -> jax.Array:
    """Mirrors cut-outs left to right, then turns and scales them about their centre, bilinearly.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255.
      is_mirrored: bool [B]. turn: float [B], radians, clockwise as seen. scale: float [B], below 1 makes them smaller.

    Returns:
      float32 of the same shape.
    """
    image = image.astype(jnp.float32)
    image = jnp.where(is_mirrored[:, None, None, None], image[:, :, ::-1], image)
    centre = (image.shape[1] - 1) / 2
    y, x = jnp.meshgrid(*(jnp.arange(image.shape[1]) - centre,) * 2, indexing="ij")

    def one(image: jax.Array, turn: jax.Array, scale: jax.Array) -> jax.Array:
        cos, sin = jnp.cos(turn) / scale, jnp.sin(turn) / scale
        from_y, from_x = cos * y - sin * x + centre, sin * y + cos * x + centre

        def channel(values: jax.Array, outside: float) -> jax.Array:
            return map_coordinates(values, [from_y, from_x], order=1, mode="constant", cval=outside)

        colours = [channel(image[..., c], _MEAN) for c in range(3)]
        return jnp.stack([*colours, channel(image[..., 3], 0.0)], axis=-1)

    return jax.vmap(one)(image, turn, scale)


def change_light(image: jax.Array, keys: jax.Array, *, largest_shade: float) -> jax.Array:
    """Shades each cut-out from one side, the direction drawn at random: brighter there, darker opposite.

    A change of colour or brightness as a whole would contradict the colour jitter, under which a foreground stays its
    query's own.

    Args:
      image: float or uint8 [B, S, S, 4], 0..255.
      keys: random keys [B].
      largest_shade: shades are drawn from half of it to all of it.

    Returns:
      float32 of the same shape; alpha as it was, transparent pixels do not change.
    """

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        direction_key, shade_key = jax.random.split(key)
        return (
            jax.random.uniform(direction_key, maxval=2 * jnp.pi),
            largest_shade * jax.random.uniform(shade_key, minval=0.5, maxval=1.0),
        )

    return shade(image, *jax.vmap(draw)(keys))


def shade(image: jax.Array, direction: jax.Array, strength: jax.Array) -> jax.Array:
    """Multiplies colours by 1 + strength * place, place from -1 to 1 along a direction (0: right, pi / 2: down).

    Args:
      image: float or uint8 [B, S, S, 4], 0..255, matted on the mean colour. direction: float [B], radians.
      strength: float [B], 0..1.

    Returns:
      float32 of the same shape, colours clipped to 0..255.
    """
    image = image.astype(jnp.float32)
    place = jnp.linspace(-1.0, 1.0, image.shape[1])
    along = jnp.cos(direction)[:, None, None] * place[None, None, :]
    along += jnp.sin(direction)[:, None, None] * place[None, :, None]  # [B, S, S]
    alpha = image[..., 3:] / 255.0
    object_colour = image[..., :3] - (1 - alpha) * _MEAN  # the object's share of the matted pixel
    change = strength[:, None, None] * jnp.clip(along, -1.0, 1.0)
    colours = jnp.clip(image[..., :3] + object_colour * change[..., None], 0.0, 255.0)
    return jnp.concatenate([colours, image[..., 3:]], axis=-1)


def difference(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean absolute difference of two pictures each, in 0..1: [B, S, S, 4] twice to float32 [B]."""
    return jnp.mean(jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32)), axis=(1, 2, 3)) / 255.0
