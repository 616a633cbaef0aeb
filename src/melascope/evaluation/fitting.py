"""Over- and under-fitting in words, from training and tune alone: what is changed after it is never chosen on test."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

_GAP = 0.15  # of balanced accuracy between train and tune, beyond which a fit is called over-fitted

Level = Literal["good", "note", "warning"]
"""How much a sentence weighs."""


def fitting(fitted: float, other: float, chance: float, history: pd.DataFrame | None = None) -> list[tuple[Level, str]]:
    """Return what stands out, as `(level, sentence)`; level is `good`, `note` or `warning`.

    Args:
        fitted: Balanced accuracy on what was trained on.
        other: Balanced accuracy on what was not.
        chance: That of a guess.
        history: `history.csv`, one row per epoch, for the loss on tune.
    """
    told = f"balanced accuracy {fitted:.2f} in training, {other:.2f} on held-out photographs"
    remarks: list[tuple[Level, str]] = []
    if fitted - other > _GAP:
        mend = "More augmentation, dropout, weight decay or an earlier stop may help."
        remarks.append(("warning", f"Over-fitting: {told}. {mend}"))
    elif fitted < chance + 0.25 * (1 - chance):
        mend = "A larger network, a higher learning rate or more epochs may help."
        remarks.append(("warning", f"Under-fitting: {told}. {mend}"))
    else:
        remarks.append(("good", f"Neither over- nor under-fitting stands out: {told}."))
    if history is not None and len(history) > 1 and "tune_loss" in history and history["tune_loss"].notna().any():
        best = int(history["tune_loss"].to_numpy(dtype=float, na_value=math.inf).argmin()) + 1
        if best == len(history):
            remarks.append(("note", f"The loss on tune was still falling in the last epoch ({best}): train longer."))
        elif best <= 0.6 * len(history):
            words = f"The loss on tune was lowest in epoch {best} of {len(history)} and rose after it."
            remarks.append(("note", words))
    return remarks


def of_history(history: pd.DataFrame, classes: int) -> list[tuple[Level, str]]:
    """Return what stands out in the epochs of a training; nothing where no tune part was judged.

    Training is judged as it goes on, with augmentation and dropout, and so rather too low.

    Args:
        history: `history.csv`.
        classes: How many.
    """
    if history.empty or not {"balanced_accuracy", "tune_balanced_accuracy"} <= set(history.columns):
        return []
    last = history.iloc[-1]
    fitted, other = float(last["balanced_accuracy"]), float(last["tune_balanced_accuracy"])
    return [] if np.isnan([fitted, other]).any() else fitting(fitted, other, 1 / classes, history)
