"""A photograph's fingerprint: what the search for the same photograph compares.

The 16 x 16 lowest cosine coefficients of the grey photograph, squeezed to a
square. All that the search needs follows from them without the file: the
eight symmetries (a flip turns the signs of odd columns or rows, a
transposition transposes) and the coefficients of any crop (`cropped`), since
a crop of a cosine series is a linear map of its coefficients.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

FINGERPRINT_BYTES = 260
"""Version, mean grey level, the largest coefficient as float16, then 256 coefficients as int8."""

SIDE = 16
"""How many frequencies along each side."""

_VERSION = 1
_GRID = 32


def _cosines(frequencies: int, places: np.ndarray) -> np.ndarray:
    """Return `(places, frequencies)`: the functions whose weighted sum is the photograph, along one side of 0 to 1."""
    waves: np.ndarray = np.sqrt(2.0) * np.cos(np.pi * places[:, None] * np.arange(frequencies))
    waves[:, 0] = 1.0
    return waves


@lru_cache(maxsize=1)
def _analysis() -> np.ndarray:
    matrix: np.ndarray = (_cosines(SIDE, (np.arange(_GRID) + 0.5) / _GRID).T / _GRID).astype(np.float32)
    return matrix


def fingerprint(array: np.ndarray) -> bytes:
    """Return the fingerprint of a photograph `(h, w, 3)` uint8, sRGB: `FINGERPRINT_BYTES` bytes.

    A decode to 64 pixels a side is enough; a larger one changes nothing that matters.
    """
    from PIL import Image

    # Averaged in floats, so that the coefficients of a faint photograph are not those of rounding.
    grey = Image.fromarray(np.ascontiguousarray(array)).convert("L").convert("F")
    small = np.asarray(grey.resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.float32)
    analysis = _analysis()
    coefficients = analysis @ small @ analysis.T
    mean = coefficients[0, 0]
    coefficients[0, 0] = 0.0
    largest = np.float16(max(float(np.abs(coefficients).max()), 1e-3))
    whole = np.clip(np.round(coefficients * (127.0 / np.float32(largest))), -127, 127).astype(np.int8)
    head = bytes([_VERSION, int(np.clip(round(float(mean)), 0, 255))])
    found: bytes = head + largest.tobytes() + whole.tobytes()
    return found


def coefficients_of(column: pd.Series) -> np.ndarray:
    """Return the coefficients `(n, 16, 16)` float32, in grey levels, of a column of fingerprints in hexadecimal.

    The first axis after `n` goes down the photograph. The mean is left out
    (zero); a missing or foreign fingerprint gives zeros, as does a uniform photograph.
    """
    length = 2 * FINGERPRINT_BYTES
    known = (column.notna() & (column.str.len() == length)).to_numpy(dtype=bool)
    found = np.zeros((len(column), SIDE, SIDE), np.float32)
    raw = np.frombuffer(bytes.fromhex("".join(column[known])), np.uint8).reshape(-1, FINGERPRINT_BYTES)
    right = raw[:, 0] == _VERSION
    largest = raw[:, 2:4].copy().view(np.float16).astype(np.float32)[:, 0]
    whole = raw[:, 4:].view(np.int8).reshape(-1, SIDE, SIDE)
    found[known] = whole * (np.where(right, largest, 0.0) / 127.0)[:, None, None]
    return found


def crop_map(start: float, end: float, frequencies: int) -> np.ndarray:
    """Return `(frequencies, 16)`: from the coefficients along a side to those of the part from `start` to `end`.

    The side runs from 0 to 1. `rows @ coefficients @ columns.T` crops both ways.
    """
    inside = (np.arange(256) + 0.5) / 256
    whole = _cosines(SIDE, start + (end - start) * inside)
    matrix: np.ndarray = (_cosines(frequencies, inside).T @ whole / len(inside)).astype(np.float32)
    return matrix
