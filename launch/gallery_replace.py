"""Replace foregrounds of a gallery by others with the same ids, while it is searched.

  fos gallery replace --gallery=my_gallery --cutouts=better_cutouts

Sources are those of fos gallery build. All are replaced or none; an id that is not there is refused, unless
--add_missing is given.
"""

from absl import flags

from fos_jax.launch import cutout_sources
from fos_jax.program import run_program

flags.adopt_module_key_flags(cutout_sources)
_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_WAIT_S = flags.DEFINE_float("wait_s", 10.0, "Seconds to wait for another writer; 0 to be refused at once.", 0)
_NOTE = flags.DEFINE_string("note", "", "A note for the journal.")
_ADD_MISSING = flags.DEFINE_bool("add_missing", False, "Add foregrounds whose ids are not there.")


def main() -> None:
    options = {"wait_s": _WAIT_S.value, "note": _NOTE.value, "add_missing": _ADD_MISSING.value}
    cutout_sources.change_gallery(_GALLERY.value, "replace", **options)


if __name__ == "__main__":
    run_program(main)
