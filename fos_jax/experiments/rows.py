"""From cells of results to rows of figures over seeds: what tables and plots are made of."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fos_jax.evaluation.methods import ORACLE, OURS, RIVAL
from fos_jax.evaluation.scores import BOTH, COMPOSITE, COSINE, FACTORISED, FLAT, INTERACTION
from fos_jax.experiments.cell_files import CellId
from fos_jax.experiments.over_seeds import SeedDifference, Spread, seed_difference, spread
from fos_jax.report.figures import RANKINGS

Row = Mapping[str, Any]
# A method's main ranking is the first of these that it has, never chosen by result. An interaction is trained to rank.
BEST_INFORMED = (BOTH, INTERACTION, FLAT, COSINE)
COMPARED = (
    (COSINE, (COSINE,)),
    (FLAT, (FLAT,)),
    (BOTH, (BOTH, FLAT)),
    (BOTH, (INTERACTION,)),
    (BOTH, (COMPOSITE,)),
)
_KINDS = (OURS, RIVAL, "control", ORACLE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One method by one ranking, over all seeds that were run.

    Attributes:
      method: of the plan. title: of the row. ranking: key of it. kind: "ours", "rival", "control", "oracle".
      by_seed: seed -> row of the cell; empty where nothing was run.
      note: half a sentence.
    """

    method: str
    title: str
    ranking: str
    kind: str
    by_seed: Mapping[int, Row]
    note: str = ""

    def spread(self, *path: str) -> Spread | None:
        """A figure over seeds, e.g. `spread("figures", "map")`; None where no seed has it."""
        return spread([_at(row, path) for row in self.by_seed.values()])

    @property
    def ranking_title(self) -> str:
        return RANKINGS.get(self.ranking, self.ranking)


@dataclasses.dataclass(frozen=True)
class SizeResults:
    """All that is known of one size: its plan and the cells that were run as planned."""

    size: str
    plan: Mapping[str, Any]
    cells: Mapping[CellId, Mapping[str, Any]]
    trials: Sequence[Mapping[str, Any] | None] = ()  # as `plan["trials"]`; None for one that was not run

    @property
    def seeds(self) -> list[int]:
        return list(self.plan["seeds"])

    def of_method(self, name: str) -> dict[int, Mapping[str, Any]]:
        """Seed -> cell."""
        return {c.seed: cell for c, cell in sorted(self.cells.items()) if c.method == name}

    def entries(self, *, is_ablation: bool = False) -> list[Entry]:
        """Rows of the main table or of the ablations: by kind, then in the order of the plan."""
        out = []
        for method in self.plan["methods"]:
            if bool(method["group"]) == is_ablation:
                out += self._entries_of(method)
        return sorted(out, key=lambda entry: _KINDS.index(entry.kind))

    def _entries_of(self, method: Mapping[str, Any]) -> list[Entry]:
        by_seed = {seed: cell["rows"] for seed, cell in self.of_method(method["name"]).items()}
        if method["rankings"]:
            names = [(method["name"], ranking) for ranking in method["rankings"]]
        else:  # chance and oracles, as the cells name them
            names = list(dict.fromkeys((row["name"], row["ranking"]) for rows in by_seed.values() for row in rows))
            names = names or [(method["name"], "")]
        out = []
        for name, ranking in names:
            rows = {s: r for s, rows in by_seed.items() for r in rows if (r["name"], r["ranking"]) == (name, ranking)}
            is_own = name == method["name"]
            first = next(iter(rows.values()), None)
            kind = method["kind"] if is_own or first is None else first["kind"]
            title = method["title"] if is_own else name
            note = method["note"] if is_own or first is None else first["note"]
            out.append(Entry(method["name"], title, ranking, kind, rows, note))
        return out

    def entry(self, method: str, ranking: str) -> Entry | None:
        """The row of a method and ranking that was run; None where it was not."""
        for entry in [*self.entries(), *self.entries(is_ablation=True)]:
            if (entry.method, entry.ranking) == (method, ranking) and entry.by_seed:
                return entry
        return None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One of ours against another method, with a ranking each."""

    ours: Entry
    theirs: Entry
    result: SeedDifference


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
    ours = [entry for entry in entries if entry.kind == OURS]
    others = list(dict.fromkeys(e.method for e in entries if e.kind not in (OURS, ORACLE) and e.ranking in RANKINGS))
    out = []
    for mine in ours:
        for other in others:
            for ranking, allowed in COMPARED:
                found = next((e for r in allowed if (e := results.entry(other, r))), None)
                if mine.ranking == ranking and found is not None:
                    difference = seed_difference(mine.by_seed, found.by_seed)
                    if difference is not None:
                        out.append(Comparison(mine, found, difference))
    return out


def ablation_comparisons(results: SizeResults, *, base: str = "student") -> list[tuple[str, Entry, SeedDifference]]:
    """(group, ablation's row, its difference to the base's row of the same ranking) for each ablation that was run."""
    groups = {method["name"]: method["group"] for method in results.plan["methods"]}
    out = []
    for entry in results.entries(is_ablation=True):
        whole = results.entry(base, entry.ranking)
        if entry.ranking == FACTORISED or not entry.by_seed or whole is None:
            continue
        difference = seed_difference(entry.by_seed, whole.by_seed)
        if difference is not None:
            out.append((groups[entry.method], entry, difference))
    return out


def _at(row: Any, path: Sequence[str]) -> float | None:
    for key in path:
        if not isinstance(row, Mapping) or row.get(key) is None:
            return None
        row = row[key]
    return row
