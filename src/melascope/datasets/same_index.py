"""The exact search: every pair of fingerprints within a stated radius, under all eight symmetries.

What is compared is a photograph's 27 lowest cosine coefficients, divided by
their length, so that brightness and contrast do not count. A copy is near the
original, or near one of the original's crops (its windows), which are computed
from its fingerprint. No pair within the radius is dismissed: a search among
numbers that no symmetry changes, and whose distance is never longer than that of
the coefficients, gives a superset, each of which is then measured under the eight symmetries.
`same_leaves` finds that superset.

How far the search reaches is a `Reach`: `whole` looks for whole photographs, `near` for slight crops too, with few
windows and a smaller radius, so that a million can be searched; `full` for crops with all windows.

Measured on 300 photographs of HAM10000, each changed, and 300,000 pairs of
different photographs: copies resized, squashed, saved at JPEG quality 30 or
brightened by 15 % lie within .08; copies cropped to 90 % anywhere, together with any of these, within .20 of
their nearest window in 99 % of cases; of different photographs one pair in 200,000 lies within .10 and one in
1,700 within .20. Of 1,500 copies cropped to between 97 and 90 %, `whole` proposes 20 %, `near` 95 % and `full` more
than 99.5 %.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from melascope.datasets.fingerprint import crop_map
from melascope.datasets.same_leaves import near_pairs
from melascope.progress import Progress, silent

FULL_ROWS = 40_000
"""Up to so many different files the search reaches `full` unless told otherwise."""

LEAST_CONTRAST = 1.0
"""Grey levels (root mean square over the 27 coefficients) below which a photograph shows nothing to compare."""

SYMMETRIES = (
    "as filed",
    "mirrored",
    "flipped upside down",
    "turned by 180 degrees",
    "transposed",
    "turned by 90 degrees clockwise",
    "turned by 90 degrees counter-clockwise",
    "transposed the other way",
)
"""What is done to `b` so that it lies as `a` does: transposed if 4 or more, then columns (1) and rows (2) reversed."""

_ORDERS = [(i, j) for i in range(6) for j in range(6) if 0 < i * i + j * j <= 26]
_ROWS = np.array([i for i, _ in _ORDERS])
_COLUMNS = np.array([j for _, j in _ORDERS])
_TRANSPOSED = np.array([_ORDERS.index((j, i)) for i, j in _ORDERS])
_FREQUENCIES = 6


Window = tuple[float, float, float, float]
"""A part of a photograph: (top, bottom, left, right) of 0 to 1."""

_ALL: Window = (0.0, 1.0, 0.0, 1.0)
# The middle square of a photograph of 4 to 3, lying or standing.
_SQUARES: tuple[Window, ...] = ((0.0, 1.0, 0.125, 0.875), (0.125, 0.875, 0.0, 1.0))


def _windows(*grids: tuple[float, int]) -> tuple[Window, ...]:
    """Return the whole, squares of a size at so many places along each side, and the middle squares."""
    found = [_ALL]
    for size, places in grids:
        starts = np.linspace(0, 1 - size, places).tolist() if places > 1 else [(1 - size) / 2]
        found += [(y, y + size, x, x + size) for y in starts for x in starts]
    return (*found, *_SQUARES)


@dataclass(frozen=True)
class Reach:
    """What counts as near.

    Attributes:
        windows: The crops of a photograph that another may be; the first is the whole.
        radius: How far a photograph may lie from the nearest of them.
    """

    windows: tuple[Window, ...]
    radius: float


REACHES = {
    "whole": Reach((_ALL,), 0.10),
    "near": Reach(_windows((0.935, 1), (0.945, 2)), 0.16),
    "full": Reach(_windows((0.905, 4), (0.95, 2)), 0.26),
}
"""How far a search can reach, by name: whole photographs; slight crops; crops to 90 % of each side."""


def reach_of(contents: int) -> str:
    """Return how far a search among so many different files reaches unless told otherwise, by its name."""
    return "full" if contents <= FULL_ROWS else "near"


def apply_symmetry(images: np.ndarray, symmetry: int) -> np.ndarray:
    """Return images `(..., h, w)` as one of `SYMMETRIES` says, by its number."""
    turned = images.swapaxes(-1, -2) if symmetry >= 4 else images
    turned = turned[..., ::-1] if symmetry & 1 else turned
    return turned[..., ::-1, :] if symmetry & 2 else turned


def symmetry_signs(rows: np.ndarray, columns: np.ndarray, symmetry: int) -> np.ndarray:
    """Return the signs, 1 or -1, that a symmetry gives to cosine coefficients of these orders, after transposing."""
    flips = rows * (symmetry >> 1 & 1) + columns * (symmetry & 1)
    signs: np.ndarray = np.where(flips % 2, -1.0, 1.0).astype(np.float32)
    return signs


def descriptors(coefficients: np.ndarray, window: Window = _ALL) -> np.ndarray:
    """Return `(n, 27)` float32 of length 1, or zeros for a uniform photograph, from coefficients `(n, 16, 16)`."""
    top, bottom, left, right = window
    low = crop_map(top, bottom, _FREQUENCIES) @ coefficients @ crop_map(left, right, _FREQUENCIES).T
    chosen = low[:, _ROWS, _COLUMNS]
    length = np.linalg.norm(chosen, axis=1, keepdims=True)
    units: np.ndarray = np.where(length >= LEAST_CONTRAST, chosen / np.maximum(length, 1e-9), 0.0).astype(np.float32)
    return units


def invariants(units: np.ndarray) -> np.ndarray:
    """Return `(n, 27)` that all eight symmetries of a photograph share.

    Absolute values, and of the two that a transposition exchanges first the
    larger. Neither step lengthens a distance, so that photographs within a radius
    of each other, under any symmetry, have invariants within it.
    """
    size = np.abs(units)
    other = size[:, _TRANSPOSED]
    found: np.ndarray = np.where(_ROWS < _COLUMNS, np.maximum(size, other), np.minimum(size, other))
    return found


@dataclass(frozen=True)
class Candidates:
    """Pairs within the radius: a crop (`window`) of one photograph, and the whole of another."""

    whole: np.ndarray
    cropped: np.ndarray
    window: np.ndarray
    symmetry: np.ndarray
    """Number of the symmetry that turns `whole` as `cropped` lies."""
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.whole)

    def take(self, which: np.ndarray) -> Candidates:
        """Return the candidates at these positions."""
        return Candidates(*(getattr(self, field.name)[which] for field in fields(self)))


def search(
    whole: np.ndarray,
    cropped: np.ndarray,
    *,
    itself: bool,
    reach: Reach,
    threads: int,
    progress: Progress = silent,
) -> Candidates:
    """Return every pair within the radius; no pair is missed.

    Args:
        whole: Coefficients `(n, 16, 16)` of the photographs that are taken whole.
        cropped: Coefficients `(m, 16, 16)` of those that are cropped.
        itself: Both are one table: a photograph is not compared with itself, and two whole ones but once.
        reach: Which crops are compared, and how near they must be.
        threads: Blocks that are worked on at a time.
        progress: Called with the stage `searching`.

    Returns:
        Of a pair under several windows or symmetries only the nearest is returned.
    """
    units = descriptors(whole)
    parts: list[Candidates] = []
    progress("searching", 0, len(reach.windows))
    for number, window in enumerate(reach.windows):
        cut = units if itself and number == 0 else descriptors(cropped, window)
        same = itself and number == 0
        # A uniform photograph has nothing that could be near another's.
        told, told_cut = np.flatnonzero(units.any(axis=1)), np.flatnonzero(cut.any(axis=1))
        if len(told) and len(told_cut):
            for near_cut, near in near_pairs(
                invariants(cut[told_cut]), invariants(units[told]), reach.radius, itself=same, threads=threads
            ):
                first, second = told_cut[near_cut], told[near]
                if itself:
                    keep = first < second if same else first != second
                    first, second = first[keep], second[keep]
                parts.append(_measured(cut, units, first, second, number, reach.radius))
        progress("searching", number + 1, len(reach.windows))
    return _nearest(parts, len(whole))


def _measured(
    cut: np.ndarray, units: np.ndarray, first: np.ndarray, second: np.ndarray, window: int, radius: float
) -> Candidates:
    """Keep the pairs that are within the radius under their best symmetry."""
    best = np.full(len(first), -2.0, np.float32)
    symmetry = np.zeros(len(first), np.int8)
    for start in range(0, len(first), 1 << 18):
        part = slice(start, start + (1 << 18))
        a, b = cut[first[part]], units[second[part]]
        for transposed in (False, True):
            products = a * (b[:, _TRANSPOSED] if transposed else b)
            signs = np.stack([symmetry_signs(_ROWS, _COLUMNS, number) for number in range(4)], axis=1)
            cosine = products @ signs
            number = cosine.argmax(axis=1)
            cosine = cosine[np.arange(len(cosine)), number]
            better = cosine > best[part]
            best[part][better] = cosine[better]
            symmetry[part][better] = (number + 4 * transposed)[better]
    distance = np.sqrt(np.maximum(2.0 - 2.0 * best, 0.0))
    keep = distance <= radius
    return Candidates(
        second[keep], first[keep], np.full(int(keep.sum()), window, np.int8), symmetry[keep], distance[keep]
    )


def _nearest(parts: list[Candidates], rows: int) -> Candidates:
    """Keep of each ordered pair the nearest window and symmetry."""
    if not parts:
        none = np.empty(0, np.int64)
        return Candidates(none, none, none.astype(np.int8), none.astype(np.int8), none.astype(np.float32))
    joined = Candidates(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Candidates))
    )
    order = np.argsort(joined.distance, kind="stable")
    key = joined.cropped[order].astype(np.int64) * rows + joined.whole[order]
    _, first = np.unique(key, return_index=True)
    return joined.take(order[first])
