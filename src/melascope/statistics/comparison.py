"""Comparisons of two models: always paired, on the same lesions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from melascope.statistics.intervals import DRAWS, LEVEL, Array, Estimate, Groups, bootstrap, interval, units


@dataclass(frozen=True)
class Difference:
    """A difference (a minus b) with its interval and two-sided p value; `n` is the number of rows."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def delong(p_a: Array, p_b: Array, y: Array, groups: Groups = None, level: float = LEVEL) -> Difference:
    """Return the difference of two correlated AUCs.

    Without groups DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837);
    with groups, whose rows are not independent, the extension to clustered data
    of Obuchowski 1997 (Biometrics 53:567), which is the same for groups of one.

    Args:
        p_a: `(n,)` scores of the first model.
        p_b: `(n,)` scores of the second, on the same rows.
        y: `(n,)` bool.
        groups: `(n,)` lesions or patients.
        level: Of the interval.
    """
    positive = np.asarray(y, dtype=bool)
    m, k = int(positive.sum()), int((~positive).sum())
    if m == 0 or k == 0:
        return Difference(math.nan, math.nan, math.nan, math.nan, len(positive))
    of_positive_a, of_negative_a = _placements(np.asarray(p_a, dtype=float), positive)
    of_positive_b, of_negative_b = _placements(np.asarray(p_b, dtype=float), positive)
    value = float(of_positive_a.mean() - of_positive_b.mean())
    unit = units(groups, len(positive))
    total = int(unit.max()) + 1
    x = np.bincount(unit[positive], of_positive_a - of_positive_b - value, total)
    z = np.bincount(unit[~positive], of_negative_a - of_negative_b - value, total)
    with_positive, with_negative = len(np.unique(unit[positive])), len(np.unique(unit[~positive]))
    if with_positive < 2 or with_negative < 2:
        return Difference(value, math.nan, math.nan, math.nan, len(positive))
    variance = float(
        with_positive / (with_positive - 1) * (x @ x) / m**2
        + with_negative / (with_negative - 1) * (z @ z) / k**2
        + 2 * total / (total - 1) * (x @ z) / (m * k)
    )
    deviation = math.sqrt(max(variance, 0.0))
    normal = NormalDist()
    half = normal.inv_cdf(0.5 + level / 2) * deviation
    # Two models that rank alike differ by nothing, certainly.
    p_value = 2 * normal.cdf(-abs(value) / deviation) if deviation > 0 else float(value == 0)
    return Difference(value, value - half, value + half, p_value, len(positive))


def _placements(p: Array, positive: Array) -> tuple[Array, Array]:
    """Return for each positive the share of negatives below it, for each negative the share of positives above it."""
    high, low = p[positive], p[~positive]
    below, above = np.sort(low), np.sort(high)
    of_positive = (np.searchsorted(below, high, "left") + np.searchsorted(below, high, "right")) / (2 * len(low))
    of_negative = 1 - (np.searchsorted(above, low, "left") + np.searchsorted(above, low, "right")) / (2 * len(high))
    return of_positive, of_negative


def paired_bootstrap(
    score: Callable[[Array, Array | None], Any],
    a: Array,
    b: Array,
    groups: Groups,
    strata: Sequence[Any] | Array | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Estimate:
    """Return the difference of a score between two models, both scored on the same draws.

    Args:
        score: Takes one model's predictions and weights `(n, k)` or None, such
            as `lambda p, w: auc(p, y, w)`.
        a: `(n, ...)` predictions of the first model.
        b: `(n, ...)` predictions of the second.
        groups: `(n,)` lesions or patients.
        strata: `(n,)` classes.
        draws: How many.
        seed: Same seed, same interval.
        level: Of the interval.
    """
    value = float(score(a, None) - score(b, None))
    samples = bootstrap(lambda w: score(a, w) - score(b, w), groups, strata, draws, seed, len(a))
    return interval(samples, value, len(a), level=level, proportion=False)


def repeated_cv_difference(
    differences: Array, level: float = LEVEL, lowest: float = -math.inf, highest: float = math.inf
) -> Estimate:
    """Return the mean of paired differences over repeated cross-validation with the corrected resampled t interval.

    Folds share training rows, so the naive variance is too small: it is raised
    by test size over training size, 1 / (folds - 1). Where all are equal there is no interval (NaN): one of no width
    would claim a certainty that so few trainings cannot give.

    Args:
        differences: `(repeats, folds)` of model a minus model b, or of one model's score.
        level: Of the interval.
        lowest: What the value can be at least; the interval, which t makes as wide on both sides, is kept to it.
        highest: What it can be at most.

    Raises:
        ValueError: With fewer than two folds.

    Source: Nadeau and Bengio 2003, Machine Learning 52:239; Bouckaert and Frank 2004 for repeats.
    """
    value, deviation, count = _corrected(differences)
    if not deviation > 1e-12 * max(1.0, abs(value)):
        return Estimate(value, math.nan, math.nan, count)
    half = student_t_quantile(0.5 + level / 2, count - 1) * deviation
    return Estimate(value, max(lowest, value - half), min(highest, value + half), count)


def repeated_cv_p_value(differences: Array) -> float:
    """Return the two-sided p value of the corrected resampled t test; NaN where all are equal.

    It is below 1 - level just where the interval of `repeated_cv_difference` leaves out zero.

    Args:
        differences: `(repeats, folds)` of model a minus model b.

    Raises:
        ValueError: With fewer than two folds.
    """
    value, deviation, count = _corrected(differences)
    if not deviation > 1e-12 * max(1.0, abs(value)):
        return math.nan
    return 1 - _t_within(abs(value) / deviation, count - 1)


def _corrected(differences: Array) -> tuple[float, float, int]:
    """Return the mean, its corrected standard deviation, and the number of trainings."""
    d = np.atleast_2d(np.asarray(differences, dtype=float))
    folds, count = d.shape[1], d.size
    if folds < 2:
        raise ValueError("Cross-validation has at least two folds.")
    return float(d.mean()), math.sqrt((1 / count + 1 / (folds - 1)) * float(d.var(ddof=1))), count


def student_t_quantile(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while _t_within(high, degrees) < 2 * probability - 1:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, degrees) < 2 * probability - 1 else (low, middle)
    return low


def _t_within(t: float, degrees: int) -> float:
    """Return the probability that Student's t lies within t of 0."""
    angle = math.atan(t / math.sqrt(degrees))
    square = math.cos(angle) ** 2
    odd = degrees % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for j in range(3 if odd else 2, degrees - 1, 2):
        term *= square * (j - 1) / j
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979, Scand J Statist 6:65); NaN stays NaN."""
    valid = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    result, least = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(valid):
        least = max(least, min(1.0, p * (len(valid) - rank)))
        result[i] = least
    return result
