"""Bodies of requests, checked by pydantic; unknown fields are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fos_jax.retrieval.rules import Filters

PictureId = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="As POST /api/pictures returns it.")]
Pixel = Annotated[int, Field(ge=0, le=1_000_000)]
Box = Annotated[
    list[Pixel], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the upright picture")
]
Name = Annotated[str, Field(max_length=200)]
Names = Annotated[list[Name], Field(max_length=10_000)]
Weights = Annotated[dict[Name, float], Field(max_length=16)]
Factor = Annotated[float, Field(gt=0, le=1e6)] | Literal["any"] | None

EXAMPLE_PICTURE = "0" * 64


_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Body(BaseModel):
    """A JSON object without other fields, other types, infinities and NaN."""

    model_config = _STRICT


class FilterFields(Body):
    """Hard limits on hits, as `fos_jax.retrieval.rules.Filters`; "any" stands for no limit."""

    min_side_px: Annotated[int, Field(ge=0, le=100_000)] = 0
    max_upscale: Factor = None
    licences: Names | None = None
    aspect_tolerance: Factor = None
    exclude: Names = []
    only: Names | None = None
    tags: Names = []
    sources: Names | None = None
    added_since_s: float | None = None
    any_truncation: bool | None = None
    mirror: bool = False

    def filters(self) -> Filters:
        """As the search takes them."""
        given: dict[str, Any] = self.model_dump()
        for name in ("max_upscale", "aspect_tolerance"):
            given[name] = float("inf") if given[name] == "any" else given[name]
        return Filters(**given)


class Query(Body):
    """A photograph, a rectangle in it and a category."""

    photo: PictureId
    box: Box
    category: Name


class Ranked(Query):
    """What all searches have in common."""

    weights: Weights = Field({})
    filters: FilterFields = FilterFields()

    def options(self) -> dict[str, Any]:
        """Keyword arguments of the search of this name."""
        return {**self.model_dump(exclude={"photo", "box", "category"}), "filters": self.filters.filters()}


def example(**fields: Any) -> ConfigDict:
    """Configuration of a body with an example for OpenAPI, to which the query is added."""
    query: Any = {"photo": EXAMPLE_PICTURE, "box": [40, 60, 200, 180], "category": "car"}
    examples: Any = [{**query, **fields}]
    return {**_STRICT, "json_schema_extra": {"examples": examples}}
