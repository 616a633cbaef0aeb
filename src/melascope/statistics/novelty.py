"""Novelty: how unlike the training photographs an embedding is.

Six published scores, all larger for what is less known, fitted on `train`
alone. `threshold` and `p_values` turn any of them into one sentence: the share
of known photographs (`calibrate`) that look at least this unusual. That share
is a conformal p value (Vovk, Gammerman and Shafer 2005; Bates et al. 2023,
Ann Stat 51:149): of photographs that are exchangeable with the calibration
ones, at most 1 % have a p value of 1 % or less.

Parameters are plain arrays, small enough to travel with a network (embedding
of 1,280 numbers, eight classes: 0.9 MB), and rounded when they are fitted: a
score is the same before and after it was written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from melascope.statistics.intervals import Array, Groups, units

Float = npt.NDArray[np.float32]

METHODS = ("mahalanobis", "relative-mahalanobis", "neighbours", "energy", "softmax", "vim")
"""Lee et al. 2018 (arXiv:1807.03888), Ren et al. 2021 (arXiv:2106.09022), Sun et al. 2022 (arXiv:2204.06507),
Liu et al. 2020 (arXiv:2010.03759), Hendrycks and Gimpel 2017 (arXiv:1610.02136), Wang et al. 2022 (arXiv:2203.10807).
"""
SHARE = 0.01
"""Of known photographs, the share that is called outside."""

_RANK = {"mahalanobis": 256, "relative-mahalanobis": 256, "neighbours": 128, "vim": 512}
"""Most directions kept: more change no score that matters and make the parameters larger."""
_KEPT = 0.99
"""Share of the variance in the directions kept; the rest is taken for even in all other directions."""
_BANK = 2000
"""Training photographs that are kept for the distance to the nearest ones."""
_K = 10
"""Sun et al. take the 50th neighbour among 50,000 and the 1,000th among 1.3 million; among 2,000 it is the 10th."""
_CELLS = 1 << 22

_SHAPES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "mahalanobis": {
        "centre": ("d",), "basis": ("d", "r"), "noise": (), "classes": ("g", "r"), "whitening": ("r", "r"),
        "spread": ("r",),
    },
    "relative-mahalanobis": {
        "centre": ("d",), "basis": ("d", "r"), "noise": (), "classes": ("g", "r"), "whitening": ("r", "r"),
        "spread": ("r",),
    },
    "neighbours": {"centre": ("d",), "basis": ("d", "r"), "bank": ("m", "r"), "rest": ("m",)},
    "energy": {},
    "softmax": {},
    "vim": {"centre": ("d",), "basis": ("d", "r"), "weight": ()},
}  # fmt: skip


def fit(
    method: str, embeddings: Array, labels: Array | None = None, logits: Array | None = None, seed: int = 0
) -> dict[str, Array]:
    """Fit a method on the training photographs.

    Args:
        method: One of `METHODS`.
        embeddings: `(n, d)`.
        labels: `(n,)` class numbers, for the two of Mahalanobis; others ignore them.
        logits: `(n, c)`, for `vim`, which finds the last layer from them; others ignore them.
        seed: Chooses the photographs kept by `neighbours`.

    Returns:
        Float16 and float32 arrays by name; none for `energy` and `softmax`.

    Raises:
        ValueError: For an unknown method, fewer than three photographs,
            numbers that are not finite, or where labels or logits are needed and missing.
    """
    if method not in METHODS:
        raise ValueError(f"The novelty method {method!r} is unknown; use one of {', '.join(METHODS)}.")
    x = np.asarray(embeddings, dtype=np.float64)
    if x.ndim != 2 or len(x) < 3:
        raise ValueError(f"Embeddings of shape {x.shape} are too few to fit novelty on; it needs (n, d), n of 3 up.")
    if not np.isfinite(x).all():
        raise ValueError("Some embeddings are not finite.")
    if method in ("energy", "softmax"):
        return {}
    if method == "neighbours":
        return _fit_neighbours(x, seed)
    if method == "vim":
        if logits is None:
            raise ValueError("vim needs the training photographs' logits.")
        return _fit_vim(x, np.asarray(logits, dtype=np.float64))
    if labels is None:
        raise ValueError(f"{method} needs the training photographs' labels.")
    return _fit_gaussians(x, np.asarray(labels), _RANK[method])


def score(method: str, parameters: Mapping[str, Array], embeddings: Array, logits: Array) -> Array:
    """Return how novel each row is, `(n,)` float64, larger for what is less known; of no meaning as it stands.

    Args:
        method: One of `METHODS`.
        parameters: What `fit` gave.
        embeddings: `(n, d)`.
        logits: `(n, c)`, used by `energy`, `softmax` and `vim`.

    Raises:
        ValueError: For an unknown method or an embedding of another length.
    """
    if method not in METHODS:
        raise ValueError(f"The novelty method {method!r} is unknown; use one of {', '.join(METHODS)}.")
    x = np.asarray(embeddings, dtype=np.float32)
    if "centre" in parameters and x.shape[1:] != parameters["centre"].shape:
        raise ValueError(f"Embeddings of shape {x.shape} do not fit novelty for {len(parameters['centre'])} numbers.")
    if method == "energy":
        return -_log_sum_exp(logits)
    if method == "softmax":
        z = np.asarray(logits, dtype=np.float64)
        return np.asarray(-np.exp(z.max(axis=1) - _log_sum_exp(z)))
    if method == "neighbours":
        return _nearest(parameters, x)
    inside, outside = _split(parameters, x)
    if method == "vim":
        return np.asarray(float(parameters["weight"]) * np.sqrt(outside) - _log_sum_exp(logits))
    white = inside @ np.asarray(parameters["whitening"], np.float32)
    centres = np.asarray(parameters["classes"], np.float32) @ np.asarray(parameters["whitening"], np.float32)
    to_class = _squared(white, centres).min(axis=1)
    if method == "relative-mahalanobis":
        # What lies outside the directions kept is the same in both distances and cancels.
        return np.asarray(to_class - (inside.astype(float) ** 2 / parameters["spread"]).sum(axis=1))
    return np.asarray(to_class + outside / float(parameters["noise"]))


def shapes(method: str) -> Mapping[str, tuple[str, ...]]:
    """Return the arrays that a method's parameters are, and the names of their sizes: `{"basis": ("d", "r")}`.

    Equal names are equal sizes: d of the embedding, r directions, g groups (classes), m photographs.
    """
    return _SHAPES[method]


def threshold(known: Array, share: float = SHARE, groups: Groups = None) -> float:
    """Return the score above which a photograph is called outside, from the scores `(n,)` of `calibrate`.

    At most that share of photographs exchangeable with these lies above it. Too
    few of them (under 99 for 1 %) give inf: nothing is called outside.

    Args:
        known: `(n,)` scores.
        share: In (0, 1).
        groups: `(n,)` lesions; only the first photograph of each is used.

    Raises:
        ValueError: When the share is not in (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"A share of {share} is impossible; it lies in (0, 1).")
    ordered = one_per_group(known, groups)
    rank = math.ceil((len(ordered) + 1) * (1 - share) - 1e-9)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def p_values(scores: Array, known: Array) -> Array:
    """Return the share of known photographs that look at least this unusual, `(n,)` in (0, 1].

    The photograph itself counts as one of them, so that the share is never 0:
    `(1 + #{known >= score}) / (1 + m)`.

    Args:
        scores: `(n,)`.
        known: `(m,)` scores of `calibrate`, in any order; see `one_per_group`.
    """
    ordered = np.sort(np.asarray(known, dtype=float))
    below = np.searchsorted(ordered, np.asarray(scores, dtype=float), side="left")
    return np.asarray((1 + len(ordered) - below) / (1 + len(ordered)))


