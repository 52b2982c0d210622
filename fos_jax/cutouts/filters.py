"""Filters of cut-outs: one named filter per defect, thresholds in a config."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from fos_jax.cutouts.measures import SIDES, Measures
from fos_jax.cutouts.records import AnnotatedObject
from fos_jax.errors import InputError

# In the order in which a cut-out's first failure is counted: what is cheap and plain first.
MEANINGS = {
    "crowd": "one annotation for a group of objects",
    "not_found": "the segmenter's largest response in the rectangle is too low: it sees no object there",
    "soft_edge": "too many pixels are neither object nor background to the segmenter, as a share of the mask",
    "size": "too small, or too long and thin",
    "truncated": "cut by too many sides of the photograph",
    "fragmented": "in several parts, mostly because something stands in front",
    "holes": "closed holes take too large a share",
    "box_mismatch": "the mask's rectangle and the annotated one overlap too little",
    "blurred": "too little detail",
    "exposure": "too dark, too bright or too even",
    "near_duplicate": "looks like another cut-out of the category, which is kept",
}
FILTERS = tuple(MEANINGS)


def default_config() -> ConfigDict:
    """Thresholds, set by looking at the pictures that fall to them. Source: decision 21.

    `truncated.allowed_sides` and `max_sides`: an object cut by one side is a pattern of its own (a person cut by the
    lower edge goes to the lower edge), so the sides are kept as metadata and only more than `max_sides` reject it.
    `not_found` and `soft_edge` concern masks that a segmenter found, no others. Measured with U2-Netp in 1,204 boxes of
    COCO: mean IoU .44 of all, .73 of the 354 that pass; a softness of .2 leaves 267 (.74), .6 leaves 449 (.71).
    """
    config = ConfigDict()
    config.crowd = ConfigDict({"allow": False})
    config.not_found = ConfigDict({"min_response": 0.5})
    config.soft_edge = ConfigDict({"max_softness": 0.3})
    config.size = ConfigDict({"min_short_side_px": 24, "min_long_side_px": 48, "min_area_px": 800, "max_aspect": 8.0})
    config.truncated = ConfigDict(
        {"max_sides": 1, "allowed_sides": SIDES, "border_margin_px": 2, "border_contact": 0.1}
    )
    config.fragmented = ConfigDict({"min_largest_part": 0.9, "max_parts": 5})
    config.holes = ConfigDict({"max_share": 0.2})
    config.box_mismatch = ConfigDict({"min_agreement": 0.5})
    config.blurred = ConfigDict({"min_sharpness": 20.0})
    config.exposure = ConfigDict(
        {"min_luminance": 20.0, "max_luminance": 240.0, "min_contrast": 8.0, "max_clipped": 0.6}
    )
    config.near_duplicate = ConfigDict({"max_distance_bits": 4})
    return config.lock()


def config_with(changes: Mapping[str, Any]) -> ConfigDict:
    """The default thresholds with some changed, such as {"size.min_area_px": 2000}.

    Raises:
      InputError: naming the field: unknown, or a value of another type.
    """
    config = default_config()
    if not isinstance(changes, Mapping):
        raise InputError(f"filters: got {changes!r}, expected an object of thresholds")
    known = [f"{group}.{field}" for group, fields in config.items() for field in fields]
    for name, value in changes.items():
        if name not in known:
            raise InputError(f"filters: unknown {name!r}, expected one of {', '.join(known)}")
        try:
            config.update_from_flattened_dict({name: tuple(value) if isinstance(value, list) else value})
        except (TypeError, ValueError) as error:
            raise InputError(f"filters: {name}: {' '.join(str(error).split())}") from None
    check_config(config)
    return config


def parse_config(text: str, *, where: str) -> ConfigDict:
    """`config_with` of a JSON object; `InputError` naming `where` for text that is no JSON."""
    try:
        changes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    return config_with(changes)


def check_config(config: ConfigDict) -> None:
    """Raises `InputError` naming the field where a threshold cannot be meant."""
    distance = config.near_duplicate.max_distance_bits
    if not -1 <= distance <= 16:
        raise InputError(f"near_duplicate.max_distance_bits: got {distance}, expected -1 (off) to 16")
    unknown = set(config.truncated.allowed_sides) - set(SIDES)
    if unknown:
        raise InputError(f"truncated.allowed_sides: unknown {sorted(unknown)}, expected {', '.join(SIDES)}")


def rejected_before_cutting(entry: AnnotatedObject, config: Any) -> str:
    """The filter that an object falls to by its annotation alone, "" for none: such objects cost no pixels.

    The annotated rectangle may be larger than the mask, never trusted to be smaller: it rejects only what lies so far
    below the thresholds that no mask in it could pass.
    """
    if entry.is_crowd and not config.crowd.allow:
        return "crowd"
    if entry.box_xyxy_px is not None and config.box_mismatch.min_agreement > 0.25:
        x0, y0, x1, y1 = entry.box_xyxy_px
        # A mask that agrees with this rectangle is at most 1 / agreement times as long on either side.
        slack = 1 / config.box_mismatch.min_agreement
        if min(x1 - x0, y1 - y0) * slack < config.size.min_short_side_px:
            return "size"
        if max(x1 - x0, y1 - y0) * slack < config.size.min_long_side_px:
            return "size"
    return ""


def rejections(measures: Measures, config: Any) -> tuple[str, ...]:
    """All filters that a cut-out falls to, in the order of `FILTERS` (crowds and near-duplicates are found elsewhere).

    Args:
      measures: of one cut-out.
      config: as `default_config` makes it.
    """
    return tuple(name for name, is_failed in _CHECKS.items() if is_failed(measures, config))


def _is_too_small(m: Measures, config: Any) -> bool:
    short, long = sorted((m.width_px, m.height_px))
    size = config.size
    return (
        short < size.min_short_side_px
        or long < size.min_long_side_px
        or m.area_px < size.min_area_px
        or long > size.max_aspect * short
    )


def _is_truncated(m: Measures, config: Any) -> bool:
    allowed = config.truncated.allowed_sides
    return len(m.truncated) > config.truncated.max_sides or any(side not in allowed for side in m.truncated)


def _is_badly_exposed(m: Measures, config: Any) -> bool:
    limits = config.exposure
    return (
        not limits.min_luminance <= m.luminance <= limits.max_luminance
        or m.contrast < limits.min_contrast
        or m.clipped > limits.max_clipped
    )


_CHECKS: dict[str, Callable[[Measures, Any], bool]] = {
    "not_found": lambda m, config: m.response < config.not_found.min_response,
    "soft_edge": lambda m, config: m.softness > config.soft_edge.max_softness,
    "size": _is_too_small,
    "truncated": _is_truncated,
    "fragmented": lambda m, config: (
        m.largest_part < config.fragmented.min_largest_part or m.parts > config.fragmented.max_parts
    ),
    "holes": lambda m, config: m.holes > config.holes.max_share,
    "box_mismatch": lambda m, config: m.box_agreement < config.box_mismatch.min_agreement,
    "blurred": lambda m, config: m.sharpness < config.blurred.min_sharpness,
    "exposure": _is_badly_exposed,
}
