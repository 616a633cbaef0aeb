"""What a repeated cross-validation says: scores by fold with intervals that know that folds share their photographs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope.statistics import confusion, proportion, repeated_cv_difference
from melascope.statistics.intervals import Array, Estimate

SCORES = ("balanced_accuracy", "melanoma_auc", "accuracy", "log_loss")
"""In the order of tables; the last is better where it is smaller."""


def by_fold(rows: pd.DataFrame, score: str) -> Array:
    """Return a score as `(repeats, folds)` from a row for each `seed` and `fold`."""
    values: Array = rows.set_index(["seed", "fold"])[score].sort_index().to_numpy(dtype=float)
    return values.reshape(rows["seed"].nunique(), -1)


def fold_scores(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the mean over folds of each score with its 95 % interval, as `{"value", "low", "high", "n"}`.

    The interval is the corrected resampled t (Nadeau and Bengio 2003): the folds of one repeat share most of their
    training photographs, and repeats share all. `n` counts trainings. A score that is not defined in every fold has
    no value.

    Args:
        rows: A row per repeat and fold: `seed`, `fold`, and the columns of `SCORES`.
    """
    return {score: _within(repeated_cv_difference(by_fold(rows, score)), score) for score in SCORES}


def _within(estimate: Estimate, score: str) -> dict[str, Any]:
    """Keep an interval, which t makes as wide on both sides, to what the score can be."""
    top = math.inf if score == "log_loss" else 1.0
    ends = (max(0.0, estimate.low), min(top, estimate.high))
    return Estimate(estimate.value, *ends, estimate.n).to_json()


def differences(rows: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Return the paired differences between all recipes, fold by fold, with corrected intervals.

    Args:
        rows: By recipe, as `fold_scores` takes them; all on the same folds.

    Returns:
        Rows `name, a, b, score, value, low, high, n`.
    """
    found = []
    for score, (a, b) in itertools.product(SCORES[:3], itertools.combinations(rows, 2)):
        estimate = repeated_cv_difference(by_fold(rows[a], score) - by_fold(rows[b], score))
        words = score.replace("_", " ").replace("auc", "AUC")
        found.append({"name": f"{a} − {b}: {words}", "a": a, "b": b, "score": score, **estimate.to_json()})
    return found


def pooled(
    probabilities: Array, labels: Array, groups: Sequence[Any] | Array, classes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return what all folds together say of each diagnosis.

    Each photograph is judged in each repeat, by the network that saw nothing of its group. Risks of different
    networks are not on one scale, so that nothing that ranks (AUC) is pooled.

    Args:
        probabilities: `(repeats, n, c)`, out of fold.
        labels: `(n,)` indices into `classes`.
        groups: `(n,)` lesions or patients: what the intervals resample.
        classes: Codes.
        seed: Of the bootstrap.

    Returns:
        `confusion`: `(c, c)` counts over all repeats. `per_class`: code to `sensitivity` and `precision` (with
        intervals, of the first choice, averaged over repeats) and `n` photographs.
    """
    choices = probabilities.argmax(axis=2)
    matrix = sum(confusion(labels, choice, len(classes)) for choice in choices)
    per_class = {}
    for code, name in enumerate(classes):
        of_class = labels == code
        hits = (choices[:, of_class] == code).mean(axis=0)
        within = np.asarray(groups, dtype=object)[of_class]
        said = np.asarray(matrix)[:, code]
        per_class[name] = {
            "sensitivity": proportion(hits, within, seed=seed).to_json(),
            "precision": float(said[code] / said.sum()) if said.sum() else None,
            "n": int(of_class.sum()),
        }
    return {"confusion": np.asarray(matrix).astype(int).tolist(), "per_class": per_class}


def notes(recipes: Sequence[str], folds: int, repeats: int, told: Mapping[str, Any]) -> list[str]:
    """Return what limits the numbers, a sentence each.

    Args:
        recipes: Names.
        folds: How many.
        repeats: How many.
        told: `optimistic`, `protocol`, `grouped`, `closed` and `limited`.
    """
    found = [
        "A score is the mean over folds; its interval is the corrected resampled t, wider than that of independent "
        "folds, since they share most of their training photographs.",
    ]
    if told["grouped"]:
        found.append("Photographs of one lesion or patient, and copies of one photograph, stand in one fold.")
    else:
        found.append(
            f'The protocol "{told["protocol"]}" divides single photographs: copies and other photographs of a lesion '
            "stand on both sides, and every number here is optimistic."
        )
    if told["closed"]:
        found.append(f"The test part ({told['closed']:,} photographs) was left closed: nothing here was seen from it.")
    if told.get("limited"):
        found.append(f"Only {told['limited']:,} photographs were drawn (--limit): a try, not a result.")
    if len(recipes) > 1:
        found.append(
            f"{len(recipes)} recipes were tried on these folds: the score of the best of them is optimistic, the "
            "more so the more were tried. An interval of a difference that contains zero shows no difference."
        )
    if folds * repeats < 6:
        found.append(f"{folds * repeats} trainings are few: the intervals are wide because they must be.")
    return found
