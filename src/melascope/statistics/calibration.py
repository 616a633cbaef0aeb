"""Calibration: whether a risk of 20 % comes true one time in five."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.statistics.intervals import Array
from melascope.statistics.scores import _columns, _ratio, _shaped

_COLDEST, _HOTTEST = 0.02, 50.0
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
    start = _newton(z, outcome, np.ones((len(z), 1)), np.zeros((2, 1)))
    start = np.where(np.isfinite(start), start, np.array([[0.0], [1.0]]))
    fitted = _newton(z, outcome, w, np.repeat(start, w.shape[1], axis=1))
    large = _newton(z, outcome, w, np.zeros((1, w.shape[1])))
    return _shaped(fitted[1], weights), _shaped(large[0], weights)


def _newton(z: Array, y: Array, w: Array, start: Array) -> Array:
    """Fit intercept and slope `(2, k)`, or the intercept alone `(1, k)` at slope 1, by Newton's method."""
    both = len(start) == 2
    x = np.stack([np.ones_like(z), z])
    squares = np.stack([np.ones_like(z), z, z * z])
    b = start.copy()
    active = np.ones(b.shape[1], dtype=bool)
    for _ in range(30):
        now, weight = b[:, active], w[:, active]
        eta = now[0] + np.outer(z, now[1] if both else np.ones(now.shape[1]))
        mu = 1 / (1 + np.exp(-np.clip(eta, -500, 500)))
        residual = x @ (weight * (y[:, None] - mu))
        curvature = squares @ (weight * mu * (1 - mu))
        with np.errstate(divide="ignore", invalid="ignore"):
            if both:
                determinant = curvature[0] * curvature[2] - curvature[1] ** 2
                change = np.stack(
                    [
                        curvature[2] * residual[0] - curvature[1] * residual[1],
                        curvature[0] * residual[1] - curvature[1] * residual[0],
                    ]
                )
                # Constant risks leave rounding noise for a determinant.
                change /= np.where(determinant > 1e-12 * curvature[0] * curvature[2], determinant, np.nan)
            else:
                change = residual[:1] / curvature[:1]
        change = np.clip(change, -5, 5)  # far from the solution a full step overshoots
        b[:, active] = now + change
        # Risks that separate the classes drive the slope to infinity, one class alone the intercept.
        lost = ~np.isfinite(b[:, active]).all(axis=0) | (np.abs(b[:, active]) > 60).any(axis=0)
        index = np.flatnonzero(active)
        b[:, index[lost]] = np.nan
        active[index[lost | (np.abs(change).max(axis=0) < 1e-8)]] = False
        if not active.any():
            break
    b[:, active] = np.nan
    return b


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
    return _shaped(_ratio((member * values) @ w, member @ w), weights)


def expected_calibration_error(p: Array, y: Array, bins: int = 10, weights: Array | None = None) -> Any:
    """Return the mean distance of risk and observed share over bins of equal mass.

    Biased upwards on small sets: even a perfect model's is above 0. Bins are
    those of the unweighted rows.
    """
    diagram = reliability(p, y, bins)
    w = _columns(weights, len(diagram.bin_of_row))
    gap = np.asarray(p, dtype=float) - np.asarray(y, dtype=float)
    member = (diagram.bin_of_row[None] == np.arange(len(diagram.n))[:, None]).astype(float)
    return _shaped(_ratio(np.abs((member * gap) @ w).sum(axis=0), w.sum(axis=0, dtype=float)), weights)
