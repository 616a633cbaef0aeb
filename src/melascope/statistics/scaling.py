"""Calibrators of several classes: temperature, vector scaling and Dirichlet calibration, and the choice among them.

All three are `softmax(W log p + b)` of the network's probabilities p: one
number in the diagonal (temperature), a number and an offset for each class
(vector), or every class's logarithm in every class's score (Dirichlet). Taken
of log p rather than of the logits, a constant added to all logits changes
nothing. The probabilities that come out hold for the mix of classes on which
they were fitted; `melascope.statistics.prior` says what follows for a first choice.

Sources: Guo et al. 2017, On calibration of modern neural networks; Kull et
al. 2019, Beyond temperature scaling (the Dirichlet calibrator, and its
penalty on off-diagonals and intercepts, ODIR).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from melascope.statistics.calibration import fit_temperature, softmax
from melascope.statistics.intervals import Array, Estimate, Groups, bootstrap, count_units, interval, units
from melascope.statistics.scores import sums

Method = Literal["temperature", "vector", "dirichlet"]
METHODS: tuple[Method, ...] = ("temperature", "vector", "dirichlet")
"""From the simplest to the most flexible."""
FOLDS = 5
ENOUGH = 50
"""Independent groups below which only a temperature is fitted: more would be fitted to chance."""

_INNER = 3
_STRENGTHS = (10.0, 1.0, 0.1, 0.01, 0.001)
_SPREAD = 0.5  # how far a class's own slope is taken to lie from 1 / temperature before its rows are seen
_STEPS, _ARRIVED = 60, 1e-8
_EDGE = 1e-12


@dataclass(frozen=True, eq=False)
class Scaling:
    """A fitted calibrator.

    Attributes:
        method: One of `METHODS`.
        weights: `(c, c)`: the row of a class has what each class's log-probability adds to its score.
        offsets: `(c,)`.
        strength: Of the penalty it was fitted with; 0 for a temperature.
    """

    method: Method
    weights: Array
    offsets: Array
    strength: float = 0.0

    @classmethod
    def of_temperature(cls, temperature: float, classes: int) -> Scaling:
        """Return the calibrator that divides the logits by a temperature."""
        return cls("temperature", np.eye(classes) / temperature, np.zeros(classes))

    def probabilities(self, logits: Array) -> Array:
        """Return calibrated probabilities `(n, c)` float64 of logits `(n, c)`."""
        return softmax(_log_softmax(logits) @ self.weights.T + self.offsets)

    def slope(self, logits: Array) -> Array:
        """Return how the calibrated scores of one photograph change with its logits `(c,)`: `(c, c)`.

        Row i has the derivatives of class i's score; for a temperature they
        are 1 / temperature on the diagonal, up to what moves all scores alike.
        """
        return np.asarray(self.weights - np.outer(self.weights.sum(axis=1), softmax(logits)))

    def to_json(self) -> dict[str, Any]:
        """Return it as `calibration` of `decision.json`."""
        if self.method == "temperature":
            return {"method": "temperature", "temperature": float(1 / self.weights[0, 0])}
        if self.method == "vector":
            found: dict[str, Any] = {"slopes": np.diag(self.weights).tolist()}
        else:
            found = {"weights": self.weights.tolist()}
        return {"method": self.method, **found, "offsets": self.offsets.tolist()}


def fit_scaling(logits: Array, labels: Array, method: Method, strength: float = 0.1) -> Scaling:
    """Return the calibrator with the smallest penalised log loss, by Newton's method: the loss is convex.

    Args:
        logits: `(n, c)` floats.
        labels: `(n,)` class numbers.
        method: One of `METHODS`.
        strength: Of the penalty on the mean square of the off-diagonals and on that of the offsets (ODIR). A class's
            own slope has a normal prior about 1 / temperature with a deviation of half of it, so that a score of rows
            do not make a class certain.

    Raises:
        ValueError: For an unknown method; and as `fit_temperature`.
    """
    if method not in METHODS:
        raise ValueError(f"There is no calibrator {method!r}; there are {', '.join(METHODS)}.")
    z, y = np.asarray(logits, dtype=float), np.asarray(labels)
    plain = Scaling.of_temperature(fit_temperature(z, y), z.shape[1])
    if method == "temperature":
        return plain
    return _newton(_log_softmax(z), y, method, strength, plain)


def _newton(
    x: Array, y: Array, method: Method, strength: float, plain: Scaling, start: Scaling | None = None
) -> Scaling:
    """Fit to log-probabilities `(n, c)`; `plain` is what slopes are held near, `start` a fit to begin with."""
    n, c = x.shape
    inputs = np.column_stack([x, np.ones(n)])
    centre = np.column_stack([plain.weights, plain.offsets])
    theta = centre if start is None else np.column_stack([start.weights, start.offsets])
    penalty = np.full((c, c + 1), strength / max(1, c * (c - 1)))
    penalty[:, -1] = strength / c
    # The mean loss of n rows: a normal prior adds its square over 2 n variances.
    np.fill_diagonal(penalty, 1 / (2 * n * (_SPREAD * plain.weights[0, 0]) ** 2))
    free = np.ones((c, c + 1), dtype=bool)
    if method == "vector":
        free[:, :-1] = np.eye(c, dtype=bool)
    active = np.flatnonzero(free)
    truth = np.zeros((n, c))
    truth[np.arange(n), y] = 1.0

    def loss(theta: Array) -> tuple[float, Array]:
        p = softmax(inputs @ theta.T)
        fit = -np.log(np.maximum(p[np.arange(n), y], _EDGE)).mean()
        return float(fit + (penalty * (theta - centre) ** 2).sum()), p

    value, p = loss(theta)
    for _ in range(_STEPS):
        gradient = ((p - truth).T @ inputs / n + 2 * penalty * (theta - centre)).ravel()[active]
        step = np.zeros(free.size)
        step[active] = np.linalg.solve(_hessian(inputs, p, penalty, active), gradient)
        size = 1.0
        while size > 1e-6:
            trial = theta - size * step.reshape(theta.shape)
            lower, p_trial = loss(trial)
            if lower <= value:
                break
            size /= 2
        else:
            break
        gained, theta, value, p = value - lower, trial, lower, p_trial
        if gained < _ARRIVED:
            break
    return Scaling(method, theta[:, :-1], theta[:, -1], strength)


def _hessian(inputs: Array, p: Array, penalty: Array, active: Array) -> Array:
    n, c = p.shape
    m = inputs.shape[1]
    whole = np.empty((c, m, c, m))
    for i in range(c):
        for k in range(i, c):
            weight = p[:, i] * ((i == k) - p[:, k]) / n
            whole[i, :, k, :] = inputs.T @ (weight[:, None] * inputs)
            whole[k, :, i, :] = whole[i, :, k, :].T
    result = whole.reshape(c * m, c * m)[np.ix_(active, active)]
    result[np.diag_indices(len(active))] += 2 * penalty.ravel()[active]
    return np.asarray(result)


def _log_softmax(logits: Array) -> Array:
    z = np.asarray(logits, dtype=float)
    z = z - z.max(axis=-1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))


def grouped_folds(labels: Array, groups: Groups = None, k: int = FOLDS, seed: int = 0) -> Array:
    """Return the fold `(n,)`, 0 to k - 1, of each row: whole groups, spread over the folds class by class."""
    unit = units(groups, len(labels))
    first = np.unique(unit, return_index=True)[1]
    generator = np.random.default_rng(seed)
    fold = np.empty(len(first), dtype=np.intp)
    dealt = 0
    of_group = np.asarray(labels)[first]
    for code in np.unique(of_group):
        mine = generator.permutation(np.flatnonzero(of_group == code))
        # The next class is dealt where this one ended, so that small classes do not all fill the first folds.
        fold[mine] = (dealt + np.arange(len(mine))) % k
        dealt += len(mine)
    return np.asarray(fold[unit])


@dataclass(frozen=True, eq=False)
class Chosen:
    """The calibrator that was chosen, and why.

    Attributes:
        scaling: Fitted to all rows.
        log_loss: Method to its cross-fitted log loss.
        gained: Method to how much lower its cross-fitted log loss is than that of the one it had to beat.
        out_of_fold: `(n, c)`: each row's probabilities by the chosen method, fitted without its fold.
        folds: `(n,)`.
    """

    scaling: Scaling
    log_loss: Mapping[str, float]
    gained: Mapping[str, Estimate]
    out_of_fold: Array
    folds: Array

    def to_json(self) -> dict[str, Any]:
        """Return `calibration` of `decision.json`, with what the choice rested on under `cross_fitted`."""
        gained = {method: estimate.to_json() for method, estimate in self.gained.items()}
        return {**self.scaling.to_json(), "cross_fitted": {"log_loss": dict(self.log_loss), "gained": gained}}


def choose_scaling(logits: Array, labels: Array, groups: Groups = None, seed: int = 0) -> Chosen:
    """Return the calibrator with the best cross-fitted log loss; a simpler one unless the other is better beyond noise.

    Better beyond noise means that the 95 % bootstrap interval of the paired
    difference, over groups, lies above 0. The penalty's strength is chosen
    inside each fold's training rows. With fewer than 50 groups a temperature
    is all that is fitted.

    Args:
        logits: `(n, c)` floats.
        labels: `(n,)` class numbers.
        groups: `(n,)` lesions or patients, which stay in one fold.
        seed: Of folds and bootstrap.

    Raises:
        ValueError: As `fit_temperature`.
    """
    z, y = np.asarray(logits, dtype=float), np.asarray(labels)
    unit = units(groups, len(y))
    tried = METHODS if count_units(unit, np.ones(len(y), dtype=bool)) >= ENOUGH else METHODS[:1]
    folds = grouped_folds(y, unit, FOLDS, seed)
    best: Method = "temperature"
    p = {method: _out_of_fold(z, y, unit, folds, method, seed) for method in tried}
    lost = {method: _row_losses(p[method], y) for method in tried}
    gained: dict[str, Estimate] = {}
    for method in tried[1:]:
        difference = lost[best] - lost[method]
        samples = bootstrap(lambda w, d=difference: sums(d, w) / w.sum(axis=0), unit, y, seed=seed)  # type: ignore[misc]
        gained[method] = interval(samples, float(difference.mean()), len(y), proportion=False)
        if gained[method].low > 0:
            best = method
    return Chosen(
        _fitted(z, y, unit, best, seed),
        {method: float(lost[method].mean()) for method in tried},
        gained,
        p[best],
        folds,
    )


def _out_of_fold(z: Array, y: Array, unit: Array, folds: Array, method: Method, seed: int) -> Array:
    p = np.empty(z.shape)
    for fold in np.unique(folds):
        held = folds == fold
        # A single fold (one group) has nothing else to be fitted on.
        rest = ~held if (~held).any() else held
        p[held] = _fitted(z[rest], y[rest], unit[rest], method, seed).probabilities(z[held])
    return p


def _fitted(z: Array, y: Array, unit: Array, method: Method, seed: int) -> Scaling:
    """Fit a method, with the penalty's strength that predicts best within these rows."""
    if method == "temperature":
        return fit_scaling(z, y, method)
    folds = grouped_folds(y, unit, _INNER, seed + 1)
    x = _log_softmax(z)
    totals = np.zeros(len(_STRENGTHS))
    for fold in range(_INNER):
        held = folds == fold
        fit = plain = Scaling.of_temperature(fit_temperature(x[~held], y[~held]), x.shape[1])
        for i, strength in enumerate(_STRENGTHS):
            fit = _newton(x[~held], y[~held], method, strength, plain, fit)
            totals[i] += _row_losses(fit.probabilities(x[held]), y[held]).sum()
    plain = Scaling.of_temperature(fit_temperature(x, y), x.shape[1])
    return _newton(x, y, method, _STRENGTHS[int(totals.argmin())], plain)


def _row_losses(p: Array, y: Array) -> Array:
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], _EDGE)))
