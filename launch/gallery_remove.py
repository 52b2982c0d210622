"""Remove foregrounds from a gallery while it is searched.

  fos gallery remove --gallery=my_gallery --id=car/0017.png --id=car/0018.png
  fos gallery remove --gallery=my_gallery --ids=withdrawn.txt --note="licence withdrawn"

All are removed or none. Until the next fos gallery compact they can be brought back by fos gallery rollback.
"""

from pathlib import Path

from absl import flags

from fos_jax.errors import InputError
from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_ID = flags.DEFINE_multi_string("id", [], "Id of a foreground. Repeatable.")
_IDS = flags.DEFINE_string("ids", None, "File of ids, one per line.")
_WAIT_S = flags.DEFINE_float("wait_s", 10.0, "Seconds to wait for another writer; 0 to be refused at once.", 0)
_NOTE = flags.DEFINE_string("note", "", "A note for the journal.")


def main() -> None:
    from fos_jax.gallery.writer import GalleryWriter

    ids = list(_ID.value)
    if _IDS.value:
        try:
            ids += filter(None, Path(_IDS.value).read_text("utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise InputError(f"{_IDS.value}: cannot be read ({error})") from None
    with GalleryWriter(_GALLERY.value, wait_s=_WAIT_S.value) as writer:
        number = writer.remove(ids, note=_NOTE.value)
    print(f"{_GALLERY.value}: change {number}, {len(ids):,} removed")


if __name__ == "__main__":
    run_program(main)
