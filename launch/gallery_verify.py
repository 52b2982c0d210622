"""Read all of a gallery, compare every checksum and list everything that is wrong.

  fos gallery verify --gallery=my_gallery

Ends with code 2 where something is.
"""

from absl import flags

from fos_jax.program import EXIT_INPUT_ERROR, run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)


def main() -> int:
    from fos_jax.gallery.verification import verify_gallery

    findings = verify_gallery(_GALLERY.value)
    print("\n".join(findings) or f"{_GALLERY.value}: every checksum is right")
    return EXIT_INPUT_ERROR if findings else 0


if __name__ == "__main__":
    run_program(main)
