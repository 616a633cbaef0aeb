"""What lies over the skin in a photograph: hair, ink and rulers, each as a share or a score.

Made for photographs reduced to a short side of about 150 pixels, on which a
terminal hair and the ticks of a dermatoscope's scale are one to two pixels wide.
"""

from __future__ import annotations

import numpy as np

from melascope.images.regions import framed, window_extremes

# Eight directions, 22 to 27 degrees apart: with four, hairs between them are taken for texture.
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
_HAIR_REACH = 3  # closing over 7 pixels fills what is narrower
_HAIR_LENGTH = 4  # a line is at least 9 pixels long: networks and furrows are not
_FRAME = 4  # the furthest that any of these looks
_LEAST_DEPTH = np.floor(0.14 * np.arange(256) + 4).astype(np.uint8)  # by the level around
_BLACK = 40
_TICK = 7
_TICK_SHADE = 6.0


def hair_share(grey: np.ndarray, seen: np.ndarray, least: float = 0.0) -> float:
    """Return the share of the pixels looked at that long, thin, dark lines cover.

    Closing along a line leaves it dark and closing across it fills it (DullRazor, Lee et al. 1997); what
    is not part of a straight piece of 9 pixels is dropped.

    Args:
        grey: `(h, w)` levels of 0 to 255.
        seen: `(h, w)` bool: where to count.
        least: A share below this need not be known exactly: then 0 may come back, sooner.
    """
    if not seen.any():
        return 0.0
    levels = framed(grey.astype(np.uint8), _FRAME, _FRAME)
    bright, dark = levels, np.full_like(levels, 255)
    for step in _STEPS:
        reach = _reach(step, _HAIR_REACH)
        closed = _along(_along(levels, step, reach, np.maximum), step, reach, np.minimum)
        bright, dark = np.maximum(bright, closed), np.minimum(dark, closed)
    thin = ((bright - dark) > _LEAST_DEPTH[bright]) & (bright > _BLACK)
    inside = thin[_FRAME:-_FRAME, _FRAME:-_FRAME]
    counted = np.count_nonzero(seen)
    if np.count_nonzero(inside & seen) < least * counted:
        return 0.0
    long = np.zeros_like(levels)
    pieces = framed(inside.view(np.uint8), _FRAME, _FRAME)
    for step in _STEPS:
        # Lines are jagged, so gaps of a pixel are closed first.
        joined = _along(_along(pieces, step, 1, np.maximum), step, 1, np.minimum)
        reach = _reach(step, _HAIR_LENGTH)
        long |= _along(_along(joined, step, reach, np.minimum), step, reach, np.maximum)
    return float(np.count_nonzero(inside & seen & long[_FRAME:-_FRAME, _FRAME:-_FRAME].view(bool)) / counted)


def _reach(step: tuple[int, int], pixels: int) -> int:
    """Return how many steps reach so many pixels; a knight's move is twice as long."""
    return (pixels + 1) // 2 if 2 in (step[0], abs(step[1])) else pixels


def _along(wide: np.ndarray, step: tuple[int, int], reach: int, extreme: np.ufunc) -> np.ndarray:
    """Return the extreme over `2 reach + 1` pixels along a direction, of a framed image, framed again: `(H, W)`.

    It does what `regions.slide` does, on all pixels one behind the other: a line that leaves a row goes on in the
    frame of the next, which is put right afterwards.
    """
    offset = step[0] * wide.shape[1] + step[1]
    found = window_extremes(wide.ravel(), offset, 2 * reach + 1, extreme)
    result = np.empty_like(wide)
    result.ravel()[reach * offset : reach * offset + len(found)] = found
    result[:, :_FRAME] = result[:, _FRAME : _FRAME + 1]
    result[:, -_FRAME:] = result[:, -_FRAME - 1 : -_FRAME]
    result[:_FRAME] = result[_FRAME]
    result[-_FRAME:] = result[-_FRAME - 1]
    return result


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
    found: np.ndarray = bluer | greener
    if not found.any():
        return found
    strongest = np.maximum(np.maximum(red, green), blue)
    weakest = np.minimum(np.minimum(red, green), blue)
    # Blue-white veil and blue nevi are greyish; ink is not.
    found &= (strongest - weakest > 0.3 * strongest) & (strongest > 60)
    return found


def ruler_score(grey: np.ndarray) -> float:
    """Return how regularly narrow ticks, dark or light, stand side by side along an edge `(h, w)`: 0 to 1."""
    best = 0.0
    for lines in (grey, grey.T):
        count = (lines.shape[0] // 5 - _TICK) // 3 + 1
        if count < 1 or lines.shape[1] < 48:
            continue
        last = 3 * count + _TICK - 3
        bands = np.ascontiguousarray(np.stack([lines[:last], lines[::-1][:last]]))
        # Ticks are upright: averaged along their length they stay, and hair and texture fade.
        rows = [bands[:, row : row + 3 * count - 2 : 3] for row in range(_TICK)]
        strips = (sum(rows[1:], rows[0]) / np.float32(_TICK)).reshape(2 * count, -1)
        best = max(best, _regular(np.concatenate([strips, 255 - strips])))
    return best


def _regular(profiles: np.ndarray) -> float:
    """Return the score of the best of some profiles `(n, length)`."""
    darker = np.minimum(profiles[:, :-6], profiles[:, 6:]) - profiles[:, 3:-3]
    ticks = np.clip(darker, 0, 4 * _TICK_SHADE)
    peak = (ticks[:, 1:-1] > _TICK_SHADE) & (ticks[:, 1:-1] >= ticks[:, :-2]) & (ticks[:, 1:-1] > ticks[:, 2:])
    best = 0.0
    for row in np.flatnonzero(np.count_nonzero(peak, axis=1) >= 7):
        # Of seven ticks in a row the gaps are equal; the best such row tells.
        gaps = np.diff(np.flatnonzero(peak[row])).astype(np.float32)
        rows = np.lib.stride_tricks.sliding_window_view(gaps, 6)
        usual = np.median(rows, axis=1, keepdims=True)
        uneven = np.abs(rows - usual).mean(axis=1) / usual[:, 0]
        best = max(best, float(1 - 2 * uneven.min()))
    return best
