"""How well suspected labels agree with the corrections of an authority that was not asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.datasets import photographs
from melascope.statistics import auc, bootstrap, interval, wilson
from melascope.statistics.intervals import units

DEPTHS = (20, 50, 100, 200)
"""How far down the ranking it is measured, besides at the number of suspects and of corrections."""


def measure(
    rows: pd.DataFrame,
    classes: tuple[str, ...],
    labels: np.ndarray,
    score: np.ndarray,
    flagged: np.ndarray,
    group: np.ndarray,
) -> dict[str, Any] | None:
    """Return how many of the authority's corrections the suspicion finds; None without an authority or a correction.

    Args:
        rows: The photographs judged, with `official_diagnosis` where there is an authority.
        classes: The coarse diagnoses.
        labels: `(n,)` the filed ones as numbers.
        score: `(n,)` higher is more suspicious; every row has one. Those flagged are ranked before the rest.
        flagged: `(n,)` which are suspected.
        group: `(n,)` names; rows of one name are drawn together in the bootstrap.

    Returns:
        `known` (photographs that the authority knows; only those are counted), `corrections` (of them filed otherwise),
        `base_rate`, `auroc` (of the score, with interval), `flagged` and `at` (a list: `k`, `hits`, `precision` and
        `recall` with Wilson's intervals, `enrichment`: precision over base rate, `value`, `low`, `high`), and
        `contradictions`: photographs filed under several diagnoses, of which the authority decides: `n`, and the share
        `found` in which the label that it contradicts is the more suspicious one; None where there are none.
    """
    if "official_diagnosis" not in rows.columns:
        return None
    official = [None if pd.isna(code) else _coarse(str(code), classes) for code in rows["official_diagnosis"]]
    known = np.array([code is not None for code in official])
    wrong = np.array(
        [code is not None and code != classes[label] for code, label in zip(official, labels, strict=True)]
    )
    if not wrong.any() or wrong[known].all():
        return None
    wrong, score, flagged, group = wrong[known], score[known], flagged[known], group[known]
    total, n = int(wrong.sum()), len(wrong)
    base = total / n
    ranked = wrong[np.lexsort((-score, ~flagged))]
    depths = sorted({k for k in (*DEPTHS, total) if k <= n})
    unit = units(group, n)
    samples = bootstrap(lambda w: auc(score, wrong, w), unit, wrong, draws=1000)
    n_units = min(len(np.unique(unit[wrong])), len(np.unique(unit[~wrong])))
    return {
        "known": n,
        "corrections": total,
        "base_rate": base,
        "auroc": interval(samples, float(auc(score, wrong)), n, n_units).to_json(),
        "flagged": _at(wrong[flagged], total, base),
        "at": [_at(ranked[:k], total, base) for k in depths],
        "contradictions": _contradictions(rows[known], labels[known], wrong, score),
    }


def _coarse(code: str, classes: tuple[str, ...]) -> str | None:
    """Return the official label as one of the classes; one that is none of them still contradicts the filed one."""
    for vocabulary in (classes, diagnosis.ISIC_2019, diagnosis.ISIC_2018):
        if (found := diagnosis.coarsen_label(code, vocabulary)) is not None:
            return found
    return None


def _at(hits: np.ndarray, total: int, base: float) -> dict[str, Any]:
    precision = wilson(int(hits.sum()), len(hits))
    enrichment = None
    if len(hits):
        enrichment = {"value": precision.value / base, "low": precision.low / base, "high": precision.high / base}
    return {
        "k": len(hits),
        "hits": int(hits.sum()),
        "precision": precision.to_json(),
        "recall": wilson(int(hits.sum()), total).to_json(),
        "enrichment": enrichment,
    }


def _contradictions(
    rows: pd.DataFrame, labels: np.ndarray, wrong: np.ndarray, score: np.ndarray
) -> dict[str, Any] | None:
    frame = pd.DataFrame({"shown": photographs(rows), "label": labels, "wrong": wrong, "score": score})
    found = total = 0
    for _, one in frame.groupby("shown"):
        if one["wrong"].any() and not one["wrong"].all():
            total += 1
            found += bool(one.loc[one["wrong"], "score"].min() > one.loc[~one["wrong"], "score"].max())
    return {"n": total, "found": wilson(found, total).to_json()} if total else None
