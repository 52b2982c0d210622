"""Distilling the student on a data set: its `Task`, and the validation that students and baselines share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.data.arrays import Foregrounds, Queries, fingerprint
from fos_jax.encoders.build import build_query_encoder, init_query
from fos_jax.encoders.bundle import Bundle, save_bundle
from fos_jax.encoders.query import QueryEncoder
from fos_jax.errors import InputError
from fos_jax.pattern_table import PatternTable
from fos_jax.posteriors import (
    combined_log_posterior,
    factorised_log_posterior,
    is_in_category,
    pattern_log_posterior,
)
from fos_jax.training import augment
from fos_jax.training.calibrate import calibrated_scale, cross_entropy
from fos_jax.training.distill import make_distill_loss
from fos_jax.training.loop import Task
from fos_jax.training.model import Encoder
from fos_jax.training.teacher import encode_once, gallery_targets, pattern_targets

QUERY_INPUTS = ("image", "box_yxyx_norm", "category")

# (scores [Q, G], relevant [Q, G], valid [Q, G]) -> mean average precision. The measure itself lives in a room below
# this one (evaluation), so programs hand it in.
RankingMeasure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def distill_task(
    config: Any,
    train: tuple[Foregrounds, Queries],
    validation: tuple[Foregrounds, Queries],
    table: PatternTable,
    *,
    teacher: Bundle,
    bundle_path: str | Path,
    cache_dir: str | Path,
    measure_ranking: RankingMeasure,
    axis_name: str | None = None,
) -> Task:
    """The task of training a query encoder from a frozen teacher.

    Args:
      config: with `seed`, `query`, `distillation` (arguments of the loss and of `pattern_targets`) and `augment`.
      train, validation: foregrounds and queries.
      table: pattern table, the one the teacher was trained on.
      teacher: its bundle.
      bundle_path: where the bundle of teacher and student goes.
      cache_dir: for the teacher's outputs.
      measure_ranking: mean average precision; the best checkpoint is chosen by it.
      axis_name: `parallelism.AXIS` when it will run under pmap, else None.

    Raises:
      InputError: the teacher knows other patterns than the data set.

    Source: design decision.
    """
    if teacher.table.fingerprint() != table.fingerprint():
        raise InputError(
            f"teacher: trained on pattern table {teacher.table.fingerprint()}, expected {table.fingerprint()}, that of "
            "the data set"
        )
    embedding, log_posterior = encode_once(teacher, train[0], cache_dir=cache_dir)
    loss_settings = dict(config.distillation)
    constants = pattern_targets(
        embedding,
        log_posterior,
        train[0].pattern,
        teacher.prototypes,
        feature_target=loss_settings.pop("feature_target"),
        response_target=loss_settings.pop("response_target"),
    )
    if config.distillation.gallery_weight:
        constants |= gallery_targets(
            embedding,
            log_posterior,
            train[0].pattern,
            train[0].category,
            response_target=config.distillation.response_target,
        )
    query = {**config.query.to_dict(), "uses_attributes": learns_attributes(config.distillation)}
    models = {"foreground": teacher.config.foreground.to_dict(), "query": query}
    encoder = build_query_encoder(models, table, axis_name=axis_name)
    variables = init_query(jax.random.key(config.seed), models, table)
    if "readout" in variables["params"]:
        variables["params"]["readout"] = jnp.asarray(constants["target"])
    queries = train[1]
    arrays = {name: getattr(queries, name) for name in (*QUERY_INPUTS, "is_compatible")}
    gallery = encode_once(teacher, validation[0], cache_dir=cache_dir)
    ranking = StudentValidation(encoder, validation[1], validation[0], gallery, table, measure_ranking)

    def finish(variables: dict[str, Any], metrics: dict[str, float]) -> None:
        resolved = config.to_dict()
        resolved["foreground"] = teacher.config.foreground.to_dict()
        resolved["query"] = {**query, **ranking.scales(variables)}
        resolved["teacher"] = {"fingerprint": teacher.fingerprint}
        save_bundle(
            bundle_path,
            config=resolved,
            table=table,
            foreground_variables=teacher.variables["foreground"],
            query_variables=variables,
            metrics={**teacher.metrics, "student_validation": metrics},
        )

    return Task(
        variables=variables,
        loss_function=make_distill_loss(
            encoder,
            table,
            augmentation=augment.from_config(config.augment),
            **loss_settings,
        ),
        constants=constants,
        arrays=arrays,
        ids=queries.ids,
        validate=ranking,
        finish=finish,
        inputs={
            "train": fingerprint(queries),
            "validation": fingerprint(validation[1]),
            "patterns": table.fingerprint(),
            "teacher": teacher.fingerprint,
        },
    )


def learns_attributes(distillation: Mapping[str, Any]) -> bool:
    """Whether any loss trains the attribute head; a head that learns nothing would spoil what both heads say."""
    return bool(distillation["attribute_weight"] or distillation["combined_weight"])


class StudentValidation:
    """Measures a student on the validation split: ranking by cosine and by posterior, after calibration.

    Args:
      encoder: query encoder.
      queries, foregrounds: of the validation split.
      gallery: the teacher's embedding [n, D] and log-posterior [n, P] of those foregrounds.
      table: pattern table.
      measure_ranking: mean average precision.
    """

    def __init__(
        self,
        encoder: QueryEncoder,
        queries: Queries,
        foregrounds: Foregrounds,
        gallery: tuple[np.ndarray, np.ndarray],
        table: PatternTable,
        measure_ranking: RankingMeasure,
    ):
        self._encode = Encoder(encoder, QUERY_INPUTS)
        self._inputs = {name: getattr(queries, name) for name in QUERY_INPUTS}
        self._queries, self._table, self._measure = queries, table, measure_ranking
        self._embedding, self._posterior = gallery[0], np.exp(gallery[1])
        is_labelled = foregrounds.pattern >= 0
        self._valid = (queries.category[:, None] == foregrounds.category[None, :]) & is_labelled[None, :]
        self._relevant = queries.is_compatible[:, foregrounds.pattern] & self._valid
        self._is_allowed = np.asarray(is_in_category(queries.category, table.category_of_pattern))
        fits = np.asarray(queries.is_compatible)
        self._target = (fits / np.maximum(fits.sum(axis=1, keepdims=True), 1)).astype(np.float32)

    def __call__(self, variables: dict[str, Any]) -> dict[str, float]:
        """mAP by cosine, flat, factorised and combined posterior; "score" is the best posterior's."""
        embedding, pattern_logits, attribute_logits = self._encode(variables, self._inputs)
        flat_scale, factorised_scale = self._scales(pattern_logits, attribute_logits)
        flat = np.asarray(self._flat(pattern_logits, flat_scale))
        metrics = {"map_cosine": self._map(embedding @ self._embedding.T), "map_flat": self._posterior_map(flat)}
        metrics["cross_entropy"] = cross_entropy(pattern_logits, self._is_allowed, self._target, flat_scale)
        first = flat.argmax(axis=1)
        metrics["top1_compatible"] = float(np.mean(self._queries.is_compatible[np.arange(len(first)), first]))
        metrics["score"] = metrics["map_flat"]
        if attribute_logits.shape[1]:
            factorised = self._factorised(attribute_logits, factorised_scale)
            metrics["map_factorised"] = self._posterior_map(np.asarray(factorised))
            metrics["map_both"] = self._posterior_map(np.asarray(combined_log_posterior(flat, factorised)))
            metrics["score"] = metrics["map_both"]
        return metrics

    def scales(self, variables: dict[str, Any]) -> dict[str, float]:
        """Calibration of the two heads: `flat_scale` and `factorised_scale` of `config.query`."""
        _, pattern_logits, attribute_logits = self._encode(variables, self._inputs)
        flat, factorised = self._scales(pattern_logits, attribute_logits)
        return {"flat_scale": flat, "factorised_scale": factorised}

    def _scales(self, pattern_logits: np.ndarray, attribute_logits: np.ndarray) -> tuple[float, float]:
        flat = calibrated_scale(pattern_logits, self._is_allowed, self._target)
        if not attribute_logits.shape[1]:
            return flat, 1.0
        # Each attribute's log-normaliser is the same for all patterns of the category, so the softmax over patterns
        # does not see it: sums of logits are enough.
        joint = np.asarray(attribute_logits) @ self._table.has_value.T.astype(np.float32)
        return flat, calibrated_scale(joint, self._is_allowed, self._target)

    def _flat(self, logits: np.ndarray, scale: float) -> Any:
        return pattern_log_posterior(
            jnp.asarray(logits), self._queries.category, self._table.category_of_pattern, scale=scale
        )

    def _factorised(self, logits: np.ndarray, scale: float) -> Any:
        return factorised_log_posterior(
            jnp.asarray(logits),
            self._queries.category,
            category_of_pattern=self._table.category_of_pattern,
            attribute_group=self._table.attribute_group,
            has_value=self._table.has_value,
            scale=scale,
        )

    def _posterior_map(self, log_posterior: np.ndarray) -> float:
        return self._map(np.exp(log_posterior) @ self._posterior.T)

    def _map(self, scores: np.ndarray) -> float:
        return self._measure(scores, self._relevant, self._valid)
