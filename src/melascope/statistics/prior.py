"""The classes' prior, and the first choice that weighs it away.

Calibrated probabilities hold for the mix of classes on which they were
calibrated, and a rare diagnosis seldom leads them. Risks want that mix; the
single most likely diagnosis, judged by balanced accuracy, wants every
diagnosis to count alike. By Bayes p / prior is, up to a factor, the likelihood
of the photograph under each diagnosis, and the largest of those is the choice
under equal priors (Saerens et al. 2002, Neural Computation 14:21).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from melascope.statistics.intervals import FEW, Array, Estimate, Groups, bootstrap, count_units, interval, units
from melascope.statistics.scores import balanced_accuracy


def weighed(p: Array, prior: Sequence[float] | Array | None) -> Array:
    """Return probabilities `(n, c)` as they would be were all classes equally frequent; unchanged without a prior."""
    p = np.asarray(p, dtype=float)
    if prior is None:
        return p
    ratio = p / np.asarray(prior, dtype=float)
    return np.asarray(ratio / np.maximum(ratio.sum(axis=-1, keepdims=True), np.finfo(float).tiny))


def first_choice(p: Array, prior: Sequence[float] | Array | None = None) -> Array:
    """Return the class number `(n,)` with the largest p / prior; with the largest p where there is no prior."""
    return np.asarray(weighed(p, prior).argmax(axis=-1))


@dataclass(frozen=True, eq=False)
class PriorChoice:
    """Whether first choices weigh the prior.

    Attributes:
        prior: `(c,)` shares of the classes, or None: plain argmax.
        scarce: Numbers of the classes with fewer than ten groups. They are weighed as if they had ten photographs at
            least, so that a few found by chance cannot make a diagnosis win, and the gain is measured without them.
        plain: Balanced accuracy of the largest p, cross-fitted, over the other classes; None where those are fewer
            than two.
        gained: What weighing adds to it, cross-fitted, with its interval; None likewise.
    """

    prior: Array | None
    scarce: tuple[int, ...]
    plain: float | None = None
    gained: Estimate | None = None


def choose_prior(
    p: Array, labels: Array, folds: Array, groups: Groups = None, n_classes: int | None = None, seed: int = 0
) -> PriorChoice:
    """Return the prior to weigh first choices by: that of all rows, unless it lowers balanced accuracy.

    Args:
        p: `(n, c)` calibrated probabilities, out of fold.
        labels: `(n,)` class numbers.
        folds: `(n,)`; a fold's first choices are weighed by the prior of the others.
        groups: `(n,)` lesions or patients.
        n_classes: c, where not all columns count; default all.
        seed: Of the bootstrap.
    """
    y, c = np.asarray(labels), n_classes or np.shape(p)[1]
    unit = units(groups, len(y))
    scarce = tuple(code for code in range(c) if count_units(unit, y == code) < FEW)
    if c - len(scarce) < 2:
        return PriorChoice(None, scarce)
    chosen = np.empty(len(y), dtype=np.intp)
    for fold in np.unique(folds):
        held = folds == fold
        chosen[held] = first_choice(p[held], _shares(y[~held], c, scarce))
    judged = ~np.isin(y, scarce)
    y_judged, plain, chosen = y[judged], first_choice(p)[judged], chosen[judged]

    def gain(w: Array) -> Array:
        return np.asarray(balanced_accuracy(y_judged, chosen, w) - balanced_accuracy(y_judged, plain, w))

    value = float(gain(np.ones((len(y_judged), 1)))[0])
    samples = bootstrap(gain, unit[judged], y_judged, seed=seed)
    gained = interval(samples, value, len(y_judged), proportion=False)
    prior = _shares(y, c, scarce) if value >= 0 else None
    return PriorChoice(prior, scarce, float(balanced_accuracy(y_judged, plain)), gained)


def _shares(y: Array, c: int, scarce: Sequence[int] = ()) -> Array:
    """Return the share of each class; half a row is added to each, and scarce classes count ten rows or more."""
    counts = np.bincount(y, minlength=c) + 0.5
    counts[list(scarce)] = np.maximum(counts[list(scarce)], FEW)
    return np.asarray(counts / counts.sum())
