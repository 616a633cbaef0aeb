"""What `metrics.json` tells about the evaluation itself: unit, flow, refusals, notes, and the thinned curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope.counted import plural
from melascope.evaluation.predictions import Vocabulary
from melascope.evaluation.sample import Sample
from melascope.statistics import precision_recall_curve, roc_curve
from melascope.statistics.intervals import LEVEL, Array

PARTS = ("train", "tune", "calibrate", "test")
_POINTS = 200  # of a curve in the file


def refused(unscored: pd.DataFrame) -> dict[str, Any]:
    """Count the photographs that the predictor refused: they are part of the result, not of the silence."""
    error = unscored["error"].notna() if "error" in unscored.columns else pd.Series(False, unscored.index)
    rows = unscored[error.to_numpy(dtype=bool)]
    kinds = rows["error_kind"].fillna("unreadable") if "error_kind" in rows.columns else rows["error"]
    return {
        "n": len(rows),
        "kinds": {str(kind): int(n) for kind, n in kinds.value_counts().items()},
        "by_class": {str(code): int(n) for code, n in rows["diagnosis"].value_counts().items()},
    }


def curves(sample: Sample) -> dict[str, Any]:
    """Return the ROC and precision-recall curves of groups and classes, at most 200 points each."""
    result: dict[str, Any] = {"roc": {}, "pr": {}}
    wanted = [(group, sample.risk[group], truth) for group, truth in sample.truth.items()]
    wanted += [(code, sample.p[:, i], sample.y == i) for i, code in enumerate(sample.classes)]
    for name, p, y in wanted:
        if not y.any() or y.all():
            continue
        fpr, tpr, _ = roc_curve(p, y)
        # Corners only: points inside a straight run say nothing.
        bend = np.r_[True, (np.diff(fpr, 2) != 0) | (np.diff(tpr, 2) != 0), True]
        result["roc"][name] = _thinned({"fpr": fpr[bend], "tpr": tpr[bend]})
        recall, precision, _ = precision_recall_curve(p, y)
        result["pr"][name] = _thinned({"recall": recall, "precision": precision})
    return result


def _thinned(curve: dict[str, Array]) -> dict[str, list[float]]:
    n = len(next(iter(curve.values())))
    rows = np.unique(np.linspace(0, n - 1, min(n, _POINTS)).round().astype(int))
    return {name: np.round(values[rows], 5).tolist() for name, values in curve.items()}


def unit_of(frame: pd.DataFrame, draws: int, seed: int) -> dict[str, Any]:
    """Return what is scored and what the intervals resample."""
    named = [
        name for name in ("group", "patient_id", "lesion_id") if name in frame.columns and frame[name].notna().any()
    ]
    unit = named[0].removesuffix("_id") if named else "photograph"
    words = {
        "group": "groups of photographs that share a photograph, lesion or patient",
        "patient": "patients",
        "lesion": "lesions",
        "photograph": "photographs, since nothing says which belong together",
    }[unit]
    return {
        "scored": "photograph",
        "resampled": unit,
        "draws": draws,
        "level": LEVEL,
        "seed": seed,
        "text": f"Scores are per photograph. 95 % intervals resample {words}, stratified by class ({draws:,} draws, "
        "percentile); Wilson's interval where the estimate is 0 or 1 or fewer than 10 of them stand behind it.",
    }


def known(frame: pd.DataFrame, test: Array) -> dict[str, int] | None:
    """Return how many test photographs the model was trained on; None where its list is not at hand."""
    if "trained_on" not in frame.columns:
        return None
    return {"images": int(frame.loc[test, "trained_on"].fillna(False).sum()), "of": int(test.sum())}


def flow_of(
    flow: Sequence[Any], frame: pd.DataFrame, parts: Mapping[str, Any], chosen: Mapping[str, Array]
) -> list[dict[str, Any]]:
    """Return the STARD steps down to the photographs scored; `excluded` is what left on the way to a step."""
    steps = [dataclasses.asdict(step) if dataclasses.is_dataclass(step) else dict(step) for step in flow]  # type: ignore[arg-type]
    steps = steps or [{"label": "photographs given", "photographs": len(frame), "excluded": {}}]
    others = {f"in the part {name}": int(chosen[name].sum()) for name in PARTS if name != "test"}
    given = int(chosen["test"].sum())
    away = {reason: n for reason, n in others.items() if n}
    if steps[-1]["photographs"] != given:
        steps.append({"label": "test photographs", "photographs": given, "excluded": away})
    test = parts["test"]
    reasons = {
        "refused by the predictor": test["refused"]["n"],
        "without a label": test["unscored"]["no_label"],
        "label outside the model's classes": test["unscored"]["outside_classes"],
    }
    left = {reason: n for reason, n in reasons.items() if n}
    steps.append({"label": "test photographs scored", "photographs": test["n_images"], "excluded": left})
    if "test_unseen" in parts:
        n = parts["test_unseen"]["n_images"]
        known = {"the model was trained on them": test["n_images"] - n}
        steps.append({"label": "test photographs scored, unseen in training", "photographs": n, "excluded": known})
    return steps


def first_choice_words(decision: Mapping[str, Any], coarsened: bool = False) -> str:
    """Return in a sentence or two how the first choice behind accuracy and balanced accuracy is made."""
    rule = decision.get("first_choice") or {}
    if not rule.get("prior"):
        why = f" {rule['reason']}" if rule.get("reason") else ""
        return f"The first choice is the most probable diagnosis.{why}"
    summed = ", these then summed into the labels' classes" if coarsened else ""
    return (
        "The first choice is the diagnosis with the largest probability divided by its share of the calibration "
        f"part{summed}, as if all diagnoses were equally frequent; it need not be the most probable one. "
        "Probabilities and risks hold for the calibration part's own mix of diagnoses."
    )


def notes_of(
    parts: Mapping[str, Any],
    headline: str,
    words: Vocabulary,
    classes: tuple[str, ...],
    known: Mapping[str, int] | None,
    frame: pd.DataFrame,
    chosen: Mapping[str, Array],
    sources_recorded: bool,
) -> list[str]:
    """Return what a reader must know before the numbers, in sentences."""
    n = parts[headline]["n_lesions"]
    notes = [
        f"Lesions of the headline part: {n['known']} known by id, {n['assumed']} assumed (one photograph, one lesion)."
        + (" Parts cannot be called lesion-disjoint where lesions are assumed." if n["assumed"] else "")
    ]
    if known is not None:
        notes.append(
            f"{known['images']:,} of {plural(known['of'], 'test photograph')} "
            f"{'was' if known['images'] == 1 else 'were'} trained on"
            + ("; the headline leaves them out." if headline == "test_unseen" else ".")
        )
        if known["images"] == known["of"]:
            notes.append("The model was trained on every test photograph: these numbers say nothing about new ones.")
    else:
        notes.append(
            "Whether the model was trained on any of these photographs is not known: it brings no list of them."
        )
    if words.coarsened:
        notes.append(
            f"The model's classes ({', '.join(classes)}) were summed into those of the labels "
            f"({', '.join(words.classes)}). Risks and alerts are the model's own; a label that joins benign and "
            "malignant diagnoses (AKIEC) counts as malignant."
        )
    if parts["test"].get("prediction_set"):
        notes.append(
            "Coverage of prediction sets is marginal and holds if photographs are exchangeable with the "
            "calibration ones."
        )
    return [*notes, *_of_sources(frame.loc[chosen["test"], "source"], sources_recorded)]


def _of_sources(named: pd.Series, recorded: bool) -> list[str]:
    names = sorted(set(named.dropna()))
    if not names:
        return ["Sources are not recorded, so it cannot be shown that the source does not tell the class."]
    by_ids = "" if recorded else f"Sources are not recorded; lesion ids tell them: {', '.join(names)}."
    if len(names) == 1:
        return [by_ids] if by_ids else []
    several = "The test part joins several sources: read its AUCs beside those within each source (subgroups)."
    return [f"{by_ids} {several}".strip()]


def nothing(frame: pd.DataFrame, test: Array, words: Vocabulary) -> str:
    """Return the sentence for a test part of which nothing can be scored."""
    if not test.any():
        return 'There is no test photograph to judge on: no row of the predictions has the part "test".'
    scored = frame.loc[test]
    refused = int(scored["error"].notna().sum()) if "error" in scored.columns else 0
    return (
        f"None of {plural(int(test.sum()), 'test photograph')} can be scored: "
        f"{plural(refused, 'was', 'were')} refused, the others have no "
        f"diagnosis among the model's classes ({', '.join(words.classes)}). Check the labels and the paths."
    )
