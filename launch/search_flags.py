"""Flags that name a gallery and say what may come of it, shared by the programs that search."""

import os
from typing import TYPE_CHECKING, Any

from absl import flags

if TYPE_CHECKING:
    from fos_jax.retrieval.rules import Filters
    from fos_jax.retrieval.search import ForegroundSearch

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.")
_BACKEND = flags.DEFINE_enum("backend", "segments", ["exact", "segments", "milvus"], "Where the gallery is searched.")
_URI = flags.DEFINE_string("uri", None, "Backend milvus: its address, or a file that ends with .db (Lite).")
_COLLECTION = flags.DEFINE_string("collection", "fos_gallery", "Backend milvus: name of the collection.")
_CONSISTENCY = flags.DEFINE_enum(
    "consistency",
    None,
    ["Strong", "Session", "Bounded", "Eventually"],
    "Backend milvus: consistency level; by default the collection's.",
)
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 10.0, "Backend milvus: seconds that any request may take.", 0.1)
_BUNDLE = flags.DEFINE_string("bundle", None, "Model bundle; by default the one that built the gallery.")
_RANKING = flags.DEFINE_enum("ranking", "posterior", ["posterior", "cosine"], "By pattern posterior or embedding.")
_MIN_SIDE_PX = flags.DEFINE_integer("min_side_px", 0, "Least length of a cut-out's long side in pixels.", lower_bound=0)
_MAX_UPSCALE = flags.DEFINE_string(
    "max_upscale", None, "Most that a cut-out may be enlarged to fill the rectangle; 0 or any: without limit."
)
_ASPECT = flags.DEFINE_string(
    "aspect_tolerance", None, "Most that width / height may differ, as a factor; 0 or any: without limit."
)
_ANY_TRUNCATION = flags.DEFINE_bool(
    "any_truncation", None, "Offer cut-outs that their photograph cut at a side that the rectangle does not touch."
)
_MIRROR = flags.DEFINE_bool("mirror", False, "Offer cut-outs mirrored too, where their pattern has a mirror image.")
_WEIGHTS = {
    name: flags.DEFINE_float(f"{name}_weight", None, f"Weight of {what} in the score; by default the bundle's.")
    for name, what in (("appearance", "light, tone and sharpness"), ("geometry", "shape and place"))
}
_LICENCES = flags.DEFINE_multi_string("licence", None, "Only foregrounds of this licence. Repeatable.")
_TAGS = flags.DEFINE_multi_string("tag", [], "Only foregrounds with this tag. Repeatable: with all of them.")
_SOURCES = flags.DEFINE_multi_string("source", None, "Only foregrounds cut from this image. Repeatable.")
_ONLY = flags.DEFINE_string("only", None, "File of ids, one per line: only these foregrounds.")
_ADDED_SINCE = flags.DEFINE_string(
    "added_since", None, "Only foregrounds added since, as 2026-11-27 or 2026-11-27T15:00."
)


def open_search() -> "ForegroundSearch":
    """The search over the backend that the flags name."""
    from fos_jax.errors import InputError

    is_milvus = _BACKEND.value == "milvus"
    where, other = (_URI, _GALLERY) if is_milvus else (_GALLERY, _URI)
    place = where.value
    if place is None:
        raise InputError(f"--{where.name}: missing (--help explains)")
    if other.value is not None:
        raise InputError(f"--{other.name}: is not for --backend={_BACKEND.value}, expected --{where.name} alone")
    if is_milvus:
        from fos_jax.milvus.gallery import MilvusGallery
        from fos_jax.milvus.search import MilvusSearch

        gallery = MilvusGallery.connect(
            place,
            _COLLECTION.value,
            consistency=_CONSISTENCY.value,
            token=os.environ.get("MILVUS_TOKEN", ""),
            timeout_s=_TIMEOUT_S.value,
        )
        return MilvusSearch.of(gallery, _BUNDLE.value, where=gallery.where)
    from fos_jax.retrieval.search import ForegroundSearch

    if _BACKEND.value == "exact":
        from fos_jax.retrieval.backends import InMemory

        return ForegroundSearch.of(InMemory.read(place), _BUNDLE.value, where=place)
    return ForegroundSearch.open(place, _BUNDLE.value)


def filters() -> "Filters":
    """The limits of the flags."""
    from fos_jax.retrieval.rules import Filters, parse_limit, parse_time_s, read_ids

    return Filters(
        min_side_px=_MIN_SIDE_PX.value,
        max_upscale=parse_limit(_MAX_UPSCALE.value, where="--max_upscale"),
        licences=tuple(_LICENCES.value) if _LICENCES.value else None,
        aspect_tolerance=parse_limit(_ASPECT.value, where="--aspect_tolerance"),
        only=None if _ONLY.value is None else read_ids(_ONLY.value),
        tags=tuple(_TAGS.value),
        sources=tuple(_SOURCES.value) if _SOURCES.value else None,
        added_since_s=parse_time_s(_ADDED_SINCE.value, where="--added_since"),
        any_truncation=_ANY_TRUNCATION.value,
        mirror=_MIRROR.value,
    )


def ranking() -> dict[str, Any]:
    """Ranking and weights of experts, as searches take them."""
    return {
        "ranking": _RANKING.value,
        "weights": {name: flag.value for name, flag in _WEIGHTS.items() if flag.value is not None},
    }
