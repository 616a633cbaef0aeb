"""A row of photographs with words beneath each, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SIDE = 220
"""Pixels of a frame's sides."""
_GAP = 12
_APART = 28  # between the first photograph and the others
_HEADING = 15
_TEXT = 12
_LEADING = 1.3
_PAPER, _EMPTY, _LINE = (255, 255, 255), (243, 243, 241), (200, 200, 196)
_INK, _PALE, _WARNING = (32, 32, 32), (105, 105, 105), (165, 28, 28)


@dataclass(frozen=True, eq=False)
class Tile:
    """One photograph of the row.

    Attributes:
        picture: `(h, w, 3)` uint8, sRGB; None for an empty frame.
        heading: Stands first beneath it.
        lines: What follows, a line each; long ones are wrapped.
        missing: What stands in an empty frame.
        warning: Whether the heading is red.
    """

    picture: np.ndarray | None
    heading: str
    lines: tuple[str, ...] = ()
    missing: str = ""
    warning: bool = False


def draw(tiles: Sequence[Tile], side: int = SIDE) -> np.ndarray:
    """Return the row as a picture `(h, w, 3)` uint8, the first tile a little apart from the others.

    Args:
        tiles: One at least.
        side: Pixels of a frame's sides; a photograph is shown whole in its frame.

    Raises:
        ValueError: Where there is no tile.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not tiles:
        raise ValueError("A row of photographs needs one at least.")
    fonts = ImageFont.load_default(_HEADING), ImageFont.load_default(_TEXT)
    captions = [_caption(tile, fonts, side) for tile in tiles]
    tall = max(sum(_height(font) for _, font, _ in caption) for caption in captions)
    width = 2 * _GAP + len(tiles) * side + max(0, len(tiles) - 1) * _GAP + (_APART - _GAP) * (len(tiles) > 1)
    page = Image.new("RGB", (width, side + tall + 3 * _GAP), _PAPER)
    pen = ImageDraw.Draw(page)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = _GAP + number * (side + _GAP) + (_APART - _GAP) * (number > 0)
        pen.rectangle((left, _GAP, left + side - 1, _GAP + side - 1), fill=_EMPTY, outline=_LINE)
        if tile.picture is not None:
            shown = _fitted(tile.picture, side)
            page.paste(shown, (left + (side - shown.width) // 2, _GAP + (side - shown.height) // 2))
        else:
            told = [part for line in tile.missing.split("\n") for part in _wrapped(line, fonts[1], side - 2 * _GAP)]
            y = _GAP + (side - len(told) * _height(fonts[1])) // 2
            for line in told:
                pen.text((left + (side - fonts[1].getlength(line)) / 2, y), line, fill=_PALE, font=fonts[1])
                y += _height(fonts[1])
        y = 2 * _GAP + side
        for line, font, colour in caption:
            pen.text((left, y), line, fill=colour, font=font)
            y += _height(font)
    if len(tiles) > 1:
        middle = _GAP + side + _APART // 2
        pen.line((middle, _GAP, middle, page.height - _GAP), fill=_LINE)
    return np.asarray(page)


def _caption(tile: Tile, fonts: tuple[Any, Any], side: int) -> list[tuple[str, Any, tuple[int, int, int]]]:
    colour = _WARNING if tile.warning else _INK
    told = [(line, fonts[0], colour) for line in _wrapped(tile.heading, fonts[0], side)]
    return told + [(part, fonts[1], _PALE) for line in tile.lines for part in _wrapped(line, fonts[1], side)]


def _height(font: Any) -> int:
    return round(float(font.size) * _LEADING)


def _fitted(picture: np.ndarray, side: int) -> Any:
    """Return a photograph as an image whose longer side fits a frame's inside."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = (side - 2) / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """Return a text in lines that are no wider than some pixels; a word that is wider alone is broken."""
    # Pillow's own font has the letters of Western Europe only.
    rest = " ".join(text.encode("latin-1", "replace").decode("latin-1").split())
    lines = []
    while rest and font.getlength(rest) > width:
        fits = next(n for n in range(len(rest) - 1, -1, -1) if n <= 1 or font.getlength(rest[:n]) <= width)
        space = rest.rfind(" ", 1, fits + 1)
        at = space if space > 0 else max(1, fits)
        lines.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*lines, rest] if rest else lines
