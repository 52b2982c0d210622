"""Frozen features of photographs: a public backbone's maps in cells, computed once and kept in a folder."""

import functools
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fos_jax.encoders.backbones import Features, make_backbone
from fos_jax.encoders.build import run_in_batches
from fos_jax.encoders.convert import convert_backbone, read_state_dict, weights_path
from fos_jax.encoders.efficientnet import EfficientNetLite, pooled_cells
from fos_jax.encoders.inputs import foreground_input, normalise
from fos_jax.errors import InputError

VARIANTS = {"efficientnet_lite0": (1.0, 1.0, 224), "efficientnet_lite2": (1.1, 1.2, 260)}
# Stage -> cells per side. Viewpoint and light live in the middle of the network and in the layout.
CELLS = {3: 4, 5: 4, 7: 2}


class Blocks(NamedTuple):
    """Columns of each block of features: a stage's cells, one slice per stage."""

    names: tuple[str, ...]
    slices: tuple[slice, ...]


class FrozenBackbone:
    """A backbone with public weights that nobody trains.

    EfficientNet-Lite gives the maps of three stages in cells; another backbone (with a file of weights that the user
    has) gives its last map in 4 x 4 cells and its pooled vector.

    Attributes:
      name: of the backbone. size: side of its images in pixels. digest: of name and weights, hex.
    """

    def __init__(self, name: str = "efficientnet_lite0", weights: str = "package", size: int | None = None):
        """Reads the weights; `InputError` where they are missing, damaged or another backbone's."""
        self.name, self.weights = name, weights
        self.size = size or (VARIANTS[name][2] if name in VARIANTS else 224)
        path = weights_path(name, weights)
        state = read_state_dict(path)
        self.digest = hashlib.sha256(f"{name} {self.size} {CELLS}".encode() + path.read_bytes()).hexdigest()[:16]
        if name in VARIANTS:
            width, depth, _ = VARIANTS[name]
            self._module: nn.Module = EfficientNetLite(width, depth, taps=tuple(CELLS))
            self._variables = convert_backbone(name, state, image_size=self.size, where=str(path), module=self._module)
        else:
            self._module = make_backbone(name)
            self._variables = convert_backbone(name, state, image_size=self.size, where=str(path))

    @functools.cached_property
    def blocks(self) -> Blocks:
        """Where each stage's numbers lie in a row of features."""
        shapes = jax.eval_shape(self._maps, jax.ShapeDtypeStruct((1, self.size, self.size, 4), jnp.float32))
        names, slices, start = [], [], 0
        for name, shape in shapes.items():
            stop = start + int(np.prod(shape.shape[1:]))
            names.append(name)
            slices.append(slice(start, stop))
            start = stop
        return Blocks(tuple(names), tuple(slices))

    @property
    def num_features(self) -> int:
        """F, numbers per image."""
        return self.blocks.slices[-1].stop

    def __call__(self, images: np.ndarray, *, batch_size: int = 32, description: str = "") -> np.ndarray:
        """Features of cut-outs or queries.

        Args:
          images: uint8 [n, S, S, 4] matted cut-outs, or [n, S, S, 3] queries with the rectangle filled.
          batch_size: images at a time. description: of a progress bar; none where it is empty.

        Returns:
          float16 [n, F].

        Raises:
          InputError: images of another shape or dtype, or weights that give features that are not finite.
        """
        images = np.asarray(images)
        is_good = images.ndim == 4 and images.shape[1:3] == (self.size, self.size) and images.shape[3] in (3, 4)
        if images.dtype != np.uint8 or not is_good:
            raise InputError(
                f"images: {images.dtype} {list(images.shape)}, expected uint8 [n, {self.size}, {self.size}, 3 or 4]"
            )
        batch_size = min(batch_size, 1 << max(len(images) - 1, 0).bit_length())
        step = self._step
        features = run_in_batches(lambda x: (step(x),), (images,), batch_size=batch_size, description=description)[0]
        if not np.isfinite(features).all():
            raise InputError(
                f"{self.weights}: gives features that are not finite, expected public weights of {self.name}"
            )
        return features

    @functools.cached_property
    def _step(self):
        variables = jax.device_put(self._variables)

        @jax.jit
        def step(variables, image):
            x = foreground_input(image) if image.shape[-1] == 4 else _without_mask(image)
            cells = self._maps(x, variables)
            return jnp.concatenate([v.reshape(len(v), -1) for v in cells.values()], axis=-1).astype(jnp.float16)

        return functools.partial(step, variables)

    def _maps(self, x: jax.Array, variables=None) -> dict[str, jax.Array]:
        variables = self._variables if variables is None else variables
        if isinstance(self._module, EfficientNetLite):
            maps = self._module.apply(variables, x, method=EfficientNetLite.maps)
            return {f"stage {s}": pooled_cells(m, CELLS[s]) for s, m in zip(CELLS, maps, strict=True)}
        out = cast(Features, self._module.apply(variables, x))
        return {"map": pooled_cells(out.map, 4), "pooled": out.pooled.astype(jnp.float32)}


