"""The results of a model card: every score per photograph and per lesion, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from melascope import diagnosis
from melascope.evaluation import card_groups as groups
from melascope.evaluation.card_cells import cell
from melascope.evaluation.findings import few_of, shown
from melascope.statistics import deployed, predictive_intervals
from melascope.statistics.intervals import FEW

PREVALENCES = (0.01, 0.05, 0.2)
"""Of melanoma, at which predictive values are given as examples: a population, a clinic, lesions worth excising."""
REFERRED_FROM = (0.05, 0.1, 0.2)
"""Risks of melanoma at which the decision curve is told."""
_GROUPS = (("melanoma", "melanoma"), ("malignant", "malignancy"))


def results(metrics: Mapping[str, Any], decision: Mapping[str, Any]) -> list[str]:
    """Return the lines of the section on results.

    Args:
        metrics: `metrics.json`.
        decision: `decision.json`.
    """
    part = metrics["parts"][metrics["headline"]]
    lesions = part.get("per_lesion")
    return [
        "## Results",
        "",
        f"Measured on {measured_on(metrics)}. In brackets 95 % intervals; n is what a share is of. Fewer than "
        f"{FEW} are too few to judge.",
        "",
        *_operating(part, lesions),
        *_ranking(metrics, part, lesions),
        *_diagnoses(part),
        *_predictive(part),
        *_decision_curve(part["groups"]["melanoma"].get("decision_curve")),
        *_calibration(part, lesions),
        *_sets(part, decision),
        *groups.subgroups(part),
        *groups.baselines(metrics, part),
    ]


def measured_on(metrics: Mapping[str, Any]) -> str:
    """Return what the headline's photographs are to the model."""
    seen = metrics["trained_on"] or {"images": 0}
    if metrics["optimistic"] or (seen["images"] and metrics["headline"] != "test_unseen"):
        return "photographs of which some, or others of the same lesion, were trained on: optimistic"
    return "photographs that were in no part of training, tuning or calibration"


def _head(lesions: Any) -> list[str]:
    return (
        ["| score | per photograph | per lesion |", "|---|---|---|"]
        if lesions
        else ["| score | per photograph |", "|---|---|"]
    )


def _row(name: str, first: str, second: str | None) -> str:
    return f"| {name} | {first} |" + ("" if second is None else f" {second} |")


def aimed(point: Mapping[str, Any], score: str) -> str:
    """Return what an operating point aims at, beside the score that it aims at."""
    aim = point.get("aim", "sensitivity")
    if aim == "youden":
        return " (largest sum of both on calibration)" if score == "sensitivity" else ""
    if aim != score:
        return ""
    target = f"target {point['target']:.0%}" if point.get("target") else "target unknown"
    return f" ({target}, {'assured' if point['assured'] else 'not assured'})"


def _operating(part: Mapping[str, Any], lesions: Mapping[str, Any] | None) -> list[str]:
    lines = ["### Operating points", ""]
    points = {group: part["groups"][group]["operating_points"] for group, _ in _GROUPS}
    if not any(points.values()):
        lines.append("No operating point could be chosen, so the model cannot say that it sees no melanoma.")
        return [*lines, ""]
    lines += _head(lesions)
    for group, name in _GROUPS:
        for point, measured in points[group].items():
            for score in ("sensitivity", "specificity"):
                second = None
                if lesions:
                    second = cell(lesions["groups"][group]["operating_points"].get(point, {}).get(score))
                what = f"{name} {score} at `{point}`{aimed(measured, score)}"
                lines.append(_row(what, cell(measured[score]), second))
    lines += [*_alerts(part, lesions), "", "Thresholds: an alert is a risk at or above them.", ""]
    names = list(dict.fromkeys(point for group in points.values() for point in group))
    main = deployed(points["melanoma"])
    lines += ["| operating point | melanoma risk | malignancy risk |", "|---|---|---|"]
    for point in names:
        told = [f"{points[g][point]['threshold']:.1%}" if point in points[g] else "none" for g, _ in _GROUPS]
        lines.append(f"| `{point}` | {told[0]} | {told[1]} |")
    lines += [
        "",
        "Thresholds were chosen on the part `calibrate`, and measured on others. A target is *assured* only where the "
        "lower 95 % bound on `calibrate` reaches it; else trust the measured value, not the target. "
        f"Unless asked otherwise the model decides at `{main or names[0]}`, and alerts where either risk reaches its "
        "threshold.",
    ]
    again = points["melanoma"].get(main, {}).get("threshold_chosen_again")
    if again and again["sensitivity"]["low"] is not None and again["sensitivity"]["n"] >= FEW:
        found, passed = again["sensitivity"], again["specificity"]
        lines.append(
            f"Were the threshold chosen again on other calibration photographs, melanoma sensitivity at `{main}` "
            f"would lie between {found['low']:.2f} and {found['high']:.2f} and specificity between "
            f"{passed['low']:.2f} and {passed['high']:.2f} (95 % intervals of the whole procedure)."
        )
    lines += _referred(part)
    if lesions:
        chosen = lesions.get("threshold_chosen_on", "photographs")
        lines.append(f"Per lesion the mean of its photographs counts, at thresholds chosen on {chosen}.")
    return [*lines, ""]


