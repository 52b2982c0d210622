"""How far annotators agree, and which cut-outs they do not agree about."""

import itertools
from typing import Any

from fos_jax.verification.state import State


def agreement(state: State, *, category: str | None = None) -> list[dict[str, Any]]:
    """Compares the verdicts of every two annotators.

    Args:
      state: of the verification.
      category: only its cut-outs.

    Returns:
      For each pair that judged some cut-out both: `annotators` (two names), `cutouts` (how many both judged), `same`
      (share with the same verdict), `ari` (adjusted Rand index of the two groupings) and `kappa` (Cohen's; the group is
      the label, and the rejected are a group too). Kappa is None where both used one and the same label
      throughout, ARI where there is one cut-out only.

    Source: Hubert and Arabie, 1985, and Cohen, 1960, as scikit-learn has them; see `state` for what the verdicts mean.
    """
    from sklearn.metrics import adjusted_rand_score, cohen_kappa_score

    common: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for cutout, verdicts in sorted(state.verdicts.items()):
        if category is None or state.groups[state.group_of[cutout]].category == category:
            for a, b in itertools.combinations(sorted(verdicts), 2):
                common.setdefault((a, b), []).append((verdicts[a], verdicts[b]))
    result = []
    for pair, labels in sorted(common.items()):
        first, second = zip(*labels, strict=True)
        is_varied = len({*first, *second}) > 1
        result.append(
            {
                "annotators": list(pair),
                "cutouts": len(labels),
                "same": sum(a == b for a, b in labels) / len(labels),
                "ari": float(adjusted_rand_score(first, second)) if len(labels) > 1 else None,
                "kappa": float(cohen_kappa_score(first, second)) if is_varied else None,
            }
        )
    return result


def disagreements(state: State, *, category: str | None = None) -> list[dict[str, Any]]:
    """The queue of cut-outs without a majority: `cutout`, `group` (where it lies) and `verdicts`.

    Those that most annotators judged come first. One more verdict, or a changed one, that makes a majority takes a
    cut-out off the queue.
    """
    queue = [
        {"cutout": cutout, "group": state.group_of[cutout], "verdicts": dict(sorted(verdicts.items()))}
        for cutout, verdicts in state.verdicts.items()
        if state.is_disputed(cutout) and (category is None or state.groups[state.group_of[cutout]].category == category)
    ]
    return sorted(queue, key=lambda entry: (-len(entry["verdicts"]), entry["cutout"]))


def progress(state: State, annotator: str) -> dict[str, dict[str, int]]:
    """Category -> `cutouts`, `patterns`, `judged` (by anybody), `mine` (by the annotator), `disputed`, `rejected`."""
    result: dict[str, dict[str, int]] = {}
    for group in state.standing():
        record, members = state.groups[group], state.members[group]
        names = ("cutouts", "patterns", "judged", "mine", "disputed", "rejected")
        entry = result.setdefault(record.category, dict.fromkeys(names, 0))
        entry["cutouts"] += len(members)
        entry["patterns"] += record.kind == "pattern" and bool(members)
        entry["rejected"] += len(members) if record.kind == "rejected" else 0
        for cutout in members:
            verdicts = state.verdicts.get(cutout)
            if verdicts:
                entry["judged"] += 1
                entry["mine"] += annotator in verdicts
                entry["disputed"] += state.is_disputed(cutout)
    return result
