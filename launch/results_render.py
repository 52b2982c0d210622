"""Render docs/results.md, its plots and the table in README.md from the results files; trains nothing.

fos results render --results=results --document=docs/results.md
"""

from absl import flags

from fos_jax.program import run_program

_RESULTS = flags.DEFINE_string("results", "results", "Folder of the results files; the plots go there too.")
_DOCUMENT = flags.DEFINE_string("document", "docs/results.md", "File to write.")
_README = flags.DEFINE_string(
    "readme", "README.md", "File that gets the results in short, between marks; empty for none."
)


def main() -> None:
    from fos_jax.experiments.document import write_document

    write_document(_RESULTS.value, _DOCUMENT.value, _README.value)
    print(_DOCUMENT.value)


if __name__ == "__main__":
    run_program(main)
