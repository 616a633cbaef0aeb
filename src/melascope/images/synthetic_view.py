"""How a generated lesion was photographed: framing, light, and what lies in the way.

Nothing here knows the diagnosis. Hair, ruler, vignette, bubbles, light and
framing are drawn alike for every class, so that none of them is a shortcut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Grids of noise reach this far from the centre, beyond any corner that a view can show.
_REACH = 2.6
_SUPERSAMPLING = 2


@dataclass(frozen=True)
class Framing:
    """Where the camera stands: zoom, angle (radians) and the lesion's offset (in half the shorter side)."""

    zoom: float
    angle: float
    offset: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Framing:
        """Draw a framing: 1 to 1.4 times, any angle, off the centre by a tenth or so."""
        zoom = float(np.exp(rng.uniform(0.0, np.log(1.4))))
        return cls(zoom, float(rng.uniform(0, 2 * np.pi)), (float(rng.normal(0, 0.09)), float(rng.normal(0, 0.09))))


class Canvas:
    """A picture's pixel grid, and the places on the skin that its pixels show.

    Args:
        height: Pixels.
        width: Pixels.
        framing: Where the camera stands.
    """

    def __init__(self, height: int, width: int, framing: Framing) -> None:
        self.height, self.width, self.unit = height, width, min(height, width) / 2
        cos, sin = np.cos(framing.angle) / framing.zoom, np.sin(framing.angle) / framing.zoom
        # Skin = matrix . pixel + shift, in half the shorter side; pixel coordinates start at the corner.
        self._matrix = np.array([[cos, -sin], [sin, cos]]) / self.unit
        self._shift = -self._matrix @ np.array([width / 2, height / 2]) - np.array(framing.offset)
        columns = np.arange(width, dtype=np.float32) + np.float32(0.5)
        rows = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
        matrix, shift = self._matrix.astype(np.float32), self._shift.astype(np.float32)
        self.x = matrix[0, 0] * columns + matrix[0, 1] * rows + shift[0]
        self.y = matrix[1, 0] * columns + matrix[1, 1] * rows + shift[1]
        self.across = (columns - width / 2) / self.unit
        self.down = (rows - height / 2) / self.unit

    def noise(self, rng: np.random.Generator, cells: float, octaves: int = 1) -> np.ndarray:
        """Return smooth noise `(h, w)` float32 that is fixed to the skin, about unit variance.

        Args:
            rng: Where the draws come from; how many are drawn does not depend on the canvas.
            cells: Cells of noise per half the picture's shorter side.
            octaves: Finer layers, each half as strong as the one before.
        """
        total = np.zeros((self.height, self.width), np.float32)
        power = 0.0
        for octave in range(octaves):
            density = cells * 2**octave
            count = int(2 * _REACH * density) + 4
            grid = Image.fromarray(rng.standard_normal((count, count), dtype=np.float32))
            (a, b), (d, e) = self._matrix * density
            c, f = (self._shift + _REACH) * density + 1
            layer = grid.transform(
                (self.width, self.height),
                Image.Transform.AFFINE,
                (float(a), float(b), float(c), float(d), float(e), float(f)),
                Image.Resampling.BICUBIC,
            )
            total += np.asarray(layer) * np.float32(0.5**octave)
            power += 0.25**octave
        return total * np.float32(1.5 / power**0.5)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Return the pixel coordinates (x, y) of places `(n, 2)` on the skin."""
        return np.linalg.solve(self._matrix, (points - self._shift).T).T

    def pixel_length(self, length: float) -> float:
        """Return how many pixels a length on the skin takes."""
        return float(length / np.hypot(*self._matrix[0]))


class Ink:
    """A mask to draw on with soft edges: twice the canvas, averaged down at the end."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._image = Image.new("L", (canvas.width * _SUPERSAMPLING, canvas.height * _SUPERSAMPLING))
        self._draw = ImageDraw.Draw(self._image)

    def line(self, pixels: np.ndarray, width: float, strength: float = 1.0) -> None:
        """Draw a line through pixel coordinates `(n, 2)`, `width` pixels wide; thinner than one is fainter."""
        wide = width * _SUPERSAMPLING
        fill = round(255 * strength * min(wide, 1.0))
        points = [(float(x), float(y)) for x, y in pixels * _SUPERSAMPLING]
        self._draw.line(points, fill=fill, width=max(round(wide), 1), joint="curve")

    def blob(self, centre: np.ndarray, radius: tuple[float, float], strength: float = 1.0) -> None:
        """Draw an upright ellipse around a pixel."""
        x, y = (float(value) for value in centre * _SUPERSAMPLING)
        wide, high = (max(r * _SUPERSAMPLING, 0.6) for r in radius)
        self._draw.ellipse((x - wide, y - high, x + wide, y + high), fill=round(255 * strength))

    def ring(self, centre: np.ndarray, radius: float, strength: float = 1.0) -> None:
        """Draw a circle's line."""
        x, y = (float(value) for value in centre * _SUPERSAMPLING)
        wide = radius * _SUPERSAMPLING
        self._draw.ellipse((x - wide, y - wide, x + wide, y + wide), outline=round(255 * strength), width=1)

    def mask(self, blur: float = 0.0) -> np.ndarray:
        """Return what was drawn as `(h, w)` float32 in [0, 1], blurred by so many pixels."""
        image = self._image.reduce(_SUPERSAMPLING)
        if blur > 0:
            image = image.filter(ImageFilter.GaussianBlur(blur))
        return np.asarray(image, np.float32) / np.float32(255)


