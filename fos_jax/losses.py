"""Losses as pure functions: each gives one value an example, float32 [B]; `weighted_mean` makes them one number.

Rows that pad a batch get weight 0 in `weighted_mean`; where other rows take part in a row's loss (negatives,
positives), the padding is excluded by an explicit mask. Values and gradients stay finite at zero vectors, with no
positives, and at log-probabilities of -inf.
"""

import jax
import jax.numpy as jnp

from fos_jax.posteriors import attribute_log_posterior, is_in_category, masked_log_softmax, unit


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean of per-example values.

    Args:
      values: float [B]; ignored where the weight is 0.
      weight: float [B], 0 for padding.

    Returns:
      float32 scalar; 0 where all weights are 0.
    """
    weight = weight.astype(jnp.float32)
    total = jnp.sum(jnp.where(weight > 0, values.astype(jnp.float32), 0.0) * weight)
    return total / jnp.maximum(jnp.sum(weight), 1e-6)


def pattern_softmax(
    cosine: jax.Array,
    pattern: jax.Array,
    category_of_pattern: jax.Array,
    *,
    scale: float | jax.Array = 16.0,
    margin: float = 0.1,
) -> jax.Array:
    """Cross-entropy of a softmax over the patterns of the example's category, on cosines with an additive margin.

    Args:
      cosine: float [B, P].
      pattern: int32 [B], the true pattern; rows of unknown pattern (-1) give 0.
      category_of_pattern: int32 [P].
      scale: inverse temperature.
      margin: what is taken from the true pattern's cosine.

    Returns:
      float32 [B].

    Source: decision 7; the margin is that of Wang et al., CosFace, CVPR 2018.
    """
    is_known = pattern >= 0
    true = jnp.where(is_known, pattern, 0)
    is_true = true[:, None] == jnp.arange(cosine.shape[1])  # [B, P]
    is_allowed = is_in_category(jnp.asarray(category_of_pattern)[true], category_of_pattern)
    log_posterior = masked_log_softmax(scale * (cosine - margin * is_true), is_allowed)
    return jnp.where(is_known, -jnp.sum(jnp.where(is_true, log_posterior, 0.0), axis=-1), 0.0)


def supervised_contrastive(
    embedding: jax.Array,
    candidates: jax.Array,
    is_positive: jax.Array,
    is_candidate: jax.Array,
    *,
    scale: float = 10.0,
) -> jax.Array:
    """Mean over the positives of the cross-entropy of picking each among all candidates.

    Args:
      embedding: float [B, D], unit.
      candidates: float [N, D], unit: the same batch, or that of all devices.
      is_positive: bool [B, N], same pattern, the row itself excluded.
      is_candidate: bool [B, N], rows that take part in the softmax: no padding, not the row itself.
      scale: inverse temperature.

    Returns:
      float32 [B]; 0 for rows without positives.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020 (the variant with the mean outside the log).
    """
    is_positive = is_positive & is_candidate
    log_probability = masked_log_softmax(scale * (embedding @ candidates.T), is_candidate)  # [B, N]
    return -_masked_mean(log_probability, is_positive)


def info_nce(
    query: jax.Array,
    candidates: jax.Array,
    positive_index: jax.Array,
    is_candidate: jax.Array,
    *,
    scale: float | jax.Array = 10.0,
) -> jax.Array:
    """Cross-entropy of picking the query's own foreground among the candidates.

    Args:
      query: float [B, D], unit.
      candidates: float [N, D], unit.
      positive_index: int32 [B], row of the own foreground; -1 where there is none.
      is_candidate: bool [B, N], the others that take part (no padding, same category where wished); the own one always
        takes part.
      scale: inverse temperature.

    Returns:
      float32 [B]; 0 for rows without an own foreground.

    Source: van den Oord et al., 2018; the form for two towers as in Radford et al., ICML 2021.
    """
    is_positive = positive_index[:, None] == jnp.arange(candidates.shape[0])  # [B, N]
    log_probability = masked_log_softmax(scale * (query @ candidates.T), is_candidate | is_positive)
    return -_masked_mean(log_probability, is_positive)


def triplet(
    positive_cosine: jax.Array, negative_cosine: jax.Array, is_negative: jax.Array, *, margin: float = 0.3
) -> jax.Array:
    """Hinge max(0, d_pos - d_neg + margin), a mean over the negatives; d is the squared distance, 2 - 2 cos.

    Args:
      positive_cosine: float [B], to the positive.
      negative_cosine: float [B, N], to each candidate.
      is_negative: bool [B, N].
      margin: in squared distance.

    Returns:
      float32 [B]; 0 for rows without negatives.

    Source: Zhao et al., Compositing-Aware Image Search, ECCV 2018 (the loss); decision 20 (distance).
    """
    difference = 2.0 * (negative_cosine - positive_cosine[:, None])
    return _masked_mean(jnp.maximum(difference.astype(jnp.float32) + margin, 0.0), is_negative)


def feature_distillation(student: jax.Array, teacher: jax.Array, target_weight: jax.Array | None = None) -> jax.Array:
    """1 - cos to the teacher's embedding, or its weighted mean over several targets.

    Args:
      student: float [B, D].
      teacher: float [B, D], one target a row; or [K, D] with `target_weight`.
      target_weight: float or bool [B, K], which targets count for which row (compatible foregrounds or prototypes);
        rows are divided by their sum.

    Returns:
      float32 [B]; rows without targets give 0.

    Source: decision 8.
    """
    student, teacher = unit(student), unit(teacher)
    if target_weight is None:
        return 1.0 - jnp.sum(student * teacher, axis=-1)
    weight = target_weight.astype(jnp.float32)
    total = jnp.sum(weight, axis=-1)
    mean = jnp.sum(weight * (1.0 - student @ teacher.T), axis=-1) / jnp.maximum(total, 1e-6)
    return jnp.where(total > 0, mean, 0.0)


def response_distillation(
    teacher_log_posterior: jax.Array, student_log_posterior: jax.Array, *, temperature: float = 1.0
) -> jax.Array:
    """KL(teacher || student) of pattern posteriors softened by a temperature, times its square.

    Args:
      teacher_log_posterior: float [B, P], -inf where impossible.
      student_log_posterior: float [B, P], -inf outside the category.
      temperature: both are raised to 1/temperature and normalised again.

    Returns:
      float32 [B], >= 0 up to rounding. The teacher's mass on patterns that the student holds impossible is left out.

    Source: Hinton et al., 2015; decision 8.
    """
    is_allowed = jnp.isfinite(student_log_posterior)
    is_target = jnp.isfinite(teacher_log_posterior) & is_allowed
    student = _soften(student_log_posterior, is_allowed, temperature)
    teacher = jax.lax.stop_gradient(_soften(teacher_log_posterior, is_target, temperature))
    gap = jnp.where(is_target, teacher, 0.0) - jnp.where(is_target, student, 0.0)
    return temperature**2 * jnp.sum(jnp.where(is_target, jnp.exp(teacher), 0.0) * gap, axis=-1)


def ranking_distillation(
    embedding: jax.Array,
    gallery: jax.Array,
    relevance: jax.Array,
    is_candidate: jax.Array,
    *,
    scale: float = 16.0,
) -> jax.Array:
    """Cross-entropy between a gallery's relevance and the softmax over the cosines to it, above its least.

    Args:
      embedding: float [B, D], unit.
      gallery: float [N, D], unit.
      relevance: float [B, N], >= 0; made to sum to one over the candidates.
      is_candidate: bool [B, N], the rows that take part.
      scale: inverse temperature.

    Returns:
      float32 [B], a KL divergence, >= 0 up to rounding; 0 for rows without relevant candidates.

    Source: listwise ranking as in Cao et al., ICML 2007 (ListNet); decision 8.
    """
    relevance = jax.lax.stop_gradient(jnp.where(is_candidate, relevance.astype(jnp.float32), 0.0))
    target = relevance / jnp.maximum(jnp.sum(relevance, axis=-1, keepdims=True), 1e-6)
    log_probability = masked_log_softmax(scale * (embedding @ gallery.T), is_candidate)  # [B, N]
    is_target = target > 0
    gap = jnp.log(jnp.where(is_target, target, 1.0)) - jnp.where(is_target, log_probability, 0.0)
    return jnp.sum(target * gap, axis=-1)


def attribute_distillation(
    teacher_log_posterior: jax.Array, attribute_logits: jax.Array, *, attribute_group: jax.Array, has_value: jax.Array
) -> jax.Array:
    """KL from the teacher's attribute marginals to the factorised head, a mean over attributes.

    Args:
      teacher_log_posterior: float [B, P], normalised within the category, -inf elsewhere.
      attribute_logits: float [B, V].
      attribute_group: int32 [V].
      has_value: bool [P, V].

    Returns:
      float32 [B]; attributes of other categories take no part; 0 where the category has no attributes.

    Source: decision 8.
    """
    target = jax.lax.stop_gradient(jnp.exp(teacher_log_posterior) @ jnp.asarray(has_value, jnp.float32))  # [B, V]
    student = attribute_log_posterior(attribute_logits, attribute_group)  # [B, V]
    is_target = target > 0
    gap = jnp.log(jnp.where(is_target, target, 1.0)) - jnp.where(is_target, student, 0.0)
    num_attributes = jnp.sum(target, axis=-1)  # the values of each attribute sum to one
    return jnp.sum(target * gap, axis=-1) / jnp.maximum(num_attributes, 1e-6)


def _soften(log_posterior: jax.Array, is_allowed: jax.Array, temperature: float) -> jax.Array:
    return masked_log_softmax(jnp.where(is_allowed, log_posterior, 0.0) / temperature, is_allowed)


def _masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    count = jnp.sum(mask, axis=-1)
    return jnp.sum(jnp.where(mask, values, 0.0), axis=-1) / jnp.maximum(count, 1)