def one_per_group(known: Array, groups: Groups = None) -> Array:
    """Return the scores `(m,)` of the first photograph of each lesion, in rising order."""
    values = np.asarray(known, dtype=float)
    first = np.unique(units(groups, len(values)), return_index=True)[1]
    return np.sort(values[first])


def _fit_gaussians(x: Array, labels: Array, rank: int) -> dict[str, Array]:
    """One Gaussian for each class, of one covariance, and one for all: in the directions of largest variance.

    Outside them the variance is taken for even (Tipping and Bishop 1999), which keeps a
    covariance of 1,280 numbers, estimated on a few thousand photographs, from running wild.
    """
    found = _directions(x - x.mean(axis=0), rank)
    centre, basis = x.mean(axis=0).astype(np.float32), found.basis
    inside = (x - centre) @ basis.astype(float)
    groups, number = np.unique(labels, return_inverse=True)
    means = np.stack([inside[number == g].mean(axis=0) for g in range(len(groups))])
    rest = inside - means[number]
    within = rest.T @ rest / max(len(x) - len(groups), 1)
    within += np.eye(len(within)) * found.noise
    whitening = np.linalg.inv(np.linalg.cholesky(within)).T
    return {
        "centre": centre,
        "basis": basis,
        "noise": np.asarray(found.noise, np.float32),
        "classes": means.astype(np.float32),
        "whitening": whitening.astype(np.float32),
        "spread": (inside.var(axis=0) + found.noise).astype(np.float32),
    }


