"""The experts' bundle: frozen features, pattern heads, experts whose cosines add to the score; on disk and in memory.

config.json           backbone, weights of the experts, how it was trained
patterns.json         the pattern table
metrics.json          what it was measured at
manifest.json         kind, format version, fingerprint
arrays.safetensors    heads and projections, float16
CARD.md               the model card, where there is one
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from fos_jax.errors import InputError
from fos_jax.experts import inputs
from fos_jax.experts.canonical import Projection
from fos_jax.experts.features import FrozenBackbone, joined
from fos_jax.experts.heads import Head
from fos_jax.files import published_directory
from fos_jax.pattern_table import PatternTable

KIND = "experts"
FORMAT_VERSION = 1
EXPERTS = ("geometry", "appearance")
_SIDES_OF_PAIR = ("query", "foreground")


class Encoding(NamedTuple):
    """Encoded foregrounds or queries.

    Attributes:
      embedding: float32 [n, D], unit: the experts' vectors joined in proportion to their weights.
      log_posterior: float32 [n, P], -inf outside the category and for category -1.
      experts: name -> float32 [n, D_e], unit.
    """

    embedding: np.ndarray
    log_posterior: np.ndarray
    experts: dict[str, np.ndarray]


class Experts:
    """A model of photographs: patterns where it knows them, geometry and appearance for every category.

    Attributes:
      config: plain JSON: `backbone` (name, weights, digest), `expert_weights`, `categories_with_offsets`, `training`.
      table: the pattern table.
      heads: "query" and "foreground" -> pattern head.
      projections: expert -> (of queries, of foregrounds).
      metrics: what it was measured at. fingerprint: hex digest of everything that encodings depend on.
    """

    has_query_encoder = True
    accepts_any_category = True

    def __init__(
        self,
        config: Mapping[str, Any],
        table: PatternTable,
        heads: Mapping[str, Head],
        projections: Mapping[str, tuple[Projection, Projection]],
        prototypes: np.ndarray,
        metrics: Mapping[str, Any] | None = None,
        *,
        backbone: FrozenBackbone | None = None,
    ):
        self.config, self.table, self.metrics = dict(config), table, dict(metrics or {})
        # float16 is what is stored: a model answers the same before it was saved and after.
        self.heads = {k: Head(*map(_halved, v)) for k, v in heads.items()}
        self.projections = {
            k: (Projection(*map(_halved, q)), Projection(*map(_halved, f))) for k, (q, f) in projections.items()
        }
        self.prototypes = _halved(prototypes)  # [P, D]
        self.fingerprint = _fingerprint(self.config, table, self._arrays())
        if backbone is not None:
            self.__dict__["backbone"] = backbone

    @functools.cached_property
    def backbone(self) -> FrozenBackbone:
        """The frozen backbone; `InputError` where its weights are missing or not the ones of the training."""
        fields = self.config["backbone"]
        backbone = FrozenBackbone(fields["name"], fields["weights"])
        if backbone.digest != fields["digest"]:
            raise InputError(
                f"bundle {self.fingerprint}: {fields['name']} has other weights (digest {backbone.digest}) than the "
                f"bundle was trained on (digest {fields['digest']})"
            )
        return backbone

    @property
    def expert_weights(self) -> dict[str, float]:
        """name -> usual weight of each expert whose cosine adds to the score."""
        return dict(self.config["expert_weights"])

    @property
    def foreground_size(self) -> int:
        """Side of cut-outs in pixels."""
        return self.backbone.size

    @property
    def query_size(self) -> int:
        """Side of queries in pixels."""
        return self.backbone.size

    def foreground_inputs(self, rgba: np.ndarray, truncated: Sequence[str] | None) -> tuple[np.ndarray, ...]:
        """One cut-out's inputs; see `experts.inputs.cutout_row`."""
        return tuple(inputs.cutout_row(rgba, truncated, self.backbone.size))

    def query_inputs(self, photo: np.ndarray, box_xyxy_px: Sequence[float]) -> tuple[np.ndarray, ...]:
        """One query's inputs; see `experts.inputs.query_row`."""
        return tuple(inputs.query_row(photo, box_xyxy_px, self.backbone.size))

    def query_window(self, box_xyxy_px: Sequence[int], width: int, height: int) -> tuple[int, int, int]:
        """Left, top and side in pixels of the window of the photograph that the first input shows."""
        return inputs.query_window(box_xyxy_px)

    def encode_foregrounds(
        self,
        image: np.ndarray,
        shape: np.ndarray,
        tone: np.ndarray,
        category: np.ndarray,
        *,
        batch_size: int = 32,
        progress: bool = False,
    ) -> Encoding:
        """Encodes stacked `foreground_inputs` of n cut-outs; class ids int [n], -1 for a category without patterns."""
        return self._encode("foreground", image, shape, tone, category, batch_size, progress)

    def encode_queries(
        self,
        image: np.ndarray,
        shape: np.ndarray,
        tone: np.ndarray,
        category: np.ndarray,
        *,
        batch_size: int = 32,
        progress: bool = False,
    ) -> Encoding:
        """Encodes stacked `query_inputs` of n queries; class ids int [n], -1 for a category without patterns."""
        return self._encode("query", image, shape, tone, category, batch_size, progress)

    def _encode(self, side: str, image, shape, tone, category, batch_size: int, progress: bool) -> Encoding:
        description = {"query": "encoding queries", "foreground": "encoding foregrounds"}[side] if progress else ""
        features = self.backbone(image, batch_size=min(batch_size, 32), description=description)
        return self.from_features(side, features, shape, tone, category)

    def from_features(
        self, side: str, features: np.ndarray, shape: np.ndarray, tone: np.ndarray, category: np.ndarray
    ) -> Encoding:
        """The encoding of frozen features float16 [n, F] with the numbers that go with them.

        Args:
          side: "query" or "foreground". shape, tone: as `experts.inputs.Row`, stacked. category: int [n].
        """
        blocks = expert_blocks(side, features, shape, tone, self.config["backbone"]["edges"])
        which, category = _SIDES_OF_PAIR.index(side), np.asarray(category)
        experts = {
            name: pair[which](joined(blocks[name]), category).astype(np.float32)
            for name, pair in self.projections.items()
        }
        log_posterior = self.heads[side].log_posterior(
            joined(blocks["patterns"]), category, self.table.category_of_pattern
        )
        return Encoding(joined_experts(experts, self.expert_weights), log_posterior, experts)

    def save(self, path: str | Path, *, card: str = "") -> str:
        """Writes the bundle whole or not at all and returns its fingerprint; `InputError` where the disk refuses."""
        arrays = self._arrays()
        manifest = {"kind": KIND, "format_version": FORMAT_VERSION, "fingerprint": self.fingerprint}
        with published_directory(path, needed_bytes=sum(a.nbytes for a in arrays.values())) as aside:
            for name, value in (("config", self.config), ("metrics", self.metrics), ("manifest", manifest)):
                (aside / f"{name}.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")
            (aside / "patterns.json").write_text(self.table.to_json(), "utf-8")
            save_file(arrays, aside / "arrays.safetensors")
            if card:
                (aside / "CARD.md").write_text(card, "utf-8")
        return self.fingerprint

    @classmethod
    def load(cls, path: str | Path) -> "Experts":
        """Reads what `save` wrote; `InputError` where something is missing, damaged or was changed (by name)."""
        path = Path(path)
        manifest, config, metrics = (_read_json(path / f"{n}.json") for n in ("manifest", "config", "metrics"))
        if manifest.get("format_version") != FORMAT_VERSION:
            found = manifest.get("format_version")
            raise InputError(f"{path / 'manifest.json'}: format_version is {found!r}, expected {FORMAT_VERSION}")
        table = PatternTable.read(path / "patterns.json")
        try:
            stored = load_file(path / "arrays.safetensors")
        except Exception as error:  # the library's own exception types are private
            raise InputError(
                f"{path / 'arrays.safetensors'}: cannot be read ({' '.join(str(error).split())})"
            ) from None
        try:
            arrays = {n: a.astype(np.float32) * stored[f"{n}:scale"] for n, a in stored.items() if ":" not in n}
            heads = {s: Head(*(arrays[f"{s}/{f}"] for f in Head._fields)) for s in _SIDES_OF_PAIR}
            projections = {name: _pair(arrays, name) for name in config["expert_weights"]}
            bundle = cls(config, table, heads, projections, arrays["prototypes"], metrics)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: arrays or fields are missing ({error})") from None
        if bundle.fingerprint != manifest.get("fingerprint"):
            raise InputError(
                f"{path}: contents have fingerprint {bundle.fingerprint}, expected {manifest.get('fingerprint')} "
                "(manifest.json); the bundle was changed after it was written"
            )
        return bundle

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            f"{side}/{field}": getattr(head, field) for side, head in self.heads.items() for field in Head._fields
        }
        for name, pair in self.projections.items():
            for side, projection in zip(_SIDES_OF_PAIR, pair, strict=True):
                arrays |= {f"{name}/{side}/{field}": getattr(projection, field) for field in Projection._fields}
        arrays["prototypes"] = self.prototypes
        quantised = {name: _quantised(array) for name, array in arrays.items()}
        return {name: a for name, (a, _) in quantised.items()} | {f"{n}:scale": s for n, (_, s) in quantised.items()}


