"""Scores of a classifier, each over every bootstrap draw at once.

Where a function takes `weights`, they are `(n,)` or `(n, k)`: each column one
set of row multiplicities. The result then gains a last axis of length k. A
score with an empty denominator is NaN, never 0 or 1 by decree.

Definitions are scikit-learn's, and isic-challenge-scoring's for the partial
AUC; the tests compare with both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.statistics.intervals import Array


def _columns(weights: Array | None, n: int) -> Array:
    if weights is None:
        return np.ones((n, 1))
    w = np.asarray(weights)
    if w.shape[0] != n:
        raise ValueError(f"{w.shape[0]} weights were given for {n} rows.")
    w = w if np.issubdtype(w.dtype, np.floating) else w.astype(float)
    return w if w.ndim == 2 else w[:, None]


def _shaped(result: Array, weights: Array | None) -> Any:
    """Drop the axis of draws where the caller gave none."""
    if weights is not None and np.ndim(weights) == 2:
        return result
    dropped = result[..., 0]
    return float(dropped) if dropped.ndim == 0 else dropped


def sums(values: Array, weights: Array) -> Array:
    """Return the weighted sums `(..., k)` of `values` `(..., n)` under weights `(n, k)`.

    Not the matrix product: such thin ones are no faster in a threaded BLAS, and
    ten times slower when other processes hold the cores.
    """
    return np.asarray(np.einsum("...n,nk->...k", values, weights))


def _ratio(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def confusion(labels: Array, predicted: Array, n_classes: int, weights: Array | None = None) -> Any:
    """Return the confusion matrix `(c, c[, k])`: rows are true classes, columns predicted ones."""
    w = _columns(weights, len(labels))
    cell = np.asarray(labels) * n_classes + np.asarray(predicted)
    matrix = np.zeros((n_classes * n_classes, w.shape[1]))
    for code in np.unique(cell):
        matrix[code] = w[cell == code].sum(axis=0, dtype=float)
    return _shaped(matrix.reshape(n_classes, n_classes, -1), weights)


def accuracy(labels: Array, predicted: Array, weights: Array | None = None) -> Any:
    """Return the share of rows whose predicted class is the true one."""
    w = _columns(weights, len(labels))
    hit = (np.asarray(labels) == np.asarray(predicted)).astype(w.dtype)
    return _shaped(_ratio(sums(hit, w), w.sum(axis=0)), weights)


def balanced_accuracy(labels: Array, predicted: Array, weights: Array | None = None) -> Any:
    """Return the mean sensitivity over the classes present among the labels."""
    n_classes = int(max(np.max(labels, initial=0), np.max(predicted, initial=0))) + 1
    return balanced_accuracy_of(confusion(labels, predicted, n_classes, weights))


def balanced_accuracy_of(matrix: Array) -> Any:
    """Return the balanced accuracy of a confusion matrix `(c, c[, k])`."""
    truth = matrix.sum(axis=1)
    sensitivity = _ratio(np.einsum("ii...->i...", matrix), truth)
    present = np.isfinite(sensitivity)
    result = _ratio(np.where(present, sensitivity, 0).sum(axis=0), present.sum(axis=0))
    return float(result) if result.ndim == 0 else result


def class_scores(matrix: Array) -> dict[str, Array]:
    """Return `sensitivity, specificity, precision, f1`, each `(c[, k])`, of a confusion matrix.

    Precision is NaN for a class that is never predicted; F1 then is 0.
    """
    hit = np.einsum("ii...->i...", matrix)
    truth, called = matrix.sum(axis=1), matrix.sum(axis=0)
    others = truth.sum(axis=0) - truth
    return {
        "sensitivity": _ratio(hit, truth),
        "specificity": _ratio(others - (called - hit), others),
        "precision": _ratio(hit, called),
        "f1": np.where(truth > 0, _ratio(2 * hit, truth + called), np.nan),
    }


def rates(alert: Array, y: Array, weights: Array | None = None) -> tuple[Any, Any]:
    """Return sensitivity and specificity of alerts `(n,)` or, one per draw, `(n, k)`."""
    w = _columns(weights, len(y))
    positive = np.asarray(y, dtype=bool)
    fired = np.asarray(alert, dtype=w.dtype)
    fired = fired if fired.ndim == 2 else fired[:, None]
    found = (w[positive] * fired[positive]).sum(axis=0, dtype=float)
    passed = (w[~positive] * (1 - fired[~positive])).sum(axis=0, dtype=float)
    sensitivity = _ratio(found, w[positive].sum(axis=0, dtype=float))
    specificity = _ratio(passed, w[~positive].sum(axis=0, dtype=float))
    return _shaped(sensitivity, weights), _shaped(specificity, weights)


@dataclass(frozen=True)
class Ranking:
    """Scores of a ranking: floats, or `(k,)` arrays where weights had k columns."""

    auc: Any
    partial_auc: Any
    average_precision: Any


def ranking(p: Array, y: Array, weights: Array | None = None, above: float = 0.8) -> Ranking:
    """Return AUC, partial AUC and average precision from one pass over the sorted rows.

    Only the scores at which a positive stands matter to all three, so negatives
    are first summed between them: the work on curves is over positives alone.

    Args:
        p: `(n,)` scores; higher means more likely positive.
        y: `(n,)` bool.
        weights: `(n,)` or `(n, k)`.
        above: The partial AUC's least sensitivity.

    Raises:
        ValueError: When a score is NaN.
    """
    p, positive, w = np.asarray(p, dtype=float), np.asarray(y, dtype=bool), _columns(weights, len(y))
    if np.isnan(p).any():
        raise ValueError(f"{int(np.isnan(p).sum())} of {len(p)} scores are NaN.")
    if not positive.any() or positive.all():
        nothing = _shaped(np.full(w.shape[1], np.nan), weights)
        return Ranking(nothing, nothing, nothing)
    order = np.argsort(-p, kind="stable")
    tie = np.cumsum(np.r_[0, np.diff(p[order]) != 0])  # rows of one score share a number
    is_positive = positive[order]
    at = np.unique(tie[is_positive])  # the ties that hold a positive: the steps of the curve
    step = np.searchsorted(at, tie)  # the first step not above a row
    within = is_positive | (at[np.minimum(step, len(at) - 1)] == tie)
    tp_gain = _sum_runs(w, order[is_positive], step[is_positive], len(at))
    negatives = _sum_runs(w, order[~is_positive], (2 * step + within)[~is_positive], 2 * len(at) + 1)
    before, tied, after = negatives[0:-1:2], negatives[1::2], negatives[-1]

    tp = np.cumsum(tp_gain, axis=0)
    fp = np.cumsum(before + tied, axis=0)
    total, others = tp[-1], fp[-1] + after
    tp_before = tp - tp_gain
    area = (before * tp_before + tied * (tp_before + tp) / 2).sum(axis=0) + after * total
    auc_value = _ratio(area, total * others)
    average = _ratio((tp_gain * np.where(tp + fp > 0, tp / np.maximum(tp + fp, 1e-300), 0)).sum(axis=0), total)

    # The partial AUC keeps only what lies right of the point where the curve first reaches `above`.
    high, low = _ratio(tp, np.broadcast_to(total, tp.shape)), _ratio(tp_before, np.broadcast_to(total, tp.shape))
    share = np.where(low >= above, 1.0, np.where(high >= above, (high - above) / np.maximum(high - low, 1e-300), 0.0))
    part = (before * low * (low >= above) + tied * share * (np.maximum(low, above) + high) / 2).sum(axis=0) + after
    partial = np.where(np.isfinite(auc_value), _ratio(part, others), np.nan)
    return Ranking(*(_shaped(value, weights) for value in (auc_value, partial, average)))


def _sum_runs(w: Array, rows: Array, keys: Array, n_keys: int) -> Array:
    """Sum the rows of `w` that share a key; `keys` never decrease."""
    result = np.zeros((n_keys, w.shape[1]))
    if len(rows):
        starts = np.flatnonzero(np.r_[True, np.diff(keys) != 0])
        result[keys[starts]] = np.add.reduceat(w[rows], starts, axis=0)
    return result


def auc(p: Array, y: Array, weights: Array | None = None) -> Any:
    """Return the area under the ROC curve (Mann-Whitney; ties count half)."""
    return ranking(p, y, weights).auc


def auc_within(p: Array, y: Array, strata: Array, weights: Array | None = None) -> Any:
    """Return the AUC over pairs of one stratum: the mean of the AUCs within each, weighted by their pairs.

    What tells the strata apart, such as a source, gains nothing here. NaN where no stratum has both.

    Args:
        p: `(n,)` scores; higher means more likely positive.
        y: `(n,)` bool.
        strata: `(n,)` names or numbers.
        weights: `(n,)` or `(n, k)`.
    """
    positive, w, names = np.asarray(y, dtype=bool), _columns(weights, len(y)), np.asarray(strata)
    pairs = won = np.zeros(w.shape[1])
    for name in np.unique(names):
        rows = names == name
        own = w[rows & positive].sum(axis=0, dtype=float) * w[rows & ~positive].sum(axis=0, dtype=float)
        if own.any():
            pairs, won = pairs + own, won + own * np.nan_to_num(auc(np.asarray(p)[rows], positive[rows], w[rows]))
    return _shaped(_ratio(won, pairs), weights)


def partial_auc(p: Array, y: Array, weights: Array | None = None, above: float = 0.8) -> Any:
    """Return the area under the part of the ROC curve where sensitivity is at least `above`.

    As isic-challenge-scoring has it: the area down to the axis, not rescaled
    after McClish, so that it never exceeds the AUC.
    """
    return ranking(p, y, weights, above).partial_auc


def average_precision(p: Array, y: Array, weights: Array | None = None) -> Any:
    """Return the average precision: the mean, over positives, of the precision at their score."""
    return ranking(p, y, weights).average_precision


def roc_curve(p: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return `fpr, tpr, thresholds`, one point per distinct score, from (0, 0) at threshold inf to (1, 1)."""
    tp, fp, thresholds = _counts(p, y)
    return _ratio(fp, np.full(len(fp), fp[-1])), _ratio(tp, np.full(len(tp), tp[-1])), thresholds


