"""Write a changed gallery anew as one segment with fresh indexes, while it is searched and changed.

  fos gallery compact --gallery=my_gallery

Removed foregrounds are gone for good afterwards: changes before a compaction cannot be rolled back.
"""

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_WAIT_S = flags.DEFINE_float("wait_s", 10.0, "Seconds to wait for another writer; 0 to be refused at once.", 0)
_NOTE = flags.DEFINE_string("note", "", "A note for the journal.")


def main() -> None:
    from fos_jax.gallery.compaction import compact

    done = compact(_GALLERY.value, wait_s=_WAIT_S.value, note=_NOTE.value)
    was = f"{done.num_segments} segment{'' if done.num_segments == 1 else 's'} and {done.num_before:,} foregrounds"
    print(f"{_GALLERY.value}: change {done.sequence}, {done.num_written:,} foregrounds in one segment (before: {was})")


if __name__ == "__main__":
    run_program(main)