def expert_blocks(
    side: str, features: np.ndarray, shape: np.ndarray, tone: np.ndarray, edges: Sequence[int]
) -> dict[str, list[np.ndarray]]:
    """What each expert and the pattern head see of one side: name -> blocks, float [n, F_i].

    Geometry compares the rectangle with the cut-out and knows nothing of the photograph; appearance compares the
    surroundings with the cut-out; pattern heads see the layout of the middle stage, and the query's the rectangle too.

    Args:
      side: "query" or "foreground". features: [n, F]. shape, tone: as `experts.inputs.Row`, stacked.
      edges: columns at which a new stage of the backbone begins.
    """
    stages = np.split(np.asarray(features, np.float32), edges, axis=1)
    middle = stages[(len(stages) - 1) // 2]
    layout = own_statistics_removed(middle)
    if side == "query":
        geometry = [inputs.geometry_of_rectangle(shape)]
        return {"geometry": geometry, "appearance": [*stages, tone], "patterns": [layout, *geometry]}
    silhouette = inputs.geometry_of_silhouette(shape)
    return {
        "geometry": [silhouette, middle],
        "appearance": [*stages, tone, silhouette],
        "patterns": [layout],
    }


def own_statistics_removed(cells: np.ndarray, *, num_cells: int = 16) -> np.ndarray:
    """Each picture's channels with their mean over its cells taken off and their deviation divided out.

    What is left says where things are, not how much of them there is: rendered and real pictures differ in the latter.

    Args:
      cells: float [n, num_cells * C], cell after cell.
    """
    x = np.asarray(cells, np.float32).reshape(len(cells), num_cells, cells.shape[1] // num_cells)
    out = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-3)
    return out.reshape(len(cells), -1)


def joined_experts(experts: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """One unit vector per row, whose inner product is the experts' weighted mean: float32 [n, sum of sizes]."""
    total = sum(weights.values()) or 1.0
    parts = [np.float32(np.sqrt(weights[name] / total)) * experts[name] for name in sorted(weights)]
    return np.concatenate(parts, axis=1)


def _quantised(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float16 of the array over its largest magnitude, and that magnitude, float32 [1]."""
    scale = np.float32(np.abs(array).max(initial=0) or 1)
    return np.ascontiguousarray(np.asarray(array, np.float32) / scale, np.float16), scale.reshape(1)


def _halved(array: np.ndarray) -> np.ndarray:
    small, scale = _quantised(array)
    return small.astype(np.float32) * scale


def _pair(arrays: Mapping[str, np.ndarray], name: str) -> tuple[Projection, Projection]:
    query, foreground = (
        Projection(*(arrays[f"{name}/{side}/{field}"] for field in Projection._fields)) for side in _SIDES_OF_PAIR
    )
    return query, foreground


def _fingerprint(config: Mapping[str, Any], table: PatternTable, arrays: Mapping[str, np.ndarray]) -> str:
    depends = {name: config[name] for name in ("backbone", "expert_weights")}
    digest = hashlib.sha256(json.dumps([KIND, depends, table.fingerprint()], sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected a JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds a {type(value).__name__}, expected a JSON object")
    return value
