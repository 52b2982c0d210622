"""Renders RESULTS.md and its plots from the JSON files of the results; trains and evaluates nothing.

python -m fos_jax.launch.render_results --results=results --document=RESULTS.md
"""

from absl import flags

from fos_jax.launch.program import run_program

_RESULTS = flags.DEFINE_string("results", "results", "Folder of the JSON files; the plots go there too.")
_DOCUMENT = flags.DEFINE_string("document", "RESULTS.md", "File to write.")


def main() -> None:
    from fos_jax.report.results_document import write_document

    write_document(_RESULTS.value, _DOCUMENT.value)
    print(_DOCUMENT.value)


def run() -> None:
    run_program(main)


if __name__ == "__main__":
    run()
