"""Data card of a benchmark made from photographs, as Markdown and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import fos_jax
from fos_jax.cutouts.cutout_set import CutoutSet
from fos_jax.datasets.fos_patterns.annotated import AnnotatedPatterns
from fos_jax.datasets.fos_patterns.benchmark import SPLITS, Benchmark
from fos_jax.verification.export import VerifiedPatterns

_SMALL = 5


def card(plan: Benchmark, cutouts: CutoutSet, labels: VerifiedPatterns | AnnotatedPatterns) -> dict[str, Any]:
    """Everything the card says, JSON values."""
    sizes = np.array([sum(p.counts.values()) for p in plan.table.patterns])
    by_category = {}
    for category in plan.table.categories:
        own = [e for e in plan.entries if e.category == category]
        by_category[category] = {
            "patterns": sum(p.category == category for p in plan.table.patterns),
            "foregrounds": {split: sum(e.split == split and e.has_cutout for e in own) for split in SPLITS},
            "queries": {split: sum(e.split == split and bool(e.photograph) for e in own) for split in SPLITS},
        }
    settings = plan.settings
    queries = Counter((e.pattern, e.split) for e in plan.entries if e.photograph)
    return {
        "fos_jax": fos_jax.__version__,
        "source": cutouts.manifest["source"],
        "cutouts": cutouts.fingerprint,
        **_origin(labels),
        "categories": by_category,
        "patterns": [
            {
                "description": p.description,
                "mirror": p.mirror,
                "foregrounds": dict(p.counts),
                "queries": {s: queries[p.id, s] for s in SPLITS},
            }
            for p in plan.table.patterns
        ],
        "pattern_sizes": {
            "patterns": len(sizes),
            "smallest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "largest": int(sizes.max()),
            f"below_{_SMALL}_in_train": sum(p.counts["train"] < _SMALL for p in plan.table.patterns),
            "absent_from_train": sum(p.counts["train"] == 0 for p in plan.table.patterns),
        },
        "attributes": {c: {n: list(v) for n, v in a.items()} for c, a in plan.table.attributes.items()},
        "also_compatible_pairs": int((plan.is_compatible.sum() - len(sizes)) // 2),
        "left_out": dict(plan.left_out),
        "fell_to_filters": {k: v for k, v in cutouts.manifest["counts"].items() if k != "kept"},
        "photographs": dict(plan.components),
        "near_duplicate_bits": cutouts.manifest["config"]["near_duplicate"]["max_distance_bits"],
        "licences": dict(Counter(e.licence or "not stated" for e in plan.entries)),
        "settings": {
            "shares": dict(settings.shares),
            "min_members": settings.min_members,
            "growth": list(settings.growth),
            "longest_side_px": settings.longest_side_px,
            "cutout_side_px": settings.cutout_side_px,
            "seed": settings.seed,
        },
        "known_leaks": _leaks(plan),
    }


def _origin(labels: VerifiedPatterns | AnnotatedPatterns) -> dict[str, Any]:
    """How the patterns came about."""
    if isinstance(labels, AnnotatedPatterns):
        return {
            "labels": labels.fingerprint(),
            "read_from_annotations": list(labels.attributes),
            "known": {category: dict(row) for category, row in labels.known.items()},
            "defects": list(labels.messages),
        }
    return {
        "proposals": labels.proposals,
        "last_action": labels.last_action,
        "annotators": list(labels.annotators),
        "agreement": [dict(entry) for entry in labels.agreement],
    }


def _leaks(plan: Benchmark) -> list[str]:
    """What a query still tells about the object that was there, as far as it is known."""
    leaks = [
        "Shadows and reflections outside the rectangle stay in the photograph and tell of the object's shape and side.",
        "People or things that touch or look at the object stay too, and so do its parts outside the mask.",
        "Truth is one-sided: a pattern that nobody marked as compatible may fit as well, and counts as wrong.",
    ]
    if plan.settings.growth[1] == 0:
        leaks.append(
            "Rectangles are tight around the silhouette: their shape alone says something about the pattern "
            "(a control that sees only the rectangle measures how much)."
        )
    elif plan.settings.growth[0] < plan.settings.growth[1]:
        leaks.append("Rectangles are jittered, but large or flat ones still suit some patterns more than others.")
    else:
        leaks.append("Rectangles are widened by one fraction: their shape still follows the silhouette's.")
    return leaks


def markdown(values: Mapping[str, Any]) -> str:
    """The card of `card` for people."""
    of_patterns, settings = values["pattern_sizes"], values["settings"]
    photographs = values["photographs"]
    lines = [
        "# Data card",
        "",
        f"Foregrounds grouped into patterns, and queries, from: {values['source']}.",
        _made_from(values),
        "",
        "## Counts",
        "",
        *_table(
            ["category", "patterns", *(f"foregrounds {s}" for s in SPLITS), *(f"queries {s}" for s in SPLITS)],
            [
                [name, row["patterns"], *row["foregrounds"].values(), *row["queries"].values()]
                for name, row in values["categories"].items()
            ],
        ),
        "",
        f"{of_patterns['patterns']} patterns: {of_patterns['smallest']} to {of_patterns['largest']} foregrounds, half "
        f"of them with {of_patterns['median']:g} or more; {of_patterns[f'below_{_SMALL}_in_train']} have fewer than "
        f"{_SMALL} in train, {of_patterns['absent_from_train']} none. {values['also_compatible_pairs']} pairs of "
        "patterns are marked as also compatible.",
        "",
        "## How it was made",
        "",
        f"Shares {', '.join(f'{k} {v:g}' for k, v in settings['shares'].items())}; patterns of fewer than "
        f"{settings['min_members']} members are left out; rectangles grow by {settings['growth'][0]:g} to "
        f"{settings['growth'][1]:g} of their size on each side; photographs at most {settings['longest_side_px']} px, "
        f"cut-outs at most {settings['cutout_side_px']} px; seed {settings['seed']}.",
        f"Of {photographs['photographs']} photographs {photographs['linked']} hang together with another one (they "
        f"show the same object, or their hashes differ by at most {values['near_duplicate_bits']} bits; the largest "
        f"such group has {photographs['largest']}); such groups were never divided among splits, and no two "
        "splits share a photograph or a near-duplicate (checked pair by pair).",
        "",
        *_table(["left out of the benchmark", "objects"], sorted(values["left_out"].items())),
        "",
        *_table(["fell to a filter before that", "objects"], sorted(values["fell_to_filters"].items())),
        "",
        *_labels(values),
        "",
        "## Patterns",
        "",
        *_table(
            ["pattern", "mirrored", *(f"foregrounds {s}" for s in SPLITS), *(f"queries {s}" for s in SPLITS)],
            [
                [
                    f"{number}: {row['description']}",
                    row["mirror"] if row["mirror"] >= 0 else "none",
                    *row["foregrounds"].values(),
                    *row["queries"].values(),
                ]
                for number, row in enumerate(values["patterns"])
            ],
        ),
        "",
        "## Licences of the photographs",
        "",
        *_table(["licence", "objects"], sorted(values["licences"].items())),
        "",
        "## Known leaks and limits",
        "",
        *(f"- {text}" for text in values["known_leaks"]),
    ]
    return "\n".join(lines) + "\n"


def _made_from(values: Mapping[str, Any]) -> str:
    made = f"Made by fos_jax {values['fos_jax']} from cut-outs `{values['cutouts']}`"
    if "labels" in values:
        return (
            f"{made}; patterns are combinations of {', '.join(values['read_from_annotations'])}, as annotations tell."
        )
    return (
        f"{made}, proposals `{values['proposals']}` and {values['last_action']} actions of {len(values['annotators'])} "
        f"annotators ({', '.join(values['annotators']) or 'none'})."
    )


def _labels(values: Mapping[str, Any]) -> list[str]:
    if "labels" not in values:
        return ["## Agreement of annotators", "", *_agreement(values["agreement"])]
    names = values["read_from_annotations"]
    rows = [
        [category, row["cut-outs"], *(row.get(name, 0) for name in names)] for category, row in values["known"].items()
    ]
    return [
        "## Attributes read from annotations",
        "",
        "No person checked the patterns: rules read them from keypoints, masks, rectangles and fields, and err where "
        "these do (`fos_jax.patterns.annotations` has the rules and their sources). Cut-outs for which each is known:",
        "",
        *_table(["category", "cut-outs", *names], rows),
        *(["", "Skipped as defective:", "", *(f"- {text}" for text in values["defects"])] if values["defects"] else []),
    ]


def _agreement(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    if not pairs:
        return ["Nothing was judged by two annotators: agreement is not known."]
    rows = [
        [" and ".join(p["annotators"]), p["cutouts"], f"{p['same']:.3f}", _number(p["ari"]), _number(p["kappa"])]
        for p in pairs
    ]
    note = "Annotators see each other's work: this bounds from above what they would agree on alone."
    return [*_table(["annotators", "cut-outs judged by both", "same", "ARI", "kappa"], rows), "", note]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[str(value).replace("|", "\\|") for value in row] for row in [head, ["---"] * len(head), *rows]]
    return [f"| {' | '.join(row)} |" for row in cells]
