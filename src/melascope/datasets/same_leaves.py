"""Every pair of points within a radius: compact leaves, as a k-d tree has them, compared by matrix products.

Points that lie within the radius of a leaf's box are compared with all that the
leaf holds. In the dozens of dimensions of a photograph's descriptor most leaves
overlap, so that a tree alone dismisses little; a product of matrices costs a
nanosecond a pair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

_AXES = 12
_LEAF = 512
_CHUNK = 4096


@dataclass(frozen=True)
class _Leaves:
    """Points, put in order so that each leaf is a run of neighbours, and the leaves' boxes.

    Attributes:
        order: Position in the table of each point.
        starts: Where each leaf begins, and the end.
        places: The points' main components `(n, _AXES)`.
        points: The points themselves.
        low: Of each leaf, the least of its places.
        high: Of each leaf, the largest.
    """

    order: np.ndarray
    starts: np.ndarray
    places: np.ndarray
    points: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, places: np.ndarray, size: int) -> _Leaves:
        """Halve the points across their widest direction until no leaf is larger than `size`."""
        order, starts, open_runs = np.arange(len(places)), [], [(0, len(places))]
        while open_runs:
            start, end = open_runs.pop()
            if end - start <= size:
                starts.append(start)
                continue
            run = order[start:end]
            axis = int(places[run[:: max(1, len(run) // 4096)]].var(axis=0).argmax())
            middle = len(run) // 2
            order[start:end] = run[np.argpartition(places[run, axis], middle)]
            open_runs += [(start, start + middle), (start + middle, end)]
        begin = np.sort(starts)
        places = places[order]
        low, high = np.minimum.reduceat(places, begin), np.maximum.reduceat(places, begin)
        return cls(order, np.append(begin, len(order)), places, points[order], low, high)


def near_pairs(
    a: np.ndarray, b: np.ndarray, radius: float, *, itself: bool, threads: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give (first, second), positions in `a` and in `b`, of points within a radius of each other, in parts.

    No pair within the radius is missed; by rounding, one a hundred-thousandth beyond it may be given.

    Args:
        a: `(n, d)` float32 of length 1.
        b: `(m, d)` float32 of length 1.
        radius: Of Euclidean distance.
        itself: `a` and `b` are one table: each pair is given once, the earlier first.
        threads: How many at a time.
    """
    # Boxes are of the main components only: a projection shortens distances, so that no pair is lost.
    centre = b.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(b[:: max(1, len(b) // 50_000)].T) if len(b) > 1 else np.eye(b.shape[1]))
    axes = axes[:, ::-1][:, :_AXES].astype(np.float32)
    right = _Leaves.of(b, (b - centre) @ axes, _LEAF)
    left = right if itself else _Leaves.of(a, (a - centre) @ axes, _CHUNK)
    step = max(1, _CHUNK // _LEAF) if itself else 1
    # Rounding of single precision must not lose a pair.
    reach, least = np.float32((radius + 1e-5) ** 2), np.float32(1 - radius**2 / 2 - 1e-5)

    def chunk(number: int) -> tuple[np.ndarray, np.ndarray]:
        start, end = left.starts[number], left.starts[min(number + step, len(left.starts) - 1)]
        places, points = left.places[start:end], left.points[start:end]
        leaves = np.flatnonzero(_apart(places.min(axis=0), places.max(axis=0), right.low, right.high) <= reach)
        firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for leaf in leaves[leaves >= number] if itself else leaves:
            inside = np.flatnonzero(_apart(places, places, right.low[leaf], right.high[leaf]) <= reach)
            begin, width = right.starts[leaf], right.starts[leaf + 1] - right.starts[leaf]
            near = np.flatnonzero(points[inside] @ right.points[begin : begin + width].T >= least)
            firsts.append(inside[near // width] + start)
            seconds.append(near % width + begin)
        first, second = np.concatenate(firsts), np.concatenate(seconds)
        if not itself:
            return left.order[first], right.order[second]
        once = first < second
        first, second = right.order[first[once]], right.order[second[once]]
        return np.minimum(first, second), np.maximum(first, second)

    with ThreadPoolExecutor(threads, thread_name_prefix="search") as pool:
        numbers = iter(range(0, len(left.starts) - 1, step))
        waiting = deque(pool.submit(chunk, number) for number in islice(numbers, threads + 1))
        # Few results wait at a time, so that memory does not grow with the number of rows.
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(chunk, number) for number in islice(numbers, 1))


def _apart(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    """Return the squared distances between boxes, along the last axis; 0 where they overlap."""
    gap = np.maximum(low - other_high, other_low - high)
    np.maximum(gap, 0, out=gap)
    squared: np.ndarray = np.einsum("ij,ij->i", gap, gap)
    return squared
