"""What the field's folds give without any network: the largest class, colours, and the number in a photograph's name.

The last looks at no pixel. Photographs of one clinic or study were numbered together, so that the neighbours by number
tell the diagnosis as far as the way in which the set was collected does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.field_record import OLD, WITHIN
from melascope import diagnosis
from melascope.datasets import origins
from melascope.evaluation import cross_validated
from melascope.statistics import auc_within
from melascope.training.cross_validation import scores_of
from melascope.training.experiment import Material
from melascope.training.fold_baselines import plain

NUMBER = "the number in the name, no pixel"
NEIGHBOURS = 25
"""How many photographs of the nearest numbers say what one is. Named before any score was seen."""
_DIGITS = re.compile(r"(\d+)$")
OLDEST = 600
"""The highest number of the block of the archive that holds all nevi that are not HAM10000's."""


def of_folds(
    material: Material, images: np.ndarray, assigned: np.ndarray, seeds: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return each baseline by name: `by_fold`, a row for each repeat and fold with the scores of a training.

    Args:
        material: The photographs.
        images: `(n, h, w, 3)` uint8.
        assigned: `(repeats, n)` folds.
        seeds: One for each repeat.
    """
    classes = material.classes
    found = cross_validated.baselines(material.labels, assigned, len(classes), images)
    number = numbers(material.table)
    if number is not None:
        found[NUMBER] = by_number(number, material.labels, assigned, len(classes))
    told = {}
    for name, p in found.items():
        rows = []
        for repeat, seed in enumerate(seeds):
            for fold in range(int(assigned.max()) + 1):
                held = np.flatnonzero(assigned[repeat] == fold)
                scores = scores_of(p[repeat, held], material.labels[held], classes)
                rows.append(
                    {"seed": seed, "fold": fold, "n": len(held), **scores, **apart(material, held, p[repeat, held])}
                )
        told[name] = {"by_fold": plain(pd.DataFrame(rows))}
    return told


def numbers(table: pd.DataFrame) -> np.ndarray | None:
    """Return the number at the end of each id `(n,)`, or None where some have none."""
    digits = table["image_id"].astype(str).str.extract(_DIGITS)[0]
    return None if digits.isna().any() else digits.astype(np.int64).to_numpy()


def by_number(number: np.ndarray, labels: np.ndarray, assigned: np.ndarray, classes: int) -> np.ndarray:
    """Return the shares of the diagnoses among those of the nearest numbers, out of fold: `(repeats, n, classes)`.

    Args:
        number: `(n,)`.
        labels: `(n,)` indices of the classes.
        assigned: `(repeats, n)` folds.
        classes: How many.
    """
    found = np.zeros((*assigned.shape, classes))
    for repeat, folds in enumerate(assigned):
        for fold in np.unique(folds):
            held, taught = folds == fold, np.flatnonzero(folds != fold)
            far = np.abs(number[held][:, None] - number[taught][None, :])
            nearest = taught[np.argsort(far, axis=1, kind="stable")[:, :NEIGHBOURS]]
            found[repeat, held] = (labels[nearest][:, :, None] == np.arange(classes)).mean(axis=1)
    return found


def apart(material: Material, held: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Return the melanoma AUCs of a fold that owe less to the source; NaN where a diagnosis is missing.

    Args:
        material: The photographs.
        held: Rows of the fold.
        p: `(n, c)` probabilities of these.

    Returns:
        `WITHIN`: over pairs of HAM10000's or of two others; `OLD`: among those others, over pairs of the oldest block
        of the archive alone.
    """
    codes = np.asarray(material.classes)[material.labels[held]]
    melanoma = np.isin(codes, list(diagnosis.GROUPS["melanoma"]))
    risk = diagnosis.group_risk(p, material.classes, "melanoma")
    source = origins(material.table).fillna("").to_numpy(dtype=object)[held].astype(str)
    found = {WITHIN: float(auc_within(risk, melanoma, source))}
    number = numbers(material.table)
    if number is not None:
        block = np.char.add(source, np.where(number[held] <= OLDEST, " to", " from"))
        found[OLD] = float(auc_within(risk, melanoma, block))
    return found
