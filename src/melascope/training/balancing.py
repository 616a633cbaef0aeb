"""Balancing rare diagnoses while training: loss weights, and the order of an epoch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["none", "balanced", "sqrt"]


def class_weights(labels: NDArray[np.integer], n_classes: int, sampling: Sampling = "none") -> NDArray[np.float32]:
    """Return the loss weight of each class, inverse to how often it is drawn.

    Args:
        labels: `(n,)` class indices.
        n_classes: Number of classes `c`.
        sampling: As in `order`; what it makes up for already is not made up for twice.

    Returns:
        `(c,)` weights whose mean over the photographs of an epoch is 1; 0 for
        a class without any.
    """
    counts = np.zeros(n_classes, dtype=np.int64)
    drawn = quotas(labels, sampling)
    counts[: len(drawn)] = drawn
    present = counts > 0
    weights = np.zeros(n_classes, dtype=np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def quotas(labels: NDArray[np.integer], sampling: Sampling) -> NDArray[np.int64]:
    """Return how often each class is drawn in an epoch, `(c,)`; an epoch is as long as the data."""
    counts: NDArray[np.int64] = np.bincount(labels).astype(np.int64)
    if sampling == "none":
        return counts
    shares = np.sqrt(counts) if sampling == "sqrt" else (counts > 0).astype(float)
    exact = len(labels) * shares / shares.sum()
    drawn: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    left = len(labels) - int(drawn.sum())
    drawn[np.argsort(drawn - exact, kind="stable")[:left]] += 1
    return drawn


def order(labels: NDArray[np.integer], epoch: int, seed: int, sampling: Sampling = "none") -> NDArray[np.int64]:
    """Return the photographs of an epoch, in order.

    It depends on (seed, epoch) only. Each class walks through a permutation
    of its own photographs before any comes again, from one epoch into the
    next, so that none is left out for long.

    Args:
        labels: `(n,)` class indices.
        epoch: Counted from 0.
        seed: Of the training.
        sampling: `none` (each photograph once), `balanced` (classes equally
            often) or `sqrt` (by the root of their counts).

    Returns:
        `(n,)` indices into `labels`.
    """
    labels = np.asarray(labels)
    shuffle = np.random.default_rng([seed, epoch, 0])
    if sampling == "none":
        return shuffle.permutation(len(labels))
    drawn = []
    for code, quota in enumerate(quotas(labels, sampling)):
        members = np.flatnonzero(labels == code)
        if quota == 0 or len(members) == 0:
            continue
        places = np.arange(epoch * quota, (epoch + 1) * quota)
        rounds = places // len(members)
        drawn += [
            members[
                np.random.default_rng([seed, code, 1, int(k)]).permutation(len(members))[
                    places[rounds == k] % len(members)
                ]
            ]
            for k in range(int(rounds[0]), int(rounds[-1]) + 1)
        ]
    return shuffle.permutation(np.concatenate(drawn))
