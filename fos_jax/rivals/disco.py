"""DiscoFOS (Zhang et al., ICCV 2023): a student matches what a discriminator of composites would see in each composite.

As publicly described: the teacher is a discriminator on the composite, accurate and far too slow, since it takes a pass
a pair; the student's two encoders and their interaction match the composite's feature and classify pairs; the public
code trains its embeddings by triplets as well, for the fast ranking.
Chosen here: backbones, inputs, data, augmentation and cost are those of the other rivals; the feature is one vector,
standardised; the fast ranking is trained by the softmax over the batch's negatives of `two_streams`, which did better
than triplets there; every number. Pairs and the teacher's training are in `disco_pairs`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp

from fos_jax import losses
from fos_jax.encoders.foreground import ForegroundEncoder
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.rivals.composite import CompositeDiscriminator, PairOutput
from fos_jax.rivals.disco_pairs import (
    balanced_accuracy,
    drawn_negatives,
    flat_pairs,
    own_and_drawn,
    teacher_task,
    with_own,
)
from fos_jax.rivals.interaction import InteractionNetwork, apply_with_map
from fos_jax.rivals.joint import Split, build_encoders, joint_task, pair_cross_entropy, part_of
from fos_jax.rivals.pair_networks import (
    COMPOSITE,
    INTERACTION,
    build_composite,
    build_interaction,
    complete_pair_network,
    init_pair_network,
)
from fos_jax.rivals.settings import NUMBER, checked, remaining_steps, stage_config
from fos_jax.rivals.triplets import triplet_rows
from fos_jax.training import augment
from fos_jax.training.loop import Runner
from fos_jax.training.step import Gather, LossFunction, Metrics


def make_disco_loss(
    foreground_encoder: ForegroundEncoder,
    query_encoder: QueryEncoder,
    interaction: InteractionNetwork,
    discriminator: CompositeDiscriminator,
    *,
    negatives: int,
    distilled_negatives: int,
    distillation_weight: float,
    classification_weight: float,
    cosine_weight: float,
    scale: float,
    augmentation: augment.Augmentation = augment.NOTHING,
) -> LossFunction:
    """Loss of a batch of `triplets.triplet_rows`, own foregrounds only.

    Params hold "foreground", "query" and "interaction"; constants the frozen teacher's variables, "composite".

    Args:
      foreground_encoder, query_encoder, interaction: trained together.
      discriminator: the teacher.
      negatives: pairs of other foregrounds that the interaction classifies, a query.
      distilled_negatives: how many of them are distilled too, each a composite and a pass of the teacher.
      distillation_weight: of the mean squared difference of the two standardised features.
      classification_weight: of the binary cross-entropy of the interaction's pairs.
      cosine_weight: of the softmax over the batch's foregrounds of the category, in both directions, by cosine.
      scale: inverse temperature of that softmax.
      augmentation: of queries and foregrounds.

    Raises:
      InputError: a number out of its range.

    Source: DiscoFOS (Zhang et al., ICCV 2023); the module names what was chosen here (decision 20).
    """
    if not 0 <= distilled_negatives <= negatives or negatives < 1:
        raise InputError(
            f"config: disco.distilled_negatives: {distilled_negatives!r} of disco.negatives: {negatives!r}, expected "
            "at least 1 negative and at most as many distilled ones"
        )

    def loss_function(
        params: Any, batch_stats: Any, batch: Mapping[str, jax.Array], keys: jax.Array, constants: Any, gather: Gather
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        augment_keys, negative_keys = augment.split_keys(keys, 2)
        image, box, foreground = augment.augment_pairs(
            batch["image"],
            batch["box_yxyx_norm"],
            batch["positive_image"],
            augment_keys,
            augmentation,
        )

        def encode(encoder: Any, name: str, *inputs: jax.Array) -> tuple[Any, jax.Array, Any]:
            variables = {"params": params[name], "batch_stats": batch_stats.get(name, {})}
            return apply_with_map(encoder, variables, *inputs, train=True)

        def interact(method: Any, *inputs: jax.Array) -> Any:
            return interaction.apply({"params": params[INTERACTION]}, *inputs, method=method)

        of_query, query_map, query_stats = encode(query_encoder, "query", image, box, batch["category"])
        of_foreground, foreground_map, foreground_stats = encode(
            foreground_encoder, "foreground", foreground, batch["positive_category"]
        )
        query_share = interact(InteractionNetwork.of_queries, query_map, box, of_query.embedding)
        share = interact(InteractionNetwork.of_foregrounds, foreground_map, of_foreground.embedding)
        candidates = gather({name: batch[name] for name in ("positive_category", "positive_row", "weight")})
        rows, is_drawn = drawn_negatives(negative_keys, batch, candidates, number=negatives)
        shares = with_own(share, gather(share)[rows])  # [B, 1 + n, k, k, H]
        pairs = interact(InteractionNetwork.pairs, query_share[:, None], shares)
        distilled = 1 + distilled_negatives
        pasted = with_own(foreground, gather(foreground)[rows[:, :distilled_negatives]])
        inputs = flat_pairs((image, box, batch["category"]), pasted)
        teacher = cast(PairOutput, discriminator.apply(constants[COMPOSITE], *inputs))
        target = jax.lax.stop_gradient(teacher.feature).reshape(-1, distilled, teacher.feature.shape[-1])
        difference = jnp.mean((pairs.feature[:, :distilled] - target) ** 2, axis=-1)  # [B, 1 + d]

        query, own, logit, difference, is_drawn, category, weight, row = gather(
            (
                of_query.embedding,
                of_foreground.embedding,
                pairs.logit,
                difference,
                is_drawn,
                *(batch[name] for name in ("category", "weight", "positive_row")),
            )
        )
        is_true, is_pair = own_and_drawn(weight, is_drawn)
        distillation = losses.weighted_mean(difference, is_pair[:, :distilled])
        classification = pair_cross_entropy(logit, is_true, is_pair)
        itself = jnp.arange(len(weight))
        is_candidate = (weight > 0)[None, :] & (category[:, None] == category[None, :])
        is_candidate &= row[:, None] != row[None, :]  # a foreground that is in the batch twice is not its own negative
        forth = losses.weighted_mean(losses.info_nce(query, own, itself, is_candidate, scale=scale), weight)
        back = losses.weighted_mean(losses.info_nce(own, query, itself, is_candidate, scale=scale), weight)
        cosine = (forth + back) / 2
        loss = distillation_weight * distillation + classification_weight * classification + cosine_weight * cosine
        metrics = {
            "distillation": distillation,
            "classification": classification,
            "cosine": cosine,
            "right": balanced_accuracy(logit, is_true, is_pair),
        }
        stats = {"foreground": foreground_stats, "query": query_stats}
        return loss, (metrics, {name: value for name, value in stats.items() if value})

    return loss_function


def train_disco(config: Any, train: Split, validation: Split, table: PatternTable, workdir: Path, run: Runner) -> None:
    """Trains the rival; `<workdir>/bundle` is its model, `<workdir>/composite` the run of the teacher.

    Args:
      config: with `seed`, `foreground`, `query`, `interaction`, `composite`, `augment`, and `disco`: `teacher_steps`
        (of training.num_steps), `teacher_negatives` and the arguments of the student's loss.
      train, validation, table, workdir, run: as of `methods.train_rival`.

    Raises:
      InputError: a wrong field in the config.

    Source: DiscoFOS (Zhang et al., ICCV 2023); the module names what was chosen here (decision 20).
    """
    settings = checked(
        config.disco,
        "disco",
        teacher_steps=int,
        teacher_negatives=int,
        negatives=int,
        distilled_negatives=int,
        distillation_weight=NUMBER,
        classification_weight=NUMBER,
        cosine_weight=NUMBER,
        scale=NUMBER,
    )
    teacher_steps, teacher_negatives = settings.pop("teacher_steps"), settings.pop("teacher_negatives")
    student_steps = remaining_steps(config, teacher_steps, "disco.teacher_steps")
    most = max(teacher_negatives, settings["negatives"])
    if most > config.training.batch_size:
        raise InputError(f"config: disco: {most} negatives a query, expected at most training.batch_size")
    models = {name: config[name].to_dict() for name in ("foreground", "query", INTERACTION, COMPOSITE)}
    ours, theirs = (complete_pair_network(name, models[name])["feature_size"] for name in (INTERACTION, COMPOSITE))
    if ours != theirs:
        raise InputError(f"config: interaction.feature_size: {ours}, expected that of composite, {theirs}")

    def make_loss(foregrounds: ForegroundEncoder, queries: QueryEncoder) -> LossFunction:
        return make_disco_loss(
            foregrounds,
            queries,
            build_interaction(models),
            build_composite(models, table),
            augmentation=augment.from_config(config.augment),
            **settings,
        )

    make_loss(*build_encoders(config, table))  # what is wrong is told before the teacher is trained
    teacher = run(
        teacher_task(config, train, validation, table, negatives=teacher_negatives, axis_name=run.axis_name),
        stage_config(config, num_steps=teacher_steps),
        workdir / COMPOSITE,
    )
    interaction = init_pair_network(INTERACTION, jax.random.key(config.seed + 3), models, table)
    task = joint_task(
        config,
        train,
        validation,
        table,
        rows=triplet_rows(*train),
        make_loss=make_loss,
        bundle_path=workdir / "bundle",
        axis_name=run.axis_name,
        trained_too={INTERACTION: interaction},
        frozen={COMPOSITE: part_of(teacher, COMPOSITE)},
    )
    run(
        task,
        stage_config(config, num_steps=student_steps),
        workdir,
    )
