"""Rewrite a gallery of an earlier format; it is replaced in one step, with everything it holds.

fos gallery migrate --gallery=my_gallery
"""

from absl import flags

from fos_jax.program import run_program

_GALLERY = flags.DEFINE_string("gallery", None, "Folder of the gallery.", required=True)
_INDEX_MIN_ROWS = flags.DEFINE_integer(
    "index_min_rows", 20_000, "Categories of this size get an approximate index.", 256
)


def main() -> None:
    from fos_jax.gallery.indexing import Indexing
    from fos_jax.gallery.migration import migrate_gallery

    manifest = migrate_gallery(_GALLERY.value, indexing=Indexing(_INDEX_MIN_ROWS.value))
    n, version = manifest["built"]["num_foregrounds"], manifest["format_version"]
    print(f"{_GALLERY.value}: {n:,} foregrounds, now of format version {version}")


if __name__ == "__main__":
    run_program(main)
