"""Intervals: an estimate never stands alone.

The bootstrap resamples groups (lesions, patients, copies of one photograph),
stratified by class, and never recomputes a score row by row: a draw is a
column of multiplicities, and every score of this room takes a whole matrix of
them. 2,000 draws of every score of an eight-class report over 10,000 rows take
about four seconds on one core; those of one AUC a third of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Groups = Sequence[Any] | Array | None

DRAWS = 2000
LEVEL = 0.95
FEW = 10
"""Below this many independent units a percentile interval is not trusted (Wilson's is used) and nothing is judged."""

_MISSING = frozenset(("", "None", "nan", "NaN", "NaT", "<NA>"))
_CELLS = 1_000_000  # weights held at once: 4 MB of float32 stay in the cache


@dataclass(frozen=True)
class Estimate:
    """A score with its interval; `n` is the number of rows in its denominator. NaN means undefined."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return `{"value", "low", "high", "n"}`; what is undefined is None."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {**{key: float(x) if math.isfinite(x) else None for key, x in ends.items()}, "n": int(self.n)}


def wilson(successes: float, n: float, level: float = LEVEL) -> Estimate:
    """Return a proportion with Wilson's score interval.

    Source: Wilson 1927, J Am Stat Assoc 22:209. Nothing out of nothing is NaN.

    Raises:
        ValueError: When `successes` is not between 0 and `n`.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n} are impossible.")
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # Exact at the ends, where rounding would leave 1e-17 or .9999999.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Estimate(p, low, high, int(n))


def units(groups: Groups, n: int) -> npt.NDArray[np.intp]:
    """Return for each of `n` rows the number of its group; a row without a group is a group of its own.

    Raises:
        ValueError: When `groups` has another length.
    """
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups were given for {n} rows.")
    # The row number after a NUL cannot be the name of a group.
    names = [f"\0{row}" if (name := str(group)) in _MISSING else name for row, group in enumerate(groups)]
    return np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)[1] if n else np.arange(0)


def count_units(groups: Groups, rows: Array) -> int:
    """Return how many groups the rows chosen by a boolean mask come from."""
    chosen = np.flatnonzero(rows)
    return len(np.unique(units(groups, len(rows))[chosen]))


