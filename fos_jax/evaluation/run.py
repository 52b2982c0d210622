"""The benchmark run: one or more bundles on one split, every ranking, with controls, oracles and intervals.

**Headline.** A figure's `value` is the mean over queries inside each category, then the unweighted mean over
categories, as the field reports it (no category rules by its size); `over_queries` is the plain mean over queries.
The headline of a run is `value` of metric "map" in the main bundle's row with the best-informed ranking: "both" where
the student has a factorised head, else "flat". It is fixed by this rule and never chosen by its result.
Source: decision 15.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from fos_jax.data.arrays import Foregrounds, Queries
from fos_jax.encoders.bundle import Bundle
from fos_jax.errors import InputError
from fos_jax.evaluation import bootstrap, conventions, scores
from fos_jax.evaluation.cost import encoding_cost, ranking_ms
from fos_jax.evaluation.measure import HEADLINE, Figures, gallery_accuracy, measure, measure_fosd, query_calibration
from fos_jax.evaluation.methods import OURS, EvaluatedModel, Row, gather_rows
from fos_jax.evaluation.truth import Truth, truth_of
from fos_jax.pattern_table import PatternTable

FORMAT_VERSION = 1


def evaluate(
    bundle: Bundle,
    queries: Queries,
    foregrounds: Foregrounds,
    table: PatternTable,
    *,
    name: str = "student",
    compare: Sequence[EvaluatedModel] = (),
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
    per_query: bool = False,
    cost: bool = False,
) -> dict[str, Any]:
    """Evaluates a bundle, and others beside it, on one split.

    Args:
      bundle: one without query encoder (a teacher) gets chance and oracles only.
      queries: of the split, at `bundle.query_size`. foregrounds: of the same split, the gallery; a query's own
        foreground is part of it.
      table: the data set's; the bundle's must be the same.
      name: name of the bundle's rows.
      compare: further methods, each measured by the same rankings.
      num_resamples: bootstrap resamples. level: of the intervals. seed: of the bootstrap.
      batch_size: of encoding. progress: show a bar while encoding.
      per_query: keep the average precision of each query: `queries` {fingerprint (of their ids), category [names]} is
        added, and `per_query` [float or None] to each row.
      cost: measure time and operations: `cost` {name of the method: see `cost.encoding_cost`} is added, and
        `ranking_ms` (a query against its category's gallery) to each row.

    Returns:
      What `json.dumps` takes, fractions except under "fosd":
      `convention` (texts), `bootstrap`, `counts`, `headline` {name, ranking, metric, figure}, `teacher` (gallery
      accuracy), `differences` [{of, minus, metric, difference, low, high, probability_above_zero, num_queries}] of the
      headline's row to every other one, and `rows` [{name, ranking, kind, note, bundle (fingerprint), num_queries,
      num_left_out, figures {metric: figure}, by_category {category: {num_queries, figures}}, by_compatible {"one",
      "several": {num_queries, figures}}, by_attribute {category: {attribute: {num_queries, accuracy, map}}},
      calibration, fosd}]. A figure is {value, low, high, over_queries}; None stands for what does not exist.

    Raises:
      InputError: a bundle's pattern table is not the data's, the methods' splits differ, a score is NaN.
    """
    main = EvaluatedModel(name, bundle, queries, foregrounds, OURS)
    if bundle.table.fingerprint() != table.fingerprint():
        raise InputError(
            f"bundle: trained with pattern table {bundle.table.fingerprint()}, expected the data set's, "
            f"{table.fingerprint()}"
        )
    truth = truth_of(queries, foregrounds, table)
    costs = {m.name: encoding_cost(m) for m in (main, *compare) if cost and m.bundle.has_query_encoder}
    rows, gallery = gather_rows(main, compare, truth, batch_size=batch_size, progress=progress)
    resamples = bootstrap.resample(truth.query_category, num_resamples=num_resamples, seed=seed)
    box_aspect = conventions.box_aspects(queries)
    foreground_aspect = conventions.foreground_aspects(foregrounds.image)
    results, measured = [], []
    for row in rows:
        logging.info("Measuring %s", " ".join(filter(None, (row.name, row.ranking))))
        figures = measure(row.scorer, truth)
        measured.append(figures)
        fosd = None if row.name == "chance" else measure_fosd(row.scorer, truth, box_aspect, foreground_aspect)
        result = _result(row, figures, truth, resamples, level) | {"fosd": fosd}
        if per_query:
            result["per_query"] = figures.by_metric[HEADLINE].tolist()
        if cost:
            result["ranking_ms"] = ranking_ms(row.scorer, truth)
        results.append(result)
    best = _headline_row(rows, name)
    more: dict[str, Any] = {"cost": costs} if cost else {}
    if per_query:
        names = [table.categories[c] for c in truth.query_category]
        more["queries"] = {"fingerprint": ids_fingerprint(queries.ids), "category": names}
    return _without_nan(
        {
            **more,
            "format_version": FORMAT_VERSION,
            "convention": _CONVENTION,
            "bootstrap": {"resamples": num_resamples, "level": level, "seed": seed, "strata": "category"},
            "counts": _counts(truth),
            "headline": None
            if best is None
            else {
                "name": rows[best].name,
                "ranking": rows[best].ranking,
                "metric": HEADLINE,
                "figure": results[best]["figures"][HEADLINE],
            },
            "teacher": gallery_accuracy(gallery.log_posterior, truth),
            "differences": [] if best is None else _differences(rows, measured, best, truth, resamples, level),
            "rows": results,
        }
    )


_CONVENTION = {
    "name": conventions.STANDARD,
    "average_precision": "full ranking of the category's gallery, divided by all relevant foregrounds",
    "truncated": "map_at_k counts ranks up to k and divides by min(k, relevant); precision_at_k divides by "
    "min(k, gallery of the category)",
    "ties": "expected value over a uniformly random order of equal scores",
    "value": "mean over queries in each category, then unweighted mean over categories",
    "over_queries": "mean over all queries",
    "left_out": "queries without a relevant foreground, or that the row's method cannot score; counted in each row",
    "by_attribute": "accuracy: the value with the highest marginal of p(pattern | query) is one that fits; map: the "
    "ranking among foregrounds that fit in every other attribute; queries with nothing to tell apart left out",
    "unit": "fractions; the fosd figures are percent",
    "fosd": f"{conventions.FOSD}, test set 2: aspect filter {conventions.MAX_ASPECT_DIFFERENCE}, lists cut to what "
    "remains, positives behind the cut not counted, precisions rounded to 0.01 percent before averaging; not to be "
    "compared with the standard figures",
}


def ids_fingerprint(ids: np.ndarray) -> str:
    """Digest of ids in their order: the same queries, to be compared one by one."""
    return hashlib.sha256("\n".join(map(str, ids)).encode()).hexdigest()[:16]


def _headline_row(rows: Sequence[Row], name: str) -> int | None:
    for ranking in (scores.BOTH, scores.FLAT):
        for i, row in enumerate(rows):
            if (row.name, row.ranking, row.kind) == (name, ranking, OURS):
                return i
    return None


def _result(row: Row, figures: Figures, truth: Truth, resamples: bootstrap.Resamples, level: float) -> dict[str, Any]:
    category, table = truth.query_category, truth.table
    is_counted = ~np.isnan(figures.by_metric[HEADLINE])

    def figure(values: np.ndarray, where: np.ndarray | None = None) -> dict[str, float]:
        values = values if where is None else np.where(where, values, np.nan)
        low, high = bootstrap.interval(bootstrap.replicate(resamples, values), level=level)
        over_queries = bootstrap.mean(values, category, over=bootstrap.OVER_QUERIES)
        return {"value": bootstrap.mean(values, category), "low": low, "high": high, "over_queries": over_queries}

    def subset(where: np.ndarray) -> dict[str, Any]:
        metrics = {metric: figure(values, where) for metric, values in figures.by_metric.items()}
        return {"num_queries": int((where & is_counted).sum()), "figures": metrics}

    by_attribute: dict[str, dict[str, Any]] = {}
    for (name, attribute), of in figures.by_attribute.items():
        by_attribute.setdefault(name, {})[attribute] = {
            "num_queries": int((~np.isnan(of.average_precision)).sum()),
            "accuracy": None if of.accuracy is None else figure(of.accuracy),
            "map": figure(of.average_precision),
        }
    num_compatible = truth.is_compatible.sum(axis=1)
    log_posterior = row.scorer.log_posterior if row.scorer.has_query is None else None
    return {
        "name": row.name,
        "ranking": row.ranking,
        "kind": row.kind,
        "note": row.note,
        "bundle": row.bundle,
        "num_queries": int(is_counted.sum()),
        "num_left_out": int((~is_counted).sum()),
        "figures": {metric: figure(values) for metric, values in figures.by_metric.items()},
        "by_category": {table.categories[c]: subset(category == c) for c in np.unique(category)},
        "by_compatible": {"one": subset(num_compatible == 1), "several": subset(num_compatible > 1)},
        "by_attribute": by_attribute,
        "calibration": None if log_posterior is None else query_calibration(log_posterior, truth),
    }


def _differences(
    rows: Sequence[Row],
    measured: Sequence[Figures],
    best: int,
    truth: Truth,
    resamples: bootstrap.Resamples,
    level: float,
) -> list[dict[str, Any]]:
    out = []
    for i, row in enumerate(rows):
        if i != best:
            ours, theirs = (measured[j].by_metric[HEADLINE] for j in (best, i))
            paired = bootstrap.paired_difference(resamples, ours, theirs, truth.query_category, level=level)
            of, minus = ({"name": r.name, "ranking": r.ranking} for r in (rows[best], row))
            out.append({"of": of, "minus": minus, "metric": HEADLINE, **paired._asdict()})
    return out


def _counts(truth: Truth) -> dict[str, Any]:
    has_relevant = np.zeros(len(truth.query_category), bool)
    by_category = {}
    for block in truth.blocks():
        relevant = truth.relevant(block)
        has_relevant[block.queries] = relevant.any(axis=1)
        by_category[truth.table.categories[block.category]] = {
            "queries": len(block.queries),
            "foregrounds": len(block.foregrounds),
            "patterns": len(block.patterns),
            "relevant_per_query": float(relevant.sum(axis=1).mean()),
            "compatible_per_query": float(truth.is_compatible[block.queries].sum(axis=1).mean()),
        }
    return {
        "queries": len(truth.query_category),
        "foregrounds": len(truth.foreground_category),
        "queries_without_relevant": int((~has_relevant).sum()),
        "queries_without_own_foreground": int((truth.own_foreground < 0).sum()),
        "is_ranking_of_judged_pairs_only": truth.unfitting_pairs is not None,
        "foregrounds_of_unknown_pattern": int((truth.pattern < 0).sum()),
        "by_category": by_category,
    }


def _without_nan(value: Any) -> Any:
    """The same tree with None for what is not a number, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _without_nan(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(child) for child in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
