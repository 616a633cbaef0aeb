"""What a run decides on its part `calibrate`: calibration, first choice, thresholds, prediction sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import melascope
from melascope import diagnosis
from melascope.bundle.doubts import age_band, site_name
from melascope.counted import plural
from melascope.evaluation.predictions import Vocabulary
from melascope.evaluation.sample import lesions, photographs
from melascope.statistics import PriorChoice, choose, choose_prior, choose_scaling, quantiles
from melascope.statistics.intervals import FEW
from melascope.statistics.operating_point import POINTS
from melascope.training.recipe import Recipe

COVERAGE = 0.9


def calibrate(
    recipe: Recipe,
    classes: tuple[str, ...],
    audit: Mapping[str, Any],
    predictions: pd.DataFrame,
    labels: np.ndarray,
    train: pd.DataFrame | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return `decision.json`: calibration, first choice, thresholds and prediction sets, all chosen on `calibrate`.

    Args:
        recipe: Gives the model its name and geometry.
        classes: Codes, in the order of the logits.
        audit: `audit.json`.
        predictions: Of the part `calibrate`, uncalibrated.
        labels: `(n,)` indices into `classes`.
        train: The table of the part `train`, for the ages and sites that the model knows; None says nothing of them.
        seed: Of the folds inside `calibrate`.
    """
    logits = predictions[[f"logit_{code}" for code in classes]].to_numpy(dtype=float)
    seen = np.isfinite(logits).all(axis=1)
    logits, labels, rows = logits[seen], labels[seen], predictions[seen].reset_index(drop=True)
    groups = rows["group"].to_numpy()
    chosen = choose_scaling(logits, labels, groups, seed)
    p = chosen.scaling.probabilities(logits)
    prior = choose_prior(chosen.out_of_fold, labels, chosen.folds, groups, seed=seed)
    truth = {g: np.isin(labels, [i for i, c in enumerate(classes) if c in m]) for g, m in diagnosis.GROUPS.items()}
    risk = {group: diagnosis.group_risk(p, classes, group) for group in truth}
    # One photograph per lesion: copies would count a lesion's luck twice. Out of fold: a Dirichlet calibrator knows the
    # rows that it was fitted to, and sets made on those cover too little (benchmarks/calibration.py --generated).
    first = ~pd.Series(groups).duplicated().to_numpy()
    limits = quantiles(chosen.out_of_fold[first], labels[first], len(classes), COVERAGE)
    sets = {"coverage": COVERAGE, "quantiles": [float(q) if math.isfinite(q) else None for q in limits]}
    decision = undecided(recipe, classes, audit)
    decision["calibration"] = chosen.to_json()
    decision["operating_points"] = _points(risk, truth, groups)
    decision["prediction_set"] = sets
    decision["first_choice"] = _first_choice(prior, classes)
    decision["lesion_operating_points"] = _lesion_points(rows, p, classes)
    decision["known_context"] = None if train is None else _known_context(train)
    return decision


def _points(
    risk: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], groups: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Return each group's operating points, where it has rows with it and rows without it."""
    return {
        group: {
            name: choose(risk[group], positive, target, name, group, groups, aim=aim).to_json()
            for name, (aim, target) in POINTS.items()
        }
        for group, positive in truth.items()
        if positive.any() and not positive.all()
    }


def _lesion_points(rows: pd.DataFrame, p: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the operating points for the mean probability of a lesion's photographs, or why there are none."""
    known = rows["lesion_id"].astype("string").fillna("").str.strip()
    several = int((known[known != ""].value_counts() > 1).sum())
    if several < FEW:
        number = plural(several, "lesion has", "lesions have") if several else "no lesion has"
        return {"points": None, "reason": f"On the calibration part {number} several photographs."}
    frame = rows.assign(**{f"p_{code}": p[:, i] for i, code in enumerate(classes)})
    sample, kept, _ = photographs(frame, classes, Vocabulary(classes, False))
    means, _ = lesions(sample, frame[kept].reset_index(drop=True))
    points = _points(means.risk, means.truth, means.groups)
    if not points:
        return {"points": None, "reason": "On the calibration part lesions are all of one kind."}
    return {"points": points, "reason": None}


def _first_choice(prior: PriorChoice, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return `first_choice` of `decision.json`: the prior that it weighs away, or why it weighs none."""
    reason = None
    scarce = ", ".join(classes[code] for code in prior.scarce)
    if prior.gained is None:
        reason = f"On the calibration part there are fewer than {FEW} lesions of {scarce}."
    elif prior.prior is None:
        reason = "On the calibration part weighing the classes alike lowered balanced accuracy."
    return {
        "prior": None if prior.prior is None else prior.prior.tolist(),
        "reason": reason,
        "scarce": [classes[code] for code in prior.scarce],
        "cross_fitted": None
        if prior.gained is None
        else {"balanced_accuracy": prior.plain, "gained": prior.gained.to_json()},
    }


def _known_context(train: pd.DataFrame) -> dict[str, dict[str, int] | None]:
    """Return how many lesions of the training part are of each age band and at each site, and how many malignant ones.

    None where no age or site is told, or no lesion is malignant; a band or site without malignant ones has 0.
    """
    unit = train["group"].astype("string")
    if "lesion_id" in train:
        unit = train["lesion_id"].astype("string").fillna(unit)
    ill = train["diagnosis"].isin(sorted(diagnosis.GROUPS["malignant"])).to_numpy(dtype=bool)
    found: dict[str, dict[str, int] | None] = {}
    for column, cell, name in (("age_band", "age", age_band), ("site", "site", site_name)):
        cells = [name(value) for value in train[cell].astype(object)] if cell in train else []
        told = [(str(key), str(lesion), bad) for key, lesion, bad in zip(cells, unit, ill, strict=False) if key]
        every = Counter(key for key, _ in {(key, lesion) for key, lesion, _ in told})
        malignant = Counter(key for key, _ in {(key, lesion) for key, lesion, bad in told if bad})
        found[column] = dict(sorted(every.items())) or None
        found[f"malignant_{column}"] = {key: malignant[key] for key in sorted(every)} if malignant else None
    return found


def undecided(recipe: Recipe, classes: tuple[str, ...], audit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `decision.json` of a network that nothing was chosen for yet."""
    return {
        "schema": 1,
        "name": recipe.name,
        "version": melascope.__version__,
        "classes": list(classes),
        "geometry": recipe.geometry.to_json(),
        "calibration": {"method": "temperature", "temperature": 1.0},
        "operating_points": {},
        "prediction_set": None,
        "novelty": None,
        "protocol": audit["protocol"],
        "audited": audit["audited"],
    }
