"""RESULTS.md from the results folder alone: the same files give the same bytes."""

import os
from collections.abc import Sequence
from pathlib import Path

from fos_jax.errors import InputError
from fos_jax.experiments import tables
from fos_jax.experiments.cell_files import PLAN, read_cells, read_plan
from fos_jax.experiments.headline import headline, readme_block, write_readme
from fos_jax.experiments.over_seeds import RESAMPLES
from fos_jax.experiments.plots import write_plots
from fos_jax.experiments.rows import SizeResults, ablation_comparisons, comparisons
from fos_jax.experiments.trial_files import read_trials
from fos_jax.files import write_whole

SIZES = ("full", "full_small", "demo", "mini")  # the one to read first stands first

_HEAD = f"""# Results

Made by `fos results render` from the JSON files in `results/`; do not edit. `make results` trains, evaluates and
renders. A cell that nobody ran says "not run".

How to read it:

- Figures are percent, mean ± sample standard deviation over training seeds. The data set is the same for all seeds: a
  seed decides initial weights, the order of the training data and augmentation.
- mAP by the standard convention: each query ranks the whole gallery of its category, its AP is divided by all relevant
  foregrounds; mean over the queries of a category, then over categories. The column "fosd" has the convention of FOSD's
  test set 2, which counts less as missed and is not to be compared with the others.
- Posterior rankings score a foreground by the sum over patterns of p(pattern | query) p(pattern | foreground). The
  *flat* head knows patterns as classes; the *factorised* head uses that patterns have attributes; *both* is their
  normalised geometric mean. A method's main ranking is "both" where it has it, else "flat": fixed, never chosen by its
  result. *Interaction* and *composite* judge each pair by a network: the first, on the features of both encoders, is
  the main ranking of the method that has it; the second takes a composite and a pass of a backbone a pair.
- Differences are paired by query and by seed. Intervals are 95 %, from {RESAMPLES} resamples in which queries (inside
  their category) and, apart from them, seeds are drawn again; with three seeds they tell little of the spread between
  seeds, with one nothing.
- Oracles are told the truth and show what the teacher and the way of scoring leave possible; chance is the expected
  value of a random order.
"""


def render(results_dir: str | Path, document: str | Path) -> str:
    """The document's text; writes the plots that it shows, below `results_dir`.

    Args:
      results_dir: folder of the sizes' folders. document: where the text will lie; links are relative to it.

    Raises: InputError where a file is damaged or there is no plan of any size.
    """
    parts = [_HEAD]
    for results in read_all(results_dir):
        parts += _size(results, Path(results_dir), Path(document))
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def read_all(results_dir: str | Path) -> list[SizeResults]:
    """Results of every size that has a plan, the one to read first first; errors as of `render`."""
    sizes = [size for size in SIZES if (Path(results_dir) / size / PLAN).exists()]
    if not sizes:
        raise InputError(f"{results_dir}: no {PLAN} in {', '.join(SIZES)}, expected results (fos results writes them)")
    out = []
    for size in sizes:
        plan = read_plan(results_dir, size)
        cells, trials = read_cells(results_dir, size, plan), read_trials(results_dir, size, plan.get("trials", []))
        out.append(SizeResults(size, plan, cells, trials))
    return out


def write_document(results_dir: str | Path, document: str | Path, readme: str | Path | None = None) -> None:
    """Writes the document and its plots, and the results in short into a README; errors as of `render`."""
    write_whole(document, render(results_dir, document))
    if readme:
        write_readme(readme, readme_block(read_all(results_dir), _link(Path(results_dir), Path(readme))))


def _size(results: SizeResults, results_dir: Path, document: Path) -> Sequence[str]:
    wanted, seeds = results.plan["methods"], results.seeds
    main = [method for method in wanted if not method["group"]]
    done = sum(bool(results.of_method(m["name"]).get(seed)) for m in main for seed in seeds)
    command = f"fos results --size={results.size} --seeds={','.join(map(str, seeds))}"
    parts = [
        f"## Size {results.size}",
        f"{done} of {len(main) * len(seeds)} cells of the main table were run. `{command}` runs what is missing.",
    ]
    if results.size == "mini":
        parts.append("**Size mini shows that everything runs; its figures mean nothing.**")
    parts.append(tables.circumstances(results))
    if in_short := headline(results):
        parts += ["### In short", in_short]
    plots = write_plots(results, results_dir / results.size)
    shown = {path.stem: f"![{title}]({_link(path, document)})" for title, path in plots}
    parts += ["### Methods", tables.methods(results), shown.get("methods", "")]
    parts += ["### Ours against the others", tables.differences(comparisons(results)), shown.get("differences", "")]
    parts += ["### By category", tables.by_category(results)]
    parts += ["### By factor", tables.by_attribute(results)]
    parts += ["### Where the student loses", tables.losses(results)]
    parts += ["### Cost", tables.cost(results)]
    parts += ["### Ablations", tables.ablations(results, ablation_comparisons(results)), shown.get("ablations", "")]
    parts += [tables.circumstances(results, is_ablation=True)]
    if results.plan.get("trials"):
        parts += ["### Tuning", tables.tuning(results)]
    parts += ["### Cells", tables.cells(results)]
    return [part for part in parts if part]


def _link(path: Path, document: Path) -> str:
    return Path(os.path.relpath(path, document.parent)).as_posix()
