"""Readers of annotated photographs, behind one interface (`fos_jax.cutouts.records.PhotographSource`)."""

from collections.abc import Callable, Mapping
from typing import Any

from fos_jax.cutouts.records import PhotographSource
from fos_jax.cutouts.sources.animal_pose import open_animal_pose
from fos_jax.cutouts.sources.coco import CocoSource
from fos_jax.cutouts.sources.folder import FolderSource
from fos_jax.cutouts.sources.open_images import OpenImagesSource
from fos_jax.cutouts.sources.reading import brief
from fos_jax.cutouts.sources.voc import VocSource
from fos_jax.errors import InputError

KINDS: Mapping[str, Callable[..., PhotographSource]] = {
    "coco": CocoSource,
    "voc": VocSource,
    "animal_pose": open_animal_pose,
    "open_images": OpenImagesSource,
    "folder": FolderSource,
}
# Arguments by which a reader yields objects without masks, too; their masks, where they have some, are ignored.
_UNMASKED: Mapping[str, Mapping[str, Any]] = {
    "coco": {"maskless": "keep"},
    "voc": {"maskless": "keep"},
    "animal_pose": {"maskless": "keep"},
    "folder": {"has_masks": False},
}


def open_source(description: Mapping[str, Any]) -> PhotographSource:
    """Opens {"kind": one of `KINDS`, ...the reader's arguments}, which can be stored as JSON.

    With a field `segmenter`, a network makes the masks (`fos_jax.cutouts.segmenter`): those of the source are not read.

    Raises:
      InputError: unknown kind; a field that the reader does not know or needs; and whatever the reader finds.
    """
    fields = dict(description)
    kind = fields.pop("kind", None)
    if fields.pop("segmenter", None) is not None:
        if kind not in _UNMASKED:
            raise InputError(f"segmenter: goes with the kinds {', '.join(_UNMASKED)}, got {brief(kind)}")
        fields |= _UNMASKED[kind]
    if kind not in KINDS:
        raise InputError(f"source: kind is {brief(kind)}, expected one of {', '.join(KINDS)}")
    try:
        return KINDS[kind](**fields)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise InputError(f"source: {' '.join(str(error).split())} (kind {kind})") from None