def _referred(part: Mapping[str, Any]) -> list[str]:
    """Return what is done with each kind of lesion, referrals included."""
    found = part.get("decisions")
    if not found:
        return []
    names = {"melanoma": "melanomas", "other_malignant": "other malignant lesions", "benign": "benign lesions"}
    lines = [
        "",
        "As used, per photograph: a referral is a photograph without an alert that the model would not judge.",
        "",
    ]
    lines += ["| lesions | alert | referred | no alert |", "|---|---|---|---|"]
    for group, told in found["groups"].items():
        cells = [cell(told[name], few=told["too_few"]) for name in ("alert", "refer", "no_alert")]
        lines.append(f"| {names[group]} | {' | '.join(cells)} |")
    doubts = ", ".join(f"{name} {told['n']}" for name, told in found["doubts"].items())
    return [*lines, "", f"Photographs that raised a doubt, by reason: {doubts}.", ""]


def _alerts(part: Mapping[str, Any], lesions: Mapping[str, Any] | None) -> list[str]:
    alerts, others = part.get("alerts") or {}, (lesions or {}).get("alerts") or {}
    names = {
        "melanoma_sensitivity": "any alert, on melanoma or malignancy risk: of melanomas",
        "malignant_sensitivity": "any alert, on melanoma or malignancy risk: of malignant lesions",
        "benign_specificity": "no alert at all: of benign lesions",
    }
    return [
        _row(name, cell(alerts[key]), cell(others.get(key)) if lesions else None)
        for key, name in names.items()
        if key in alerts
    ]


def _ranking(metrics: Mapping[str, Any], part: Mapping[str, Any], lesions: Mapping[str, Any] | None) -> list[str]:
    lines = ["### Ranking and first choice", "", *_head(lesions)]
    for group, name in _GROUPS:
        for key, what in (("auc", "AUC"), ("average_precision", "average precision")):
            first = cell(part["groups"][group][key], few=few_of(part, group))
            second = cell(lesions["groups"][group][key], few=few_of(lesions, group)) if lesions else None
            lines.append(_row(f"{name} {what}", first, second))
    for key, name in (("balanced_accuracy", "balanced accuracy"), ("accuracy", "accuracy")):
        lines.append(_row(name, cell(part[key]), cell(lesions[key]) if lesions else None))
    choice = (metrics.get("first_choice") or {}).get("text")
    lines += ["", choice] if choice else []
    return [*lines, *groups.within_source(part), ""]


def _diagnoses(part: Mapping[str, Any]) -> list[str]:
    lines = ["### Diagnoses", "", "Sensitivity and specificity are those of the first choice.", ""]
    lines += ["| diagnosis | n | sensitivity | specificity | AUC |", "|---|---|---|---|---|"]
    for code, one in part["per_class"].items():
        scores = [cell(one[key], few=one["too_few"], n=False) for key in ("sensitivity", "specificity", "auc")]
        lines.append(f"| {diagnosis.name(code)} ({code}) | {one['n']:,} | " + " | ".join(scores) + " |")
    few = [entry["name"] for entry in part["too_few"]]
    if few:
        lines += ["", f"Too few lesions to judge: {', '.join(few)}."]
    return [*lines, ""]


