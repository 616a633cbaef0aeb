"""Plain words: what a careful reader would remark on a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.evaluation.fitting import Level, fitting
from melascope.statistics import deployed
from melascope.statistics.intervals import FEW

_SPARED = 0.05  # of specificity: below it alerts say nothing
_RATIO = 10  # of the largest to the smallest class


@dataclass(frozen=True)
class Remark:
    """One remark: `good`, `note` or `warning`, and a sentence or two."""

    level: Level
    text: str


def headline(metrics: Mapping[str, Any]) -> list[str]:
    """Return the lines that a person wants to read first: the operating point, then AUC, then accuracy."""
    part = metrics["parts"][metrics["headline"]]
    stamps = ["audited" if metrics["audited"] else "unaudited", f"protocol {metrics['protocol']}"]
    stamps += ["optimistic"] if metrics["optimistic"] else []
    known, assumed = part["n_lesions"]["known"], part["n_lesions"]["assumed"]
    lines = [
        f"Judged on {plural(part['n_images'], 'photograph')} ({plural(known, 'lesion')} known, {assumed:,} assumed); "
        f"{', '.join(stamps)}."
    ]
    points = part["groups"]["melanoma"]["operating_points"]
    for name in [first for first in (deployed(points),) if first is not None]:
        point, assured = points[name], "assured" if points[name]["assured"] else "not assured"
        target = "" if point["target"] is None else f" (target {point['target']:g}, {assured})"
        lines.append(f"Melanoma sensitivity at the {name} threshold{target}: {shown(point['sensitivity'])}")
        lines.append(f"Melanoma specificity at the {name} threshold: {shown(point['specificity'])}")
    melanoma = part["groups"]["melanoma"]
    few = f"too few to judge ({melanoma['n_positive']} melanomas, {melanoma['n_negative']} others)"
    lines.append(f"Melanoma AUC: {few if few_of(part, 'melanoma') else shown(melanoma['auc'])}")
    lines.append(f"Balanced accuracy: {shown(part['balanced_accuracy'])}")
    lines.append(f"Accuracy: {shown(part['accuracy'])}")
    trained = metrics.get("trained_on")
    if trained and trained["images"]:
        lines.append(_trained_on(trained))
    return lines


def remarks(
    metrics: Mapping[str, Any], history: pd.DataFrame | None = None, audit: Mapping[str, Any] | None = None
) -> list[Remark]:
    """Return remarks on a run, warnings first.

    Args:
        metrics: As `evaluate` returns them.
        history: `history.csv`, one row per epoch; for over- and under-fitting.
        audit: `audit.json`: `verdict`, `reasons`.
    """
    part = metrics["parts"][metrics["headline"]]
    found = [
        *_operating(part),
        *_data(metrics, audit),
        *_ranking(part),
        *_shift(metrics, part),
        *_sets(part),
        *_baselines(metrics, part),
        *_calibration(part),
        *_fit(metrics, history),
        *_balance(metrics),
        *_numbers(part),
    ]
    return sorted(found, key=lambda remark: ("warning", "note", "good").index(remark.level))


def shown(score: Mapping[str, Any] | None) -> str:
    """Return `0.88 (95 % interval 0.69 to 1.00, n = 16)`, `too few to judge (n = 4)`, or `not measurable`."""
    if not score or score["value"] is None:
        return "not measurable"
    if score["n"] < FEW:
        return f"too few to judge (n = {score['n']})"
    if score["low"] is None:
        return f"{score['value']:.2f} (n = {score['n']})"
    return f"{score['value']:.2f} (95 % interval {score['low']:.2f} to {score['high']:.2f}, n = {score['n']})"


def _operating(part: Mapping[str, Any]) -> list[Remark]:
    points = part["groups"]["melanoma"]["operating_points"]
    if not points:
        return [
            Remark("warning", "No operating point could be chosen, so the model cannot say that it sees no melanoma.")
        ]
    remarks = []
    for name, point in points.items():
        # The score that the point aims at; at the balanced one nothing is promised.
        aimed = point["sensitivity" if point.get("aim", "sensitivity") != "specificity" else "specificity"]
        target = point["target"]
        what = (
            f"At the {name} threshold melanoma sensitivity was {shown(point['sensitivity'])} and specificity "
            f"{shown(point['specificity'])}."
        )
        passed = point["specificity"]["high"]
        if passed is not None and passed < _SPARED:
            text = f"{what} It alerts on nearly every photograph: its threshold does not suit these."
            remarks.append(Remark("warning", text))
        elif target is None or aimed["value"] is None:
            remarks.append(Remark("note", what))
        elif not point["assured"]:
            below = aimed["high"] is not None and aimed["high"] < target
            remarks.append(
                Remark(
                    "warning" if below else "note",
                    f"{what} The target of {target:g} is not assured; trust the measured value.",
                )
            )
        else:
            remarks.append(Remark("good", f"{what} The target of {target:g} was assured on the calibration part."))
    return remarks


def _data(metrics: Mapping[str, Any], audit: Mapping[str, Any] | None) -> list[Remark]:
    remarks = []
    if not metrics["audited"]:
        remarks.append(
            Remark("warning", "The data were not audited: every number here may be flattered by copies and leaks.")
        )
    elif audit and audit.get("verdict"):
        reasons = " ".join(str(reason) for reason in audit.get("reasons", ()))
        level: Level = "note" if audit.get("reasons") else "good"
        level = "warning" if audit["verdict"] == "not usable" else level
        remarks.append(Remark(level, f"Audit: {audit['verdict']}. {reasons}".strip()))
    if metrics["optimistic"]:
        remarks.append(
            Remark(
                "warning",
                f'The protocol "{metrics["protocol"]}" is optimistic: do not expect its numbers on new patients.',
            )
        )
    leaks = metrics.get("leaks") or {}
    shared = {name: n for name, n in leaks.items() if name.startswith("share_") and name != "share_any" and n}
    if shared:
        tested = leaks.get("test_photographs")
        of = "In the test part " if tested is None else f"Of {plural(tested, 'test photograph')} "
        told = ", ".join(
            f"{plural(n, 'shares', 'share')} a {name.removeprefix('share_')} with training"
            for name, n in shared.items()
        )
        remarks.append(Remark("warning", f"{of}{told}."))
    known = metrics.get("trained_on")
    if known and known["images"]:
        remarks.append(
            Remark(
                "warning",
                f"{_trained_on(known).removesuffix('.')}; the headline leaves "
                f"{'it' if known['images'] == 1 else 'them'} out.",
            )
            if metrics["headline"] == "test_unseen"
            else Remark("warning", _trained_on(known))
        )
    if metrics["cross_fitted"]:
        remarks.append(
            Remark(
                "note", "The set is too small for four parts: early stopping and calibration share their photographs."
            )
        )
    return remarks


def _trained_on(known: Mapping[str, Any]) -> str:
    were = "was" if known["images"] == 1 else "were"
    return f"{known['images']:,} of {plural(known['of'], 'test photograph')} {were} trained on."


def few_of(part: Mapping[str, Any], group: str) -> bool:
    """Whether too few of a group of diagnoses, or of the others, are in a part for it to be judged there."""
    found = part["groups"][group]
    listed = any(entry["kind"] == "group" and entry["name"] == group for entry in part["too_few"])
    return listed or min(found["n_positive"], found["n_negative"]) < FEW


def _ranking(part: Mapping[str, Any]) -> list[Remark]:
    auc = part["groups"]["melanoma"]["auc"]
    if auc["low"] is None or few_of(part, "melanoma"):
        return [Remark("warning", "The test part cannot tell whether melanomas rank above other lesions.")]
    if auc["low"] <= 0.5:
        return [Remark("warning", f"Melanomas are not shown to rank above other lesions: AUC {shown(auc)}.")]
    return [Remark("good", f"Melanomas rank above other lesions: AUC {shown(auc)}.")]


def _shift(metrics: Mapping[str, Any], part: Mapping[str, Any]) -> list[Remark]:
    """Say where the judged part is unlike the one that set the threshold and calibrated the risks."""
    calibrate = metrics["parts"].get("calibrate")
    if not calibrate or any(few_of(p, "melanoma") for p in (part, calibrate)):
        return []
    here, there = (p["groups"]["melanoma"]["auc"] for p in (part, calibrate))
    # Different photographs: intervals that do not meet are a difference, and a cautious test of one.
    if None in (here["high"], there["low"]) or here["high"] >= there["low"]:
        return []
    return [
        Remark(
            "warning",
            f"Melanomas are told less well here than on the calibration part: AUC {shown(here)} against "
            f"{shown(there)}. "
            "The two are not alike: threshold, risks and prediction sets, which were set there, need not hold here, "
            "and elsewhere neither.",
        )
    ]


def _sets(part: Mapping[str, Any]) -> list[Remark]:
    sets = part.get("prediction_set")
    if not sets:
        return []
    wanted = sets["coverage_wanted"]
    named = [("all", sets["coverage"])] + [(code, found["coverage"]) for code, found in sets["per_class"].items()]
    short = [
        f"{diagnosis.name(code) if code in diagnosis.DIAGNOSES else code} {shown(found)}"
        for code, found in named
        if found["high"] is not None and found["n"] >= FEW and found["high"] < wanted
    ]
    remarks = []
    made_for = f"the {wanted:g} they were made for"
    if short:
        text = f"Prediction sets hold the diagnosis less often than {made_for}: {'; '.join(short)}."
        remarks.append(Remark("warning", text))
    looked_at = [
        (f"{column.replace('_', ' ')} {value}", found["coverage"])
        for column, values in (part.get("subgroups") or {}).items()
        for value, found in values.items()
        if found.get("coverage") and found["coverage"]["high"] is not None and found["coverage"]["n"] >= FEW
    ]
    fewer = [f"{name} {shown(found)}" for name, found in looked_at if found["high"] < wanted]
    if fewer:
        # One in forty falls short by chance alone, so that the number looked at belongs to the sentence.
        text = f"Of {len(looked_at)} subgroups, prediction sets hold the diagnosis less often than {made_for} in "
        remarks.append(Remark("note", f"{text}{len(fewer)}: {'; '.join(fewer)}."))
    return remarks


def _baselines(metrics: Mapping[str, Any], part: Mapping[str, Any]) -> list[Remark]:
    remarks = []
    baselines = metrics["baselines"]
    colour = baselines.get("colour_histogram")
    own = part["balanced_accuracy"]
    if colour and own["value"] is not None and colour["balanced_accuracy"]["value"] is not None:
        theirs = colour["balanced_accuracy"]
        difference = (colour.get("difference") or {}).get("balanced_accuracy")
        told = f"balanced accuracy {shown(own)} against {shown(theirs)}"
        if difference is not None:
            told += f"; difference, paired, {shown(difference)}"
            beats = difference["low"] is not None and difference["low"] > 0
        else:
            beats = None not in (own["low"], theirs["high"]) and own["low"] > theirs["high"]
        if beats:
            remarks.append(Remark("good", f"It beats colour alone: {told}."))
            remarks += [] if few_of(part, "melanoma") else _beats_at_melanoma(colour.get("difference") or {})
        else:
            remarks.append(Remark("warning", f"It is not shown to beat colour alone: {told}."))
    shuffled = baselines.get("shuffled_labels")
    if shuffled is not None:
        few = few_of(part, "melanoma")
        auc = "" if few else f" (melanoma AUC {shown(shuffled['melanoma_auc'])})"
        if shuffled.get("at_chance", True):
            text = f"Trained on shuffled labels it is no better than chance{auc}, as it must be."
            low, high = shuffled["melanoma_auc"]["low"], shuffled["melanoma_auc"]["high"]
            level: Level = "good"
            if not few and high is not None and (high < 0.5 or low > 0.5):
                level = "note"
                text += (
                    " Its AUC is off one half all the same: an arbitrary rule ranked photographs by something that "
                    "goes with the diagnosis, such as their source."
                )
            remarks.append(Remark(level, text))
        elif metrics["protocol"] == "as-published":
            text = (
                f"Trained on shuffled labels it is above chance{auc}, as copies of one photograph "
                "stand on both sides: those whose shuffled label is the true one by luck are known by heart."
            )
            remarks.append(Remark("note", text))
        else:
            remarks.append(Remark("warning", f"Trained on shuffled labels it is above chance{auc}: labels leak."))
    return remarks


def _beats_at_melanoma(difference: Mapping[str, Any]) -> list[Remark]:
    """Return a warning where a model that sorts diagnoses better than colour does not rank melanomas better."""
    held = [
        f"{words} {shown(one)}"
        for words, one in (
            ("over all pairs", difference.get("melanoma_auc")),
            ("within a source", difference.get("melanoma_auc_within")),
        )
        if one and one["low"] is not None and one["low"] <= 0
    ]
    if not held:
        return []
    told = f"melanoma AUC less that of colour, paired: {'; '.join(held)}"
    return [Remark("warning", f"At ranking melanomas it is not shown to beat colour alone: {told}.")]


def _calibration(part: Mapping[str, Any]) -> list[Remark]:
    if few_of(part, "melanoma"):
        return []
    slope, intercept = (part["calibration"]["melanoma"][name] for name in ("slope", "intercept"))
    remarks = []
    if slope["high"] is not None and slope["high"] < 0:
        told = f"calibration slope {shown(slope)}; 1 would be right"
        return [Remark("warning", f"Melanoma risks run the wrong way, lower where there is a melanoma: {told}.")]
    if slope["low"] is not None and not slope["low"] <= 1 <= slope["high"]:
        how = "too extreme" if slope["value"] < 1 else "too timid"
        remarks.append(Remark("note", f"Melanoma risks are {how}: calibration slope {shown(slope)}; 1 would be right."))
    if intercept["low"] is not None and not intercept["low"] <= 0 <= intercept["high"]:
        how = "too low" if intercept["value"] > 0 else "too high"
        remarks.append(
            Remark("note", f"Melanoma risks are {how} on average: intercept {shown(intercept)}; 0 would be right.")
        )
    return remarks


def _fit(metrics: Mapping[str, Any], history: pd.DataFrame | None) -> list[Remark]:
    """Compare train and tune, never test: what is changed after these remarks must not be chosen on test."""
    parts = metrics["parts"]
    train, held_out = parts.get("train"), parts.get("tune") or parts.get("calibrate")
    if not train or not held_out:
        return []
    fitted, other = (part["balanced_accuracy"]["value"] for part in (train, held_out))
    if fitted is None or other is None:
        return []
    chance = 1 / max(1, sum(n > 0 for n in train["class_counts"].values()))
    return [Remark(level, text) for level, text in fitting(fitted, other, chance, history)]


def _balance(metrics: Mapping[str, Any]) -> list[Remark]:
    train = metrics["parts"].get("train")
    counts = {code: n for code, n in (train or {}).get("class_counts", {}).items() if n}
    if len(counts) < 2:
        return []
    most, least = max(counts, key=lambda code: counts[code]), min(counts, key=lambda code: counts[code])
    ratio = counts[most] / counts[least]
    if ratio < _RATIO:
        return []
    return [
        Remark(
            "note",
            f"Imbalance: {plural(counts[most], 'training photograph')} of {diagnosis.name(most)}, {counts[least]:,} of "
            f"{diagnosis.name(least)} ({ratio:.0f} to 1). Read balanced accuracy, not accuracy.",
        )
    ]


def _numbers(part: Mapping[str, Any]) -> list[Remark]:
    remarks = []
    few = [entry for entry in part["too_few"] if entry["kind"] == "class"]
    if few:
        names = ", ".join(f"{diagnosis.name(entry['name'])} ({entry['n']})" for entry in few)
        remarks.append(Remark("note", f"Too few to judge in the test part: {names}."))
    if any(entry["kind"] == "group" and entry["name"] == "melanoma" for entry in part["too_few"]):
        remarks.append(Remark("warning", "Too few melanomas in the test part to judge how many are found."))
    refused = part["refused"]["n"]
    if refused:
        were = plural(refused, "test photograph was refused and is", "test photographs were refused and are")
        remarks.append(Remark("note", f"{were} in no score."))
    assumed = part["n_lesions"]["assumed"]
    if assumed:
        known = part["n_lesions"]["known"]
        remarks.append(
            Remark(
                "note",
                f"Lesion ids: {plural(known, 'lesion')} known, {assumed:,} assumed (one photograph, one lesion).",
            )
        )
    remarks.append(Remark("note", part["sample_size"]["melanoma"]["text"]))
    return remarks
