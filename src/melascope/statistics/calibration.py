"""Calibration: whether a risk of 20 % comes true one time in five."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.statistics.intervals import Array
from melascope.statistics.scores import _columns, _ratio, _shaped, sums

_COLDEST, _HOTTEST = 0.02, 50.0
_STEPS, _RUNAWAY = 30, 60.0
_EDGE = 1e-7  # risks are kept this far from 0 and 1 before the logarithm of their odds is taken


def softmax(logits: Array, temperature: float = 1.0) -> Array:
    """Return probabilities `(n, c)` float64 of logits `(n, c)` divided by a temperature."""
    z = np.asarray(logits, dtype=float) / temperature
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(z / z.sum(axis=-1, keepdims=True))


def fit_temperature(logits: Array, labels: Array) -> float:
    """Return the temperature that minimises the log loss on held-out rows.

    The loss is convex in 1 / temperature, so its slope is bisected. A
    temperature beyond 0.02 or 50 (a model that separates the rows, or one that
    knows nothing) is held there.

    Args:
        logits: `(n, c)` floats.
        labels: `(n,)` class numbers.

    Raises:
        ValueError: When there are no rows or a logit is not finite.

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    z = np.asarray(logits, dtype=float)
    if not len(z) or not np.isfinite(z).all():
        raise ValueError("A temperature needs at least one row, and finite logits.")
    true = z[np.arange(len(z)), labels].mean()

    def slope(temperature: float) -> float:
        return float((softmax(z, temperature) * z).sum(axis=1).mean() - true)

    cold, hot = math.log(_COLDEST), math.log(_HOTTEST)
    # Expected minus true logit falls as the temperature rises.
    if slope(_COLDEST) <= 0:
        return _COLDEST
    if slope(_HOTTEST) >= 0:
        return _HOTTEST
    for _ in range(60):
        middle = (cold + hot) / 2
        cold, hot = (middle, hot) if slope(math.exp(middle)) > 0 else (cold, middle)
    return math.exp((cold + hot) / 2)


def slope_intercept(p: Array, y: Array, weights: Array | None = None) -> tuple[Any, Any]:
    """Return calibration slope and calibration-in-the-large intercept of a binary risk.

    The slope is that of a logistic regression of the outcome on the risk's log
    odds; the intercept is fitted with the slope held at 1 (above 0: risks are
    too low). Both are NaN where they do not exist: one class only, constant
    risks (slope), or risks that separate the classes.

    Args:
        p: `(n,)` risks.
        y: `(n,)` bool.
        weights: `(n,)` or `(n, k)`.

    Source: Van Calster et al. 2019, BMC Medicine 17:230.
    """
    risk = np.clip(np.asarray(p, dtype=float), _EDGE, 1 - _EDGE)
    z, outcome = np.log(risk / (1 - risk)), np.asarray(y, dtype=float)
    w = _columns(weights, len(z))
    # Every draw starts from the fit to all rows: two or three steps then suffice.
    everything = np.ones((len(z), 1))
    slope = _slope(z, outcome, w, _slope(z, outcome, everything, np.zeros((2, 1))))
    intercept = _intercept(z, outcome, w, _intercept(z, outcome, everything, np.zeros(1)))
    return _shaped(slope[1], weights), _shaped(intercept, weights)


def _slope(z: Array, y: Array, w: Array, start: Array) -> Array:
    """Fit intercept and slope `(2, k)` by Newton's method; NaN where they run away."""
    b: Array = np.repeat(np.where(np.isfinite(start).all(), start, 0.0), w.shape[1], axis=1)
    x, squares = np.stack([np.ones_like(z), z]), np.stack([np.ones_like(z), z, z * z])
    active = np.arange(w.shape[1])
    for _ in range(_STEPS):
        weight = w if len(active) == w.shape[1] else w[:, active]
        mu = 1 / (1 + np.exp(np.clip(-b[0, active] - np.outer(z, b[1, active]), -500, 500)))
        r0, r1 = sums(x, weight * (y[:, None] - mu))
        c0, c1, c2 = sums(squares, weight * mu * (1 - mu))
        determinant = c0 * c2 - c1 * c1
        # Constant risks leave rounding noise for a determinant.
        determinant = np.where(determinant > 1e-12 * c0 * c2, determinant, np.nan)
        change = np.stack([c2 * r0 - c1 * r1, c0 * r1 - c1 * r0]) / determinant
        active = _step(b, active, change)
        if not len(active):
            break
    b[:, active] = np.nan
    return b


