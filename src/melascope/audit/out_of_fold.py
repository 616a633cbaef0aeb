"""What a quick model says about photographs that it did not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from melascope import environment
from melascope.bundle.engine import ordered_map
from melascope.progress import Progress, silent

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Inverse strengths of the ridge penalty (scikit-learn's `C`) to choose from."""
MOST_STEPS = 2000
"""Of the fit; a tenth of them is what 10,000 photographs take."""


def probabilities(
    vectors: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    threads: int | None = None,
    progress: Progress = silent,
) -> tuple[np.ndarray, float]:
    """Return each row's probabilities from a logistic regression on the other folds' rows, and the strength chosen.

    Vectors are standardised by the learning rows. The penalty is the one with the least log loss on fold 0. Classes
    are not weighted, so that probabilities know how common each is.

    Args:
        vectors: `(n, d)` floats.
        labels: `(n,)` class numbers from 0; every class in the rows outside each fold.
        folds: `(n,)` fold numbers from 0.
        threads: Folds learnt at a time; None for one per core.
        progress: Called with the stage `looking for label errors`.

    Returns:
        `(n, c)` float64, and the `C` of scikit-learn.
    """
    # scikit-learn brings it. BLAS threads that wait for one another on shared cores were ten times slower than one.
    from threadpoolctl import threadpool_limits

    vectors = np.asarray(vectors, dtype=np.float32)
    k = int(folds.max()) + 1
    workers = max(1, threads if threads is not None else environment.threads())
    total = len(STRENGTHS) + k - 1
    stage, done = "looking for label errors", 0
    progress(stage, done, total)
    own = labels[folds == 0]
    losses, first = [], []
    with threadpool_limits(limits=1):
        for told in ordered_map(lambda c: _fold(vectors, labels, folds, 0, c), STRENGTHS, workers, ahead=1):
            losses.append(-float(np.log(np.maximum(told[np.arange(len(own)), own], 1e-12)).mean()))
            first.append(told)
            progress(stage, done := done + 1, total)
        best = int(np.argmin(losses))
        strength = STRENGTHS[best]
        result = np.zeros((len(labels), int(labels.max()) + 1))
        result[folds == 0] = first[best]
        rest = range(1, k)
        learnt = ordered_map(lambda fold: _fold(vectors, labels, folds, fold, strength), rest, workers, ahead=1)
        for fold, told in zip(rest, learnt, strict=True):
            result[folds == fold] = told
            progress(stage, done := done + 1, total)
    return result, strength


def _fold(vectors: np.ndarray, labels: np.ndarray, folds: np.ndarray, fold: int, strength: float) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    learn = folds != fold
    centre, spread = vectors[learn].mean(axis=0), vectors[learn].std(axis=0)
    scaled = (vectors - centre) / np.where(spread > 1e-6, spread, 1)
    model: Any = LogisticRegression(C=strength, tol=1e-3, max_iter=MOST_STEPS)
    model.fit(scaled[learn], labels[learn])
    result = np.zeros((int((~learn).sum()), int(labels.max()) + 1))
    result[:, model.classes_] = model.predict_proba(scaled[~learn])
    return result
