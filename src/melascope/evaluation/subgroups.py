"""Scores for melanoma within sex, age band, site, source and skin tone, and the gaps between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluation.measures import Points, distinct
from melascope.evaluation.sample import Sample
from melascope.images.skin_tone import BANDS
from melascope.statistics import auc, bootstrap, deployed, interval, members, rates
from melascope.statistics.gaps import Gap, effective_cases, pairwise_gaps
from melascope.statistics.intervals import FEW, Array
from melascope.statistics.scores import sums

_AGES = (0, 30, 45, 60, 75, 200)
_AGE_NAMES = ("under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over")
_ORDERED = {"age_band": _AGE_NAMES, "skin_tone": tuple(name for _, name in BANDS)}
_MOST = 12  # values of a column that become subgroups, the most frequent first
COMPARED = ("auc", "sensitivity", "specificity")
"""The scores whose gaps are reported."""


@dataclass(frozen=True)
class _Standing:
    """A score of one subgroup, the rows in its denominator, and how many independent cases they are worth."""

    value: float
    n: int
    effective: float


def subgroup_sections(
    sample: Sample, frame: pd.DataFrame, points: Points, rule: Mapping[str, Any] | None, draws: int, seed: int
) -> dict[str, Any]:
    """Return `subgroups`, melanoma scores within each known group of photographs, and `gaps`, how far these differ.

    A source can tell the class, so an AUC over several sources never stands
    without those within them; lesions confirmed by histology are harder than
    lesions followed up, so specificity on them has its own row. Thresholds come
    from `calibrate` whatever the source: sensitivity and specificity within one
    that training never had are those of the transferred threshold.

    Args:
        sample: The photographs.
        frame: Their predictions, in the same order.
        points: The operating points.
        rule: The prediction sets' rule, or None.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    subgroups: dict[str, Any] = {}
    gaps: dict[str, Any] = {}
    for column, values in _columns(frame).items():
        known = values[values.fillna("").str.strip() != ""]
        names = [str(name) for name in known.value_counts().index[:_MOST]]
        if not names:
            continue
        order = _ORDERED.get(column, ())
        names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
        subgroups[column], standings = {}, {}
        for name in names:
            mask = (values == name).fillna(False).to_numpy(dtype=bool)
            subgroups[column][name], standings[name] = _subgroup(sample.take(mask), points, rule, draws, seed)
        gaps[column] = {score: _gap(score, standings) for score in COMPARED}
    return {"subgroups": subgroups, "gaps": gaps}


def _columns(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Return what photographs are divided by, as text, empty where it is not known."""
    plain = ("source", "confirmed_by", "sex", "site", "skin_tone")
    columns = {name: frame[name].astype("string") for name in plain if name in frame}
    if "age" in frame:
        ages = pd.to_numeric(frame["age"], errors="coerce").astype(float)
        bands = pd.cut(ages, list(_AGES), right=False, labels=list(_AGE_NAMES))
        columns["age_band"] = pd.Series(bands).astype("string")
    return columns


def _subgroup(
    sample: Sample, points: Points, rule: Mapping[str, Any] | None, draws: int, seed: int
) -> tuple[dict[str, Any], dict[str, _Standing]]:
    truth, risk, n = sample.truth["melanoma"], sample.risk["melanoma"], len(sample)
    named = points.get("melanoma", {})
    name = deployed(named)
    alert = risk >= (math.inf if name is None else named[name]["threshold"])
    inside = members(sample.p, rule["quantiles"]) if rule else np.ones(sample.p.shape, dtype=bool)
    sets = np.stack([inside[np.arange(n), sample.y], inside.sum(axis=1)]).astype(float)

    def score(w: Array) -> dict[str, Array]:
        found, passed = rates(alert, truth, w)
        share, size = sums(sets, w) / w.sum(axis=0)
        ranked = auc(risk, truth, w)
        return {"auc": ranked, "sensitivity": found, "specificity": passed, "coverage": share, "set_size": size}

    values = {name: float(value[0]) for name, value in score(np.ones((n, 1))).items()}
    samples = bootstrap(score, sample.groups, sample.y, draws, seed, n)
    with_it, without = distinct(sample.groups, truth), distinct(sample.groups, ~truth)

    def estimate(score: str, rows: int, n_units: int, share: bool = True) -> dict[str, Any]:
        told = interval(samples[score], values[score], rows, n_units, proportion=share).to_json()
        return {**told, "groups": n_units}

    positives = int(truth.sum())
    behind = {
        "auc": (n, min(with_it, without)),
        "sensitivity": (positives, with_it),
        "specificity": (n - positives, without),
    }
    result: dict[str, Any] = {
        "n": n,
        "n_positive": positives,
        "too_few": min(with_it, without) < FEW,
        **{kind: estimate(kind, *behind[kind]) for kind in COMPARED},
    }
    if name is None:
        result["sensitivity"] = result["specificity"] = None
    if rule:
        result["coverage"] = estimate("coverage", n, distinct(sample.groups))
        result["set_size"] = estimate("set_size", n, distinct(sample.groups), share=False)
    standings = {}
    for kind, (rows, n_units) in behind.items():
        if result[kind] is not None and n_units >= FEW:
            effective = effective_cases(values[kind], samples[kind], n_units, None if kind == "auc" else rows)
            standings[kind] = _Standing(values[kind], rows, effective)
    return result, standings


def _gap(score: str, standings: Mapping[str, Mapping[str, _Standing]]) -> dict[str, Any] | None:
    """Return the largest difference of a score among the subgroups that can be judged; None below two of them."""
    judged = {name: found[score] for name, found in standings.items() if score in found}
    if len(judged) < 2:
        return None
    names = list(judged)
    pairs = pairwise_gaps([one.value for one in judged.values()], [one.effective for one in judged.values()])

    def told(gap: Gap) -> dict[str, Any]:
        higher, lower = names[gap.higher], names[gap.lower]
        ends = {"value": gap.value, "low": gap.low, "high": gap.high, "n": judged[higher].n + judged[lower].n}
        return {**ends, "higher": higher, "lower": lower}

    return {
        **told(pairs[0]),
        "groups": len(names),
        "pairs": len(pairs),
        # A pair of large groups may differ for certain where the largest difference is one of small groups.
        "shown": [told(gap) for gap in pairs if gap.shown],
    }
