"""What may tell a photograph's diagnosis without showing the lesion: its size, quality, border, colour cast.

Measured once by the scan, on the reduction that it decodes anyway; used to find
outliers and shortcuts. Everything is measured on one scale, a short side of 64
pixels, whatever the photograph's size, so that the same camera gives the same
numbers in a large and in a small copy. What concerns the surroundings of the
lesion is measured on the rim, the outer 15 % of each side, where the lesion
seldom is. They are cheap numbers (about a millisecond), made to compare
photographs of one set; none is a measurement of the skin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from melascope.images.burned_text import text_score
from melascope.images.file_traits import file_traits
from melascope.images.header import Header

TRAITS = (
    "brightness",
    "contrast",
    "sharpness",
    "uniformity",
    "clipped",
    "dark_border",
    "vignette",
    "border_brightness",
    "skin_light",
    "skin_red",
    "skin_yellow",
    "ruler",
    "hair",
    "ink",
    "text",
    "jpeg_quality",
    "chroma_pixels",
    "compression",
    "header_bytes",
)
"""The names of what `measure` returns, in its order.

- `brightness`, `contrast`: mean and standard deviation of the grey levels, 0 to 255.
- `sharpness`: grey levels by which a pixel of the reduction differs from its neighbours' mean (root of the mean
  square). A reduction tells only blur that is wider than a 64th of the short side.
- `uniformity`: share of pixels within 4 levels of the median grey; 1 is a blank image.
- `clipped`: share of pixels at white, 250 or more in all channels.
- `dark_border`: share of the outer tenth of the image, outside the ellipse that fits it, that is nearly black.
- `vignette`: by which share the corners are darker than the ring inside them; black corners are near 1.
- `border_brightness`: mean grey level of the outermost pixels.
- `skin_light`, `skin_red`, `skin_yellow`: CIE L*, a*, b* (D65) of the median of the rim that is not black; the colour
  cast of light and camera, and the skin's own.
