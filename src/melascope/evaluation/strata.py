"""What photographs of several kinds, joined, would hide: the AUC within a source, and what confirmed benign lesions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluation.measures import Scores, distinct
from melascope.evaluation.sample import Sample
from melascope.statistics import auc_within, bootstrap, deployed, interval, rates
from melascope.statistics.intervals import Array


def stratified_sections(sample: Sample, frame: pd.DataFrame, scores: Scores) -> dict[str, Any]:
    """Return `within_source` and `benign`, each None where too little is known.

    Args:
        sample: The photographs.
        frame: Their predictions, in the same order.
        scores: Of the sample; its draws are made again with the same seed.
    """
    return {
        "within_source": within_source(sample, frame, scores),
        "benign": _benign(sample, _names(frame, "confirmed_by"), scores),
    }


def _names(frame: pd.DataFrame, column: str) -> Array:
    if column not in frame:
        return np.full(len(frame), "", dtype=object)
    return frame[column].astype("string").str.strip().fillna("").to_numpy(dtype=object).astype(str)


def with_both(truth: Array, sources: Array) -> list[str]:
    """Return the sources, of known name, that have photographs of both kinds."""
    return [str(s) for s in np.unique(sources[sources != ""]) if 0 < truth[sources == s].sum() < (sources == s).sum()]


def within_source(sample: Sample, frame: pd.DataFrame, scores: Scores) -> dict[str, Any] | None:
    """Return per group of diagnoses the AUC over pairs of one source; None where fewer than two sources are known.

    Args:
        sample: Photographs, or lesions.
        frame: Their predictions, in the same order; of a lesion that of one of its photographs.
        scores: Of the sample; its draws are made again with the same seed.
    """
    sources = _names(frame, "source")
    if len(np.unique(sources[sources != ""])) < 2:
        return None
    result: dict[str, Any] = {}
    for group, truth in sample.truth.items():
        both = with_both(truth, sources)
        rows = np.flatnonzero(np.isin(sources, both))
        if not len(rows):
            result[group] = {"auc": None, "sources": [], "left_out": len(sample)}
            continue
        risk, positive, source, groups = sample.risk[group][rows], truth[rows], sources[rows], sample.groups[rows]
        samples = bootstrap(
            lambda w, r=risk, y=positive, s=source: auc_within(r, y, s, w),  # type: ignore[misc]
            groups, sample.y[rows], scores.draws, scores.seed, len(rows),
        )  # fmt: skip
        fewer = min(distinct(groups, positive), distinct(groups, ~positive))
        found = interval(samples, float(auc_within(risk, positive, source)), len(rows), fewer)
        result[group] = {"auc": found.to_json(), "sources": both, "left_out": len(sample) - len(rows)}
    return result


def _benign(sample: Sample, confirmed: Array, scores: Scores) -> dict[str, Any] | None:
    """Return the specificity on benign lesions by what confirmed them; None where nothing is told or decided.

    Those that were excised looked suspicious to somebody: they are harder than those that were only followed up.
    """
    alert, benign = scores.alert(), ~sample.truth["malignant"]
    kinds = sorted({str(kind) for kind in np.unique(confirmed[benign])} - {""})
    if alert is None or not kinds:
        return None
    point = deployed(scores.points.get("melanoma", {}))
    result: dict[str, Any] = {}
    for kind in kinds:
        rows = np.flatnonzero(benign & (confirmed == kind))
        groups = sample.groups[rows]
        fired = {"specificity": alert[rows]}
        if point is not None:
            threshold = scores.points["melanoma"][point]["threshold"]
            fired["melanoma_specificity"] = sample.risk["melanoma"][rows] >= threshold
        result[kind] = {"n": len(rows), "n_groups": distinct(groups)}
        for name, alerted in fired.items():
            result[kind][name] = _specificity(alerted, groups, sample.y[rows], scores)
    return result


def _specificity(alerted: Array, groups: Array, y: Array, scores: Scores) -> dict[str, Any]:
    """Return the share of benign rows without an alert."""
    none = np.zeros(len(alerted), dtype=bool)
    samples = bootstrap(lambda w: rates(alerted, none, w)[1], groups, y, scores.draws, scores.seed, len(y))
    n_units = distinct(groups)
    return {**interval(samples, float(rates(alerted, none)[1]), len(y), n_units).to_json(), "groups": n_units}