def _fit_neighbours(x: Array, seed: int) -> dict[str, Array]:
    kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:_BANK])
    unit = _unit(x)
    found = _directions(unit - unit.mean(axis=0), _RANK["neighbours"])
    made = {"centre": unit.mean(axis=0).astype(np.float32), "basis": found.basis}
    inside, outside = _split(made, unit[kept].astype(np.float32))
    return {**made, "bank": inside.astype(np.float16), "rest": outside.astype(np.float32)}


def _fit_vim(x: Array, logits: Array) -> dict[str, Array]:
    # Where the last layer is linear, as in every pooled head, least squares find exactly it.
    solved = np.linalg.lstsq(np.c_[x, np.ones(len(x))], logits, rcond=None)[0]
    weights, bias = solved[:-1].T, solved[-1]
    origin = -np.linalg.pinv(weights) @ bias
    rank = min(_RANK["vim"], max(1, x.shape[1] // 2))
    # The origin's own direction is one of largest variance around it: nothing is centred.
    basis = _directions(x - origin, rank, kept=1.0).basis
    made: dict[str, Array] = {"centre": origin.astype(np.float32), "basis": basis}
    outside = np.sqrt(_split(made, x.astype(np.float32))[1])
    weight = logits.max(axis=1).mean() / max(float(outside.mean()), 1e-12)
    return {**made, "weight": np.asarray(weight, np.float32)}


class _Directions:
    """The directions of largest variance, `basis` `(d, r)` float16, and the mean variance `noise` in the others."""

    def __init__(self, basis: Array, noise: float) -> None:
        self.basis, self.noise = basis, noise


def _directions(x: Array, rank: int, kept: float = _KEPT) -> _Directions:
    variances, vectors = np.linalg.eigh(x.T @ x / len(x))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    total = float(variances.sum())
    needed = int(np.searchsorted(np.cumsum(variances), kept * total)) + 1
    r = max(1, min(needed, rank, len(x) - 1, x.shape[1]))
    others = float(variances[r:].mean()) if r < len(variances) else 0.0
    # A direction in which training never varied must not make every other photograph infinitely novel.
    floor = max(1e-4 * total / len(variances), 1e-12)
    return _Directions(vectors[:, :r].astype(np.float16), max(others, floor))


def _split(parameters: Mapping[str, Array], x: Array) -> tuple[Float, Array]:
    """Return the coordinates `(n, r)` within the directions kept, and the squared length `(n,)` outside them."""
    moved = np.asarray(x, np.float32) - np.asarray(parameters["centre"], np.float32)
    basis = np.asarray(parameters["basis"], np.float32)
    if len(moved) == 1:  # BLAS would wake its threads for a tenth of a millisecond's work, and they wait for longer
        inside = np.einsum("nd,dr->nr", moved, basis)
        back = np.einsum("nr,dr->nd", inside, basis)
    else:
        inside = moved @ basis
        back = inside @ basis.T
    outside = ((moved - back).astype(float) ** 2).sum(axis=1)
    return inside, outside


def _nearest(parameters: Mapping[str, Array], x: Float) -> Array:
    inside, outside = _split(parameters, _unit(x))
    bank, rest = np.asarray(parameters["bank"], np.float32), np.asarray(parameters["rest"], float)
    k = min(_K, len(bank)) - 1
    step = max(1, _CELLS // len(bank))
    result = np.empty(len(x))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        # Outside the directions kept two photographs are taken for at right angles, which most are.
        squared = _squared(inside[rows], bank) + rest + outside[rows, None]
        result[rows] = np.sqrt(np.partition(squared, k, axis=1)[:, k])
    return result


def _squared(a: Array, b: Array) -> Array:
    """Return the squared distances `(n, m)` float64 of rows, never below 0."""
    product = (a @ b.T).astype(float)
    lengths = (a.astype(float) ** 2).sum(axis=1)[:, None] + (b.astype(float) ** 2).sum(axis=1)
    return np.asarray(np.maximum(lengths - 2 * product, 0))


def _unit(x: Any) -> Any:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _log_sum_exp(logits: Array) -> Array:
    z = np.asarray(logits, dtype=np.float64)
    top = z.max(axis=1)
    return np.asarray(top + np.log(np.exp(z - top[:, None]).sum(axis=1)))
