"""Copy a gallery into Milvus, where many machines search it.

  fos gallery push --gallery=my_gallery --uri=http://milvus.example:19530
  # Milvus Lite, in a file
  fos gallery push --gallery=my_gallery --uri=my_gallery.db

What is there in the same version is left alone: run it again after the gallery changed, or after it was stopped. Where
the server asks for a user or a key, the environment variable MILVUS_TOKEN holds it (user:password, or the key).
"""

import contextlib
import os

from absl import flags

from fos_jax.milvus.collection import CONSISTENCY_LEVELS, INDEXES
from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_URI = flags.DEFINE_string("uri", None, "Address of Milvus, or a file that ends with .db (Lite).", required=True)
_COLLECTION = flags.DEFINE_string("collection", "fos_gallery", "Name of the collection in Milvus.")
_INDEX = flags.DEFINE_enum(
    "index", "auto", INDEXES, "Index of a new collection; auto: exact in Milvus Lite, IVF_FLAT on a server."
)
_CONSISTENCY = flags.DEFINE_enum("consistency", "Bounded", CONSISTENCY_LEVELS, "Of searches in a new collection.")
_REMOVE = flags.DEFINE_bool("remove", False, "Remove foregrounds that the gallery does not hold.")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 30.0, "Seconds that any request may take.", 0.1)


def main() -> None:
    from fos_jax.milvus.connection import Connection
    from fos_jax.milvus.push import push_gallery

    token = os.environ.get("MILVUS_TOKEN", "")
    with contextlib.closing(Connection(_URI.value, token=token, timeout_s=_TIMEOUT_S.value)) as connection:
        pushed = push_gallery(
            _GALLERY.value,
            connection,
            _COLLECTION.value,
            index=_INDEX.value,
            consistency=_CONSISTENCY.value,
            remove=_REMOVE.value,
            progress=True,
        )
    print(f"{pushed.num_written:,} written, {pushed.num_there:,} were there, {pushed.num_removed:,} removed")
    print(f"index {pushed.index_type}, consistency level {pushed.consistency}")
    if pushed.num_others:
        print(f"{pushed.num_others:,} others are in the collection that the gallery does not hold (--remove removes)")


if __name__ == "__main__":
    run_program(main)