def resamples(
    groups: Groups, strata: Sequence[Any] | Array | None, n: int, draws: int = DRAWS, seed: int = 0
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield bootstrap draws as multiplicities, `(n, k)` float32, until `draws` columns have come.

    Whole groups are drawn, with replacement, within each stratum. A group whose
    rows are of several classes belongs to the rarest of them, so that no draw
    loses a rare class by chance.
    """
    unit = units(groups, n)
    of_unit = _stratum_of_unit(unit, strata, n)
    generator = np.random.default_rng(seed)
    per_chunk = max(16, _CELLS // max(n, 1))
    members = [np.flatnonzero(of_unit == stratum) for stratum in np.unique(of_unit)]
    for start in range(0, draws, per_chunk):
        k = min(per_chunk, draws - start)
        counts = np.zeros((len(of_unit), k), dtype=np.float32)
        for inside in members:
            m = len(inside)
            drawn = generator.integers(0, m, size=(m, k)) * k + np.arange(k)
            counts[inside] = np.bincount(drawn.ravel(), minlength=m * k).reshape(m, k)
        yield counts[unit]


def _stratum_of_unit(unit: Array, strata: Sequence[Any] | Array | None, n: int) -> Array:
    total = int(unit.max()) + 1 if n else 0
    if strata is None:
        return np.zeros(total, dtype=np.intp)
    if len(strata) != n:
        raise ValueError(f"{len(strata)} strata were given for {n} rows.")
    _, label, size = np.unique(np.asarray(strata).astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(size), dtype=np.intp)
    rank[np.argsort(size, kind="stable")] = np.arange(len(size))
    result = np.full(total, len(size), dtype=np.intp)
    np.minimum.at(result, unit, rank[label])
    return result


@overload
def bootstrap(
    score: Callable[[Array], Array],
    groups: Groups,
    strata: Sequence[Any] | Array | None = ...,
    draws: int = ...,
    seed: int = ...,
    n: int | None = ...,
) -> Array: ...
@overload
def bootstrap(
    score: Callable[[Array], Mapping[str, Array]],
    groups: Groups,
    strata: Sequence[Any] | Array | None = ...,
    draws: int = ...,
    seed: int = ...,
    n: int | None = ...,
) -> dict[str, Array]: ...
def bootstrap(
    score: Callable[[Array], Any],
    groups: Groups,
    strata: Sequence[Any] | Array | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    n: int | None = None,
) -> Any:
    """Return a score's values over bootstrap draws of groups.

    Args:
        score: Takes multiplicities `(n, k)`, one column per draw, and returns
            `(..., k)`, or a dict of such arrays. The scores of this room do.
        groups: `(n,)` names; rows of one name are drawn together. None or an
            empty name: the row stands for itself.
        strata: `(n,)` classes within which groups are drawn.
        draws: How many.
        seed: Same seed, same draws.
        n: Rows, needed only where `groups` and `strata` are None.

    Returns:
        `(draws, ...)`, or a dict of them.
    """
    if n is None:
        if groups is None and strata is None:
            raise ValueError("Without groups and strata the number of rows, n, must be given.")
        n = len(groups if groups is not None else strata)  # type: ignore[arg-type]
    chunks = [score(weights) for weights in resamples(groups, strata, n, draws, seed)]
    if isinstance(chunks[0], Mapping):
        return {key: _draws_first([chunk[key] for chunk in chunks]) for key in chunks[0]}
    return _draws_first(chunks)


def _draws_first(chunks: list[Array]) -> Array:
    return np.moveaxis(np.concatenate([np.asarray(chunk) for chunk in chunks], axis=-1), -1, 0)


def interval(
    samples: Array, value: float, n: int, n_units: int | None = None, level: float = LEVEL, proportion: bool = True
) -> Estimate:
    """Return a score with the percentile interval of its bootstrap samples `(draws,)`.

    Wilson's interval takes its place where the value is 0 or 1, fewer than ten
    independent units stand behind it, or no draw differs from another (a model
    that always says one class): there the percentiles collapse. For a
    score that is not a plain proportion but a mean of values in [0, 1] (AUC,
    average precision) Wilson's is conservative, since no such mean varies more.

    Args:
        samples: One value per draw. Draws in which the score is undefined are
            left out; where they are half or more, there is no interval.
        value: The score on all rows.
        n: Rows in its denominator, kept in the result.
        n_units: Independent units among them (groups); default `n`.
        level: Of the interval.
        proportion: Whether the score lies in [0, 1]; a slope or a difference
            does not, and never gets Wilson's interval.
    """
    n_units = n if n_units is None else n_units
    if not math.isfinite(value):
        return Estimate(math.nan, math.nan, math.nan, n)
    defined = samples[np.isfinite(samples)]
    collapsed = value in (0.0, 1.0) or n_units < FEW or (len(defined) > 1 and np.ptp(defined) < 1e-12)
    if proportion and n_units > 0 and collapsed:
        bounded = min(max(value, 0.0), 1.0)
        around = wilson(bounded * n_units, n_units, level)
        return Estimate(value, around.low, around.high, n)
    if len(defined) * 2 <= len(samples):
        return Estimate(value, math.nan, math.nan, n)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)


def proportion(
    successes: Sequence[Any] | Array,
    groups: Groups = None,
    strata: Sequence[Any] | Array | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return the share of successes `(n,)` bool with the grouped bootstrap's interval, or Wilson's where that fails."""
    hit = np.asarray(successes, dtype=float)
    if not len(hit):
        return Estimate(math.nan, math.nan, math.nan, 0)
    number = count_units(groups, np.ones(len(hit), dtype=bool))
    value = float(hit.mean())
    if value in (0.0, 1.0) or number < FEW:
        return interval(np.empty(0), value, len(hit), number, level)
    samples = bootstrap(lambda w: np.einsum("n,nk->k", hit, w) / w.sum(axis=0), groups, strata, draws, seed, len(hit))
    return interval(samples, value, len(hit), number, level)