def photograph(skin: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Return the skin as a camera sees it: artefacts, light, blur and noise added.

    Args:
        skin: `(h, w, 3)` float32 in [0, 1].
        canvas: Its canvas.
        rng: Where the draws come from.

    Returns:
        `(h, w, 3)` uint8.
    """
    picture = skin
    if rng.random() < 0.5:
        picture = _hair(picture, canvas, rng)
    if rng.random() < 0.2:
        picture = _bubbles(picture, canvas, rng)
    if rng.random() < 0.2:
        picture = _ruler(picture, canvas, rng)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.1)
    light = 1 + slope * (np.cos(angle) * canvas.across + np.sin(angle) * canvas.down)
    light = light - rng.uniform(0.0, 0.12) * (canvas.across**2 + canvas.down**2)
    picture = picture * (light * rng.uniform(0.88, 1.08)).astype(np.float32)[..., None]
    picture = picture * (1 + rng.normal(0, 0.025, 3)).astype(np.float32)
    if rng.random() < 0.35:
        picture = _vignette(picture, canvas, rng)
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7) * canvas.unit / 64))
    grain = rng.standard_normal((canvas.height, canvas.width, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return np.asarray(np.clip(np.asarray(image) + grain, 0, 255) + 0.499, np.uint8)


def _hair(picture: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    ink = Ink(canvas)
    unit, middle = canvas.unit, np.array([canvas.width, canvas.height]) / 2
    main = rng.uniform(0, np.pi)
    steps = np.linspace(0, 1, 9)[:, None]
    thickness = rng.uniform(0.7, 1.5) * unit / 64
    for _ in range(int(rng.integers(1, 15))):
        angle = main + rng.normal(0, 0.5)
        along, aside = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        start = middle + unit * (aside * rng.uniform(-1.2, 1.2) - along * rng.uniform(0.2, 1.5))
        end = start + unit * along * rng.uniform(0.8, 2.6)
        bend = (start + end) / 2 + unit * aside * rng.normal(0, 0.25)
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        ink.line(curve, thickness * rng.uniform(0.7, 1.3), rng.uniform(0.6, 0.95))
    colour = np.array([(0.1, 0.08, 0.07), (0.22, 0.14, 0.09), (0.45, 0.34, 0.2)])[rng.choice(3, p=[0.55, 0.3, 0.15])]
    return over(picture, ink.mask(), colour)


def _bubbles(picture: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    inside, rim = Ink(canvas), Ink(canvas)
    for _ in range(int(rng.integers(1, 8))):
        centre = rng.uniform(0, 1, 2) * (canvas.width, canvas.height)
        radius = rng.uniform(0.03, 0.12) * canvas.unit
        inside.blob(centre, (radius, radius), 0.5)
        rim.ring(centre, radius, 0.7)
        rim.blob(centre - 0.45 * radius, (0.18 * radius, 0.18 * radius), 1.0)
    picture = picture * (1 + 0.12 * inside.mask()[..., None])
    return over(picture, 0.7 * rim.mask(), np.ones(3))


def _ruler(picture: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    ink = Ink(canvas)
    upright, far = rng.random() < 0.5, rng.random() < 0.5
    length, depth = (canvas.height, canvas.width) if upright else (canvas.width, canvas.height)
    spacing = canvas.unit * rng.uniform(0.09, 0.16)
    edge = depth - 1 - rng.uniform(0, 0.06) * canvas.unit if far else rng.uniform(0, 0.06) * canvas.unit
    first = rng.uniform(0, spacing)
    for number in range(int((length - first) / spacing) + 1):
        tick = canvas.unit * (0.16 if number % 5 == 0 else 0.09)
        ends = np.array(
            [[first + number * spacing, edge], [first + number * spacing, edge - tick if far else edge + tick]]
        )
        ink.line(ends[:, ::-1] if upright else ends, 0.9 * canvas.unit / 64, 0.85)
    return over(picture, ink.mask(), np.full(3, 0.12 if rng.random() < 0.8 else 0.9))


def _vignette(picture: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    centre = rng.normal(0, 0.03, 2)
    distance = np.hypot(canvas.across - centre[0], canvas.down - centre[1])
    corner = np.hypot(canvas.width, canvas.height) / 2 / canvas.unit
    radius, softness = rng.uniform(0.74, 0.98) * corner, rng.uniform(0.01, 0.12)
    mask = 1 / (1 + np.exp(np.clip((distance - radius) / softness, -30, 30)))
    return over(picture, 0.97 * (1 - mask), np.zeros(3))


def over(picture: np.ndarray, opacity: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Lay a colour `(3,)` over the picture `(h, w, 3)`, with an opacity `(h, w)` clipped to [0, 1]."""
    mask = np.clip(opacity, 0, 1).astype(np.float32)[..., None]
    laid: np.ndarray = picture * (1 - mask) + mask * colour.astype(np.float32)
    return laid
