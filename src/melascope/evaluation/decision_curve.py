"""The decision curve: whether acting on the model does more good than harm, over thresholds and at a prevalence."""

from __future__ import annotations

from typing import Any

import numpy as np

from melascope.evaluation.measures import distinct
from melascope.evaluation.sample import Sample
from melascope.statistics import net_benefit, wilson
from melascope.statistics.intervals import Array

THRESHOLDS = np.round(np.arange(0.01, 0.505, 0.01), 2)
"""Up to half: who would excise only what is more likely melanoma than not excises too late."""


def decision_curve(sample: Sample, group: str, prevalence: float | None = None) -> dict[str, Any] | None:
    """Return the net benefit of acting on a group's risk.

    Sensitivity and fall-out at each threshold have Wilson's interval, with as many cases as there are lesions or
    patients; the two join into that of the net benefit by squaring and adding (Newcombe 1998, Stat Med 17:873, method
    10), which keeps a width where either is 0 or 1.

    Args:
        sample: Judged photographs or lesions.
        group: `melanoma` or `malignant`.
        prevalence: Of the group where the model is used, to which sensitivity and specificity are taken along, while
            risks stay as the model shows them; None: the share among the judged.

    Returns:
        `prevalence`, `stated`, and lists over `THRESHOLDS`: `threshold`, `model`, `low`, `high` (the 95 % interval at
        each threshold by itself), `everybody` (acting on all). None where one kind of lesion is missing.
    """
    truth = sample.truth[group]
    if not truth.any() or truth.all():
        return None
    at = float(truth.mean()) if prevalence is None else prevalence
    model, everybody = net_benefit(sample.risk[group], truth, at, THRESHOLDS)
    found, fall_out = (_rates(sample, group, rows) for rows in (truth, ~truth))
    harm = (1 - at) * THRESHOLDS / (1 - THRESHOLDS)
    below = np.hypot(at * (found[0] - found[1]), harm * (fall_out[2] - fall_out[0]))
    above = np.hypot(at * (found[2] - found[0]), harm * (fall_out[0] - fall_out[1]))
    return {
        "prevalence": at,
        "stated": prevalence is not None,
        "threshold": THRESHOLDS.tolist(),
        "model": model.tolist(),
        "low": (model - below).tolist(),
        "high": (model + above).tolist(),
        "everybody": everybody.tolist(),
    }


def _rates(sample: Sample, group: str, rows: Array) -> Array:
    """Return of one kind of lesion the share that alerts and the ends of its interval, `(3, t)`."""
    n = distinct(sample.groups, rows)
    shares = [float((sample.risk[group][rows] >= threshold).mean()) for threshold in THRESHOLDS]
    around = [wilson(share * n, n) for share in shares]
    return np.array([[estimate.value, estimate.low, estimate.high] for estimate in around]).T