def _without_mask(image: jax.Array) -> jax.Array:
    colours = normalise(image)
    return jnp.concatenate([colours, jnp.zeros((*colours.shape[:-1], 1))], axis=-1)


class FeatureCache:
    """Features on disk, one file per array of images and backbone; what is there is not computed again."""

    def __init__(self, backbone: FrozenBackbone, folder: str | Path | None):
        """`folder` is made where it is missing; None keeps nothing."""
        self.backbone, self.folder = backbone, Path(folder) if folder else None

    def __call__(self, images: np.ndarray, *, description: str = "") -> np.ndarray:
        """float16 [n, F] of uint8 [n, S, S, 3 or 4]; see `FrozenBackbone`."""
        if self.folder is None:
            return self.backbone(images, description=description)
        digest = hashlib.sha256(np.ascontiguousarray(images).tobytes())
        digest.update(f"{images.shape} {self.backbone.digest}".encode())
        path = self.folder / f"{digest.hexdigest()[:32]}.npy"
        try:
            found = np.load(path, allow_pickle=False)
            if found.dtype == np.float16 and found.shape == (len(images), self.backbone.num_features):
                return found
        except (OSError, ValueError, EOFError):
            pass  # none yet, or a damaged one: it is computed again
        features = self.backbone(images, description=description)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            np.save(file, features)
        os.replace(file.name, path)
        return features


def mild_variant(image: np.ndarray, rng: np.random.Generator, *, strength: float = 1.0) -> np.ndarray:
    """One image with light and colour changed a little, and blur, noise or compression: uint8 [S, S, 3 or 4].

    What the mean colour fills (outside a cut-out, inside a rectangle) stays filled where there is an alpha channel.
    """
    import cv2

    rgb: Any = image[..., :3].astype(np.float32)
    gain = np.exp(rng.normal(0, 0.12 * strength, 3) + rng.normal(0, 0.15 * strength))
    rgb = 128 + (rgb - 128) * np.exp(rng.normal(0, 0.15 * strength)) if rng.random() < 0.5 else rgb
    rgb = rgb * gain
    if rng.random() < 0.4 * strength:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.5 * strength:
        rgb = rgb + rng.normal(0, rng.uniform(1, 8), rgb.shape)
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    if rng.random() < 0.5 * strength:
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), int(rng.integers(40, 95))]
        rgb = np.asarray(cv2.imdecode(cv2.imencode(".jpg", rgb[..., ::-1], quality)[1], cv2.IMREAD_COLOR))[..., ::-1]
    if image.shape[-1] == 3:
        return np.ascontiguousarray(rgb)
    alpha = image[..., 3:]
    return np.concatenate([np.where(alpha > 0, rgb, image[..., :3]), alpha], axis=-1)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [n, sum of sizes] of arrays [n, ...] of any float type."""
    return np.concatenate([np.asarray(p, np.float32).reshape(len(p), -1) for p in parts], axis=1)
