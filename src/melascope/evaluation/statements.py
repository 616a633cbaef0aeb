"""What must be said beside the scores: prediction sets, subgroups, sample size, missing data, too few to judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluation.measures import Points, distinct
from melascope.evaluation.sample import Sample
from melascope.statistics import Estimate, auc, bootstrap, deployed, interval, members, rates, sample_size
from melascope.statistics.intervals import FEW, Array
from melascope.statistics.scores import sums

_AGES = (0, 30, 45, 60, 75, 200)
_AGE_NAMES = ["under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over"]
_MOST = 12  # values of a column that become subgroups, the most frequent first


def set_section(sample: Sample, rule: Mapping[str, Any] | None, draws: int, seed: int) -> dict[str, Any] | None:
    """Return coverage and mean size of the prediction sets, in all and per class; None where there are none."""
    if not rule:
        return None
    inside = members(sample.p, rule["quantiles"])
    covered = inside[np.arange(len(sample)), sample.y].astype(float)
    size = inside.sum(axis=1).astype(float)

    def both(rows: Array) -> dict[str, Any]:
        n, n_units = int(rows.sum()), distinct(sample.groups, rows)
        if not n:
            nothing = Estimate(math.nan, math.nan, math.nan, 0).to_json()
            return {"n": 0, "coverage": nothing, "size": nothing}
        values = np.stack([covered[rows], size[rows]])
        mean: Callable[[Array], Array] = lambda w: sums(values, w) / w.sum(axis=0)  # noqa: E731
        samples = bootstrap(mean, sample.groups[rows], sample.y[rows], draws, seed, n)
        return {
            "n": n,
            "coverage": interval(samples[:, 0], float(values[0].mean()), n, n_units).to_json(),
            "size": interval(samples[:, 1], float(values[1].mean()), n, n_units, proportion=False).to_json(),
        }

    everything = both(np.ones(len(sample), dtype=bool))
    return {
        "coverage_wanted": rule["coverage"],
        "coverage": everything["coverage"],
        "size": everything["size"],
        "per_class": {code: both(sample.y == i) for i, code in enumerate(sample.classes)},
    }


def size_section(sample: Sample, singular: str = "photographs") -> dict[str, Any]:
    """Return what the numbers of melanomas and of malignant lesions can show (sample-size statement)."""
    result = {}
    for group, truth in sample.truth.items():
        rows, n = int(truth.sum()), distinct(sample.groups, truth)
        size = sample_size(n)
        what = "melanoma" if group == "melanoma" else "malignant"
        result[group] = {
            "n": rows,
            "n_groups": n,
            "at": size["at"],
            "low": size["low"],
            "high": size["high"],
            "width": size["width"],
            "needed_for_width_0.10": size["needed"],
            "text": f"{rows} {what} {singular} in {n} independent groups: were {100 * size['at']:.0f} % of them found, "
            f"the 95 % interval would reach from {size['low']:.2f} to {size['high']:.2f}. "
            f"An interval no wider than 0.10 needs {size['needed']}.",
        }
    return result


def too_few(sample: Sample) -> list[dict[str, Any]]:
    """Return the classes and groups with fewer than ten independent units: nothing is judged on them."""
    rows = [("class", code, sample.y == i) for i, code in enumerate(sample.classes)]
    rows += [("group", group, truth) for group, truth in sample.truth.items()]
    return [
        {"kind": kind, "name": name, "n": int(mask.sum()), "n_groups": distinct(sample.groups, mask)}
        for kind, name, mask in rows
        if distinct(sample.groups, mask) < FEW
    ]


def subgroup_section(
    sample: Sample, frame: pd.DataFrame, points: Points, rule: Mapping[str, Any] | None, draws: int, seed: int
) -> dict[str, Any]:
    """Return melanoma scores within each source, confirmation, sex, site and age band, where the column is known.

    A source can tell the class, so an AUC over several sources never stands
    without those within them; lesions confirmed by histology are harder than
    lesions followed up, so specificity on them has its own row.

    Args:
        sample: The photographs.
        frame: Their predictions, in the same order.
        points: The operating points.
        rule: The prediction sets' rule, or None.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    columns = {
        name: frame[name].astype("string") for name in ("source", "confirmed_by", "sex", "site") if name in frame
    }
    if "age" in frame:
        ages = pd.to_numeric(frame["age"], errors="coerce").astype(float)
        columns["age_band"] = pd.Series(pd.cut(ages, list(_AGES), right=False, labels=_AGE_NAMES)).astype("string")
    result: dict[str, Any] = {}
    for column, values in columns.items():
        known = values[values.fillna("").str.strip() != ""]
        names = list(known.value_counts().index[:_MOST])
        if names:
            masks = {name: (values == name).fillna(False).to_numpy(dtype=bool) for name in sorted(names)}
            result[column] = {
                name: _subgroup(sample.take(mask), points, rule, draws, seed) for name, mask in masks.items()
            }
    return result


def _subgroup(sample: Sample, points: Points, rule: Mapping[str, Any] | None, draws: int, seed: int) -> dict[str, Any]:
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
        return interval(samples[score], values[score], rows, n_units, proportion=share).to_json()

    positives = int(truth.sum())
    result = {
        "n": n,
        "n_positive": positives,
        "too_few": min(with_it, without) < FEW,
        "auc": estimate("auc", n, min(with_it, without)),
        "sensitivity": estimate("sensitivity", positives, with_it),
        "specificity": estimate("specificity", n - positives, without),
    }
    if name is None:
        result["sensitivity"] = result["specificity"] = None
    if rule:
        result["coverage"] = estimate("coverage", n, distinct(sample.groups))
        result["set_size"] = estimate("set_size", n, distinct(sample.groups), share=False)
    return result


def missing_section(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return per column how many cells are empty, and of how many."""
    columns = (
        "diagnosis",
        "label_from",
        "group",
        "lesion_id",
        "patient_id",
        "age",
        "sex",
        "site",
        "source",
        "confirmed_by",
    )
    result = {}
    for column in columns:
        values = frame[column].astype("string").str.strip() if column in frame.columns else None
        empty = len(frame) if values is None else int((values.isna() | (values == "")).sum())
        result[column] = {"missing": empty, "of": len(frame)}
    return result
