"""Rules of what may come: limits that users set, and what composition demands of a cut-out in a rectangle."""

import dataclasses
import datetime
import math
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fos_jax.boxes import BoxXyxyPx, touched_sides
from fos_jax.errors import InputError

if TYPE_CHECKING:
    from fos_jax.gallery.segment import VectorsOf
    from fos_jax.gallery.snapshot import CategoryRows

# What a bundle with experts, which is one for photographs, demands where a user sets nothing.
MAX_UPSCALE = 1.5
# Of pairs of animals of one category, view and truncation (Animal Pose), width / height differs by at most 1.5 times in
# 59 %, by at most twice in 82 %: a narrower limit would refuse what is interchangeable.
ASPECT_TOLERANCE = 2.0


class Place(NamedTuple):
    """A rectangle (half-open whole pixels) and the size in pixels of the picture that it lies in."""

    box_xyxy_px: BoxXyxyPx
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class Refusal:
    """How many foregrounds one rule refuses (one may be refused by several), in words, and the flag that relaxes it."""

    number: int
    reason: str
    flag: str


@dataclasses.dataclass(frozen=True)
class Filters:
    """Hard limits on hits, after what users filter by: rights, resolution, shape, truncation.

    None means "as the bundle demands": bundles with experts, which are for photographs, ask for what composition needs
    (`demanded`), others for nothing.

    Attributes:
      min_side_px: least extent of the cut-out's longer side.
      max_upscale: most that the cut-out may have to grow to fill the rectangle (fitted with its aspect kept); math.inf
        for any.
      licences: exact names that are allowed.
      aspect_tolerance: the cut-out's width / height may differ from the rectangle's by this factor, 1 or more; math.inf
        for any.
      exclude: ids that must not come. only: ids that may come, None for any.
      tags: the foreground must have all of these.
      sources: names of images, of one of which it must be cut.
      added_since_s: it came into the gallery then or later, seconds since 1970 (UTC).
      any_truncation: whether a cut-out that its photograph cut at one side may come where the rectangle does not touch
        that side of the picture. Where the sides are unknown it may in any case.
      mirror: whether cut-outs come mirrored too, where the gallery holds them so.
    """

    min_side_px: int = 0
    max_upscale: float | None = None
    licences: Collection[str] | None = None
    aspect_tolerance: float | None = None
    exclude: Collection[str] = ()
    only: Collection[str] | None = None
    tags: Collection[str] = ()
    sources: Collection[str] | None = None
    added_since_s: float | None = None
    any_truncation: bool | None = None
    mirror: bool = False

    def __post_init__(self):
        if not self.min_side_px >= 0:
            raise InputError(f"min_side_px: got {self.min_side_px!r}, expected 0 or more")
        if self.max_upscale is not None and not self.max_upscale > 0:
            raise InputError(f"max_upscale: got {self.max_upscale!r}, expected more than 0")
        if self.aspect_tolerance is not None and not self.aspect_tolerance >= 1:
            raise InputError(f"aspect_tolerance: got {self.aspect_tolerance!r}, expected 1 or more")
        if self.added_since_s is not None and not math.isfinite(self.added_since_s):
            raise InputError(f"added_since_s: got {self.added_since_s!r}, expected seconds since 1970")
        for name in ("licences", "exclude", "only", "tags", "sources"):
            if isinstance(getattr(self, name), str):
                raise InputError(f"{name}: got one string, expected a collection of them")

    def demanded(self) -> "Filters":
        """The same with what composition demands in place of None."""
        return dataclasses.replace(
            self,
            max_upscale=MAX_UPSCALE if self.max_upscale is None else self.max_upscale,
            aspect_tolerance=ASPECT_TOLERANCE if self.aspect_tolerance is None else self.aspect_tolerance,
            any_truncation=bool(self.any_truncation),
        )

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        limits = (self.max_upscale, self.aspect_tolerance)
        is_limited = any(limit is not None and math.isfinite(limit) for limit in limits)
        is_limited |= bool(self.min_side_px or self.exclude or self.tags)
        is_limited |= any(limit is not None for limit in (self.licences, self.only, self.sources, self.added_since_s))
        return not is_limited and self.any_truncation is not False

    def allowed(self, rows: "CategoryRows", place: Place | None) -> np.ndarray | None:
        """bool [places]: which foregrounds are there and pass, None where no rule could refuse any.

        Without a place, what compares with it is left out.
        """
        if self.is_empty:
            return None
        passes = rows.is_live.copy()
        for start, part in zip(rows.starts, rows.parts, strict=False):
            for _, _, passes_rule in self.rules(part, place):
                passes[start : start + len(part)] &= passes_rule
        return passes

    def refusals(self, rows: "CategoryRows", place: Place | None, *, pattern: int | None = None) -> list[Refusal]:
        """How many foregrounds each rule refuses, most first; rules that refuse none are left out.

        Args:
          rows, place: as `allowed`. pattern: id of the only one that is wanted.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for start, part in zip(rows.starts, rows.parts, strict=False):
            is_live = rows.is_live[start : start + len(part)]
            for reason, flag, passes in self.rules(part, place):
                counts[reason, flag] += int((is_live & ~passes).sum())
            if pattern is not None:
                others = int(is_live.sum()) - int(is_live[part.of_pattern(pattern)].sum())
                counts["of another pattern", "another --pattern"] += others
        return [Refusal(number, *rule) for rule, number in counts.most_common() if number]

    def rules(self, part: "VectorsOf", place: Place | None) -> Iterator[tuple[str, str, np.ndarray]]:
        """Yields a rule's reason for a refusal, the flag that relaxes it and bool [part], what passes it.

        Only methods and comparisons of the part's columns are used, so that what stands for them may as well make
        conditions of a database's language.
        """
        columns = part.columns
        width, height = columns.numbers("width_px"), columns.numbers("height_px")
        if self.min_side_px:
            reason = f"shorter than {self.min_side_px} px"
            yield reason, "a lower --min_side_px", (width >= self.min_side_px) | (height >= self.min_side_px)
        for wanted, column, reason, flag in (
            (self.licences, "licence", "of another licence", "another --licence"),
            (self.sources, "source_id", "of another source", "another --source"),
            (self.only, "id", "not among the wanted ids", "a longer --only"),
        ):
            if wanted is not None:
                yield reason, flag, columns.is_in(column, wanted)
        if self.exclude:
            yield "excluded by id", "another exclude", ~columns.is_in("id", self.exclude)
        if self.tags:
            yield "without the tags", "fewer --tag", columns.has_tags(self.tags)
        if self.added_since_s is not None:
            yield "added before", "an earlier --added_since", columns.numbers("added_s") >= self.added_since_s
        if place is None:
            return
        x0, y0, x1, y1 = place.box_xyxy_px
        if self.any_truncation is False:
            fits = columns.is_cut_only_at(touched_sides(*place), is_mirrored=part.is_mirrored)
            reason = "cut off at a side of their photograph that the rectangle does not touch"
            yield reason, "--any_truncation", fits
        if self.aspect_tolerance is not None and math.isfinite(self.aspect_tolerance):
            middle, margin = math.log((x1 - x0) / (y1 - y0)), math.log(self.aspect_tolerance) + 1e-9
            is_alike = (columns.log_aspect >= middle - margin) & (columns.log_aspect <= middle + margin)
            reason = f"of a width / height that differs by more than {self.aspect_tolerance:g} times"
            yield reason, "--aspect_tolerance=any", is_alike
        if self.max_upscale is not None and math.isfinite(self.max_upscale):
            # It fits into the rectangle without growing more where one of its sides is long enough.
            is_long = (width >= (x1 - x0) / self.max_upscale) | (height >= (y1 - y0) / self.max_upscale)
            yield f"to be enlarged more than {self.max_upscale:g} times", "--max_upscale=any", is_long


NO_FILTERS = Filters()


def parse_limit(text: str | None, *, where: str) -> float | None:
    """A factor of a flag: None where it is not set, math.inf for "any" and "0"; `InputError` for what is no number."""
    if text is None:
        return None
    try:
        return math.inf if text == "any" else float(text) or math.inf
    except ValueError:
        raise InputError(f"{where}: got {text!r}, expected a number or any") from None


def parse_time_s(text: str | None, *, where: str) -> float | None:
    """A time of a flag, "2026-11-27" or "2026-11-27T15:00" (UTC unless it says otherwise), in seconds since 1970."""
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{where}: got {text!r}, expected a time such as 2026-11-27 or 2026-11-27T15:00") from None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def read_ids(path: str | Path) -> list[str]:
    """Ids from a file with one per line; `InputError` where it cannot be read."""
    try:
        return [line for line in Path(path).read_text("utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def refused(num_rows: int, category: str, refusals: Collection[Refusal]) -> str:
    """What rules refuse of a category's foregrounds, in one sentence; "" where they refuse none."""
    if not refusals:
        return ""
    said = ", ".join(f"{r.number} {r.reason} ({r.flag} relaxes that)" for r in refusals)
    return f"of {num_rows} foregrounds of {category}, refused: {said}"


