"""Add foregrounds to a gallery while it is searched.

  fos gallery add --gallery=my_gallery --cutouts=more_cutouts --tag=spring --note="second delivery"

Sources are those of fos gallery build; the gallery's own bundle encodes them. All are added, on the disk and visible to
everybody who has the gallery open, or none: an id that is there already is refused (fos gallery replace replaces it).
"""

from absl import flags

from fos_jax.launch import cutout_sources
from fos_jax.program import run_program

flags.adopt_module_key_flags(cutout_sources)
_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_WAIT_S = flags.DEFINE_float("wait_s", 10.0, "Seconds to wait for another writer; 0 to be refused at once.", 0)
_NOTE = flags.DEFINE_string("note", "", "A note for the journal.")


def main() -> None:
    cutout_sources.change_gallery(_GALLERY.value, "add", wait_s=_WAIT_S.value, note=_NOTE.value)


if __name__ == "__main__":
    run_program(main)
