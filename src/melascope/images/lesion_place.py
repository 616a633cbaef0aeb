"""Where the lesion lies in a photograph: a classical estimate, without a network and without training.

The skin's colour is taken from the rim, let vary evenly over the photograph as
light does, and subtracted as absorbance (logarithms, after Beer and Lambert);
what absorbs more, or absorbs another colour, is parted from the skin by Otsu's
threshold (Otsu 1979), lowered because lesions fade into skin; of what is left
the component nearest to the middle is the lesion. `benchmarks/quality.py`
measures how well that agrees with outlines drawn by dermatologists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from melascope.images.regions import components, enlarged, grown, otsu, reduced, smooth, without_thin_dark

_SIDE = 64
# Hair is filled where it is a pixel or two wide: without that, hairs grow onto the lesion.
_HAIR_SIDE = 128
_HAIR_REACH = 2
_FLOOR = 8.0  # grey levels added before logarithms, which would otherwise see noise in black
_BLACK = 50  # the lightest channel of what is no skin; of a dark photograph, 0.3 of its lightest parts
_RIM = 0.7  # the outer 15 % of each side
# Chosen on HAM10000's tuning half (see docs/quality.md); the overlap hardly depends on any one of them.
_SKIN_TOLERANCE = 0.1
_CHROMA = 2.0
_MOST = 0.4
_OTSU_SHARE = 0.6
_CENTRING = 1.2
_FRAYING = 0.35


@dataclass(frozen=True, eq=False)
class Place:
    """Where the lesion lies, on a grid with a short side of 64 cells.

    Attributes:
        lesion: `(h, w)` bool; empty where nothing differs from the skin.
        black: `(h, w)` bool: the dermatoscope's black corners, with their soft edge.
        skin: `(3,)` float, sRGB of 0 to 255: the skin of the rim; NaN where all is black.
        contrast: By how much the lesion absorbs more than the skin around (mean less the median around, in nats; .7
            is half the light); 0 without a lesion.
    """

    lesion: np.ndarray
    black: np.ndarray
    skin: np.ndarray
    contrast: float

    @property
    def share(self) -> float:
        """The share of the lit part of the photograph that the lesion takes, 0 to 1."""
        return float(self.lesion.sum() / max(1, (~self.black).sum()))

    @property
    def cut(self) -> float:
        """The share of the lesion's outline that lies on the photograph's edge or on black corners, 0 to 1."""
        if not self.lesion.any():
            return 0.0
        inside = np.pad(self.lesion, 1)
        # What lies beyond the photograph, or in the black, is where the lesion may go on.
        hidden = np.pad(self.black, 1, constant_values=True)
        outline, on_edge = 0, 0
        for axis in (0, 1):
            for step in (1, -1):
                beside = np.roll(inside, step, axis) & ~inside
                outline += int(beside.sum())
                on_edge += int((beside & hidden).sum())
        return on_edge / max(1, outline)

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the lesion on a photograph's own pixels `(height, width)` bool."""
        return enlarged(self.lesion, height, width)


def locate(image: np.ndarray) -> Place:
    """Return where the lesion lies in a photograph `(h, w, 3)` uint8, sRGB, upright; it raises nothing."""
    small = reduced(without_thin_dark(reduced(image, min(_HAIR_SIDE, *image.shape[:2])), _HAIR_REACH), _SIDE)
    y, x = _coordinates(*small.shape[:2])
    black = _black_corners(small)
    skin, absorbance = _against_skin(small, black, x, y)
    if skin is None:
        return Place(np.zeros(black.shape, bool), black, np.full(3, np.nan), 0.0)
    depth = smooth(_difference(absorbance), 1)
    depth[black] = 0
    lesion = _lesion(depth, black, np.hypot(x, y))
    contrast = 0.0
    rest = ~black & ~grown(lesion)
    if lesion.any():
        # The median, since stickers and shadows beside the lesion absorb much, too.
        contrast = float(depth[lesion].mean() - (np.median(depth[rest]) if rest.any() else 0.0))
    return Place(lesion, black, skin, contrast)


@lru_cache(maxsize=64)
def _coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width * 2 - 1
    y, x = (np.ascontiguousarray(part) for part in np.broadcast_arrays(y, x))
    y.flags.writeable = x.flags.writeable = False
    return y, x


def _black_corners(small: np.ndarray) -> np.ndarray:
    """Return what is nearly black and reaches a corner of the photograph, with its soft edge."""
    lightest = small.max(axis=2)
    highest = int(np.searchsorted(np.cumsum(np.bincount(lightest.ravel(), minlength=256)), 0.95 * lightest.size))
    labels = components(lightest < min(_BLACK, 0.3 * highest))
    corners = {int(labels[at]) for at in ((0, 0), (0, -1), (-1, 0), (-1, -1))} - {0}
    if not corners:
        return np.zeros(labels.shape, bool)
    return grown(np.isin(labels, list(corners)), 2)


def _against_skin(
    small: np.ndarray, black: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the skin's colour, sRGB, and by how much each pixel absorbs more than it: `(h, w, 3)`, nats."""
    light = np.log(small.astype(np.float32) + np.float32(_FLOOR))
    grey = light.mean(axis=2)
    lit = ~black
    if lit.sum() < 30:
        return None, np.zeros_like(light)
    rim = (np.maximum(np.abs(x), np.abs(y)) > _RIM) & lit
    if rim.sum() < 30:
        rim = lit
    # A lesion may reach the rim, and is darker than the skin: so the lighter half of the rim.
    skin = np.median(light[rim & (grey >= np.median(grey[rim]))], axis=0)
    level: np.ndarray = np.broadcast_to(skin, light.shape)
    plane = np.stack([np.ones_like(x), x, y], axis=-1)
    for _ in range(3):
        near = lit & (np.abs(grey - level.mean(axis=2)) < _SKIN_TOLERANCE)
        if near.sum() < 60:
            break
        at = plane[near].astype(np.float64)
        # The slopes are held back a little, lest skin on one side only tilts the plane.
        held = np.diag([1e-6, 0.02, 0.02]) * len(at)
        level = (plane @ np.linalg.solve(at.T @ at + held, at.T @ (light[near] - skin)) + skin).astype(np.float32)
    return np.exp(skin) - _FLOOR, level - light


def _difference(absorbance: np.ndarray) -> np.ndarray:
    """Return by how much each pixel `(h, w)` differs from the skin: darker, or of another hue; never lighter."""
    mean = absorbance.mean(axis=2)
    hue = np.square(absorbance - mean[..., None]).sum(axis=2)
    found: np.ndarray = np.sqrt(np.square(np.maximum(mean, 0)) + np.float32(_CHROMA) * hue)
    return found


def _lesion(depth: np.ndarray, black: np.ndarray, radius: np.ndarray) -> np.ndarray:
    centred = np.minimum(depth * np.exp(-np.square(radius / _CENTRING) / 2), _MOST)
    found: np.ndarray = (centred > _OTSU_SHARE * otsu(centred[~black])) & ~black
    labels = components(found)
    if not labels.any():
        return found
    weights = np.bincount(labels.ravel(), weights=(np.exp(-np.square(radius / 0.6)) * centred).ravel())
    weights[0] = 0
    lesion = labels == weights.argmax()
    outside = components(~lesion)
    edge = np.unique(np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]]))
    filled = ~np.isin(outside, edge[edge > 0])
    whole: np.ndarray = smooth((filled | lesion).astype(np.float32), 1) > _FRAYING
    seen: np.ndarray = whole & ~black
    return seen
