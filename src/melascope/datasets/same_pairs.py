"""From two tables' fingerprints to verified pairs: search, registration of fingerprints, registration of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from melascope.datasets.fingerprint import SIDE
from melascope.datasets.same_index import SYMMETRIES, Candidates, Reach, apply_symmetry, search, symmetry_signs
from melascope.datasets.same_register import register_fingerprints
from melascope.datasets.same_verify import GRID, compare, grid_of, pixels
from melascope.progress import Progress, silent

# Correlation of registered fingerprints, coarse and finer. Of 1,000 copies with one or two changes the lowest had
# .988 and .987, of 600 copies whose hair was removed one in a hundred less than .994 and .990;
# of 9,700 proposed pairs of different lesions half have less than .981 in the finer one.
_LEAST_COARSE = 0.984
_LEAST_FINE = 0.979
_PAIRS = 256
_KEPT_IMAGES = 20_000

_Image = tuple[np.ndarray, int] | None


def verified_pairs(
    whole: np.ndarray,
    whole_paths: np.ndarray,
    cropped: np.ndarray,
    cropped_paths: np.ndarray,
    *,
    itself: bool,
    reach: Reach,
    threads: int,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return the pairs in which a part of one photograph is another one, or shows the same lesion.

    Args:
        whole: Coefficients `(n, 16, 16)` of the photographs that are taken whole.
        whole_paths: Their files `(n,)`.
        cropped: Coefficients `(m, 16, 16)` of those of which a part is taken.
        cropped_paths: Their files `(m,)`.
        itself: Both are the same photographs; each pair is then returned once.
        reach: Which parts are searched, and how near they must be.
        threads: How many at a time.
        progress: Called with the stages `searching` and `comparing pixels`.

    Returns:
        `cropped`, `whole` (positions), `symmetry` (number: what turns `whole` as `cropped` lies), `same` (else a
        second shot), `top`, `bottom`, `left`, `right` (the part of `cropped` that `whole` shows), `correlation`,
        `remainder`, `noise` and `retouched`.
    """
    found = search(whole, cropped, itself=itself, reach=reach, threads=threads, progress=progress)
    found, windows, correlation = _registered(whole, cropped, found, reach, threads)
    if itself:
        # Of both ways to see a pair (which one is the crop?), the one that fits better.
        order = np.argsort(-correlation, kind="stable")
        low, high = np.minimum(found.whole, found.cropped), np.maximum(found.whole, found.cropped)
        _, best = np.unique(low[order].astype(np.int64) * len(whole) + high[order], return_index=True)
        found, windows = found.take(order[best]), windows[order[best]]
    frames = list(_verified(whole_paths, cropped_paths, found, windows, threads, progress))
    return pd.concat(frames, ignore_index=True)


def turned(coefficients: np.ndarray, symmetries: np.ndarray) -> np.ndarray:
    """Return coefficients `(n, 16, 16)`, each turned by its own of `SYMMETRIES` `(n,)`."""
    orders = np.arange(SIDE)
    result = coefficients.copy()
    for number in range(1, len(SYMMETRIES)):
        here = symmetries == number
        swapped = coefficients[here].swapaxes(1, 2) if number >= 4 else coefficients[here]
        result[here] = swapped * symmetry_signs(orders[:, None], orders[None, :], number)
    return result


