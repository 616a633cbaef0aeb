"""Learning curves: score against the number of lesions as a power law, and what it says of more of them.

`score(n) = a - b n^-c` with c > 0 and `a` no better than perfect: it rises
ever more slowly towards `a`. It may fall as well (b < 0), since one that
could not would find a gain in any noise.

Source: Figueroa et al. 2012, BMC Med Inform Decis Mak 12:8 (fit to learning curves); Nadeau and Bengio 2003,
Machine Learning 52:239 (folds share their training photographs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from melascope.statistics.comparison import student_t_quantile
from melascope.statistics.intervals import DRAWS, LEVEL, Array, Estimate

FEWEST_SIZES = 3
"""With fewer sizes a curve of three parameters says nothing."""
_EXPONENTS = np.geomspace(0.05, 2.0, 60)


@dataclass(frozen=True)
class PowerLaw:
    """`a - b n^-c`, each a number or an array of one shape."""

    a: Array
    b: Array
    c: Array

    def at(self, n: float) -> Array:
        """Return the score at a number of lesions."""
        value: Array = self.a - self.b * np.power(float(n), -self.c)
        return value


@dataclass(frozen=True)
class Extrapolation:
    """What a learning curve says of more lesions.

    Attributes:
        law: The curve through the means.
        size: How many lesions it is asked for.
        score: The score expected there.
        gain: The score there less that of the curve at the largest size measured.
    """

    law: PowerLaw
    size: float
    score: Estimate
    gain: Estimate


def fit_power_law(sizes: Array, scores: Array, top: float = 1.0) -> PowerLaw:
    """Fit the curve by least squares: the exponent from a grid, `a` and `b` exactly for each.

    Args:
        sizes: `(k,)` numbers of lesions.
        scores: `(..., k)`; each row is fitted on its own.
        top: The best score there can be.

    Returns:
        A law whose parameters have the shape `(...)`.

    Raises:
        ValueError: When all sizes are equal.
    """
    n, y = np.asarray(sizes, dtype=float), np.asarray(scores, dtype=float)
    if np.ptp(n) == 0:
        raise ValueError("A curve needs sizes that differ.")
    # The unit of n does not matter to the curve, but to the numbers that are inverted.
    x = np.power(n / n.max(), -_EXPONENTS[:, None])
    mean_x, mean_y = x.mean(axis=1), y.mean(axis=-1)
    centred = x - mean_x[:, None]
    slope = np.einsum("...k,ek->...e", y, centred) / (centred**2).sum(axis=1)
    b = -slope
    a = mean_y[..., None] + b * mean_x
    steep = np.maximum(np.einsum("...k,ek->...e", top - y, x) / (x**2).sum(axis=1), 0.0)
    over = a > top
    a, b = np.where(over, top, a), np.where(over, steep, b)
    fitted = a[..., None] - b[..., None] * x
    best = ((fitted - y[..., None, :]) ** 2).sum(axis=-1).argmin(axis=-1)
    at_best = best[..., None]
    c = _EXPONENTS[best]
    chosen_b = np.take_along_axis(b, at_best, axis=-1)[..., 0] * n.max() ** c
    return PowerLaw(np.take_along_axis(a, at_best, axis=-1)[..., 0], chosen_b, c)


def extrapolate(
    sizes: Array,
    scores: Array,
    folds: int,
    times: float = 2.0,
    top: float = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Extrapolation:
    """Return what a power law through a learning curve says of `times` the largest size.

    Whole curves (a fold of a repeat, with all its sizes) are drawn with replacement and fitted again. The spread of
    what they say is widened for what it cannot show: there are few curves (Student's t), and they share most of
    their training photographs (the correction of the resampled t). That correction is a rule of thumb. On
    simulated curves of four sizes, 3 to 10 of them, whose trainings err each on their own, both intervals hold the
    truth in 92 of 100 or more. Where a tenth to a third of the variance of a training is common to all curves, that
    of the score holds it in 99 down to 82, that of the gain in 93 down to 66, fewer the more is shared, the more
    curves there are, and the less folds differ for other reasons: they are then too narrow. That another curve than a
    power law might be right, or the new lesions come from elsewhere, no interval tells.

    Args:
        sizes: `(k,)` numbers of lesions.
        scores: `(curves, k)`, a row for each fold of each repeat.
        folds: Folds of one repeat.
        times: Of the largest size.
        top: The best score there can be.
        draws: How many.
        seed: Same seed, same interval.
        level: Of the interval.

    Raises:
        ValueError: With fewer than three sizes or two curves.
    """
    n, y = np.asarray(sizes, dtype=float), np.asarray(scores, dtype=float)
    curves = len(y)
    if y.shape[1] < FEWEST_SIZES or curves < 2 or folds < 2:
        raise ValueError("A learning curve is fitted to three sizes and two folds at least.")
    law = fit_power_law(n, y.mean(axis=0), top)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, curves, (draws, curves))
    again = fit_power_law(n, y[drawn].mean(axis=1), top)
    size = float(times * n.max())
    # What the bootstrap of a mean has as variance, and what it ought to have.
    factor = math.sqrt((1 / curves + 1 / (folds - 1)) / ((curves - 1) / curves**2))
    t = student_t_quantile(0.5 + level / 2, curves - 1) * factor
    value, now = float(law.at(size)), float(law.at(n.max()))
    half = t * float(np.std(again.at(size)))
    gained = t * float(np.std(again.at(size) - again.at(n.max())))
    score = _within(value, half, 0.0, top, curves)
    gain = _within(value - now, gained, -1.0, top - now, curves)
    return Extrapolation(law, size, score, gain)


def _within(value: float, half: float, lowest: float, highest: float, n: int) -> Estimate:
    """Return an estimate whose interval keeps to what can be; none (NaN) where all curves are one."""
    if not half > 1e-12:
        return Estimate(value, math.nan, math.nan, n)
    return Estimate(value, max(lowest, value - half), min(highest, value + half), n)