- `ruler`: how regularly dark ticks repeat along a side (autocorrelation of at least four ticks, 0 to 1).
- `hair`: share of the rim covered by thin dark lines.
- `ink`: share of the rim that is blue or green where the skin is not: pen marks, stickers, gloves.
- `text`: how much of a line of writing near the upper or lower border is like (see `burned_text`).
- `jpeg_quality`: 1 to 100, of the standard table whose sum comes nearest to the file's; NaN for other formats.
- `chroma_pixels`: share of pixels for which a JPEG stores colour: 1, .5 or .25; NaN for other formats.
- `compression`: bytes of the file per pixel.
- `header_bytes`: bytes before a JPEG's pixels, without colour profile and tables; NaN for other formats.
"""

_SIDE = 64
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_BLACK = 40


def measure(data: bytes, header: Header, small: np.ndarray) -> dict[str, float]:
    """Return the traits of one photograph.

    Args:
        data: The file's bytes.
        header: What its header states.
        small: `(h, w, 3)` uint8, sRGB, upright: the photograph, reduced to no less than 64 pixels a side.

    Returns:
        A number for each of `TRAITS`; NaN where it cannot be told. It raises nothing.
    """
    found = dict.fromkeys(TRAITS, math.nan)
    found.update(file_traits(data, header))
    if small.ndim == 3 and small.shape[2] == 3 and small.size:
        base = _reduced(small)
        found.update(_of_pixels(base))
        found["text"] = text_score(small)
    return found


def _reduced(small: np.ndarray) -> np.ndarray:
    """Return the image with a short side of 64 pixels `(h, w, 3)` float32; a smaller one as it is."""
    height, width = small.shape[:2]
    scale = _SIDE / min(height, width)
    if scale < 1:
        from PIL import Image

        # A strip of 10,000 x 64 pixels would make every later step slow, and is an outlier by its aspect anyway.
        size = (min(8 * _SIDE, max(1, round(width * scale))), min(8 * _SIDE, max(1, round(height * scale))))
        image = Image.fromarray(np.ascontiguousarray(small, dtype=np.uint8))
        small = np.asarray(image.resize(size, Image.Resampling.BOX))
    return np.asarray(small, dtype=np.float32)


def _of_pixels(base: np.ndarray) -> dict[str, float]:
    grey = base @ _GREY
    height, width = grey.shape
    zones = _zones(height, width)
    levels, colours = grey.ravel(), base.reshape(-1, 3)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    found = {
        "brightness": float(levels.mean()),
        "contrast": float(levels.std()),
        "sharpness": _sharpness(grey),
        "uniformity": float((np.abs(levels - np.median(levels)) <= 4).mean()),
        "clipped": float((base.min(axis=2) >= 250).mean()),
        "border_brightness": float(edge.mean()),
        "ruler": _ruler(grey),
    }
    if len(zones.outside):
        found["dark_border"] = float((levels[zones.outside] < _BLACK).mean())
    if len(zones.corners) and len(zones.ring):
        around = float(levels[zones.ring].mean())
        darker = 1 - float(levels[zones.corners].mean()) / around if around >= 1 else 0.0
        found["vignette"] = min(1.0, max(-1.0, darker))
    rim = levels[zones.rim]
    if len(rim) < 10:
        return found
    found["hair"] = float(_thin_dark(grey, float(np.percentile(rim[::4], 80))).ravel()[zones.rim].mean())
    lit = colours[zones.rim[rim > _BLACK]]
    if len(lit) >= 10:
        skin = np.median(lit[:: max(1, len(lit) // 500)], axis=0)
        found["skin_light"], found["skin_red"], found["skin_yellow"] = _lab(skin)
        found["ink"] = _ink(lit, skin) * len(lit) / len(rim)
    return found


@dataclass(frozen=True)
class _Zones:
    """Places in an image, as positions in its flattened pixels.

    Attributes:
        rim: The outer 15 % of each side.
        ring: Inside the ellipse that fits the image.
        corners: Outside that ellipse, by a fifth.
        outside: Of the outer tenth, what lies outside the ellipse.
    """

    rim: np.ndarray
    ring: np.ndarray
    corners: np.ndarray
    outside: np.ndarray


@lru_cache(maxsize=64)
def _zones(height: int, width: int) -> _Zones:
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width * 2 - 1
    from_middle = np.maximum(np.abs(x), np.abs(y))
    radius = np.hypot(x, y)
    return _Zones(
        rim=np.flatnonzero(from_middle > 0.7),
        ring=np.flatnonzero((radius > 0.7) & (radius < 0.9)),
        corners=np.flatnonzero(radius > 1.2),
        outside=np.flatnonzero((from_middle > 0.8) & (radius > 1)),
    )


def _sharpness(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return math.nan
    middle = grey[1:-1, 1:-1]
    around = (grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]) / 4
    return float(np.sqrt(np.square(middle - around).mean()))


def _lab(rgb: np.ndarray) -> tuple[float, float, float]:
    """Return CIE L*a*b* (D65) of one sRGB colour of 0 to 255."""
    parts = [value / 255 for value in rgb.tolist()]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    xyz = (
        (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047,
        0.2126729 * r + 0.7151522 * g + 0.0721750 * b,
        (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883,
    )
    x, y, z = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _ink(colours: np.ndarray, skin: np.ndarray) -> float:
    """Return the share of colours `(n, 3)` that are blue or green, and so by 40 % more than the skin."""
    red = colours[:, 0] + 8
    usual = np.maximum(1.4 * (skin[1:] + 8) / (skin[0] + 8), 1)
    # A lesion that fills the rim is taken for the skin, and skin beside it is paler: but never blue or green.
    other = (colours[:, 1] + 8 > usual[0] * red) | (colours[:, 2] + 8 > usual[1] * red)
    return float(other.mean())


_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
_REACH = 2


def _thin_dark(grey: np.ndarray, skin: float) -> np.ndarray:
    """Return which pixels `(h, w)` lie on a thin dark line over skin of a grey level.

    Closing along a line leaves it dark, and closing across it fills it; a dark
    dot is filled by both (the directional closings of DullRazor, Lee et al. 1997).
    """
    levels = grey.astype(np.uint8)
    closed = [_slide(_slide(levels, dy, dx, np.maximum), dy, dx, np.minimum) for dy, dx in _STEPS]
    bright = np.maximum(np.maximum(closed[0], closed[1]), np.maximum(closed[2], closed[3]))
    dark = np.minimum(np.minimum(closed[0], closed[1]), np.minimum(closed[2], closed[3]))
    # Within a lesion, darker than the skin, its own texture has such lines.
    found: np.ndarray = ((bright - dark) > 0.12 * bright + 4) & (bright > max(_BLACK, 0.7 * skin))
    return found


def _slide(levels: np.ndarray, dy: int, dx: int, extreme: np.ufunc) -> np.ndarray:
    """Return the extreme `(h, w)` over 5 pixels along a direction, edges repeated."""
    height, width = levels.shape
    wide = np.pad(levels, _REACH, mode="edge")
    if dx < 0:
        wide = wide[:, ::-1]
    # Two, four, then five pixels.
    for step in (1, 2, 1):
        y, x = step * dy, step * abs(dx)
        wide = extreme(wide[: wide.shape[0] - y, : wide.shape[1] - x], wide[y:, x:])
    if dx < 0:
        wide = wide[:, ::-1]
    # Across the direction the padding is still there.
    y = 0 if dy else _REACH
    x = 0 if dx else _REACH
    return wide[y : y + height, x : x + width]


def _ruler(grey: np.ndarray) -> float:
    """Return how regularly dark ticks repeat along one of the sides, 0 to 1."""
    depth = max(2, min(grey.shape) // 6)
    best = 0.0
    for strip in (grey[:depth], grey[-depth:], grey[:, :depth].T, grey[:, -depth:].T):
        best = max(best, _ticks(strip))
    return best


def _ticks(strip: np.ndarray) -> float:
    length = strip.shape[1]
    if length < 24:
        return 0.0
    # How much darker than two pixels to the left and right: narrow ticks only.
    darker = np.minimum(strip[:, :-4], strip[:, 4:]) - strip[:, 2:-2]
    profile = np.clip(darker, 0, 40).max(axis=0)
    strong = profile > 8
    if strong.sum() < 4:
        return 0.0
    profile = profile - profile.mean()
    power = float(profile @ profile)
    if power <= 0:
        return 0.0
    lags = range(3, min(length // 4, 16))
    return max(0.0, max((float(profile[:-lag] @ profile[lag:]) / power for lag in lags), default=0.0))
