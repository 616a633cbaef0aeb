"""Heat maps: where in a photograph the evidence for melanoma lies, drawn over it.

A network with a pooled head gives, with each answer, one activation map per
class whose mean is that class's logit (class activation maps, Zhou et al.
2016). Logits have no zero of their own, so melanoma's map is taken against
the mean of all classes' maps. Its brightness falls with the risk: half where
the photograph just alerts, paler below, and away where the risk is far from an
alert. The scale is fixed, so that a photograph in which no place stands out
stays pale instead of being stretched to full colour.

Weighing the other classes by their probability, which gives the slope of
melanoma's log-odds, points at the lesion less often (docs/champion.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from melascope.bundle.drawn import HEATMAP, Names, save
from melascope.errors import ImageError
from melascope.finding import Finding

if TYPE_CHECKING:
    from melascope.images.geometry import Geometry

FULL_COLOUR = 3.0
"""By how much (nats) the hottest place exceeds the coldest in a full map, unless a photograph has more."""

_LONGEST_SIDE = 1600

# Anchors of the colour table: lightness, chroma and hue in degrees (OKLCh), from violet over blue and green to yellow.
# Skin and lesions are pink, brown and black, so that green and yellow stand out and no heat is taken for redness;
# lightness rises evenly, so that the order is read in grey print and by colour-blind readers too.
_ANCHORS = ((0.40, 0.19, 300.0), (0.52, 0.17, 265.0), (0.66, 0.13, 210.0), (0.80, 0.18, 150.0), (0.94, 0.19, 112.0))
# Below this the heat is not filled: a veil over the whole photograph would hide more than it says.
_FAINT = 0.08
_CONTOURS = (0.25, 0.5, 0.75)
# Of full heat: a map whose places differ by less has none that stands out, and lines of equal heat would be noise.
_FLAT = 0.02


def melanoma_map(
    heatmap: np.ndarray,
    probabilities: np.ndarray,
    melanoma: int,
    temperature: float = 1.0,
    threshold: float | None = None,
) -> np.ndarray:
    """Return where in a photograph the network finds what speaks for melanoma.

    Args:
        heatmap: `(c, h', w')` class activation maps of one photograph.
        probabilities: `(c,)`, calibrated.
        melanoma: Melanoma's place among the classes.
        temperature: Of the calibration; divides the maps as it divides the logits.
        threshold: The melanoma risk that alerts; without it, one half.

    Returns:
        `(h', w')` float32 in [0, 1]: melanoma's map above its coldest place, over `FULL_COLOUR` nats or the map's own
        range where that is more, times o / (o + t) of the photograph's odds o and the threshold's t.
    """
    evidence = (heatmap[melanoma] - np.mean(heatmap, axis=0)) / temperature
    evidence = evidence - evidence.min()
    above = _log_odds(float(probabilities[melanoma])) - _log_odds(0.5 if threshold is None else threshold)
    strength = 1 / (1 + np.exp(-np.clip(above, -50.0, 50.0)))
    return np.asarray(strength * evidence / max(float(evidence.max(initial=0.0)), FULL_COLOUR), dtype=np.float32)


def _log_odds(p: float) -> float:
    return float(np.log(max(p, np.finfo(float).tiny)) - np.log(max(1.0 - p, np.finfo(float).eps)))


def is_empty(heat: np.ndarray) -> bool:
    """Return whether a heat map `(h', w')` is nowhere strong enough to be drawn."""
    return float(heat.max(initial=0.0)) <= _FAINT


def is_faint(heat: np.ndarray) -> bool:
    """Return whether a heat map `(h', w')` is empty or so pale that it has not one line of equal heat."""
    return float(heat.max(initial=0.0)) < _CONTOURS[0]


def is_flat(heat: np.ndarray) -> bool:
    """Return whether no place of a heat map `(h', w')` stands out from the others."""
    return float(np.ptp(heat)) < _FLAT


def overlay(
    photograph: np.ndarray, heat: np.ndarray, geometry: Geometry | None = None, strength: float = 0.6
) -> np.ndarray:
    """Draw a heat map over the photograph that it belongs to.

    Colour and opacity rise with the heat; thin lines stand at a quarter, a
    half and three quarters of full heat, light with a dark rim, so that they
    are seen on pale skin and on a black lesion. Where there is no heat the
    photograph is untouched, and a flat map has no lines.

    Args:
        photograph: `(H, W, 3)` uint8, upright, as decoded.
        heat: `(h', w')` floats in [0, 1].
        geometry: How the photograph was fitted into the network's input; None if it was squashed.
        strength: The opacity at full heat.

    Returns:
        `(H, W, 3)` uint8.
    """
    height, width = photograph.shape[:2]
    top, left, bottom, right = (0.0, 0.0, float(height), float(width))
    seen = heat
    if geometry is not None:
        top, left, bottom, right = geometry.source_box(height, width)
        seen = _without_bars(heat, geometry, height, width)
    rows = slice(round(top), max(round(bottom), round(top) + 1))
    columns = slice(round(left), max(round(right), round(left) + 1))
    result = photograph.copy()
    part = result[rows, columns]
    smooth = np.clip(_resized(seen, part.shape[0], part.shape[1]), 0.0, 1.0)
    warm = smooth > _FAINT
    if not warm.any():
        return result
    heats = smooth[warm]
    opacity = (strength * ((heats - _FAINT) / (1 - _FAINT)) ** 0.7)[:, None]
    colour = _table()[(heats * 255).astype(np.int32)]
    part[warm] = np.rint(part[warm] * (1 - opacity) + colour * opacity).astype(np.uint8)
    if not is_flat(heat):
        _draw_contours(part, smooth, thickness=max(1.0, max(height, width) / 420))
    return result


def _draw_contours(picture: np.ndarray, heat: np.ndarray, thickness: float) -> None:
    """Draw the lines of equal heat into a picture, antialiased by their distance in pixels."""
    slopes = np.gradient(heat) if min(heat.shape) > 1 else [np.zeros_like(heat)] * 2
    slope = np.hypot(*slopes) + 1e-6
    for level in _CONTOURS:
        distance = np.abs(heat - level) / slope
        near = distance < thickness + 1
        for width, grey, opacity in ((2.2 * thickness, 20.0, 0.5), (thickness, 250.0, 0.95)):
            ink = (opacity * np.clip(0.5 + width / 2 - distance[near], 0.0, 1.0))[:, None]
            picture[near] = np.rint(picture[near] * (1 - ink) + grey * ink).astype(np.uint8)


def write_overlays(findings: Iterable[Finding], geometry: Geometry, folder: str | os.PathLike[str]) -> list[Path]:
    """Write one JPEG per finding that has a heat map: `NAME.heatmap.jpg`.

    Names are unique within the call, and no photograph is ever overwritten. A
    photograph longer than 1,600 pixels is drawn smaller.

    Args:
        findings: From `Predictor.predict(..., heatmaps=True)`; their files are read again.
        geometry: The model's.
        folder: Made if it does not exist.

    Returns:
        The files written, in order.
    """
    listed = list(findings)
    writer = OverlayWriter(folder, geometry, [finding.path for finding in listed])
    return [path for path in map(writer.write, listed) if path is not None]


class OverlayWriter:
    """Writes overlays one by one, as `write_overlays` does for many.

    Args:
        folder: Made if it does not exist.
        geometry: The model's.
        photographs: Files that must not be overwritten: those that are looked at.
    """

    def __init__(
        self, folder: str | os.PathLike[str], geometry: Geometry, photographs: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        self._names = Names(folder, HEATMAP, photographs)
        self.folder = self._names.folder
        self._geometry = geometry

    def write(self, finding: Finding) -> Path | None:
        """Write the overlay of one finding; None where it has no heat map or its file cannot be read again."""
        from melascope.images.decode import decode, read_file

        if finding.heatmap is None:
            return None
        try:
            pixels = decode(read_file(finding.path), at_least=_no_more_than_needed)
        except ImageError:
            return None
        picture = overlay(_smaller(pixels), finding.heatmap, self._geometry)
        target = self._names.of(finding.path)
        save(picture, target)
        return target


def legend(height: int = 12, width: int = 256) -> np.ndarray:
    """Return the colour scale as a picture `(height, width, 3)` uint8, heat 0 at the left and 1 at the right."""
    return np.repeat(_table()[np.linspace(0, 255, width).astype(int)][None], height, axis=0).astype(np.uint8)


@cache
def _table() -> np.ndarray:
    """Return 256 sRGB colours `(256, 3)` float, interpolated between the anchors in OKLab (Ottosson 2020)."""
    anchors = np.array(_ANCHORS)
    hue = np.radians(anchors[:, 2])
    lab = np.stack([anchors[:, 0], anchors[:, 1] * np.cos(hue), anchors[:, 1] * np.sin(hue)], axis=1)
    at = np.linspace(0, len(anchors) - 1, 256)
    light, a, b = (np.interp(at, np.arange(len(anchors)), lab[:, k]) for k in range(3))
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    ).clip(0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def _without_bars(heat: np.ndarray, geometry: Geometry, height: int, width: int) -> np.ndarray:
    """Return the heat of the photograph's own part of the network's input, at the input's resolution."""
    top, left, bottom, right = geometry.target_box(height, width)
    if (top, left, bottom, right) == (0, 0, geometry.height, geometry.width):
        return heat
    return _resized(heat, geometry.height, geometry.width)[top:bottom, left:right]


def _resized(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(heat, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _no_more_than_needed(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    return max(1, int(height * scale)), max(1, int(width * scale))


def _smaller(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = _no_more_than_needed(*pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0))
