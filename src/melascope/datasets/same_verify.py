"""Verification: tell, of photographs that lie near each other, one photograph from two shots of one lesion.

Both are registered on their pixels, the brightness of one is fitted to the
other's, and what remains is looked at by the size of its structures. What
resizing, cropping and re-compression leave is noise, about as strong in
coarse structures as in the finest. A second shot leaves more in the coarse
ones: hairs and glints have moved, the skin was stretched, the light fell from elsewhere.

Measured on HAM10000: 1,000 copies with one or two changes each, 241 of its pairs with one `lesion_id` that register,
and 7,559 pairs of different lesions that the search had proposed. Medians, and in brackets the worst hundredth:

| | copies | second shots | different lesions |
|---|---|---|---|
| correlation, 4 to 10 half waves a side | 1.000 (.998) | .997 | .94 (.99) |
| correlation, 10 to 18 half waves | .999 (.98) | .985 | .43 (.83) |
| remainder, 4 to 10 half waves, grey levels | 1.2 (4.9) | 13 | |
| the same, over the finest remainder | 1.1 (3.4, where brightening saturates) | 3.7 | |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from melascope.datasets.same_register import hats, register_pixels
from melascope.errors import ImageError
from melascope.images import decode, read_file

GRID = 96
"""Photographs are compared at so many pixels a side."""

_FINE_SIDE = 64
"""Photographs with a shorter side than this are compared at half the grid: their finest structures are blurred."""

# Half waves along a side, at the full grid.
_BANDS = ((4, 10), (10, 18), (18, 28), (28, 40), (40, 60))
# Hair removal touches up to so much of a hairy photograph.
_MOST_RETOUCHED = 0.3
# Rounding to whole grey levels leaves .3.
_ROUNDING = 0.3


@dataclass(frozen=True)
class Comparison:
    """What registration found of `n` pairs."""

    windows: np.ndarray
    """`(n, 4)`: the part of the first that the second shows (top, bottom, left, right, of 0 to 1)."""
    correlation: np.ndarray
    """`(n, 5)`: of the registered pixels, by structure size from coarse to fine (`_BANDS`)."""
    remainder: np.ndarray
    """`(n, 5)`: what differs, by structure size, as the grey levels of white noise that would be as strong there."""

    retouched: np.ndarray
    """`(n,)`: the share of the pixels that stand out from what differs, and are left out of it; 0 where few do."""

    @property
    def noise(self) -> np.ndarray:
        """What differs in the finest structures, as `remainder`."""
        level: np.ndarray = np.sqrt((self.remainder[:, 3] ** 2 + self.remainder[:, 4] ** 2) / 2 + _ROUNDING**2)
        return level

    @property
    def same(self) -> np.ndarray:
        """Whether what differs is no more, and no coarser, than what a copy may lose."""
        coarse, middle = self.remainder[:, 0], self.remainder[:, 1]
        alike = (self.correlation[:, 0] > 0.985) & (self.correlation[:, 1] > 0.93) & (coarse < 9.5) & (middle < 7.5)
        even = (coarse < 2.6 * self.noise) & (middle < 2.35 * self.noise)
        # Brightening saturates the brightest parts, which leaves a faint coarse remainder.
        faint = (coarse < 7.6) & (middle < 3.5) & (coarse < 6.5 * self.noise) & (middle < 3 * self.noise)
        # Dense hair is so strong a signal that its resampling outweighs the noise; it registers to the last detail.
        detailed = (self.correlation[:, :4] > (0.999, 0.9985, 0.9955, 0.98)).all(axis=1)
        found: np.ndarray = alike & (even | faint | detailed)
        return found

    @property
    def repeat(self) -> np.ndarray:
        """Whether the coarse and middle structures are those of one lesion, and it is not one photograph."""
        near = (self.correlation[:, 0] > 0.97) & (self.correlation[:, 1] > 0.935) & (self.correlation[:, 2] > 0.70)
        found: np.ndarray = near & ~self.same
        return found


def pixels(path: str | os.PathLike[str]) -> tuple[np.ndarray, int] | None:
    """Return `(GRID, GRID)` uint8, grey, squeezed to a square, and the shorter side in pixels; None if unreadable."""
    from PIL import Image

    try:
        array = decode(read_file(path), at_least=(GRID, GRID))
    except ImageError:
        return None
    grey = Image.fromarray(array).convert("L")
    return np.asarray(grey.resize((GRID, GRID), Image.Resampling.BICUBIC)), min(array.shape[:2])


def compare(first: np.ndarray, second: np.ndarray, windows: np.ndarray, grid: int) -> Comparison:
    """Register pairs and measure what differs.

    Args:
        first: `(n, grid, grid)` float32, grey.
        second: The same, turned as the first lies.
        windows: `(n, 4)`: the part of the first that the second shows, roughly.
        grid: `GRID`, or half of it for small photographs.
    """
    windows, _, moved = register_pixels(first, second, windows, steps=3)
    outside = (windows[:, 0::2].min(axis=1) < -0.004) | (windows[:, 1::2].max(axis=1) > 1.004)
    if outside.any():
        # Only what both show is compared: the part of the second that lies within the first, at its own place in both.
        second = second.copy()
        inside, own = _overlap(windows[outside])
        moved[outside] = _sampled(first[outside], inside, grid)
        second[outside] = _sampled(second[outside], own, grid)
    fitted = _fitted(moved, second)
    plain = _bands(fitted, second, grid)
    result = Comparison(windows, *plain, np.zeros(len(windows)))
    edited = np.flatnonzero(~result.same)
    if not len(edited):
        return result
    # Hair removed, a scale or a mark painted in: the rest is still the same photograph.
    known, share = _unedited(moved[edited], fitted[edited], second[edited])
    again = _bands(known, second[edited], grid)
    trial = Comparison(windows[edited], again[0], again[1] / np.sqrt(1 - share[:, None]), share)
    told = np.flatnonzero(trial.same & (share <= _MOST_RETOUCHED))
    for whole, part in zip(plain, (trial.correlation, trial.remainder), strict=True):
        whole[edited[told]] = part[told]
    result.retouched[edited[told]] = share[told]
    return result


def _unedited(moved: np.ndarray, fitted: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first with the second's pixels wherever they differ much more than most do, and the share of those."""
    out = np.zeros(second.shape, bool)
    for _ in range(3):
        difference = fitted - second
        centred = np.abs(difference - np.median(difference, axis=(1, 2), keepdims=True))
        usual = 1.4826 * np.median(centred, axis=(1, 2), keepdims=True) + np.float32(_ROUNDING)
        out = centred > 3.5 * usual
        # What lies next to such a pixel is touched by it as well.
        for axis in (1, 2):
            out = out | np.roll(out, 1, axis=axis) | np.roll(out, -1, axis=axis)
        # The brightness was fitted to the edited pixels, too.
        fitted = _fitted(moved, np.where(out, fitted, second))
    return np.where(out, second, fitted), out.mean(axis=(1, 2))