def _registered(
    whole: np.ndarray, cropped: np.ndarray, found: Candidates, reach: Reach, threads: int
) -> tuple[Candidates, np.ndarray, np.ndarray]:
    """Return the candidates whose fingerprints can be laid onto each other, how, and how well."""

    def block(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = found.take(np.arange(start, min(start + 8 * _PAIRS, len(found))))
        a, b = cropped[part.cropped], turned(whole[part.whole], part.symmetry)
        windows = np.array(reach.windows, np.float32)[part.window]
        windows, correlation = register_fingerprints(a, b, windows, frequencies=8, points=16, steps=2)
        keep = np.flatnonzero(correlation >= _LEAST_COARSE)
        windows, correlation = register_fingerprints(
            a[keep], b[keep], windows[keep], frequencies=12, points=20, steps=1
        )
        fine = correlation >= _LEAST_FINE
        return keep[fine] + start, windows[fine], correlation[fine]

    with ThreadPoolExecutor(threads, thread_name_prefix="register") as pool:
        done = list(pool.map(block, range(0, max(1, len(found)), 8 * _PAIRS)))
    kept, windows, correlation = (np.concatenate(parts) for parts in zip(*done, strict=True))
    return found.take(kept), windows, correlation


def _verified(
    whole_paths: np.ndarray,
    cropped_paths: np.ndarray,
    found: Candidates,
    windows: np.ndarray,
    threads: int,
    progress: Progress,
) -> Iterator[pd.DataFrame]:
    kept: dict[str, _Image] = {}

    def compared(rows: np.ndarray) -> pd.DataFrame:
        part = found.take(rows)
        first = [kept[path] for path in cropped_paths[part.cropped]]
        second = [kept[path] for path in whole_paths[part.whole]]
        return _decided(part, windows[rows], first, second)

    progress("comparing pixels", 0, len(found))
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        for start in range(0, max(1, len(found)), threads * _PAIRS):
            rows = np.arange(start, min(start + threads * _PAIRS, len(found)))
            wanted = {*cropped_paths[found.cropped[rows]], *whole_paths[found.whole[rows]]}
            # A photograph that many pairs share is decoded once, as far as memory goes.
            if len(kept) + len(wanted) > _KEPT_IMAGES:
                kept.clear()
            missing = sorted(wanted - kept.keys())
            kept.update(zip(missing, pool.map(pixels, missing), strict=True))
            yield from pool.map(compared, np.array_split(rows, max(1, -(-len(rows) // _PAIRS))))
            progress("comparing pixels", start + len(rows), len(found))


def _decided(part: Candidates, windows: np.ndarray, first: list[_Image], second: list[_Image]) -> pd.DataFrame:
    """Return those of some pairs that pixels confirm; a file that can no longer be read confirms nothing."""
    shorter = np.array([min(a[1], b[1]) if a and b else 0 for a, b in zip(first, second, strict=True)], dtype=np.int64)
    frames = [_frame(part.take(np.empty(0, np.int64)), np.empty((0, 4)), *(np.empty(0) for _ in range(5)))]
    grids = grid_of(shorter)
    for grid in np.unique(grids[shorter > 0]):
        here = np.flatnonzero((grids == grid) & (shorter > 0))
        a = np.stack([_grey(first[row], int(grid)) for row in here])
        b = np.stack([apply_symmetry(_grey(second[row], int(grid)), int(part.symmetry[row])) for row in here])
        result = compare(a, b, windows[here], int(grid))
        told = np.flatnonzero(result.same | result.repeat)
        frames.append(
            _frame(
                part.take(here[told]),
                result.windows[told],
                result.same[told],
                result.correlation[told, 1],
                result.remainder[told, 1],
                result.noise[told],
                result.retouched[told],
            )
        )
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _frame(
    part: Candidates,
    windows: np.ndarray,
    same: np.ndarray,
    correlation: np.ndarray,
    remainder: np.ndarray,
    noise: np.ndarray,
    retouched: np.ndarray,
) -> pd.DataFrame:
    edges = dict(zip(("top", "bottom", "left", "right"), windows.T.astype(float), strict=True))
    return pd.DataFrame(
        {
            "cropped": part.cropped.astype(np.int64),
            "whole": part.whole.astype(np.int64),
            "symmetry": part.symmetry.astype(np.int64),
            "same": same.astype(bool),
            **edges,
            "correlation": correlation.astype(float),
            "remainder": remainder.astype(float),
            "noise": noise.astype(float),
            "retouched": retouched.astype(float),
        }
    )


def _grey(image: _Image, grid: int) -> np.ndarray:
    assert image is not None
    full = image[0].astype(np.float32)
    if grid == GRID:
        return full
    halved: np.ndarray = full.reshape(grid, GRID // grid, grid, GRID // grid).mean(axis=(1, 3))
    return halved