def _intercept(z: Array, y: Array, w: Array, start: Array) -> Array:
    """Fit the intercept `(k,)` at slope 1 by Newton's method; NaN where it runs away."""
    b: Array = np.full((1, w.shape[1]), start[0] if np.isfinite(start[0]) else 0.0)
    odds = np.exp(-z)[:, None]
    active = np.arange(w.shape[1])
    for _ in range(_STEPS):
        weight = w if len(active) == w.shape[1] else w[:, active]
        mu = 1 / (1 + odds * np.exp(-b[0, active]))
        residual = (weight * (y[:, None] - mu)).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = residual / (weight * mu * (1 - mu)).sum(axis=0)
        active = _step(b, active, change[None])
        if not len(active):
            break
    b[:, active] = np.nan
    return np.asarray(b[0])


def _step(b: Array, active: Array, change: Array) -> Array:
    """Move the active draws and return those that have not arrived."""
    change = np.clip(change, -5, 5)  # far from the solution a full step overshoots
    b[:, active] += change
    # Risks that separate the classes drive the slope to infinity, one class alone the intercept.
    lost = ~(np.abs(b[:, active]) <= _RUNAWAY).all(axis=0)
    b[:, active[lost]] = np.nan
    # The error after a step is about the square of the step.
    return np.asarray(active[~lost & (np.abs(change).max(axis=0) >= 1e-5)])


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: one entry per bin; `bin_of_row` `(n,)` says where each row went."""

    low: Array
    high: Array
    predicted: Array
    observed: Array
    n: Array
    bin_of_row: Array


def reliability(p: Array, y: Array, bins: int = 10) -> Reliability:
    """Return mean risk and observed share in bins of equal mass; equal risks share a bin."""
    risk, outcome = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    if not len(risk):
        empty = np.empty(0)
        return Reliability(empty, empty, empty, empty, empty.astype(int), empty.astype(int))
    ordered = np.sort(risk)
    cuts = np.unique(ordered[(np.arange(1, bins) * len(risk)) // bins])
    where = np.unique(np.searchsorted(cuts, risk, side="right"), return_inverse=True)[1]
    n = np.bincount(where)
    low, high = np.full(len(n), np.inf), np.full(len(n), -np.inf)
    np.minimum.at(low, where, risk)
    np.maximum.at(high, where, risk)
    return Reliability(low, high, np.bincount(where, risk) / n, np.bincount(where, outcome) / n, n, where)


def binned(values: Array, bin_of_row: Array, weights: Array | None = None) -> Any:
    """Return the mean of `values` `(n,)` in each bin, `(bins[, k])`; NaN where a draw leaves a bin empty."""
    w = _columns(weights, len(values))
    member = (bin_of_row[None] == np.arange(int(bin_of_row.max(initial=-1)) + 1)[:, None]).astype(float)
    return _shaped(_ratio(sums(member * values, w), sums(member, w)), weights)


def expected_calibration_error(p: Array, y: Array, bins: int = 10, weights: Array | None = None) -> Any:
    """Return the mean distance of risk and observed share over bins of equal mass.

    Biased upwards on small sets: even a perfect model's is above 0. Bins are
    those of the unweighted rows.
    """
    diagram = reliability(p, y, bins)
    w = _columns(weights, len(diagram.bin_of_row))
    gap = np.asarray(p, dtype=float) - np.asarray(y, dtype=float)
    member = (diagram.bin_of_row[None] == np.arange(len(diagram.n))[:, None]).astype(float)
    return _shaped(_ratio(np.abs(sums(member * gap, w)).sum(axis=0), w.sum(axis=0, dtype=float)), weights)
