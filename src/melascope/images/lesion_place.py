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
_LIGHT = np.log(np.arange(256, dtype=np.float32) + np.float32(_FLOOR))


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
    planes = np.ascontiguousarray(small.transpose(2, 0, 1))
    grid = _grid(*small.shape[:2])
    black = _black_corners(planes)
    skin, absorbance = _against_skin(planes, black, grid)
    if skin is None:
        return Place(np.zeros(black.shape, bool), black, np.full(3, np.nan), 0.0)
    depth = smooth(_difference(absorbance), 1)
    depth[black] = 0
    lesion = _lesion(depth, black, grid)
    contrast = 0.0
    rest = ~black & ~grown(lesion)
    if lesion.any():
        # The median, since stickers and shadows beside the lesion absorb much, too.
        contrast = float(depth[lesion].mean() - (_median(depth[rest]) if rest.any() else 0.0))
    return Place(lesion, black, skin, contrast)


@dataclass(frozen=True, eq=False)
class _Grid:
    """What depends on the photograph's shape alone.

    Attributes:
        plane: `(3, h w)` float32: one, x and y of each cell, the latter two from -1 to 1.
        rim: `(h, w)` bool.
        centring: `(h, w)` float32: the share by which a cell's depth counts in finding the lesion.
        middle: `(h w,)` float32: how near a cell is to the middle.
    """

    plane: np.ndarray
    rim: np.ndarray
    centring: np.ndarray
    middle: np.ndarray


@lru_cache(maxsize=64)
def _grid(height: int, width: int) -> _Grid:
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width * 2 - 1
    y, x = np.broadcast_arrays(y, x)
    radius = np.hypot(x, y)
    return _Grid(
        np.stack([np.ones(x.size, np.float32), x.ravel(), y.ravel()]),
        np.maximum(np.abs(x), np.abs(y)) > _RIM,
        np.exp(-np.square(radius / np.float32(_CENTRING)) / 2),
        np.exp(-np.square(radius / np.float32(0.6))).ravel(),
    )


def _black_corners(planes: np.ndarray) -> np.ndarray:
    """Return what is nearly black and reaches a corner of the photograph `(3, h, w)` uint8, with its soft edge."""
    lightest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    highest = int(np.searchsorted(np.cumsum(np.bincount(lightest.ravel(), minlength=256)), 0.95 * lightest.size))
    dark = lightest < min(_BLACK, 0.3 * highest)
    if not (dark[0, 0] or dark[0, -1] or dark[-1, 0] or dark[-1, -1]):
        return np.zeros(dark.shape, bool)
    labels = components(dark)
    corners = {int(labels[at]) for at in ((0, 0), (0, -1), (-1, 0), (-1, -1))} - {0}
    return grown(np.isin(labels, list(corners)), 2)


def _against_skin(planes: np.ndarray, black: np.ndarray, grid: _Grid) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the skin's colour, sRGB, and by how much each pixel absorbs more than it: `(3, h, w)`, nats."""
    light = _LIGHT[planes]
    grey = (light[0] + light[1] + light[2]) / np.float32(3)
    lit = ~black
    if lit.sum() < 30:
        return None, np.zeros_like(light)
    rim = grid.rim & lit
    if rim.sum() < 30:
        rim = lit
    # A lesion may reach the rim, and is darker than the skin: so the lighter half of the rim.
    lighter = rim & (grey >= _median(grey[rim]))
    skin = np.array([_median(channel[lighter]) for channel in light])
    brighter = light.reshape(3, -1) - skin[:, None].astype(np.float32)
    away = grey.ravel() - np.float32(skin.mean())
    slopes = np.zeros((3, 3))  # of the skin's light over one, x and y, by channel
    level = np.float32(0)
    for _ in range(3):
        near = lit.ravel() & (np.abs(away - level) < _SKIN_TOLERANCE)
        count = int(near.sum())
        if count < 60:
            break
        at = grid.plane * near
        # The slopes are held back a little, lest skin on one side only tilts the plane.
        held = np.diag([1e-6, 0.02, 0.02]) * count
        slopes = np.linalg.solve((at @ grid.plane.T).astype(float) + held, (at @ brighter.T).astype(float))
        level = slopes.mean(axis=1).astype(np.float32) @ grid.plane
    absorbance = slopes.T.astype(np.float32) @ grid.plane - brighter
    return np.exp(skin) - _FLOOR, absorbance.reshape(light.shape)


def _median(values: np.ndarray) -> float:
    """Return the median of values `(n,)`; `np.median` takes several times as long for some thousand."""
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    parted = np.partition(values, (middle - 1, middle))
    return (float(parted[middle - 1]) + float(parted[middle])) / 2


def _difference(absorbance: np.ndarray) -> np.ndarray:
    """Return by how much each pixel of `(3, h, w)` differs from the skin: darker, or of another hue; never lighter."""
    red, green, blue = absorbance
    mean = (red + green + blue) / np.float32(3)
    hue = np.square(red - mean) + np.square(green - mean) + np.square(blue - mean)
    found: np.ndarray = np.sqrt(np.square(np.maximum(mean, 0)) + np.float32(_CHROMA) * hue)
    return found


def _lesion(depth: np.ndarray, black: np.ndarray, grid: _Grid) -> np.ndarray:
    centred = np.minimum(depth * grid.centring, np.float32(_MOST))
    found: np.ndarray = (centred > _OTSU_SHARE * otsu(centred[~black])) & ~black
    labels = components(found)
    if not labels.any():
        return found
    weights = np.bincount(labels.ravel(), weights=grid.middle * centred.ravel())
    weights[0] = 0
    lesion = labels == weights.argmax()
    outside = components(~lesion)
    # What the edge does not reach is a hole.
    reached = np.zeros(int(outside.max()) + 1, bool)
    for edge in (outside[0], outside[-1], outside[:, 0], outside[:, -1]):
        reached[edge] = True
    reached[0] = False
    whole: np.ndarray = smooth((~reached[outside]).astype(np.float32), 1) > _FRAYING
    seen: np.ndarray = whole & ~black
    return seen
