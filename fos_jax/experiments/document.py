"""docs/results.md and README's table from the results files alone: the same files give the same bytes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from fos_jax.errors import InputError
from fos_jax.evaluation.methods import OURS
from fos_jax.experiments import tables
from fos_jax.experiments.over_seeds import RESAMPLES
from fos_jax.experiments.plots import write_plots
from fos_jax.experiments.rows import SizeResults, ablation_comparisons, comparisons, read_size
from fos_jax.files import write_whole

SIZES = ("full", "full_small", "demo", "mini")  # the one to read first stands first
BEGIN, END = "<!-- results: rendered from results/ by fos results render, do not edit -->", "<!-- end of results -->"
PAPER_POINTS, PAPER_RELATIVE = 0.1042, 0.2406


def render(results_dir: str | Path, document: str | Path) -> str:
    """The document's text; writes the plots that it shows into `results_dir`.

    Args:
      results_dir: folder of the results files. document: where the text will lie; links are relative to it.

    Raises: InputError where a file is damaged or there is no plan of any size.
    """
    every = read_all(results_dir)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fos_jax.experiments", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("results.md.jinja").render(
        resamples=RESAMPLES,
        notes=tables.notes([entry for results in every for entry in results.entries()]),
        sizes=[_size(results, Path(results_dir), Path(document)) for results in every],
    )
    return text.rstrip("\n") + "\n"


def read_all(results_dir: str | Path) -> list[SizeResults]:
    """Results of every size that has a plan, the one to read first first; errors as of `render`."""
    found = [results for size in SIZES if (results := read_size(results_dir, size))]
    if not found:
        raise InputError(f"{results_dir}: no results of {', '.join(SIZES)}, expected some (fos results writes them)")
    return found


def write_document(results_dir: str | Path, document: str | Path, readme: str | Path | None = None) -> None:
    """Writes the document and its plots, and the results in short into a README; errors as of `render`."""
    write_whole(document, render(results_dir, document))
    if readme:
        write_readme(readme, readme_block(read_all(results_dir)))


def readme_block(all_results: Sequence[SizeResults]) -> str:
    """One table and a sentence per size on the margin over the nearest rival; empty where nothing says something."""
    shown = [r for r in all_results if r.size != "mini" and any(e.kind == OURS and e.by_seed for e in r.entries())]
    if not shown:
        return ""
    sentences = []
    for results in shown:
        rows, margins = comparisons(results), []
        for words, (_, ours, ranking, others) in zip(("by cosine", "by posterior"), tables.MARGINS, strict=False):
            if row := tables.best_margin(rows, ours, ranking, others):
                d = row.result
                short = ", **less than the paper's +24.06 %**" if d.relative < PAPER_RELATIVE else ""
                margins.append(f"{tables.interval_text(d)} points {words} ({100 * d.relative:+.1f} %{short})")
        sentences.append(f"Margin over the nearest rival, {results.size}: {', '.join(margins)}.")
    return tables.short_table(shown) + "\n\n" + " ".join(sentences)


def write_readme(readme: str | Path, block: str) -> None:
    """Puts the block between the two marks of a file; `InputError` where it has none."""
    text = Path(readme).read_text("utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if not 0 <= begin < end:
        raise InputError(f"{readme}: no lines {BEGIN!r} and {END!r} in this order, expected them around the results")
    write_whole(readme, text[: begin + len(BEGIN)] + "\n" + block + "\n" + text[end:])


def _size(results: SizeResults, results_dir: Path, document: Path) -> dict[str, Any]:
    """What the template shows of one size."""
    main = [method for method in results.plan["methods"] if not method["group"]]
    rows, plots = comparisons(results), write_plots(results, results_dir)
    links = {name: Path(os.path.relpath(path, document.parent)).as_posix() for name, path in plots.items()}
    return {
        "name": results.size,
        "done": sum(len(results.of_method(method["name"])) for method in main),
        "planned": len(main) * len(results.seeds),
        "command": f"fos results --size={results.size} --seeds={','.join(map(str, results.seeds))}",
        "provenance": tables.provenance(results),
        "margins": tables.margins(rows, PAPER_POINTS, PAPER_RELATIVE),
        "methods": tables.methods(results),
        "differences": tables.differences(rows),
        "breakdown": tables.breakdown(results),
        "lost_points": tables.lost_points(results),
        "cost": tables.cost(results),
        "ablations": tables.ablations(results, ablation_comparisons(results)),
        "ablation_provenance": tables.provenance(results, is_ablation=True),
        "trials": tables.tuning(results) if results.plan["trials"] else "",
        "plots": {name: links.get(name) for name in ("methods", "ablations")},
    }
