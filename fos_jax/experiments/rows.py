"""From a results file to rows of figures over seeds: what tables and plots are made of."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fos_jax.evaluation.methods import COMPATIBLE_SET, CONTROL, ORACLE, OURS, RIVAL
from fos_jax.evaluation.scores import BOTH, COMPOSITE, COSINE, FACTORISED, FLAT, INTERACTION
from fos_jax.experiments.over_seeds import SeedDifference, Spread, seed_difference, spread
from fos_jax.experiments.results_file import PLAN, Record, read_records, results_path

# A method's main ranking is the first of these that it has, never chosen by result. An interaction is trained to rank.
BEST_INFORMED = (BOTH, INTERACTION, FLAT, COSINE)
COMPARED = (
    (COSINE, (COSINE,)),
    (FLAT, (FLAT,)),
    (BOTH, (BOTH, FLAT)),
    (BOTH, (INTERACTION,)),
    (BOTH, (COMPOSITE,)),
)
_KINDS = (OURS, RIVAL, CONTROL, ORACLE)
_LOSSES = ("teacher: patterns of the gallery", "student: patterns of the query", "one vector in place of a posterior")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One method by one ranking, over all seeds that were run.

    Attributes:
      method: of the plan. title: of the row. ranking: key of it. kind: "ours", "rival", "control", "oracle".
      by_seed: seed -> row of the cell; empty where nothing was run.
      note: half a sentence. group: of an ablation.
    """

    method: str
    title: str
    ranking: str
    kind: str
    by_seed: Mapping[int, Record]
    note: str = ""
    group: str = ""

    def spread(self, *path: str) -> Spread | None:
        """A figure over seeds, e.g. `spread("figures", "map")`; None where no seed has it."""
        return spread([_at(row, path) for row in self.by_seed.values()])

    def factor(self, name: str) -> Spread | None:
        """mAP in one attribute, mean over the categories that have it."""
        return spread([_of_attribute(row, name) for row in self.by_seed.values()])


@dataclasses.dataclass(frozen=True)
class SizeResults:
    """All that is known of one size: its plan, the cells that were run as planned, and the plan's trials."""

    size: str
    plan: Record
    cells: Mapping[tuple[str, int], Record]  # (method, seed) -> record
    trials: Sequence[Record | None] = ()  # as `plan["trials"]`; None for one that was not run

    @property
    def seeds(self) -> list[int]:
        return list(self.plan["seeds"])

    def of_method(self, name: str) -> dict[int, Record]:
        """Seed -> cell."""
        return {seed: cell for (method, seed), cell in self.cells.items() if method == name}

    def entries(self, *, is_ablation: bool = False) -> list[Entry]:
        """Rows of the main table or of the ablations: by kind, then in the order of the plan."""
        return [entry for entry in self._entries if bool(entry.group) == is_ablation]

    @functools.cached_property
    def _entries(self) -> list[Entry]:
        entries = [entry for method in self.plan["methods"] for entry in self._entries_of(method)]
        return sorted(entries, key=lambda entry: _KINDS.index(entry.kind))

    def _entries_of(self, method: Record) -> list[Entry]:
        by_seed = {seed: cell["rows"] for seed, cell in self.of_method(method["name"]).items()}
        names = [(method["name"], ranking) for ranking in method["rankings"]]
        if not names:  # chance and oracles, as the cells name them
            names = list(dict.fromkeys((row["name"], row["ranking"]) for rows in by_seed.values() for row in rows))
            names = names or [(method["name"], "")]
        out = []
        for name, ranking in names:
            rows = {s: r for s, rows in by_seed.items() for r in rows if (r["name"], r["ranking"]) == (name, ranking)}
            first = next(iter(rows.values()), method)
            of = method if name == method["name"] else {**first, "title": name}
            out.append(Entry(method["name"], of["title"], ranking, of["kind"], rows, of["note"], method["group"]))
        return out

    def entry(self, method: str, ranking: str) -> Entry | None:
        """The row of a method and ranking that was run; None where it was not."""
        found = (e for e in self._entries if (e.method, e.ranking) == (method, ranking) and e.by_seed)
        return next(found, None)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One of ours against another method, with a ranking each."""

    ours: Entry
    theirs: Entry

    @functools.cached_property
    def result(self) -> SeedDifference:
        difference = seed_difference(self.ours.by_seed, self.theirs.by_seed)
        if difference is None:
            raise ValueError(f"{self.ours.title} and {self.theirs.title} share no seed")
        return difference


def read_size(results_dir: str | Path, size: str) -> SizeResults | None:
    """What the file of a size holds; None where it has no plan. `InputError` where it is damaged."""
    records = read_records(results_path(results_dir, size))
    plan = records.get(PLAN)
    if plan is None:
        return None

    def run(key: str, definition: str | None) -> Record | None:
        return record if (record := records.get(key)) and record["definition"] == definition else None

    cells = {}
    for method in plan["methods"]:
        for seed in plan["seeds"]:
            name = f"{method['name']}-{seed}"
            if cell := run(f"cell-{name}", plan["definitions"].get(name)):
                cells[method["name"], seed] = cell
    trials = [run(f"trial-{t['training']}-{t['number']}", t["definition"]) for t in plan["trials"]]
    return SizeResults(size, plan, cells, trials)


def main_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Of each method the row with the best-informed ranking and the cosine row; oracles and chance as they are."""
    out = []
    for entry in entries:
        own = [e.ranking for e in entries if (e.method, e.title) == (entry.method, entry.title)]
        best = next((ranking for ranking in BEST_INFORMED if ranking in own), None)
        if best is None or entry.kind == ORACLE or entry.ranking in (best, COSINE):
            out.append(entry)
    return out


