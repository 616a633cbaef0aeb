"""Prediction sets: every diagnosis that cannot be ruled out at a stated coverage.

Class-conditional (Mondrian) split conformal prediction: Vovk, Gammerman and
Shafer 2005; Sadinle, Lei and Wasserman 2019. Coverage is marginal over
calibration sets and holds if photographs to come are exchangeable with the
calibration ones; whoever shows a set says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from melascope.statistics.intervals import Array, Groups, units

_SLACK = 1e-6
"""Limits lie so much above the score they were taken from: the last digits of a probability decide nothing."""


def quantiles(p: Array, y: Array, n_classes: int, coverage: float = 0.9, groups: Groups = None) -> Array:
    """Return per class the largest score `1 - p` at which it still belongs to the set, `(c,)`.

    A class with too few lesions for the coverage (fewer than 9 for 0.9, 19 for
    0.95) gets inf: it is always in the set.

    Args:
        p: `(n, c)` calibrated probabilities on `calibrate`.
        y: `(n,)` class numbers.
        n_classes: c.
        coverage: Wanted for every class.
        groups: `(n,)` lesions; only the first photograph of each is used.

    Raises:
        ValueError: When the coverage is not in (0, 1).
    """
    if not 0 < coverage < 1:
        raise ValueError(f"A coverage of {coverage} is impossible; it lies in (0, 1).")
    p, y = np.asarray(p, dtype=float), np.asarray(y)
    first = np.sort(np.unique(units(groups, len(y)), return_index=True)[1])
    result = np.full(n_classes, np.inf)
    for code in range(n_classes):
        rows = first[y[first] == code]
        # The small term keeps 0.9 * 10 = 9.000000000000002 from asking for ten of nine lesions.
        rank = math.ceil((len(rows) + 1) * coverage - 1e-9)
        if rank <= len(rows):
            result[code] = np.sort(1 - p[rows, code])[rank - 1] + _SLACK
    return result


def members(p: Array, limits: Sequence[float | None] | Array) -> Array:
    """Return which classes are in each row's set, `(n, c)` bool; a limit of inf or None lets its class in always.

    The most probable class is in it too, which covers more and never less: a
    class that is mostly told with more certainty than here would be ruled out
    where nothing else is as likely.
    """
    bound = np.array([np.inf if limit is None else limit for limit in limits], dtype=float)
    share = np.asarray(p, dtype=float)
    return np.asarray((1 - share <= bound) | (share == share.max(axis=1, keepdims=True)))
