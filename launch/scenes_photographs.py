"""Render photographs with instance masks in COCO's format.

  fos scenes photographs --output=runs/photographs --per_category=200 --categories=car,person

To try the way from photographs to a benchmark: each annotation also carries the attributes of its true pattern (yaw,
light, ...), which real photographs lack. Simulated annotators go by them, and proposals are measured against them.
"""

from absl import flags

from fos_jax.program import run_program

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write: images/ and instances.json.", required=True)
_CATEGORIES = flags.DEFINE_list("categories", ["car", "person"], "Categories to render.")
_COUNT = flags.DEFINE_integer("per_category", 200, "Photographs per category.", lower_bound=1)
_SIZE = flags.DEFINE_integer("image_px", 160, "Side of the photographs.", lower_bound=32)
_SEED = flags.DEFINE_integer("seed", 2, "Seed of the scenes; data sets use 1.")


def main() -> None:
    from fos_jax.scenes.photographs import write_photographs

    path = write_photographs(
        _OUTPUT.value, _CATEGORIES.value, per_category=_COUNT.value, image_px=_SIZE.value, seed=_SEED.value
    )
    print(path)


if __name__ == "__main__":
    run_program(main)
