"""The sections of one part of `metrics.json`: classes, groups with their operating points, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from melascope.evaluation.decision_curve import decision_curve
from melascope.evaluation.measures import Scores, distinct
from melascope.evaluation.sample import Sample
from melascope.statistics import (
    Estimate,
    bootstrap,
    confusion,
    interval,
    predictive_values,
    rates,
    threshold_of,
)
from melascope.statistics.intervals import FEW, Array


def classification(scores: Scores) -> dict[str, Any]:
    """Return accuracy, balanced accuracy, log loss, per-class scores and the confusion matrix."""
    s = scores.sample
    predicted = s.choice
    counts = np.bincount(s.y, minlength=len(s.classes))
    per_class_units = [distinct(s.groups, s.y == i) for i in range(len(s.classes)) if counts[i]]
    # What a mean of class sensitivities rests on: as many units as one proportion of the same variance.
    effective = len(per_class_units) ** 2 / sum(1 / n for n in per_class_units)
    per_class: dict[str, Any] = {}
    for i, code in enumerate(s.classes):
        mine, called = s.y == i, predicted == i
        n_units = distinct(s.groups, mine)
        fewer = min(n_units, distinct(s.groups, ~mine))
        per_class[code] = {
            "n": int(mine.sum()),
            "n_groups": n_units,
            "too_few": n_units < FEW,
            "sensitivity": scores.estimate(f"sensitivity/{code}", mine),
            "specificity": scores.estimate(f"specificity/{code}", ~mine),
            "precision": scores.estimate(f"precision/{code}", called),
            "f1": scores.estimate(f"f1/{code}", mine),
            "auc": scores.estimate(f"auc/{code}", n_units=fewer),
            "average_precision": scores.estimate(f"average_precision/{code}", mine),
        }
    return {
        "accuracy": scores.estimate("accuracy"),
        "balanced_accuracy": scores.estimate("balanced_accuracy", n_units=effective),
        "log_loss": scores.estimate("log_loss", share=False),
        "per_class": per_class,
        "confusion": np.asarray(confusion(s.y, predicted, len(s.classes))).astype(int).tolist(),
    }


def group_section(scores: Scores, prevalence: Mapping[str, float], calibrate: Sample | None) -> dict[str, Any]:
    """Return per group of diagnoses the ranking scores and what each operating point does."""
    result = {}
    for group, truth in scores.sample.truth.items():
        fewer = min(distinct(scores.sample.groups, truth), distinct(scores.sample.groups, ~truth))
        result[group] = {
            "n_positive": int(truth.sum()),
            "n_negative": int((~truth).sum()),
            "auc": scores.estimate(f"auc/{group}", n_units=fewer),
            "pauc80": scores.estimate(f"pauc80/{group}", n_units=fewer),
            "average_precision": scores.estimate(f"average_precision/{group}", truth),
            "operating_points": {
                name: _operating_point(scores, group, name, point, prevalence.get(group), calibrate)
                for name, point in scores.points.get(group, {}).items()
            },
            "decision_curve": decision_curve(scores.sample, group, prevalence.get(group)),
        }
    return result


def _operating_point(
    scores: Scores,
    group: str,
    name: str,
    point: Mapping[str, Any],
    prevalence: float | None,
    calibrate: Sample | None,
) -> dict[str, Any]:
    truth = scores.sample.truth[group]
    keys = f"sensitivity/{group}/{name}", f"specificity/{group}/{name}"
    result: dict[str, Any] = {
        "threshold": point["threshold"],
        "aim": point.get("aim", "sensitivity"),
        "target": point.get("target"),
        "assured": bool(point.get("assured", False)),
        "sensitivity": scores.estimate(keys[0], truth),
        "specificity": scores.estimate(keys[1], ~truth),
        "threshold_chosen_again": _chosen_again(scores, group, point, calibrate),
        "prevalence": prevalence,
        "ppv": None,
        "npv": None,
    }
    if prevalence is not None:
        # Two proportions behind each: where either rests on too few, so does the predictive value.
        n_units = min(distinct(scores.sample.groups, truth), distinct(scores.sample.groups, ~truth))
        values = predictive_values(scores.values[keys[0]], scores.values[keys[1]], prevalence)
        over_draws = predictive_values(scores.samples[keys[0]], scores.samples[keys[1]], prevalence)
        edges = [(result["sensitivity"][end], result["specificity"][end]) for end in ("low", "high")]
        for which, key in enumerate(("ppv", "npv")):
            estimate = interval(over_draws[which], float(values[which]), len(truth), n_units, proportion=False)
            collapsed = n_units < FEW or any(float(scores.values[k]) in (0.0, 1.0) for k in keys)
            if collapsed and None not in (*edges[0], *edges[1]):
                # No percentiles there: the ends of both intervals together bound the predictive value.
                low, high = (float(predictive_values(*edge, prevalence)[which]) for edge in edges)
                estimate = Estimate(estimate.value, low, high, estimate.n)
            result[key] = estimate.to_json()
    return result


def _chosen_again(
    scores: Scores, group: str, point: Mapping[str, Any], calibrate: Sample | None
) -> dict[str, Any] | None:
    """Return the intervals of the whole procedure: `calibrate` drawn again and the threshold chosen anew in each draw.

    None where `calibrate` is not at hand or does not give back this threshold,
    so that the procedure repeated would be another one.
    """
    s, aim = scores.sample, point.get("aim", "sensitivity")
    target = math.nan if point.get("target") is None else float(point["target"])
    if calibrate is None or (aim != "youden" and math.isnan(target)) or not calibrate.truth[group].any():
        return None
    own = threshold_of(aim, calibrate.risk[group], calibrate.truth[group], target)
    if not math.isclose(own, point["threshold"], rel_tol=1e-3, abs_tol=1e-6):
        return None

    def choose(w: Array) -> Array:
        return np.asarray(threshold_of(aim, calibrate.risk[group], calibrate.truth[group], target, w))

    drawn = bootstrap(choose, calibrate.groups, calibrate.y, scores.draws, scores.seed + 1, len(calibrate))
    position = 0

    def score(w: Array) -> dict[str, Array]:
        nonlocal position
        thresholds = drawn[position : position + w.shape[1]]
        position += w.shape[1]
        found, passed = rates(s.risk[group][:, None] >= thresholds, s.truth[group], w)
        return {"sensitivity": found, "specificity": passed}

    samples = bootstrap(score, s.groups, s.y, scores.draws, scores.seed, len(s))
    found, passed = rates(s.risk[group] >= point["threshold"], s.truth[group])
    result = {}
    for key, value, rows in (("sensitivity", found, s.truth[group]), ("specificity", passed, ~s.truth[group])):
        result[key] = interval(samples[key], value, int(rows.sum()), distinct(s.groups, rows)).to_json()
    return result


def alert_section(scores: Scores) -> dict[str, Any] | None:
    """Return what the decision as deployed does: an alert on melanoma or on malignancy."""
    if scores.alert() is None:
        return None
    truth = scores.sample.truth
    return {
        "rate": scores.estimate("alerts/rate"),
        "melanoma_sensitivity": scores.estimate("alerts/melanoma_sensitivity", truth["melanoma"]),
        "malignant_sensitivity": scores.estimate("alerts/malignant_sensitivity", truth["malignant"]),
        "benign_specificity": scores.estimate("alerts/benign_specificity", ~truth["malignant"]),
    }


def calibration_section(scores: Scores) -> dict[str, Any]:
    """Return per group slope, intercept, Brier score, expected calibration error and the reliability diagram."""
    result = {}
    for group, diagram in scores.diagrams.items():
        bins = []
        for i in range(len(diagram.n)):
            inside = diagram.bin_of_row == i
            n_units = distinct(scores.sample.groups, inside)
            samples = scores.samples[f"observed/{group}"][:, i]
            bins.append(
                {
                    "low": float(diagram.low[i]),
                    "high": float(diagram.high[i]),
                    "predicted": float(diagram.predicted[i]),
                    "observed": interval(samples, float(diagram.observed[i]), int(diagram.n[i]), n_units).to_json(),
                }
            )
        result[group] = {
            "slope": scores.estimate(f"slope/{group}", share=False),
            "intercept": scores.estimate(f"intercept/{group}", share=False),
            "brier": scores.estimate(f"brier/{group}", share=False),
            "ece": _ece(scores, group),
            "reliability": bins,
        }
    return result


def _ece(scores: Scores, group: str) -> dict[str, Any]:
    """Reflect the percentiles about the value.

    Resampling adds noise that this error can only count upwards, so plain
    percentiles often lie wholly above the value; the basic bootstrap interval
    turns that bias the right way (Davison and Hinkley 1997, section 5.2).
    """
    value, n = float(scores.values[f"ece/{group}"]), len(scores.sample)
    around = interval(scores.samples[f"ece/{group}"], value, n, proportion=False)
    return Estimate(value, max(0.0, 2 * value - around.high), max(0.0, 2 * value - around.low), n).to_json()
