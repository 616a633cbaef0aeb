"""What lies over the skin in a photograph: hair, ink and rulers, each as a share or a score.

Made for photographs reduced to a short side of about 150 pixels, on which a
terminal hair and the ticks of a dermatoscope's scale are one to two pixels wide.
"""

from __future__ import annotations

import numpy as np

from melascope.images.regions import slide

# Eight directions, 22 to 27 degrees apart: with four, hairs between them are taken for texture.
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
_HAIR_REACH = 3  # closing over 7 pixels fills what is narrower
_SLANTED_REACH = 2  # of a knight's moves, which are twice as long
_HAIR_LENGTH = 4  # a line is at least 9 pixels long: networks and furrows are not
_HAIR_DEPTH = 0.14
_BLACK = 40
_TICK = 7
_TICK_SHADE = 6.0


def hair_share(grey: np.ndarray, seen: np.ndarray) -> float:
    """Return the share of the pixels looked at that long, thin, dark lines cover.

    Closing along a line leaves it dark and closing across it fills it (DullRazor, Lee et al. 1997); what
    is not part of a straight piece of 9 pixels is dropped.

    Args:
        grey: `(h, w)` levels of 0 to 255.
        seen: `(h, w)` bool: where to count.
    """
    levels = grey.astype(np.uint8)
    bright, dark = levels, np.full_like(levels, 255)
    for step in _STEPS:
        reach = _SLANTED_REACH if 2 in (step[0], abs(step[1])) else _HAIR_REACH
        closed = slide(slide(levels, step, reach, np.maximum), step, reach, np.minimum)
        bright, dark = np.maximum(bright, closed), np.minimum(dark, closed)
    thin = ((bright - dark) > _HAIR_DEPTH * bright + 4) & (bright > _BLACK)
    long = np.zeros_like(levels)
    for step in _STEPS:
        reach = _HAIR_LENGTH // 2 if 2 in (step[0], abs(step[1])) else _HAIR_LENGTH
        # Lines are jagged, so gaps of a pixel are closed first.
        joined = slide(slide(thin.view(np.uint8), step, 1, np.maximum), step, 1, np.minimum)
        long = np.maximum(long, slide(slide(joined, step, reach, np.minimum), step, reach, np.maximum))
    return float((thin & (long > 0))[seen].mean()) if seen.any() else 0.0


def ink_mask(image: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Return which pixels `(h, w)` bool are strongly blue, violet or green, and much more so than the skin.

    Args:
        image: `(h, w, 3)` float, sRGB of 0 to 255.
        skin: `(3,)` the skin's colour; where it is not known there is no ink.
    """
    if not np.isfinite(skin).all():
        return np.zeros(image.shape[:2], bool)
    usual = skin.astype(np.float32) + np.float32(8)
    red, green, blue = (image[..., channel] + np.float32(8) for channel in range(3))
    bluer = (blue > 1.35 * usual[2] / usual[0] * red) & (blue > 1.02 * red)
    greener = (green > 1.5 * usual[1] / usual[0] * red) & (green > 1.1 * red)
    strongest = np.maximum(np.maximum(red, green), blue)
    weakest = np.minimum(np.minimum(red, green), blue)
    # Blue-white veil and blue nevi are greyish; ink is not.
    coloured = (strongest - weakest > 0.3 * strongest) & (strongest > 60)
    found: np.ndarray = (bluer | greener) & coloured
    return found


def ruler_score(grey: np.ndarray) -> float:
    """Return how regularly narrow ticks, dark or light, stand side by side along an edge `(h, w)`: 0 to 1."""
    best = 0.0
    for side in (grey, grey[::-1], grey.T, grey.T[::-1]):
        depth = side.shape[0] // 5
        for first in range(0, depth - _TICK + 1, 3):
            # Ticks are upright: averaged along their length they stay, and hair and texture fade.
            strip = side[first : first + _TICK].mean(axis=0)
            best = max(best, _regular(strip), _regular(255 - strip))
    return best


def _regular(profile: np.ndarray) -> float:
    length = len(profile)
    if length < 48:
        return 0.0
    darker = np.minimum(profile[:-6], profile[6:]) - profile[3:-3]
    ticks = np.clip(darker, 0, 4 * _TICK_SHADE)
    peak = (ticks[1:-1] > _TICK_SHADE) & (ticks[1:-1] >= ticks[:-2]) & (ticks[1:-1] > ticks[2:])
    places = np.flatnonzero(peak)
    if len(places) < 7:
        return 0.0
    # Of seven ticks in a row the gaps are equal; the best such row tells.
    gaps = np.diff(places).astype(np.float32)
    rows = np.lib.stride_tricks.sliding_window_view(gaps, 6)
    usual = np.median(rows, axis=1, keepdims=True)
    uneven = np.abs(rows - usual).mean(axis=1) / usual[:, 0]
    return float(max(0.0, 1 - 2 * uneven.min()))
