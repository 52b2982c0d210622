"""Bodies of answers, as OpenAPI documents them; answers are made without these."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from fos_jax.client import Hit, PatternGroup

_ERROR: Any = {"error": "category: unknown 'cat', expected one of car, chair", "request": "0f1e2d3c4b5a6978"}


class Reply(BaseModel):
    """A JSON object; later versions may add fields."""

    model_config = ConfigDict(extra="allow")


class Error(Reply):
    """Why a request was refused, in one line, and the request's id as in the logs."""

    error: str
    request: str = ""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_ERROR]})


class HitsReply(Reply):
    """Hits, best first, of one version of the gallery; `refused` says what filters kept out."""

    version: int
    hits: list[Hit]
    refused: str | None = None


class PatternsReply(Reply):
    """Patterns, most probable first; `attributes` has the probability of each value for the query."""

    version: int
    groups: list[PatternGroup]
    attributes: dict[str, dict[str, float]] = {}
    refused: str | None = None


class ScoreReply(Reply):
    """See `fos_jax.retrieval.hits.PairScore`; percentile is null where there is nothing to compare with."""

    version: int
    score: float
    posterior: float
    cosine: float
    percentile: float | None
    pattern: int
    parts: dict[str, float]
    why: str


class ForegroundReply(Reply):
    """Metadata of a foreground."""

    id: str
    category: str
    pattern: int
    confidence: float
    attributes: dict[str, str]
    description: str
    licence: str
    source_id: str
    tags: list[str]
    width_px: int
    height_px: int
    truncated: list[str] | None
    added_s: float


class BrowseReply(Reply):
    """A part of the foregrounds of a category or pattern."""

    version: int
    total: int
    foregrounds: list[ForegroundReply]


class GalleryReply(Reply):
    """What is searched, and what may be asked for."""

    version: int
    bundle: str
    categories: list[dict]
    attributes: dict[str, dict[str, list[str]]]
    experts: dict[str, float]
    licences: list[str]
    tags: list[str]
    can_change: bool
    limits: dict[str, float]
    examples: list[dict]


class ExplainReply(Reply):
    """See `fos_jax.retrieval.explanations.QueryExplanation`; with a foreground also its score, taken apart."""

    version: int
    text: str
    patterns: list[dict]
    attributes: dict[str, dict[str, float]]
    difference: dict | None
    parts: dict[str, float]


class ReverseReply(Reply):
    """See `fos_jax.retrieval.pairs.ReverseHit`."""

    version: int
    results: list[dict]


class AtlasReply(Reply):
    """Patterns of a category; x and y in 0..1."""

    version: int
    patterns: list[dict]


class ChangeReply(Reply):
    """The number of the change, from which on searches see it."""

    id: str
    version: int


class JobReply(Reply):
    """How far a job is; state: waiting, running, done, failed or cancelled."""

    job: str
    kind: str
    state: str
    done: int
    total: int
    error: str | None
