"""What a clinician reads first: how many melanomas were found, at what price, and what is not known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from melascope.reports import wording
from melascope.reports.page import Measure, Measures, Points, Table, Text

GAP_SCORES = {"auc": "melanoma AUC", "sensitivity": "melanoma sensitivity", "specificity": "melanoma specificity"}
_SUBGROUPS = {"skin_tone": "skin tone", "age": "age", "sex": "sex", "site": "body site", "source": "source or camera"}


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
    alerts = part.get("alerts") or {}
    what = wording.plural(part.get("n_images"), "photograph") + lesion_words(part)
    blocks.append(Text(f"Judged on {_part_words(name, metrics)}: {what}."))
    before = metrics.get("continued_from") or {}
    if before.get("words"):
        blocks.append(Text(str(before["words"])))
    few = few_of(part, "melanoma")
    blocks.append(
        Measures(
            [
                _measure(
                    "Melanoma sensitivity",
                    sensitivity,
                    "melanomas reached the threshold of melanoma risk",
                    "melanomas",
                    point.get("target"),
                    ("Alerts on malignancy risk counted as well", alerts.get("melanoma_sensitivity")),
                    few,
                ),
                _measure(
                    "Melanoma specificity",
                    specificity,
                    "other lesions stayed below it",
                    "other lesions",
                    # What a clinician meets is the alert, and other cancers alert too.
                    either=(
                        "Benign lesions without any alert, on malignancy risk neither",
                        alerts.get("benign_specificity"),
                    ),
                ),
            ]
        )
    )
    blocks += _threshold(metrics, point)
    blocks.append(_further_scores(part))
    blocks += _as_used(part)
    return blocks


def few_of(part: Mapping[str, Any], group: str) -> bool:
    """Whether too few of a group of diagnoses, or of the others, are in a part for it to be judged there."""
    listed = any(f.get("kind") == "group" and f.get("name") == group for f in part.get("too_few") or ())
    found = (part.get("groups") or {}).get(group) or {}
    return listed or any(wording.number(found.get(key)) < wording.FEW for key in ("n_positive", "n_negative"))


def lesion_words(part: Mapping[str, Any]) -> str:
    """Return ` of 101 known lesions and 17 assumed ones` for a sentence, empty where not counted."""
    lesions = part.get("n_lesions")
    if not isinstance(lesions, Mapping):
        return ""
    known, assumed = lesions.get("known"), wording.number(lesions.get("assumed"))
    if not assumed > 0:
        return f" of {wording.plural(known, 'lesion')}"
    each = "a photograph without a lesion id counts as a lesion of its own"
    return f" of {wording.plural(known, 'known lesion')} and {wording.plural(assumed, 'assumed one')} ({each})"


def _part_words(name: str, metrics: Mapping[str, Any]) -> str:
    test = "the test part, which was kept apart until the model was finished"
    if "train" not in (metrics.get("parts") or {}):
        test = "the photographs given"
    elif metrics.get("optimistic"):
        test = "the test part as it was filed, copies and lesions of the training part included"
    return {
        "test": test,
        "test_unseen": "that share of the test part on which the model was not trained",
        "calibrate": "the part that also set the threshold (there is no test part, so this is optimistic)",
    }.get(name, f'the part "{name}"')


def _measure(
    name: str,
    estimate: Any,
    happened: str,
    what: str,
    target: Any = None,
    either: tuple[str, Any] = ("", None),
    few: bool = False,
) -> Measure:
    if not wording.known(estimate):
        return Measure(name, "–", f"Not measured: there were no {what} to measure it on.")
    counted = wording.counted(estimate)
    if counted:
        sentence = f"{counted} {happened} ({wording.interval(estimate)})."
    else:
        low, high = wording.bounds(estimate)
        of = wording.count(wording.cases(estimate))
        sentence = f"{wording.share(wording.value(estimate))} of {of} {happened} ({wording.span(low, high)})."
    label, other = either
    if wording.known(other) and wording.value(other) != wording.value(estimate):
        found = (
            f"{wording.counted(other)} ({wording.interval(other)})"
            if wording.counted(other)
            else wording.with_n(wording.interval(other), other)
        )
        sentence += f" {label}: {found}."
    if few or wording.too_few(estimate):
        return Measure(name, "too few", f"{sentence} Fewer than {wording.FEW} are too few to judge.")
    bottom, top, aim = (None if math.isnan(x) else x for x in (*wording.bounds(estimate), wording.number(target)))
    return Measure(name, wording.share(wording.value(estimate)), sentence, wording.value(estimate), bottom, top, aim)


def _threshold(metrics: Mapping[str, Any], point: Mapping[str, Any]) -> list[Any]:
    threshold, target = wording.number(point.get("threshold")), wording.number(point.get("target"))
    if math.isnan(threshold):
        return []
    chosen = f"A melanoma risk of {risk(threshold)} or more alerts. The threshold was chosen on other photographs"
    if metrics.get("cross_fitted"):
        chosen += " (those on which the training was watched too, because the set is small)"
    if math.isnan(target):
        return [Text(chosen + ".")]
    chosen += f" to find {wording.share(target)} of melanomas (the dashed line)"
    if point.get("assured"):
        return [Text(f"{chosen}; there were enough of them to assure that target.")]
    why = f"the lower 95 % bound of what it found there stays below {wording.share(target)}"
    return [Text(f"{chosen}: target, not assured, because {why}.", "note")]


def _further_scores(part: Mapping[str, Any]) -> Table:
    groups, alerts = part.get("groups") or {}, part.get("alerts") or {}
    rows = []
    for group, against in (("melanoma", "Melanoma against the rest"), ("malignant", "Malignant against benign")):
        area = (groups.get(group) or {}).get("auc")
        if wording.known(area):
            told = "too few to judge" if few_of(part, group) else wording.score(area)
            rows.append([f"{against}: area under the ROC curve", told, wording.count(wording.cases(area))])
    for label, estimate in (
        ("Any alert (on melanoma or malignancy risk): of melanomas", alerts.get("melanoma_sensitivity")),
        ("Any alert: of all malignant lesions", alerts.get("malignant_sensitivity")),
        ("No alert at all: of benign lesions", alerts.get("benign_specificity")),
        ("Balanced accuracy over the diagnoses", part.get("balanced_accuracy")),
        ("Accuracy (depends on how many of each there are)", part.get("accuracy")),
    ):
        if wording.known(estimate):
            told = "too few to judge" if wording.too_few(estimate) else wording.percent(estimate)
            rows.append([label, told, wording.count(wording.cases(estimate))])
    return Table("Further scores, with 95 % intervals", ["score", "measured", "n"], rows)


def _as_used(part: Mapping[str, Any]) -> list[Any]:
    """Return what was done with each kind of lesion, referrals included, and what the referrals are for."""
    found = part.get("decisions")
    if not found:
        return []
    names = {"melanoma": "melanomas", "other_malignant": "other malignant lesions", "benign": "benign lesions"}
    rows = []
    for group, told in found["groups"].items():
        cells = [wording.percent(told[name]) for name in ("alert", "refer", "no_alert")]
        rows.append([names[group], *(["too few to judge"] * 3 if told["too_few"] else cells), wording.count(told["n"])])
    named = {"novelty": "unlike what the model knows", "quality": "too poor", "modality": "not dermoscopic"}
    doubts = [
        f"{named.get(name, 'of an age or at a site that training barely had')} {wording.count(told['n'])}"
        for name, told in found["doubts"].items()
        if told["n"]
    ]
    words = "A referral is a photograph without an alert that the model would not judge"
    words += f". Photographs about which it had a doubt: {'; '.join(doubts)}." if doubts else "; it had no doubt here."
    head = ["lesions", "alert", "referred", "no alert", "n"]
    return [Table("As used: alerts and referrals, with 95 % intervals", head, rows), Text(words, "note")]


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
    few = dict.fromkeys(
        f"{wording.class_name(f.get('name'))} ({wording.count(f.get('n'))})" for f in part.get("too_few") or ()
    )
    if few:
        points.append(("warning", f"Too few in the test part to judge: {wording.listed(few)}."))
    size = ((part.get("sample_size") or {}).get("melanoma") or {}).get("text")
    if size:
        points.append(("note", str(size)))
    measured = [str(name) for name in part.get("subgroups") or ()]
    unknown = [words for key, words in _SUBGROUPS.items() if not any(name.startswith(key) for name in measured)]
    if unknown:
        told = f"Whether it works equally well by {wording.listed(unknown)} was not measured."
        if measured:
            told += f" Results by {wording.listed(name.replace('_', ' ') for name in measured)} are below."
        points.append(("note", told))
    points += _gap_points(part)
    points.append(("note", _prevalence(operating_point(part, "melanoma"))))
    points.append(
        ("note", "It has not been tried in a clinic, and it sees one photograph: no history, no touch, no change.")
    )
    return [Points(points)]


def _gap_points(part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return between which subgroups a gap is shown, or that none is, and how large one may be all the same."""
    judged = [
        (str(kind).replace("_", " "), GAP_SCORES[score], found)
        for kind, scores in (part.get("gaps") or {}).items()
        for score, found in scores.items()
        if score in GAP_SCORES and isinstance(found, Mapping) and wording.known(found)
    ]
    shown = [
        f"{score} by {kind}, {gap.get('higher')} above {gap.get('lower')} by {gap_words(gap)}"
        for kind, score, found in judged
        for gap in (found.get("shown") or ())[:1]
    ]
    if shown:
        told = (
            f"Gaps shown between subgroups, in {len(shown)} of {wording.plural(len(judged), 'comparison')} where one "
            f"in twenty would be by chance: {'; '.join(shown)}. Other mixes of diagnoses can open a gap, too."
        )
        return [("warning", told)]
    if not judged:
        return []
    kinds = wording.listed(dict.fromkeys(kind for kind, _, _ in judged))
    widest = max(wording.bounds(found)[1] for _, _, found in judged)
    told = f"No gap shown by {kinds} in melanoma AUC, sensitivity or specificity, where groups could be compared; "
    return [("note", f"{told}the intervals leave room for gaps of up to {wording.score({'value': widest})}.")]


def gap_words(gap: Mapping[str, Any]) -> str:
    """Return a difference with its interval, in thousandths where hundredths would round an end above 0 to 0."""
    return wording.score(gap, 3 if 0 < abs(wording.bounds(gap)[0]) < 0.005 else 2)


def _prevalence(point: Mapping[str, Any]) -> str:
    prevalence = wording.number(point.get("prevalence"))
    if math.isnan(prevalence) or not wording.known(point.get("ppv")):
        return (
            "How many of its alerts would be melanoma depends on how common melanoma is where it is used; "
            "a collection of photographs does not tell that."
        )
    ppv, npv = point["ppv"], point.get("npv")
    told = (
        f"Where {wording.share(prevalence)} of lesions are melanomas, {wording.share(wording.value(ppv))} of its "
        f"alerts would be melanomas ({wording.span(*wording.bounds(ppv))})"
    )
    if wording.known(npv):
        told += f"; of lesions without an alert {wording.share(wording.value(npv))} would be none"
        told += f" ({wording.span(*wording.bounds(npv))})"
    return told + ". These data do not tell how common melanoma is where it is used."
