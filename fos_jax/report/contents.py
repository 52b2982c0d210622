"""Contents of the report as plain data: everything the page's template reads."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number with its 95 % interval (fractions, not percent); the bounds are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class MetricRow:
    """One line of the metric table.

    Attributes:
      name: the method, e.g. "student".
      ranking: how it scores, e.g. "posterior, both heads"; empty where there is one way only.
      kind: "ours", "rival", "control" or "oracle"; the page tells them apart.
      note: half a sentence for the reader who does not know the method.
      figures: column name -> figure; a column that is missing was not run.
    """

    name: str
    ranking: str
    kind: str
    note: str
    figures: Mapping[str, Figure]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Values of one quantity over the steps of one run."""

    label: str
    steps: Sequence[int]
    values: Sequence[float]
    is_validation: bool = False


@dataclasses.dataclass(frozen=True)
class CurvePanel:
    """One small diagram of training: curves that share an axis."""

    title: str
    y_label: str
    curves: Sequence[Curve]


@dataclasses.dataclass(frozen=True)
class Hit:
    """One foreground in a result; `image` is uint8 [h, w, 4]."""

    id: str
    image: np.ndarray
    score: float
    is_relevant: bool


@dataclasses.dataclass(frozen=True)
class PatternRow:
    """One pattern that a query was offered.

    Attributes:
      name: short description of the pattern.
      attributes: attribute name -> value name.
      fitting_values: attribute name -> the values that some compatible pattern has; marks each attribute
        as right or not.
      posterior: p(pattern | query), a fraction.
      is_compatible: whether the pattern fits in truth.
      hits: its best foregrounds, best first.
      composite: uint8 [h, w, 3], the best foreground pasted into the rectangle.
      why: one or two sentences on the best foreground.
    """

    name: str
    attributes: Mapping[str, str]
    fitting_values: Mapping[str, frozenset[str]]
    posterior: float
    is_compatible: bool
    hits: Sequence[Hit]
    composite: np.ndarray
    why: str


@dataclasses.dataclass(frozen=True)
class Example:
    """A query and what was found: `image` is uint8 [h, w, 3], the box is in fractions (y0, x0, y1, x1)."""

    id: str
    category: str
    image: np.ndarray
    box_yxyx_norm: Sequence[float]
    truth: str
    rows: Sequence[PatternRow]


@dataclasses.dataclass(frozen=True)
class MapPanel:
    """The latent space of one category in two dimensions.

    Attributes:
      category: its name.
      position: float [n, 2] in 0..1.
      is_query: bool [n]; the others are foregrounds.
      values: attribute name -> int [n], index into `value_names`, -1 where a point has no one value.
      value_names: attribute name -> names.
    """

    category: str
    position: np.ndarray
    is_query: np.ndarray
    values: Mapping[str, np.ndarray]
    value_names: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of how the data came about: `image` is uint8 [h, w, 3]."""

    title: str
    caption: str
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
      title: heading.
      headline: (value, what it is) pairs, the few numbers to read first.
      summary: two or three sentences.
      columns: metric columns of the table in order; the first is drawn as bars.
      rows: lines of the table.
      breakdowns: title -> (label, figure) pairs, e.g. mAP by category.
      examples: queries with results.
      curves: diagrams of training.
      maps: one panel per category.
      stages: (stage, seconds, note) of the run.
      facts: (name, value) pairs: what was measured where.
      notes: sentences on how to read the figures.
      commands: (what for, shell command) pairs.
      pictures: how the data came about, in order; none where it was rendered.
    """

    title: str
    headline: Sequence[tuple[str, str]]
    summary: str
    columns: Sequence[str]
    rows: Sequence[MetricRow]
    breakdowns: Mapping[str, Sequence[tuple[str, Figure]]]
    examples: Sequence[Example]
    curves: Sequence[CurvePanel]
    maps: Sequence[MapPanel]
    stages: Sequence[tuple[str, float, str]]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    commands: Sequence[tuple[str, str]]
    pictures: Sequence[Picture] = ()
