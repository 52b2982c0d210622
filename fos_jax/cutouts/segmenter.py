"""Masks by a salient-object or matting network that the user brings as an ONNX file.

The formats are those that rembg distributes: U2-Net (also U2-Netp and Silueta), IS-Net and BiRefNet. Nothing is
downloaded. The network runs on the CPU through onnxruntime (the extra `segmenter`).
"""

import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.special import expit

from fos_jax.boxes import BoxXyxyPx
from fos_jax.errors import InputError
from fos_jax.images import resize_rgb


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one family of networks wants its pictures and gives its maps.

    Attributes:
      side_px: of the square input, where the file leaves it open.
      mean, std: of the colour channels, after division by the picture's largest value.
      is_logit: the map is one of logits, which need a sigmoid, unless it was exported with one.
    """

    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    is_logit: bool


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Source: the public code of U-2-Net, DIS (IS-Net), BiRefNet and rembg.
KINDS = {
    "u2net": Kind(320, *_IMAGENET, False),
    "isnet": Kind(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False),
    "birefnet": Kind(1024, *_IMAGENET, True),
}
_LARGEST_U2NET_PX = 512  # a file with a larger input, and no kind given, is IS-Net or BiRefNet

# Of the box's longer side, on each side. Measured with U2-Netp on 160 boxes of COCO, mean IoU: .33 without, .45 with a
# quarter or a half of each side, .48 with a quarter of the longer.
_MARGIN = 0.25
# The map between these is the soft edge; beyond them it counts as 0 and 1, or faint haze would widen the cut-out.
_CLEAR, _SOLID = 0.1, 0.9
_SPECK = 0.01
_SIDES_PX = (32, 4096)  # of a network's input; a file of a kilobyte may ask for terabytes
_MIN_MAP_PX = 8  # smaller outputs are no maps
_OLDEST_RUNTIME = (1, 24)  # earlier ones open whatever path a file names for its weights
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Segmenter:
    """One network, loaded and tried.

    Attributes:
      file: its path.
      kind: "u2net", "isnet" or "birefnet".
      sha256: checksum of the file, hexadecimal.
      size: width and height of its input in pixels.
    """

    def __init__(self, file: str | Path, kind: str = "", sha256: str = ""):
        """Reads the file once, checks its input and runs it on one drawn picture.

        Args:
          file: ONNX file that holds all its weights; files beside it are never opened.
          kind: a key of `KINDS`; told from input size and output range where "".
          sha256: the expected checksum; any where "".

        Raises:
          InputError: onnxruntime is not installed; an unknown kind; the file cannot be read, is not ONNX, is truncated,
            has another checksum, or keeps weights elsewhere; it does not take one picture or give one map; the map is
            not finite or not in the range of its kind.
        """
        if kind and kind not in KINDS:
            raise InputError(f"segmenter_kind: got {kind!r}, expected one of {', '.join(KINDS)}")
        self.file = str(file)
        try:
            contents = Path(file).read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}), expected a segmenter as ONNX file") from None
        self.sha256 = hashlib.sha256(contents).hexdigest()
        if sha256 and self.sha256 != sha256:
            raise InputError(f"{file}: is not the segmenter that the extraction was planned with (other checksum)")
        self._session = _load(contents, self.file)
        self._input, self._dtype, side_px = self._check_input(kind)
        self.size = side_px
        self.kind = self._try(kind)

    def description(self) -> dict[str, str]:
        """Arguments that open the same network, as JSON values."""
        return {"file": str(Path(self.file).resolve()), "kind": self.kind, "sha256": self.sha256}

    def __str__(self) -> str:
        return f"{Path(self.file).name} ({self.kind}, {self.size[0]} x {self.size[1]} px, sha256 {self.sha256[:16]})"

    def segment(self, rgb: np.ndarray, box_xyxy_px: BoxXyxyPx, *, where: str) -> tuple[np.ndarray, float]:
        """The object in a rectangle of a photograph.

        The network sees the rectangle with a quarter of its longer side around it. Its map is stretched to 0..1 over
        all that it sees, as rembg does; what lies outside the rectangle is dropped, and so are pieces of less than a
        hundredth of the largest one.

        Args:
          rgb: uint8 [H, W, 3], the photograph.
          box_xyxy_px: the rectangle, inside the photograph.
          where: file and entry for messages.

        Returns:
          Alpha, uint8 [h, w] of the rectangle, and the response: the largest value in it before the map was stretched,
          0..1.

        Raises:
          InputError: the network fails or returns numbers that are not finite.
        """
        x0, y0, x1, y1 = box_xyxy_px
        height, width = rgb.shape[:2]
        margin = round(_MARGIN * max(x1 - x0, y1 - y0))
        left, top, right, bottom = max(x0 - margin, 0), max(y0 - margin, 0), x1 + margin, y1 + margin
        right, bottom = min(right, width), min(bottom, height)
        found = self._map(rgb[top:bottom, left:right], where)
        found = expit(found) if self._is_logit else np.clip(found, 0, 1)
        low, high = float(found.min()), float(found.max())
        found = cv2.resize(found, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        inside = found[y0 - top : y1 - top, x0 - left : x1 - left]
        stretched = (inside - low) / max(high - low, 1e-6)
        alpha = np.rint(np.clip((stretched - _CLEAR) / (_SOLID - _CLEAR), 0, 1) * 255).astype(np.uint8)
        return _without_specks(alpha), float(inside.max())

    def _check_input(self, kind: str) -> tuple[str, Any, tuple[int, int]]:
        """Name, type, and width and height of the one input."""
        inputs = self._session.get_inputs()
        found = ", ".join(f"{entry.type.removeprefix('tensor')} {entry.shape}" for entry in inputs)
        problem = InputError(f"{self.file}: takes {found[:200] or 'nothing'}, expected one RGB picture [1, 3, h, w]")
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape or ()) != 4:
            raise problem
        batch, channels, *sides = inputs[0].shape
        # Dimensions that the file leaves open are texts or None.
        if (isinstance(batch, int) and batch != 1) or (isinstance(channels, int) and channels != 3):
            raise problem
        if not all(isinstance(side, int) for side in sides):
            if not kind:
                raise InputError(f"{self.file}: leaves its input's size open, expected --segmenter_kind with it")
            sides = [KINDS[kind].side_px] * 2
        if not all(_SIDES_PX[0] <= side <= _SIDES_PX[1] for side in sides):
            raise InputError(f"{self.file}: takes {found}, expected sides from {_SIDES_PX[0]} to {_SIDES_PX[1]} px")
        return inputs[0].name, _TYPES[inputs[0].type], (sides[1], sides[0])

    def _try(self, kind: str) -> str:
        """Runs the network on a disc, which shows the map's shape and range, and returns the kind."""
        width, height = self.size
        disc = np.full((height, width, 3), 200, np.uint8)
        cv2.circle(disc, (width // 2, height // 2), min(width, height) // 4, (60, 40, 160), -1)
        self.kind = kind or ("u2net" if max(self.size) <= _LARGEST_U2NET_PX else "birefnet")
        found = self._map(disc, "a drawn disc")
        self._is_logit = bool(found.min() < -0.01 or found.max() > 1.01)
        if not kind and self.kind == "birefnet" and not self._is_logit:
            return "isnet"
        if self._is_logit and not KINDS[self.kind].is_logit:
            raise InputError(
                f"{self.file}: its map runs from {found.min():.3g} to {found.max():.3g}, expected 0 to 1 of "
                f"{self.kind} (--segmenter_kind=birefnet takes logits)"
            )
        return self.kind

    def _map(self, rgb: np.ndarray, where: str) -> np.ndarray:
        """The network's map of a picture: float32 [h', w']."""
        kind = KINDS[self.kind]
        small = resize_rgb(np.ascontiguousarray(rgb), *self.size).astype(np.float32)
        small = (small / max(float(small.max()), 1e-6) - np.array(kind.mean)) / np.array(kind.std)
        pictures = np.ascontiguousarray(small.transpose(2, 0, 1)[None], self._dtype)  # [1, 3, h, w]
        try:
            # U2-Net and IS-Net give coarser maps after the first.
            (maps,) = self._session.run([self._session.get_outputs()[0].name], {self._input: pictures})
        except Exception as error:  # onnxruntime's errors have no class in common
            raise InputError(f"{self.file}: fails on {where} ({_reason(error)})") from None
        shape = np.shape(maps)
        is_map = len(shape) in (3, 4) and set(shape[:-2]) == {1} and min(shape[-2:]) >= _MIN_MAP_PX
        if not is_map or not np.issubdtype(maps.dtype, np.floating):
            raise InputError(f"{self.file}: gives {list(shape)} for one picture, expected one map [1, 1, h, w]")
        found = np.asarray(maps, np.float32).reshape(shape[-2:])
        if not np.isfinite(found).all():
            raise InputError(f"{self.file}: returns numbers that are not finite for {where}")
        return found


def _without_specks(alpha: np.ndarray) -> np.ndarray:
    """Alpha uint8 [h, w] without the pieces that are smaller than a hundredth of the largest."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((alpha > 0).view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    is_piece = areas >= _SPECK * areas[1:].max(initial=0)
    return np.where(is_piece[labels], alpha, 0).astype(np.uint8) if count > 2 else alpha


_opened: dict[str, Segmenter] = {}


def open_segmenter(description: Mapping[str, str] | None) -> Segmenter | None:
    """Opens {"file": path, "kind": kind or "", "sha256": checksum or ""}; a process keeps the last one that it opened.

    None gives None.

    Raises:
      InputError: as `Segmenter`; fields that are missing or unknown.
    """
    if description is None:
        return None
    key = repr(sorted(description.items()))
    if key not in _opened:
        try:
            segmenter = Segmenter(**description)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise InputError(f"segmenter: {' '.join(str(error).split())}") from None
        _opened.clear()
        # Only with its checksum: the file behind a path may be another one by the next call.
        _opened[repr(sorted(segmenter.description().items()))] = segmenter
        return segmenter
    return _opened[key]


def _load(contents: bytes, name: str) -> Any:
    """An onnxruntime session of the file's own bytes."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "segmenter: onnxruntime is not installed, expected `pip install onnxruntime` (extra: segmenter)"
        ) from None
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < _OLDEST_RUNTIME:
        raise InputError(f"segmenter: onnxruntime {onnxruntime.__version__} is installed, expected 1.24 or newer")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised, too
    with tempfile.TemporaryDirectory() as empty:
        # Weights in further files would be outside the checksum, and their paths are the file's to choose: they are
        # sought in an empty folder, which none can leave.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
        try:
            return onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no class in common
            if "external data" in str(error).lower() or empty in str(error):
                problem = "keeps weights in another file, expected an ONNX file that holds all of them"
            else:
                problem = f"not an ONNX file that onnxruntime can run, or truncated ({_reason(error)})"
    raise InputError(f"{name}: {problem}")


def _reason(error: Exception) -> str:
    """onnxruntime's message on one line, without its prefix and the places in its source."""
    text = " ".join(str(error).split())
    return text.rpartition("[ONNXRuntimeError] : ")[2][:200]
