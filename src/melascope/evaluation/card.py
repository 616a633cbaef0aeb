"""The model card that travels in the bundle: what the model is for, what it was made of, how it did.

Follows Mitchell et al. 2019 ("Model Cards for Model Reporting") in its headings.
Every number is taken from the evaluation; none is typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from melascope import diagnosis
from melascope.counted import plural
from melascope.evaluation.findings import few_of, shown
from melascope.statistics.intervals import FEW

_WARNING = (
    "**Not a medical device.** Research use only. A finding never replaces examination, dermoscopy or histology, "
    "and a missing alert does not exclude melanoma."
)


def model_card(
    metrics: Mapping[str, Any],
    decision: Mapping[str, Any],
    recipe: str = "",
    environment: Mapping[str, Any] | None = None,
) -> str:
    """Return the card as Markdown.

    Args:
        metrics: `metrics.json`.
        decision: `decision.json`.
        recipe: The resolved recipe, as TOML.
        environment: Where it was trained, as `melascope.environment.describe` tells.
    """
    part = metrics["parts"][metrics["headline"]]
    classes = ", ".join(f"{diagnosis.name(code)} ({code})" for code in decision["classes"])
    lines = [
        f"# {decision['name']} {decision['version']}",
        "",
        _WARNING,
        "",
        "## What it is",
        f"A classifier of dermoscopic photographs of single skin lesions into {len(decision['classes'])} diagnoses: "
        f"{classes}. It takes {decision['geometry']['height']} x {decision['geometry']['width']} pixels.",
        "",
        "## Intended use",
        "Research on melanoma detection: sorting photographs for a dermatologist, who decides. Not for nails, mucosa, "
        "palms and soles, children, tattooed or treated skin, or photographs unlike those it was trained on.",
        "",
        "## Data",
        f"Protocol `{metrics['protocol']}`{_optimistic(metrics)}; {'audited' if metrics['audited'] else 'unaudited'}. "
        f"Judged on {plural(part['n_images'], 'photograph')} of {part['n_lesions']['known']:,} known and "
        f"{plural(part['n_lesions']['assumed'], 'assumed lesion')}.",
    ]
    if metrics.get("continued_from"):
        lines.append(metrics["continued_from"]["words"])
    if metrics.get("limited"):
        used = plural(metrics["limited"], "photograph was", "photographs were")
        lines.append(f"Only {used} used (`--limit`): a try, not a result.")
    lines += [
        "The weights are subject to the licences of the photographs that they were trained on; weights trained on "
        "HAM10000 or ISIC 2019 are for non-commercial research (CC BY-NC 4.0).",
        "",
        "## How it did",
        f"Measured on {_measured_on(metrics)}; 95 % intervals.",
        "",
        "| score | value | interval | n |",
        "|---|---|---|---|",
    ]
    for group, name in (("melanoma", "melanoma"), ("malignant", "malignancy")):
        section = part["groups"][group]
        for point, measured in section["operating_points"].items():
            for score in ("sensitivity", "specificity"):
                lines.append(_row(f"{name} {score} at `{point}`{_aimed(measured, score)}", measured[score]))
        lines.append(_row(f"{name} AUC", section["auc"], few_of(part, group)))
    alerts = part.get("alerts") or {}
    for key, name in (("melanoma_sensitivity", "of melanomas"), ("malignant_sensitivity", "of malignant lesions")):
        if key in alerts:
            lines.append(_row(f"any alert, on melanoma or malignancy risk: {name}", alerts[key]))
    if "benign_specificity" in alerts:
        lines.append(_row("no alert at all: of benign lesions", alerts["benign_specificity"]))
    lines += [_row("balanced accuracy", part["balanced_accuracy"]), _row("accuracy", part["accuracy"]), ""]
    choice = (metrics.get("first_choice") or {}).get("text")
    lines += [choice, ""] if choice else []
    few = [entry["name"] for entry in part["too_few"]]
    if few:
        lines += [f"Too few lesions to judge: {', '.join(few)}.", ""]
    lines += _prediction_sets(part, decision)
    lines += ["## Limits", *(f"- {note}" for note in metrics["notes"] if note != choice)]
    lines += [
        "- Sensitivity and specificity shift with cameras, clinics and skin tones; measure them on your own "
        "photographs with `melascope evaluate`.",
        "",
    ]
    if environment:
        machine = f"{environment['processor']}, {environment['cores']} threads"
        lines += ["## Made by", f"Melascope {decision['version']}, Python {environment['python']}, {machine}.", ""]
    if recipe:
        lines += ["```toml", recipe.strip(), "```", ""]
    return "\n".join(lines)


def _measured_on(metrics: Mapping[str, Any]) -> str:
    known = metrics["trained_on"] or {"images": 0}
    if metrics["optimistic"] or (known["images"] and metrics["headline"] != "test_unseen"):
        return "photographs of which some, or others of the same lesion, were trained on: optimistic"
    return "photographs that were in no part of training, tuning or calibration"


def _prediction_sets(part: Mapping[str, Any], decision: Mapping[str, Any]) -> list[str]:
    """Return what the sets cover, and which classes are in every set because too few lesions calibrated them."""
    rule, measured = decision.get("prediction_set"), part.get("prediction_set")
    if not rule:
        return []
    lines = [
        f"Prediction sets are made to hold the diagnosis in {rule['coverage']:.0%} of each class, on average and if "
        "photographs are exchangeable with the calibration ones."
    ]
    if measured:
        lines.append(f"Measured: {shown(measured['coverage'])}.")
    always = [code for code, q in zip(decision["classes"], rule["quantiles"], strict=True) if q is None]
    if always:
        lines.append(f"Too few lesions calibrated {', '.join(always)}: always in the set.")
    return [" ".join(lines), ""]


def _aimed(point: Mapping[str, Any], score: str) -> str:
    """Return what an operating point aims at, beside the score that it aims at."""
    aim = point.get("aim", "sensitivity")
    if aim == "youden":
        return " (largest sum of both on calibration)" if score == "sensitivity" else ""
    if aim != score:
        return ""
    target = f"target {point['target']:.0%}" if point.get("target") else "target unknown"
    return f" ({target}, {'assured' if point['assured'] else 'not assured'})"


def _optimistic(metrics: Mapping[str, Any]) -> str:
    return " (**optimistic**: its test shares photographs or lesions with training)" if metrics["optimistic"] else ""


def _row(name: str, estimate: Mapping[str, Any], few: bool = False) -> str:
    if estimate["value"] is None:
        return f"| {name} | not measurable | | {estimate['n']} |"
    if few or estimate["n"] < FEW:
        return f"| {name} | too few to judge | | {estimate['n']} |"
    interval = "" if estimate["low"] is None else f"{estimate['low']:.3f} to {estimate['high']:.3f}"
    return f"| {name} | {estimate['value']:.3f} | {interval} | {estimate['n']} |"