def _predictive(part: Mapping[str, Any]) -> list[str]:
    points, n = part["groups"]["melanoma"]["operating_points"], part["groups"]["melanoma"]
    lines = ["### Predictive values", ""]
    if not points or few_of(part, "melanoma"):
        told = f"Too few melanomas ({n['n_positive']}) or others ({n['n_negative']}) to judge predictive values."
        return [*lines, told if points else "There is no operating point to give them for.", ""]
    lines += [
        "How many of those with an alert have melanoma (PPV), and how many of those without have none (NPV), depends "
        "on how frequent melanoma is where the model is used. These prevalences are examples, not yours:",
        "",
        "| operating point | prevalence of melanoma | PPV | NPV |",
        "|---|---|---|---|",
    ]
    for name, point in points.items():
        for prevalence in PREVALENCES:
            ppv, npv = (_percent(*ends) for ends in _values(point, prevalence))
            lines.append(f"| `{name}` | {prevalence:.0%} | {ppv} | {npv} |")
        if point.get("prevalence") and point["prevalence"] not in PREVALENCES:
            own = [_percent(*(point[key][end] for end in ("value", "low", "high"))) for key in ("ppv", "npv")]
            lines.append(f"| `{name}` | {point['prevalence']:.1%} (as asked for) | {own[0]} | {own[1]} |")
    return [
        *lines,
        "",
        "From the measured sensitivity and specificity; the brackets join the lower, and the upper, ends of both "
        "intervals, and hold only if sensitivity and specificity are the same there.",
        "",
    ]


def _decision_curve(curve: Mapping[str, Any] | None) -> list[str]:
    """Return some points of the decision curve: net benefits in melanomas found per 1,000 photographs."""
    if not curve:
        return []
    where = "as asked for" if curve["stated"] else "its share among the judged"
    lines = [
        "### Decision curve",
        "",
        "Net benefit of referring by this model: melanomas found, less the needless referrals at the rate that one "
        f"would exchange them for, per 1,000 photographs at a prevalence of {curve['prevalence']:.1%} ({where}); "
        "referring nobody has 0.",
        "",
        "| one would refer from a risk of | by this model | everybody |",
        "|---|---|---|",
    ]
    for wanted in REFERRED_FROM:
        nearest = min(range(len(curve["threshold"])), key=lambda i: abs(curve["threshold"][i] - wanted))
        own, low, high, all_of_them = (
            1000 * _number(curve[key][nearest]) for key in ("model", "low", "high", "everybody")
        )
        lines.append(f"| {curve['threshold'][nearest]:.0%} | {own:.0f} ({low:.0f} to {high:.0f}) | {all_of_them:.0f} |")
    return [*lines, ""]


def _values(point: Mapping[str, Any], prevalence: float) -> list[tuple[float, float, float]]:
    """Return PPV and NPV as (value, low, high)."""
    found, passed = (
        (_number(point[score]["value"]), _number(point[score]["low"]), _number(point[score]["high"]))
        for score in ("sensitivity", "specificity")
    )
    return predictive_intervals(found, passed, prevalence)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _percent(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or math.isnan(value):
        return "not measurable"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{value:.1%}"
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


def _calibration(part: Mapping[str, Any], lesions: Mapping[str, Any] | None) -> list[str]:
    lines = ["### Calibration of risks", "", *_head(lesions)]
    for group, name in _GROUPS:
        for key, what, digits in (
            ("slope", "slope (1 is right; below, risks are too extreme)", 2),
            ("intercept", "intercept (0 is right; above, risks are too low)", 2),
            ("brier", "Brier score (0 is best)", 3),
            ("ece", "expected calibration error", 3),
        ):
            first = cell(part["calibration"][group][key], digits, few_of(part, group), n=False)
            second = None
            if lesions:
                second = cell(lesions["calibration"][group][key], digits, few_of(lesions, group), n=False)
            lines.append(_row(f"{name}: {what}", first, second))
    return [*lines, "", "Reliability diagrams stand in the run's `report.html`.", ""]


def _sets(part: Mapping[str, Any], decision: Mapping[str, Any]) -> list[str]:
    """Return what the sets cover, and which classes are in every set because too few lesions calibrated them."""
    rule, measured = decision.get("prediction_set"), part.get("prediction_set")
    lines = ["### Prediction sets", ""]
    if not rule:
        return [*lines, "This model gives none.", ""]
    told = [
        f"Prediction sets are made to hold the diagnosis in {rule['coverage']:.0%} of each class, on average and if "
        "photographs are exchangeable with the calibration ones."
    ]
    if measured:
        size = f"{measured['size']['value']:.1f} diagnoses in a set on average"
        told.append(f"Measured: {shown(measured['coverage'])}; {size}.")
    always = [code for code, q in zip(decision["classes"], rule["quantiles"], strict=True) if q is None]
    if always:
        told.append(f"Too few lesions calibrated {', '.join(always)}: always in the set.")
    lines += [" ".join(told), ""]
    if measured:
        lines += ["| diagnosis | holds the diagnosis | diagnoses in a set |", "|---|---|---|"]
        for code, one in measured["per_class"].items():
            size = cell(one["size"], 1, n=False)
            lines.append(f"| {diagnosis.name(code)} ({code}) | {cell(one['coverage'])} | {size} |")
        lines.append("")
    return lines
