"""Turning a photograph by a few degrees without black corners."""

from __future__ import annotations

import math

import numpy as np


def inscribed(height: int, width: int, degrees: float) -> tuple[float, float]:
    """Return height and width, in pixels, of the largest upright rectangle inside a turned photograph.

    Example:
        >>> [round(side, 1) for side in inscribed(100, 100, 10)]
        [86.3, 86.3]
    """
    turn = math.radians(degrees)
    sine, cosine = abs(math.sin(turn)), abs(math.cos(turn))
    long, short = max(height, width), min(height, width)
    if short <= 2 * sine * cosine * long or abs(sine - cosine) < 1e-10:
        # Long and thin, or turned far: two corners touch the long sides, the others are free.
        half = short / 2
        along, across = (half / sine, half / cosine) if sine > 0 else (float(long), float(short))
        return (across, along) if width >= height else (along, across)
    span = cosine * cosine - sine * sine
    return (height * cosine - width * sine) / span, (width * cosine - height * sine) / span


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return a photograph turned about its centre, cut to the largest inscribed rectangle and brought back to size.

    As `rotate` of Augmentor does it, which the course projects use; turning and resizing are one bicubic resampling
    here, where it takes two.

    Args:
        image: `(h, w, 3)` uint8, sRGB.
        degrees: Anticlockwise.

    Returns:
        `(h, w, 3)` uint8.
    """
    from PIL import Image

    if degrees == 0:
        return image
    height, width = image.shape[:2]
    high, wide = inscribed(height, width, degrees)
    turn = math.radians(degrees)
    scale_x, scale_y = wide / width, high / height
    # From a place in the result to the place in the photograph that it shows.
    a, b = math.cos(turn) * scale_x, -math.sin(turn) * scale_y
    d, e = math.sin(turn) * scale_x, math.cos(turn) * scale_y
    c = width / 2 - a * width / 2 - b * height / 2
    f = height / 2 - d * width / 2 - e * height / 2
    picture = Image.fromarray(np.ascontiguousarray(image))
    shown = picture.transform((width, height), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)
    return np.asarray(shown)