def fit_sentence(
    width: int, height: int, truncated: tuple[str, ...] | None, place: Place, *, is_mirrored: bool = False
) -> str:
    """How a cut-out meets what composition demands of it, in one sentence.

    Args:
      width, height: of the cut-out in pixels.
      truncated: sides at which its photograph cut it, as it is shown; None where unknown.
      place: where it goes.
      is_mirrored: whether it is shown mirrored.
    """
    x0, y0, x1, y1 = place.box_xyxy_px
    touched = touched_sides(*place)
    parts = ["mirrored"] if is_mirrored else []
    if truncated is None:
        parts.append("not known whether its photograph cut it")
    elif not truncated:
        parts.append("whole in its photograph")
    elif set(truncated) <= set(touched):
        parts.append(f"cut at the {_and(truncated)} as the rectangle is by the picture's edge")
    else:
        missing = [side for side in truncated if side not in touched]
        parts.append(f"cut at the {_and(truncated)}, but the rectangle does not touch the picture's {_and(missing)}")
    ratio = (width / height) / ((x1 - x0) / (y1 - y0))
    parts.append(f"width / height {ratio:.2f} times the rectangle's")
    scale = min((x1 - x0) / width, (y1 - y0) / height)
    parts.append(f"enlarged {scale:.2f} times" if scale > 1 else f"shrunk to {scale:.2f}")
    return f"The cut-out: {', '.join(parts)}."


def rectangle_phrase(place: Place) -> str:
    """A rectangle by its shape, size and the sides of the picture that it touches: "a tall rectangle that ..."."""
    x0, y0, x1, y1 = place.box_xyxy_px
    aspect, share = (x1 - x0) / (y1 - y0), (x1 - x0) * (y1 - y0) / (place.width * place.height)
    size = "small " if share < 0.03 else "large " if share > 0.3 else ""
    shape = "tall " if aspect < 0.8 else "wide " if aspect > 1.25 else "squarish "
    touched = touched_sides(*place)
    return f"a {size}{shape}rectangle that touches {f'the {_and(touched)}' if touched else 'no side'}"


def _and(words: Collection[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
