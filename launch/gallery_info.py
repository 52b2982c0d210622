"""Show what a gallery holds by category, pattern, source, licence and tag, and its state.

fos gallery info --gallery=my_gallery
"""

import json

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")


def main() -> None:
    from fos_jax.gallery.info import gallery_info, info_text

    info = gallery_info(_GALLERY.value)
    print(json.dumps(info, indent=1) if _JSON.value else info_text(info))


if __name__ == "__main__":
    run_program(main)
