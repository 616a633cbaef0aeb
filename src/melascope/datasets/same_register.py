"""Lay one photograph onto another: Gauss-Newton steps on the edges of a window, for thousands of pairs at a time.

The window says which part of the first photograph the second one shows, so its
four edges hold shift and scale, both ways. What remains after the best gain and
offset of brightness is the disagreement.
"""

from __future__ import annotations

import numpy as np

from melascope.datasets.fingerprint import SIDE

_PAIRS = 2048


def _series(starts: np.ndarray, ends: np.ndarray, frequencies: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines `(n, points, frequencies)` along windows of a side, and their slopes."""
    inside = ((np.arange(points) + 0.5) / points).astype(np.float32)
    places = starts[:, None] + (ends - starts)[:, None] * inside
    orders = np.arange(frequencies, dtype=np.float32) * np.float32(np.pi)
    angles = places[:, :, None] * orders
    waves = np.float32(np.sqrt(2)) * np.cos(angles)
    waves[:, :, 0] = 1.0
    return waves, np.float32(-np.sqrt(2)) * np.sin(angles) * orders


def gauss_newton(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the step `(n, 4)` of the edges (top, bottom, left, right) and the correlation before it `(n,)`.

    Args:
        columns: `(n, 6, k)`: how the window of the first photograph changes with
            each edge, the window, and the second photograph, each of mean zero.
    """
    gram = (columns @ columns.transpose(0, 2, 1)).astype(np.float64)
    variance = np.maximum(gram[:, 4, 4] * gram[:, 5, 5], 1e-12)
    correlation = gram[:, 4, 5] / np.sqrt(variance)
    # The unknowns are gain * step (four) and gain; a ridge keeps photographs without detail from moving.
    left = gram[:, :5, :5].copy()
    ridge = 1e-4 * np.einsum("nii->n", left[:, :4, :4]) / 4 + 1e-9
    left[:, np.arange(4), np.arange(4)] += ridge[:, None]
    left[:, 4, 4] += 1e-9
    solution = np.linalg.solve(left, gram[:, :5, 5:6])[:, :, 0]
    gain = np.where(np.abs(solution[:, 4]) < 0.2, np.inf, solution[:, 4])
    return np.clip(solution[:, :4] / gain[:, None], -0.05, 0.05), correlation


def edge_slopes(down: np.ndarray, across: np.ndarray) -> list[np.ndarray]:
    """Return how a window changes with its top, bottom, left and right edge, from its slopes `(n, h, w)`."""
    height, width = down.shape[1:]
    v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    u = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, :]
    return [down * (1 - v), down * v, across * (1 - u), across * u]


def register_fingerprints(
    first: np.ndarray, second: np.ndarray, windows: np.ndarray, *, frequencies: int, points: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit windows of photographs onto others, on their coefficients.

    Args:
        first: `(n, 16, 16)`: coefficients of the photographs of which a window is taken.
        second: `(n, 16, 16)`: those of the others, turned alike.
        windows: `(n, 4)`: where to start, (top, bottom, left, right) of 0 to 1.
        frequencies: How many frequencies along a side are compared.
        points: How many points along a side.
        steps: Gauss-Newton steps.

    Returns:
        The windows `(n, 4)` and the correlation over them `(n,)`.
    """
    fitted = windows.astype(np.float32)
    correlation = np.empty(len(windows), np.float32)
    whole = np.zeros(1, np.float32)
    waves, _ = _series(whole, whole + 1, frequencies, points)
    analysis = waves[0].T / np.float32(points)
    for start in range(0, len(windows), _PAIRS):
        part = slice(start, start + _PAIRS)
        a = first[part]
        target = second[part, :frequencies, :frequencies]
        edges = fitted[part].copy()
        best, edges_best = np.full(len(edges), -1.0), edges.copy()
        for step in range(steps + 1):
            rows, rows_slope = _series(edges[:, 0], edges[:, 1], SIDE, points)
            cols, cols_slope = _series(edges[:, 2], edges[:, 3], SIDE, points)
            half = a @ cols.transpose(0, 2, 1)
            slopes = edge_slopes(rows_slope @ half, rows @ (a @ cols_slope.transpose(0, 2, 1)))
            seen = analysis @ np.stack([*slopes, rows @ half], axis=1) @ analysis.T
            columns = np.concatenate([seen, target[:, None]], axis=1).reshape(len(a), 6, -1)[:, :, 1:]
            change, now = gauss_newton(columns)
            better = now > best
            best[better], edges_best[better] = now[better], edges[better]
            if step < steps:
                edges = edges + change.astype(np.float32)
        fitted[part], correlation[part] = edges_best, best
    return fitted, correlation


def hats(starts: np.ndarray, ends: np.ndarray, stored: int, points: int) -> np.ndarray:
    """Return `(n, points, stored)`: linear interpolation among `stored` pixels at points along windows of a side."""
    inside = ((np.arange(points) + 0.5) / points).astype(np.float32)
    places = (starts[:, None] + (ends - starts)[:, None] * inside) * stored - 0.5
    places = np.clip(places, 0, stored - 1)
    hat: np.ndarray = np.maximum(0, 1 - np.abs(places[:, :, None] - np.arange(stored, dtype=np.float32)))
    return hat


def register_pixels(
    first: np.ndarray, second: np.ndarray, windows: np.ndarray, *, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit windows of photographs onto others, on their pixels, inversely: the slopes are the second one's.

    Args:
        first: `(n, h, w)` float32, grey: the photographs of which a window is taken.
        second: `(n, h, w)` float32, turned alike.
        windows: `(n, 4)`: where to start, (top, bottom, left, right) of 0 to 1.
        steps: Gauss-Newton steps.

    Returns:
        The windows `(n, 4)`, the correlation over them `(n,)`, and the windows' pixels `(n, h, w)`.
    """
    n, height, width = second.shape
    down = np.gradient(second, axis=1) * height
    across = np.gradient(second, axis=2) * width
    slopes = np.stack(edge_slopes(down, across), axis=1).reshape(n, 4, -1)
    slopes -= slopes.mean(axis=2, keepdims=True)
    target = second.reshape(n, 1, -1)
    target = target - target.mean(axis=2, keepdims=True)
    edges = windows.astype(np.float32)
    best, best_edges, best_moved = np.full(n, -2.0), edges.copy(), np.empty_like(second)
    for _ in range(steps + 1):
        rows = hats(edges[:, 0], edges[:, 1], first.shape[1], height)
        columns = hats(edges[:, 2], edges[:, 3], first.shape[2], width)
        moved = rows @ first @ columns.transpose(0, 2, 1)
        flat = moved.reshape(n, 1, -1)
        change, now = gauss_newton(np.concatenate([slopes, target, flat - flat.mean(axis=2, keepdims=True)], axis=1))
        better = now > best
        best[better], best_edges[better], best_moved[better] = now[better], edges[better], moved[better]
        # A step of the second photograph's edges, within the window and the other way round.
        size_y, size_x = edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2]
        edges = edges - change.astype(np.float32) * np.stack([size_y, size_y, size_x, size_x], axis=1)
    return best_edges, best.astype(np.float32), best_moved
