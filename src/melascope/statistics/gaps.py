"""The largest difference of a score among several groups, with an interval that allows for its having been picked.

The largest of many differences is large by chance alone, so that the interval
of a pair named beforehand would find gaps where there are none. The width here
is Tukey's: the studentised range of as many independent estimates as there are
groups, which holds for all pairs at once (Tukey 1953; that it does for unequal
variances of independent normal estimates too: Hayter 1984, Ann Stat 12:61).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from melascope.statistics.intervals import LEVEL, Array, wilson

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Gap:
    """By how much one group's score lies above another's, with the interval that holds for all pairs at once.

    Attributes:
        higher: Number of the group with the higher score.
        lower: Number of the other.
        value: The difference, never below 0.
        low: Lower end; above 0 where a gap is shown.
        high: Upper end.
    """

    higher: int
    lower: int
    value: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0


def pairwise_gaps(values: Sequence[float], effective: Sequence[float], level: float = LEVEL) -> list[Gap]:
    """Return the differences of all pairs of groups, largest first, with simultaneous intervals.

    Each group has Wilson's interval at Tukey's width; those of two groups join
    into that of their difference by Newcombe's method 10 (Newcombe 1998, Stat
    Med 17:873), which keeps its width where a score is 0 or 1. The probability
    that all intervals hold their true differences is at least about `level`;
    `benchmarks/gaps.py` measures it.

    Args:
        values: `(k,)` scores in [0, 1], each of a group of its own.
        effective: `(k,)` independent cases behind each, as `effective_cases` counts them.
        level: Of all intervals together.

    Raises:
        ValueError: When the two differ in length, a score lies outside [0, 1], or nothing stands behind one.
    """
    if len(values) != len(effective) or not all(0 <= v <= 1 for v in values) or not all(n > 0 for n in effective):
        raise ValueError("Each group needs a score between 0 and 1 and a number of cases above 0.")
    k = len(values)
    if k < 2:
        return []
    width = tukey_width(k, level)
    own = 2 * _NORMAL.cdf(width) - 1
    ends = [wilson(value * n, n, own) for value, n in zip(values, effective, strict=True)]
    result = []
    for i in range(k):
        for j in range(i):
            a, b = (i, j) if values[i] >= values[j] else (j, i)
            value = values[a] - values[b]
            below = math.hypot(values[a] - ends[a].low, ends[b].high - values[b])
            above = math.hypot(ends[a].high - values[a], values[b] - ends[b].low)
            result.append(Gap(a, b, value, max(-1.0, value - below), min(1.0, value + above)))
    return sorted(result, key=lambda gap: (-gap.value, -gap.low))


def effective_cases(value: float, samples: Array, n_units: int, n: int | None = None) -> float:
    """Return how many independent cases would give a score the variance that its bootstrap has.

    That is the value's own p (1 - p) divided by the variance over the draws (Kish's effective sample size), so that
    Wilson's interval knows of lesions with several photographs. Where no draw differs from another, `n_units` count.
    The bootstrap's variance is made larger by u / (u - 1) of its u groups, by which it falls short.

    Args:
        value: The score, in [0, 1].
        samples: `(draws,)` its values over the draws; NaN where undefined.
        n_units: Groups behind it.
        n: Rows behind a plain proportion, which cannot tell more than each row alone; None for an AUC.
    """
    defined = samples[np.isfinite(samples)]
    variance = float(defined.var()) if len(defined) > 1 else 0.0
    spread = value * (1 - value)
    if variance < 1e-12 or spread <= 0:
        return float(n_units)
    return min(spread / variance * max(n_units - 1, 1) / max(n_units, 1), math.inf if n is None else float(n))


@lru_cache(maxsize=64)
def tukey_width(k: int, level: float = LEVEL) -> float:
    """Return by how many standard errors all pairs of k independent normal estimates differ at most, at a level.

    The quantile of the studentised range with infinite degrees of freedom, over the square root of 2: 1.96 for two.

    Raises:
        ValueError: When k is below 2.
    """
    if k < 2:
        raise ValueError(f"A difference needs two groups, not {k}.")
    z = np.linspace(-9, 9, 1801)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    cumulated = np.array([_NORMAL.cdf(x) for x in z])
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        # The largest at z, all others within the range below it.
        below = np.interp(z - middle, z, cumulated, left=0.0)
        within = k * float(np.sum(density * (cumulated - below) ** (k - 1))) * (z[1] - z[0])
        low, high = (middle, high) if within < level else (low, middle)
    return low / math.sqrt(2)