def comparisons(results: SizeResults) -> list[Comparison]:
    """Ours against rivals and controls: cosine to cosine, flat to flat, both heads to the best-informed posterior and
    to what judges pairs."""
    entries = [entry for entry in results.entries() if entry.by_seed]
    others = dict.fromkeys(e.method for e in entries if e.kind in (RIVAL, CONTROL) and e.ranking)
    out = []
    for mine in (entry for entry in entries if entry.kind == OURS):
        for other in others:
            for ranking, allowed in COMPARED:
                found = next((e for r in allowed if (e := results.entry(other, r))), None)
                if mine.ranking == ranking and found is not None and set(mine.by_seed) & set(found.by_seed):
                    out.append(Comparison(mine, found))
    return out


def ablation_comparisons(results: SizeResults, *, base: str = "student") -> list[Comparison]:
    """Each ablation's row against the base's row of the same ranking, where both were run with some seed."""
    out = []
    for entry in results.entries(is_ablation=True):
        whole = results.entry(base, entry.ranking)
        if entry.ranking != FACTORISED and whole is not None and set(entry.by_seed) & set(whole.by_seed):
            out.append(Comparison(entry, whole))
    return out


def losses(
    results: SizeResults, *, method: str = "student"
) -> tuple[list[str], list[tuple[str, list[Spread | None]]]] | None:
    """Where the method's mAP is lost: (names of the factors, steps), or None while the cells it needs were not run.

    A step has [mAP after it, lost, lost in each factor]. The first is what the compatible-set oracle misses, which is
    told the patterns that fit and ranks by the teacher's posterior; the second is from there to the method's main
    ranking, the third from that to its cosine. A factor's column is the same for the ranking among foregrounds that
    fit in all other factors.
    """
    oracle = next((e for e in results.entries() if (e.title, e.ranking) == (COMPATIBLE_SET, "posterior")), None)
    posterior = next((e for r in BEST_INFORMED if (e := results.entry(method, r)) and e.ranking != COSINE), None)
    cosine = results.entry(method, COSINE)
    if oracle is None or posterior is None or cosine is None:
        return None
    seeds = sorted(set(oracle.by_seed) & set(posterior.by_seed) & set(cosine.by_seed))
    if not seeds:
        return None
    factors = list(dict.fromkeys(a for of in oracle.by_seed[seeds[0]]["by_attribute"].values() for a in of))
    steps, before = [], None
    for title, entry in zip(_LOSSES, (oracle, posterior, cosine), strict=True):
        figures = [spread([_map(entry.by_seed[s], None) for s in seeds])]
        for factor in (None, *factors):
            after = [_map(entry.by_seed[s], factor) for s in seeds]
            start = [_map(before.by_seed[s], factor) if before else 1.0 for s in seeds]
            pairs = zip(start, after, strict=True)
            figures.append(spread([a - b if a is not None and b is not None else None for a, b in pairs]))
        steps.append((title, figures))
        before = entry
    return factors, steps


def _map(row: Record, factor: str | None) -> float | None:
    return row["figures"]["map"] if factor is None else _of_attribute(row, factor)


def _of_attribute(row: Record, name: str) -> float | None:
    values = [of[name]["map"] for of in row["by_attribute"].values() if name in of and of[name]["map"] is not None]
    return sum(values) / len(values) if values else None


def _at(row: Any, path: Sequence[str]) -> float | None:
    for key in path:
        if not isinstance(row, Mapping) or row.get(key) is None:
            return None
        row = row[key]
    return row
