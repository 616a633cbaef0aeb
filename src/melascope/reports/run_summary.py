"""What a clinician reads first: how many melanomas were found, at what price, and what is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from melascope.reports import wording
from melascope.reports.page import Measure, Measures, Points, Table, Text


def headline_part(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the scores of the part that the headline rests on."""
    parts = metrics.get("parts") or {}
    for name in (metrics.get("headline"), "test", "calibrate"):
        if name and isinstance(parts.get(name), Mapping):
            return str(name), parts[name]
    return "test", {}


def operating_point(part: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """Return a group's screening point (or its first), empty where there is none."""
    points = ((part.get("groups") or {}).get(group) or {}).get("operating_points") or {}
    return points.get("screening") or next((p for p in points.values() if p), {})


def summary(metrics: Mapping[str, Any]) -> list[Any]:
    """Return the headline: purpose, sensitivity and specificity for melanoma, then everything else."""
    name, part = headline_part(metrics)
    blocks: list[Any] = [
        Text(
            "This model reads photographs of single skin lesions and alerts where melanoma, or another skin cancer, is "
            "likely enough that a specialist should look. It is a research tool, not a medical device.",
            "lead",
        )
    ]
    if not part:
        return [*blocks, Text("It was not judged on a test part, so nothing is known about how good it is.", "warning")]
    point = operating_point(part, "melanoma")
    sensitivity, specificity = point.get("sensitivity"), point.get("specificity")
    lesions = lesion_words(part)
    blocks.append(Text(f"Judged on {wording.plural(part.get('n_images'), 'photograph')} {_part_words(name)}{lesions}."))
    blocks.append(
        Measures(
            [
                _measure(
                    "Melanoma sensitivity", sensitivity, "melanomas were alerted", "melanomas", point.get("target")
                ),
                _measure("Specificity", specificity, "other lesions were left without an alert", "other lesions"),
            ]
        )
    )
    blocks += _threshold(metrics, point)
    blocks.append(_further_scores(part))
    return blocks


def lesion_words(part: Mapping[str, Any]) -> str:
    """Return ` of 101 known lesions and 17 assumed ones` for a sentence, empty where not counted."""
    lesions = part.get("n_lesions")
    if not isinstance(lesions, Mapping):
        return ""
    known, assumed = lesions.get("known"), wording.number(lesions.get("assumed"))
    if not assumed > 0:
        return f" of {wording.plural(known, 'lesion')}"
    each = "a photograph without a lesion id counts as a lesion of its own"
    return f" of {wording.plural(known, 'known lesion')} and {wording.count(assumed)} assumed ones ({each})"


def _part_words(name: str) -> str:
    return {
        "test": "in the test part, which was kept apart and opened once",
        "test_unseen": "in the test part that the model was not trained on",
        "calibrate": "in the part that also set the threshold (there is no test part, so this is optimistic)",
    }.get(name, f'in the part "{name}"')


def _measure(name: str, estimate: Any, happened: str, what: str, target: Any = None) -> Measure:
    if not wording.known(estimate):
        return Measure(name, "–", f"Not measured: there were no {what} to measure it on.")
    counted = wording.counted(estimate)
    if counted:
        sentence = f"{counted} {happened} ({wording.interval(estimate)})."
    else:
        sentence = wording.with_n(f"{wording.interval(estimate)} of {what} ({happened})", estimate) + "."
    if wording.too_few(estimate):
        return Measure(name, "too few", f"{sentence} Fewer than {wording.FEW} are too few to judge.")
    low, high, aim = (None if math.isnan(x) else x for x in (*wording.bounds(estimate), wording.number(target)))
    return Measure(name, wording.share(wording.value(estimate)), sentence, wording.value(estimate), low, high, aim)


def _threshold(metrics: Mapping[str, Any], point: Mapping[str, Any]) -> list[Any]:
    threshold, target = wording.number(point.get("threshold")), wording.number(point.get("target"))
    if math.isnan(threshold):
        return []
    chosen = f"A melanoma risk of {risk(threshold)} or more alerts. The threshold was chosen on other photographs"
    if metrics.get("cross_fitted"):
        chosen += " (those that also stopped the training early, because the set is small)"
    if math.isnan(target):
        return [Text(chosen + ".")]
    chosen += f" to find {wording.share(target)} of melanomas (the dashed line)"
    if point.get("assured"):
        return [Text(f"{chosen}; there were enough of them to assure that target.")]
    return [Text(f"{chosen}: target, not assured, because there were too few melanomas to be sure of it.", "note")]


def _further_scores(part: Mapping[str, Any]) -> Table:
    groups, alerts = part.get("groups") or {}, part.get("alerts") or {}
    rows = []
    for label, estimate, write in (
        (
            "Melanoma against the rest: area under the ROC curve",
            (groups.get("melanoma") or {}).get("auc"),
            wording.score,
        ),
        (
            "Malignant against benign: area under the ROC curve",
            (groups.get("malignant") or {}).get("auc"),
            wording.score,
        ),
        (
            "Any alert (on melanoma or malignancy risk): of melanomas",
            alerts.get("melanoma_sensitivity"),
            wording.percent,
        ),
        ("Any alert: of all malignant lesions", alerts.get("malignant_sensitivity"), wording.percent),
        ("No alert at all: of benign lesions", alerts.get("benign_specificity"), wording.percent),
        ("Balanced accuracy over the diagnoses", part.get("balanced_accuracy"), wording.percent),
        ("Accuracy (depends on how many of each there are)", part.get("accuracy"), wording.percent),
    ):
        if wording.known(estimate):
            told = "too few to judge" if wording.too_few(estimate) else write(estimate)
            rows.append([label, told, wording.count(wording.cases(estimate))])
    return Table("Further scores, with 95 % intervals", ["score", "measured", "n"], rows)


def risk(p: float) -> str:
    """Return a risk as percent; small ones with a decimal."""
    return f"{100 * p:.1f}{wording.NBSP}%" if p < 0.1 else wording.share(p)


def limits(metrics: Mapping[str, Any]) -> list[Any]:
    """Return what the model does not know, in sentences that follow from the metrics."""
    _, part = headline_part(metrics)
    points: list[tuple[str, str]] = []
    classes = metrics.get("classes") or part.get("classes") or ()
    if classes:
        names = wording.listed(wording.class_name(code) for code in classes)
        points.append(
            ("note", f"It knows {len(classes)} diagnoses: {names}. It must call anything else by one of these names.")
        )
    few = [f"{wording.class_name(f.get('name'))} ({wording.count(f.get('n'))})" for f in part.get("too_few") or ()]
    if few:
        points.append(("warning", f"Too few in the test part to judge: {wording.listed(few)}."))
    size = ((part.get("sample_size") or {}).get("melanoma") or {}).get("text")
    if size:
        points.append(("note", str(size)))
    if not part.get("subgroups"):
        told = "Whether it works equally well by skin tone, age, sex, body site or camera was not measured here."
    else:
        measured = wording.listed(str(name).replace("_", " ") for name in part["subgroups"])
        told = (
            f"Results by {measured} are below; skin tone and camera were not recorded, so nothing is known about them."
        )
    points.append(("note", told))
    points.append(
        (
            "note",
            "How many of its alerts would be melanoma depends on how common melanoma is where it is used; "
            "a public photograph collection does not tell that.",
        )
    )
    points.append(
        ("note", "It has not been tried in a clinic, and it sees one photograph: no history, no touch, no change.")
    )
    return [Points(points)]
