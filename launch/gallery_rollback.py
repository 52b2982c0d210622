"""Make a gallery hold what it held after an earlier change, while it is searched.

  fos gallery history --gallery=my_gallery
  fos gallery rollback --gallery=my_gallery --to=12

The rollback is a change of its own, which can be rolled back too. It reaches back to the last compaction.
"""

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_TO = flags.DEFINE_integer("to", None, "Number of the change, as fos gallery history lists it.", 0, required=True)
_WAIT_S = flags.DEFINE_float("wait_s", 10.0, "Seconds to wait for another writer; 0 to be refused at once.", 0)
_NOTE = flags.DEFINE_string("note", "", "A note for the journal.")


def main() -> None:
    from fos_jax.gallery.writer import GalleryWriter

    with GalleryWriter(_GALLERY.value, wait_s=_WAIT_S.value) as writer:
        number = writer.rollback(_TO.value, note=_NOTE.value)
    print(f"{_GALLERY.value}: change {number}, holds what it held after change {_TO.value}")


if __name__ == "__main__":
    run_program(main)
