"""Damage done to good photographs on purpose, by kind and strength; lengths are shares of the short side.

Nothing is drawn at the size of a pixel, so that one strength looks alike in a small and in a large file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SKIN_MARGIN = 0.03
_INKS = ((70, 40, 120), (40, 60, 150), (30, 90, 160), (40, 120, 90))
_HAIRS = ((25, 20, 18), (56, 36, 23), (90, 65, 40))


@dataclass(frozen=True)
class Damage:
    """One kind: what `quality` should call it, its strengths from weak to strong, and how it is done."""

    found_as: tuple[str, ...]
    strengths: tuple[float, ...]
    strong: float
    apply: Callable[[np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray | None]


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def _linear(image: np.ndarray) -> np.ndarray:
    share = image / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _display(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    share = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(share * 255).astype(np.uint8)


def blur(image: np.ndarray, mask: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: a Gaussian of this sigma."""
    return _pixels(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma * min(image.shape[:2]))))


def motion(image: np.ndarray, mask: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Moved while the shutter was open: the mean along a straight path of this length, in linear light."""
    steps = max(3, 2 * round(length * min(image.shape[:2])) + 1)
    angle = rng.uniform(0, np.pi)
    path = np.linspace(-0.5, 0.5, steps) * length * min(image.shape[:2])
    picture, total = Image.fromarray(image), np.zeros(image.shape)
    wide = Image.fromarray(np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge"))
    for along in path:
        shift = (1, 0, 1 + float(along * np.cos(angle)), 0, 1, 1 + float(along * np.sin(angle)))
        moved = np.asarray(wide.transform(picture.size, Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR))
        outside = (moved == 0).all(axis=2, keepdims=True)
        total += _linear(np.where(outside, image, moved))
    return _display(total / steps)


def expose(image: np.ndarray, mask: np.ndarray, stops: float, rng: np.random.Generator) -> np.ndarray:
    """Expose by this many stops more (or less, below 0): linear light times 2 to that power, clipped at white."""
    return _display(_linear(image) * 2.0**stops)


def flatten(image: np.ndarray, mask: np.ndarray, kept: float, rng: np.random.Generator) -> np.ndarray:
    """Keep this share of all contrast: a veil of the mean colour, as a smeared or foggy front glass lays."""
    mean = image.reshape(-1, 3).mean(axis=0)
    return np.round(mean + kept * (image - mean)).astype(np.uint8)


def cut(image: np.ndarray, mask: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray | None:
    """Crop from one side until this share of the lesion's area is out; None where it touched an edge before."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if edge.any() or mask.mean() < 0.02:
        return None
    turns = int(rng.integers(4))
    turned, inside = np.rot90(image, turns), np.rot90(mask, turns)
    gone = np.cumsum(inside.sum(axis=0)) / inside.sum()
    kept = turned[:, int(np.searchsorted(gone, share)) + 1 :]
    return None if kept.shape[1] < 40 else np.ascontiguousarray(np.rot90(kept, -turns))


def bare_skin(image: np.ndarray, mask: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray | None:
    """Crop skin beside the lesion, of at least a quarter of the short side, enlarged to the photograph's size."""
    height, width = mask.shape
    margin = round(SKIN_MARGIN * min(mask.shape))
    rows, columns = np.nonzero(mask)
    if not len(rows) or _dark_corners(image):
        return None
    top, bottom, left, right = rows.min() - margin, rows.max() + margin, columns.min() - margin, columns.max() + margin
    boxes = [(0, 0, width, top), (0, bottom, width, height), (0, 0, left, height), (right, 0, width, height)]
    x, y, to_x, to_y = max(boxes, key=lambda box: min(box[2] - box[0], (box[3] - box[1])))
    side = min(to_x - x, to_y - y)
    if side < min(height, width) / 4:
        return None
    # Of a long strip, what has the shape of a photograph.
    x, y = x + (max(0, to_x - x - 4 * side // 3)) // 2, y + (max(0, to_y - y - 4 * side // 3)) // 2
    skin = image[y : min(to_y, y + 4 * side // 3), x : min(to_x, x + 4 * side // 3)]
    scale = min(height, width) / min(skin.shape[:2])
    return _pixels(Image.fromarray(skin).resize((round(skin.shape[1] * scale), round(skin.shape[0] * scale))))


def far_away(image: np.ndarray, mask: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray | None:
    """Photograph from so far that the lesion takes this share of the picture, skin around it."""
    before = mask.mean()
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if edge.any() or before <= share or _dark_corners(image):
        return None
    height, width = mask.shape
    scale = (share / before) ** 0.5
    small = Image.fromarray(image).resize((max(8, round(width * scale)), max(8, round(height * scale))))
    border = np.concatenate([np.asarray(small)[[0, -1]].reshape(-1, 3), np.asarray(small)[:, [0, -1]].reshape(-1, 3)])
    skin = np.median(border, axis=0)
    coarse = rng.normal(0, 4, (6, 8, 1)) + skin
    ground = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(ground) + rng.normal(0, 2.5, (height, width, 1))
    ground = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    soft = Image.new("L", small.size, 0)
    rim = max(1, min(small.size) // 8)
    soft.paste(255, (rim, rim, small.size[0] - rim, small.size[1] - rim))
    soft = soft.filter(ImageFilter.GaussianBlur(rim / 2))
    x, y = (int(rng.integers(0, have - take + 1)) for have, take in zip((width, height), small.size, strict=True))
    ground.paste(small, (x, y), soft)
    return _pixels(ground)


def hair(image: np.ndarray, mask: np.ndarray, count: float, rng: np.random.Generator) -> np.ndarray:
    """Lay this many dark, curved hairs over the photograph, 0.6 to 1.4 % of the short side thick."""
    height, width = image.shape[:2]
    unit, colour = min(height, width), _HAIRS[rng.integers(len(_HAIRS))]
    heading = rng.uniform(0, np.pi)
    layer = _Layer(width, height)
    steps = np.linspace(0, 1, 12)[:, None]
    for _ in range(int(count)):
        turn = heading + rng.normal(0, 0.5)
        unit_vector = np.array([np.cos(turn), np.sin(turn)])
        start = rng.uniform(0, 1, 2) * (width, height) - unit_vector * unit * rng.uniform(0, 0.5)
        end = start + unit_vector * unit * rng.uniform(0.4, 1.0)
        bend = (start + end) / 2 + unit_vector[::-1] * (-1, 1) * unit * rng.normal(0, 0.08)
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        layer.line(curve, unit * rng.uniform(0.006, 0.014), 0.9)
    return layer.over(image, colour)


def ink(image: np.ndarray, mask: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw pen strokes beside the lesion until this share of the photograph is under ink."""
    height, width = image.shape[:2]
    unit, colour = min(height, width), _INKS[rng.integers(len(_INKS))]
    layer = _Layer(width, height)
    for _ in range(60):
        if layer.covered() >= share:
            break
        start = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        beside = (np.abs(start / (width, height) * 2 - 1)).max() > 0.55
        if not beside:
            continue
        turn = rng.uniform(0, np.pi)
        end = start + np.array([np.cos(turn), np.sin(turn)]) * unit * rng.uniform(0.1, 0.3)
        layer.line(np.stack([start, end]), unit * rng.uniform(0.03, 0.06), 0.75)
    return layer.over(image, colour)


def ruler(image: np.ndarray, mask: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Lay a scale along one side: a tick every 3 to 8 % of the short side, every fifth longer, of this opacity."""
    turns = int(rng.integers(4))
    turned = np.ascontiguousarray(np.rot90(image, turns))
    height, width = turned.shape[:2]
    unit = min(height, width)
    spacing, first, from_edge = unit * rng.uniform(0.035, 0.08), rng.uniform(0, 0.1) * unit, rng.uniform(0, 0.05) * unit
    layer = _Layer(width, height)
    for number in range(int((width - first) / spacing) + 1):
        x = first + number * spacing
        long = unit * (0.12 if number % 5 == 0 else 0.07)
        layer.line(np.array([[x, from_edge], [x, from_edge + long]]), unit * 0.009, strength)
    return np.ascontiguousarray(np.rot90(layer.over(turned, (25, 25, 25)), -turns))


def fewer_pixels(image: np.ndarray, mask: np.ndarray, side: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce to a short side of so many pixels."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _pixels(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def vignette(image: np.ndarray, mask: np.ndarray, lit: float, rng: np.random.Generator) -> np.ndarray:
    """Leave a lit circle that takes this share of the photograph, black around it."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y + 0.5 - height / 2, x + 0.5 - width / 2)
    radius = np.quantile(distance, lit)
    soft = np.clip((radius - distance) / (0.03 * min(height, width)) + 0.5, 0, 1)
    return np.round(image * soft[..., None] + 4 * (1 - soft[..., None])).astype(np.uint8)


def text(image: np.ndarray, mask: np.ndarray, high: float, rng: np.random.Generator) -> np.ndarray:
    """Burn a name and a date into a corner, letters of this height."""
    picture = Image.fromarray(image)
    font = ImageFont.load_default(size=max(4.0, high * min(image.shape[:2]) / 0.72))
    place = ((0.03, 0.03), (0.03, 0.9))[rng.integers(2)]
    at = (place[0] * image.shape[1], place[1] * image.shape[0])
    name = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTU"), 7)) + " 12.03.1961"
    ImageDraw.Draw(picture).text(at, name, fill=((255, 255, 255), (0, 0, 0))[rng.integers(2)], font=font)
    return _pixels(picture)


def _dark_corners(image: np.ndarray) -> bool:
    return bool(image[[0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1).min() < 90)


class _Layer:
    """Lines drawn at four times the resolution, to be laid over a photograph."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("L", (width * 4, height * 4))
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: np.ndarray, width: float, opacity: float) -> None:
        path = [(float(x) * 4, float(y) * 4) for x, y in points]
        self._draw.line(path, fill=round(255 * opacity), width=max(1, round(width * 4)), joint="curve")

    def covered(self) -> float:
        return float((np.asarray(self._image) > 127).mean())

    def over(self, image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
        size = (image.shape[1], image.shape[0])
        opacity = np.asarray(self._image.resize(size, Image.Resampling.BOX))[..., None] / 255
        return np.round(image * (1 - opacity) + opacity * np.array(colour)).astype(np.uint8)


DAMAGES: dict[str, Damage] = {
    "blur": Damage(("blur",), (0.005, 0.01, 0.015, 0.02, 0.03), 0.02, blur),
    "motion": Damage(("blur",), (0.02, 0.04, 0.06, 0.09), 0.06, motion),
    "dark": Damage(("dark",), (-1, -2, -3, -4), -4, expose),
    "bright": Damage(("overexposed",), (0.5, 1, 1.5, 2), 2, expose),
    "flat": Damage(("low_contrast",), (0.6, 0.4, 0.25, 0.15), 0.15, flatten),
    "cut": Damage(("cut_off",), (0.1, 0.25, 0.5), 0.5, cut),
    "far away": Damage(("small_lesion", "no_lesion"), (0.03, 0.01, 0.005), 0.005, far_away),
    "bare skin": Damage(("small_lesion", "no_lesion"), (1,), 1, bare_skin),
    "hair": Damage(("hair",), (5, 15, 40), 40, hair),
    "ink": Damage(("ink",), (0.01, 0.03, 0.08), 0.08, ink),
    "ruler": Damage(("ruler",), (0.4, 0.6, 0.9), 0.9, ruler),
    "few pixels": Damage(("few_pixels",), (112, 80, 56), 56, fewer_pixels),
    "vignette": Damage(("black_frame",), (0.7, 0.5, 0.35), 0.35, vignette),
    "text": Damage(("text",), (0.04, 0.05, 0.07), 0.07, text),
}
"""Every kind of damage, by name."""
