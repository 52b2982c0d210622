"""Draw a contact sheet of the rendered world: photograph, query and cut-out of each scene.

  fos scenes sheet --categories=car,chair --count=16 --output=sheet.png

In the query the rectangle is filled with grey; the cut-out stands on grey.
"""

from absl import flags

from fos_jax.program import run_program

_CATEGORIES = flags.DEFINE_list("categories", [], "Categories to draw; all by default.")
_COUNT = flags.DEFINE_integer("count", 8, "Scenes per category, spread over its patterns.", lower_bound=1)
_COLUMNS = flags.DEFINE_integer("columns", 4, "Scenes per row.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1000, "Seed of the scenes; data sets use 1.")
_OUTPUT = flags.DEFINE_string("output", "contact_sheet.png", "PNG file to write.")


def main() -> None:
    from fos_jax.files import write_whole
    from fos_jax.images import encode_png
    from fos_jax.scenes.attributes import CATEGORIES
    from fos_jax.scenes.sheet import scene_sheet

    sheet = scene_sheet(_CATEGORIES.value or CATEGORIES, _COUNT.value, columns=_COLUMNS.value, seed=_SEED.value)
    write_whole(_OUTPUT.value, encode_png(sheet))
    print(_OUTPUT.value)


if __name__ == "__main__":
    run_program(main)
