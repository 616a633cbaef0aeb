"""The tone of the skin around a lesion as individual typology angle, for telling how a detector fares by skin tone.

ITA = atan((L* - 50) / b*) in degrees (Chardon, Cretois and Hourseau 1991), with the bands of Del Bino and Bernerd
(2013). A photograph is no colorimeter: light, white balance and exposure move the angle by more than a band
(docs/quality.md has the numbers), so that it sorts photographs of one camera, and measures nobody's skin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from melascope.images.lesion_place import Place, locate
from melascope.images.overlays import ink_mask
from melascope.images.regions import grown, reduced, without_thin_dark

BANDS: tuple[tuple[float, str], ...] = (
    (55.0, "very light"),
    (41.0, "light"),
    (28.0, "intermediate"),
    (10.0, "tan"),
    (-30.0, "brown"),
    (-math.inf, "dark"),
)
"""Each band, and the angle above which it begins, in degrees."""

_LEAST_SHARE = 0.03
_LIGHTEST = 250
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


@dataclass(frozen=True)
class SkinTone:
    """The tone of the skin in one photograph.

    Attributes:
        ita: Individual typology angle in degrees; NaN where too little skin is seen, or none of a skin's colour.
        band: One of `BANDS`; None where `ita` is NaN.
        share: The share of the photograph that was looked at, 0 to 1.
    """

    ita: float
    band: str | None
    share: float


def estimate(image: np.ndarray, lesion: np.ndarray | None = None, place: Place | None = None) -> SkinTone:
    """Return the tone of the skin around the lesion.

    Lesion with a margin, hair, ink, black corners and plain white are left out; of the rest the median L* and b* count.

    Args:
        image: `(h, w, 3)` uint8, sRGB, upright.
        lesion: `(h, w)` bool; estimated where None.
        place: What `lesion_place.locate` says of the photograph; looked for where None.

    Raises:
        ValueError: When `lesion` is of another size than `image`.
    """
    place = locate(image) if place is None else place
    inside = place.lesion
    if lesion is not None:
        if lesion.shape != image.shape[:2]:
            raise ValueError(f"lesion: a mask {image.shape[:2]} is needed, not {lesion.shape}")
        inside = _any(lesion, place.lesion.shape)
    height, width = inside.shape
    # Hair is filled as it was for finding the lesion, on a grid twice as fine.
    fine = reduced(image, min(2 * min(height, width), *image.shape[:2]))
    small = reduced(without_thin_dark(fine, 2), min(height, width))
    skin = ~grown(inside) & ~place.black & (small.max(axis=2) < _LIGHTEST)
    skin &= ~grown(ink_mask(small.astype(np.float32), place.skin), 1)
    share = float(skin.mean())
    if share < _LEAST_SHARE:
        return SkinTone(math.nan, None, share)
    light, _, yellow = np.median(lab(small[skin]), axis=0)
    if yellow <= 0:
        # Skin is never blue: the camera's white balance is off, and the angle would mean nothing.
        return SkinTone(math.nan, None, share)
    ita = math.degrees(math.atan((light - 50) / yellow))
    return SkinTone(ita, band_of(ita), share)


def band_of(ita: float) -> str | None:
    """Return the band of an angle in degrees; None for NaN."""
    return next((name for above, name in BANDS if ita > above), None)


def lab(colours: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* (D65) of sRGB colours `(n, 3)` of 0 to 255."""
    share = np.asarray(colours, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    parts = linear @ _TO_XYZ.T / _WHITE
    x, y, z = np.where(parts > 216 / 24389, np.cbrt(parts), (24389 / 27 * parts + 16) / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def _any(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask on a coarser or finer grid: true where any of its pixels is."""
    from PIL import Image

    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BOX)) > 0
