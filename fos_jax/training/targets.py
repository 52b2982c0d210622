"""Targets of distillation: the frozen teacher, run once over the training foregrounds."""

from pathlib import Path
from typing import Any

import numpy as np

from fos_jax.data.arrays import Foregrounds, fingerprint
from fos_jax.data.cache import cached_arrays

# What the student answers to, and how much of it are the labels; the rest is the teacher's posterior.
_LABEL_SHARES = {"teacher": 0.0, "mean": 0.5, "labels": 1.0}


def encode_once(bundle: Any, foregrounds: Foregrounds, *, cache_dir: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A bundle's embeddings [n, D] and log-posteriors [n, P] of foregrounds, cached on disk.

    Args:
      bundle: `encoders.bundle.Bundle`.
      foregrounds: to encode.
      cache_dir: where they are kept, keyed by the fingerprints of the bundle and of the arrays.
    """

    def compute() -> dict[str, np.ndarray]:
        encoding = bundle.encode_foregrounds(foregrounds.image, foregrounds.category, progress=True)
        return {"embedding": encoding.embedding, "log_posterior": encoding.log_posterior}

    arrays = cached_arrays(cache_dir, f"teacher-{bundle.fingerprint}-{fingerprint(foregrounds)}", compute)
    return np.asarray(arrays["embedding"]), np.asarray(arrays["log_posterior"])


def pattern_targets(
    embedding: np.ndarray,
    log_posterior: np.ndarray,
    pattern: np.ndarray,
    prototypes: np.ndarray,
    *,
    feature_target: str = "mean",
    response_target: str = "teacher",
) -> dict[str, np.ndarray]:
    """What the student is taught about each pattern.

    Args:
      embedding: float32 [n, D], the teacher's, unit.
      log_posterior: float32 [n, P].
      pattern: int32 [n], -1 unknown.
      prototypes: float32 [P, D], the teacher's class weights.
      feature_target: "mean" of the members' embeddings, or "prototypes". One member drawn at random each step would
        have the mean's gradient in expectation, with noise added, so that is not offered.
      response_target: "teacher" for its posteriors, "labels" for the pattern itself (a control that learns which
        patterns fit from their names alone), or the "mean" of both.

    Returns:
      `target` float32 [P, D], unit, and `response` float32 [P, P], each row a mean posterior over the members; a
      pattern without members has its prototype and itself.

    Raises:
      ValueError: unknown feature_target or response_target.

    Source: decision 9.
    """
    if feature_target not in ("mean", "prototypes"):
        raise ValueError(f"feature_target is {feature_target!r}, expected 'mean' or 'prototypes'")
    label_share = _label_share(response_target)
    is_member = pattern[:, None] == np.arange(len(prototypes))[None, :]  # [n, P]
    count = is_member.sum(axis=0)[:, None]  # [P, 1]
    share = (is_member / np.maximum(count.T, 1)).T.astype(np.float32)  # [P, n]
    labels = np.eye(len(prototypes))
    mixed = (1 - label_share) * (share @ np.exp(log_posterior)) + label_share * labels
    response = np.where(count > 0, mixed, labels)
    target = prototypes
    if feature_target == "mean":
        target = np.where(count > 0, share @ embedding, prototypes)
    target = target / np.maximum(np.linalg.norm(target, axis=1, keepdims=True), 1e-6)
    return {"target": target.astype(np.float32), "response": response.astype(np.float32)}


def gallery_targets(
    embedding: np.ndarray,
    log_posterior: np.ndarray,
    pattern: np.ndarray,
    category: np.ndarray,
    *,
    response_target: str = "teacher",
) -> dict[str, np.ndarray]:
    """The training foregrounds as a gallery that the student's embedding learns to rank.

    Args:
      embedding: float32 [n, D], the teacher's, unit.
      log_posterior: float32 [n, P].
      pattern: int32 [n], -1 unknown.
      category: int32 [n].
      response_target: "teacher": a foreground belongs to patterns as its posterior says; "labels": to its own; "mean":
        half and half.

    Returns:
      `gallery` float32 [n, D], `gallery_pattern` float32 [n, P] and `gallery_category` int32 [n]. Rows of
      `gallery_pattern` sum to one; where the pattern is unknown, to what is not taken from labels.

    Raises:
      ValueError: unknown response_target.

    Source: decision 9.
    """
    label_share = _label_share(response_target)
    is_member = pattern[:, None] == np.arange(log_posterior.shape[1])[None, :]
    belongs = (1 - label_share) * np.exp(log_posterior) + label_share * is_member
    return {
        "gallery": embedding.astype(np.float32),
        "gallery_pattern": belongs.astype(np.float32),
        "gallery_category": category.astype(np.int32),
    }


def _label_share(response_target: str) -> float:
    if response_target not in _LABEL_SHARES:
        raise ValueError(f"response_target is {response_target!r}, expected one of {', '.join(_LABEL_SHARES)}")
    return _LABEL_SHARES[response_target]