def precision_recall_curve(p: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return `recall, precision, thresholds` by falling threshold, from (0, 1) at threshold inf."""
    tp, fp, thresholds = _counts(p, y)
    precision = _ratio(tp, tp + fp)
    precision[0] = 1.0  # nothing is called there: scikit-learn's convention
    return _ratio(tp, np.full(len(tp), tp[-1])), precision, thresholds


def _counts(p: Array, y: Array) -> tuple[Array, Array, Array]:
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=bool)
    order = np.argsort(-p, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(p[order])), len(p) - 1] if len(p) else np.empty(0, dtype=int)
    tp = np.cumsum(y[order])[last].astype(float)
    return np.r_[0.0, tp], np.r_[0.0, last + 1 - tp], np.r_[np.inf, p[order][last]]


def log_loss(p: Array, labels: Array, weights: Array | None = None) -> Any:
    """Return the mean negative log probability `(n, c)` of the true class (natural logarithm)."""
    p = np.asarray(p)
    # A probability of 0 for what happened is an infinite loss; float64's smallest step keeps it finite.
    chosen = np.maximum(p[np.arange(len(p)), labels].astype(float), np.finfo(float).eps)
    return _mean(-np.log(chosen), weights)


def brier(p: Array, y: Array, weights: Array | None = None) -> Any:
    """Return the Brier score of a binary risk: the mean squared error of `p` `(n,)`."""
    return _mean((np.asarray(p, dtype=float) - np.asarray(y, dtype=float)) ** 2, weights)


def _mean(values: Array, weights: Array | None) -> Any:
    w = _columns(weights, len(values))
    return _shaped(_ratio(sums(values, w), w.sum(axis=0, dtype=float)), weights)