def _overlap(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = np.clip(windows, 0, 1)
    start = windows[:, [0, 0, 2, 2]]
    size = (windows[:, 1::2] - windows[:, 0::2]).repeat(2, axis=1)
    return inside, (inside - start) / size


def _sampled(images: np.ndarray, windows: np.ndarray, grid: int) -> np.ndarray:
    rows = hats(windows[:, 0], windows[:, 1], images.shape[1], grid)
    columns = hats(windows[:, 2], windows[:, 3], images.shape[2], grid)
    sampled: np.ndarray = rows @ images @ columns.transpose(0, 2, 1)
    return sampled


@lru_cache(maxsize=2)
def _analysis(grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the orthonormal cosine transform `(orders, grid)` and the band of each coefficient, -1 for none."""
    orders = np.arange(_BANDS[-1][1] * grid // GRID)
    waves = np.sqrt(2 / grid) * np.cos(np.pi * orders[:, None] * (np.arange(grid) + 0.5) / grid)
    waves[0] /= np.sqrt(2)
    order = np.hypot(orders[:, None], orders[None, :]) * GRID / grid
    band = np.full(order.shape, -1)
    for number, (low, high) in enumerate(_BANDS):
        band[(order >= low) & (order < high)] = number
    return waves.astype(np.float32), band.ravel()


def _bands(fitted: np.ndarray, second: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation and the remainder `(n, 5)` by structure size."""
    waves, band = _analysis(grid)
    a, b = ((waves @ images @ waves.T).reshape(len(images), -1) for images in (fitted, second))
    d = a - b
    correlation, remainder = np.empty((len(a), len(_BANDS))), np.empty((len(a), len(_BANDS)))
    for number in range(len(_BANDS)):
        here = band == number
        x, y, z = a[:, here], b[:, here], d[:, here]
        power = np.einsum("nk,nk->n", x, x) * np.einsum("nk,nk->n", y, y)
        correlation[:, number] = np.einsum("nk,nk->n", x, y) / np.sqrt(power + 1e-6)
        remainder[:, number] = np.sqrt(np.einsum("nk,nk->n", z, z) / here.sum())
    return correlation, remainder


def _fitted(moved: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the first's pixels with the second's brightness: a cubic, so that a tone curve makes no difference."""
    flat = moved.reshape(len(moved), -1)
    spread = flat.std(axis=1, keepdims=True) + np.float32(1e-3)
    x = np.clip((flat - flat.mean(axis=1, keepdims=True)) / spread, -6, 6)
    powers = np.stack([np.ones_like(x), x, x * x, x * x * x], axis=1)
    left = (powers @ powers.transpose(0, 2, 1)).astype(np.float64) + 1e-3 * np.eye(4)
    right = (powers @ second.reshape(len(second), -1, 1)).astype(np.float64)
    weights = np.linalg.solve(left, right).astype(np.float32)
    fitted: np.ndarray = (weights.transpose(0, 2, 1) @ powers).reshape(moved.shape)
    return fitted


def grid_of(shorter_side: np.ndarray) -> np.ndarray:
    """Return the grid `(n,)` at which pairs are compared, from the shorter side of either, in pixels."""
    found: np.ndarray = np.where(shorter_side >= _FINE_SIDE, GRID, GRID // 2)
    return found
