"""Pictures that are no dermoscopy: textures, documents, clinical views, photographs of packages, and spoilt ones.

They try whether a model says "outside" where it should, and teach the modality
what is neither (`examples`). A clinical view is a crude simulation: a dermoscopic photograph
set small into a drawn limb. It says nothing about real clinical photographs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from melascope.errors import ImageError
from melascope.images.decode import decode, read_file

_WORDS = ("patient", "visit", "date", "referral", "report", "the", "and", "of", "skin", "left", "arm", "follow", "up",
          "none", "seen", "result", "history", "clinic", "number", "total", "page", "table", "review", "month",
          "please", "return", "signed", "copy", "invoice", "amount")  # fmt: skip
SPOILT = ("blurred", "dark", "overexposed", "noisy", "compressed", "covered")
"""The ways of `spoil`."""
INSTALLED = ("sklearn", "matplotlib")
"""Packages that Melascope needs and that bring photographs with them; scikit-image (`skimage`) brings more."""
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "matplotlib": "mpl-data/sample_data"}
_DRAWN = frozenset(("page", "text", "logo", "logo2", "chessboard", "phantom", "color"))
"""Pictures among them that were drawn or written, not photographed."""
_CROPS = 8


def texture(seed: int, size: int | tuple[int, int] = 224) -> np.ndarray:
    """Return drawn noise, a gradient, stripes, checks, one colour, spots or smooth clouds; `(h, w, 3)` uint8."""
    rng = np.random.default_rng(seed)
    height, width = _sizes(size)
    kind = int(rng.integers(7))
    a, b = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * x + np.sin(turn) * y
    if kind == 0:
        share = rng.uniform(0, 1, (height, width, 1 if rng.random() < 0.5 else 3))
    elif kind == 1:
        share = (along - along.min())[..., None]
    elif kind == 2:
        share = 0.5 + 0.5 * np.sign(np.sin(along * rng.uniform(20, 200)))[..., None]
    elif kind == 3:
        cells = rng.uniform(3, 25)
        share = ((np.floor(x * cells) + np.floor(y * cells)) % 2)[..., None]
    elif kind == 4:
        share = np.zeros((height, width, 1))
    elif kind == 5:
        share = (_clouds(rng, height, width, int(rng.integers(10, 40))) > 0.65)[..., None].astype(float)
    else:
        share = _clouds(rng, height, width, int(rng.integers(3, 12)))[..., None]
    grain = rng.normal(0, rng.uniform(0, 12), (height, width, 1))
    return _bytes(a * (1 - share) + b * share + grain)


def document(seed: int, size: int | tuple[int, int] = 224) -> np.ndarray:
    """Return a drawn page of text, a form, a chart or a screen with windows; `(h, w, 3)` uint8."""
    rng = np.random.default_rng(seed)
    height, width = _sizes(size)
    # Drawn larger and made small, as photographs of pages are.
    scale = 2
    page = Image.new("RGB", (width * scale, height * scale), _colour(rng, 225, 256))
    draw = ImageDraw.Draw(page)
    kind = int(rng.integers(4))
    margin = int(rng.uniform(0.02, 0.12) * width * scale)
    if kind == 3:
        page.paste(_colour(rng, 20, 160), (0, 0, page.width, page.height))
        for _ in range(int(rng.integers(2, 5))):
            left, top = (int(rng.uniform(0, 0.6) * side) for side in page.size)
            right = left + int(rng.uniform(0.25, 0.6) * page.width)
            bottom = top + int(rng.uniform(0.25, 0.6) * page.height)
            draw.rectangle((left, top, right, bottom), fill=_colour(rng, 200, 256), outline=_colour(rng, 60, 140))
            draw.rectangle((left, top, right, top + page.height // 24), fill=_colour(rng, 40, 220))
            _lines(rng, draw, (left + 6, top + page.height // 18, right - 6, bottom - 6))
    else:
        upper = margin
        if kind == 1:
            for _ in range(int(rng.integers(3, 9))):
                lower = upper + int(rng.uniform(0.04, 0.12) * page.height)
                draw.rectangle((margin, upper, page.width - margin, lower), outline=(60, 60, 60), width=2)
                upper = lower
        elif kind == 2:
            base = int(rng.uniform(0.4, 0.6) * page.height)
            for bar in range(int(rng.integers(4, 12))):
                left = margin + bar * (page.width - 2 * margin) // 12
                top = int(rng.uniform(margin, base - 4))
                draw.rectangle((left, top, left + page.width // 18, base), fill=_colour(rng, 0, 230))
            draw.line((margin, base, page.width - margin, base), fill=(0, 0, 0), width=3)
            upper = base + 10
        _lines(rng, draw, (margin, upper, page.width - margin, page.height - margin))
    if rng.random() < 0.4:
        page = page.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR, fillcolor=_colour(rng, 60, 200))
    return _bytes(np.asarray(page.reduce(scale), float) + rng.normal(0, rng.uniform(0, 4), (height, width, 1)))


def clinical(seed: int, dermoscopic: np.ndarray, size: int | tuple[int, int] = 224) -> np.ndarray:
    """Return a crude clinical view: a lesion set small into a drawn limb before a background, in uneven light.

    Args:
        seed: Chooses limb, background, place, size and light.
        dermoscopic: `(h, w, 3)` uint8, the photograph whose middle becomes the lesion; its rim gives the skin's colour.
        size: Pixels: the side of a square, or (height, width).

    Returns:
        `(h, w, 3)` uint8, sRGB.
    """
    rng = np.random.default_rng(seed)
    height, width = _sizes(size)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    skin_colour = _rim(dermoscopic)
    blotches = _clouds(rng, height, width, 6)[..., None] - 0.5
    fine = _clouds(rng, height, width, max(height, width) // 3)[..., None] - 0.5
    skin = skin_colour * (1 + rng.uniform(0.03, 0.12) * blotches * (0.5, 1.0, 1.2) + rng.uniform(0.02, 0.08) * fine)
    # A limb: a band across the picture, darker to its edges as round things are; or skin all over, as on a back.
    turn, middle = rng.uniform(0, np.pi), (height / 2 / max(height, width), width / 2 / max(height, width))
    across = -np.sin(turn) * (x - middle[1]) + np.cos(turn) * (y - middle[0])
    along = np.cos(turn) * (x - middle[1]) + np.sin(turn) * (y - middle[0])
    half = (0.9 if rng.random() < 0.25 else rng.uniform(0.22, 0.42)) * (1 + rng.uniform(-0.4, 0.4) * along)
    off = across - rng.uniform(-0.08, 0.08) - rng.uniform(-0.25, 0.25) * along**2
    inside = np.clip((half - np.abs(off)) * max(height, width) / 2, 0, 1)[..., None]
    shade = np.sqrt(np.clip(1 - (off / half) ** 2 * rng.uniform(0.5, 0.95), 0.05, 1))[..., None]
    picture = _lesion(rng, skin, dermoscopic, skin_colour, (off, along, half)) * shade
    behind = rng.uniform(10, 240, 3) * (0.8 + 0.4 * _clouds(rng, height, width, int(rng.integers(2, 14)))[..., None])
    picture = picture * inside + behind * (1 - inside)
    light = 1 + rng.uniform(0.1, 0.5) * (np.cos(turn + 1) * (x - 0.5) + np.sin(turn + 1) * (y - 0.5))[..., None]
    picture = picture * light * rng.uniform(0.7, 1.2) * (1 + rng.normal(0, 0.05, 3))
    image = Image.fromarray(_bytes(picture)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.0)))
    return _bytes(np.asarray(image, float) + rng.normal(0, rng.uniform(1, 6), (height, width, 3)))


def packaged(packages: Sequence[str] = INSTALLED) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the photographs that installed packages bring, each whole and in seven crops.

    Args:
        packages: Of `sklearn`, `matplotlib` and `skimage`; what is not installed is passed over, nothing is imported.

    Yields:
        Package and photograph, such as `skimage/astronaut`, the same for all its crops, and `(h, w, 3)` uint8.
    """
    for package in packages:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or []) if found else []:
            for file in sorted((Path(place) / _FOLDERS[package]).iterdir()):
                # The two eyes of a stereo pair are one photograph.
                name = file.stem.split("_")[0].lower()
                if file.suffix.lower() in (".png", ".jpg", ".jpeg") and name not in _DRAWN:
                    yield from crops(file, f"{package}/{name}")


def crops(file: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a photograph whole and in seven crops under one name; nothing where it cannot be read or is too small."""
    try:
        pixels = decode(read_file(file))
    except ImageError:
        return
    height, width = pixels.shape[:2]
    if min(height, width) < 64:
        return
    yield name, pixels
    rng = np.random.default_rng(int(hashlib.sha256(file.name.encode()).hexdigest()[:8], 16))
    for _ in range(_CROPS - 1):
        side = int(min(height, width) * rng.uniform(0.35, 0.9))
        top, left = (int(rng.integers(0, size - side + 1)) for size in (height, width))
        yield name, pixels[top : top + side, left : left + side]


def examples(dermoscopic: Sequence[np.ndarray], count: int = 240, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what teaches `melascope.bundle.modality` what is not dermoscopic: modality and picture.

    They are `count` clinical views, made of the photographs given, and as `neither`
    half as many textures, as many documents, and the photographs of `INSTALLED`.

    Args:
        dermoscopic: Photographs `(h, w, 3)` uint8 of `train`, at least one.
        count: Of clinical views.
        seed: Other seeds draw other pictures.
    """
    first = seed * 1_000_000
    for number in range(count):
        yield "clinical", clinical(first + number, dermoscopic[number % len(dermoscopic)], (210, 280))
    for number in range(count // 2):
        yield "neither", texture(first + number, (150, 200))
        yield "neither", document(first + number, (150, 200))
    for _, pixels in packaged():
        yield "neither", pixels


def spoil(photograph: np.ndarray, way: str, seed: int = 0) -> np.ndarray:
    """Return a photograph `(h, w, 3)` uint8 spoilt beyond use.

    Args:
        photograph: `(h, w, 3)` uint8.
        way: One of `SPOILT`.
        seed: Of the noise and of what covers it.

    Raises:
        ValueError: For an unknown way.
    """
    rng = np.random.default_rng(seed)
    height, width = photograph.shape[:2]
    image = Image.fromarray(photograph)

    def blurred() -> np.ndarray:
        return np.asarray(image.filter(ImageFilter.GaussianBlur(min(height, width) / 14)))

    def dark() -> np.ndarray:
        return _bytes(photograph * 0.1 + rng.normal(0, 2, photograph.shape))

    def overexposed() -> np.ndarray:
        return _bytes(photograph * 1.8 + 70.0)

    def noisy() -> np.ndarray:
        return _bytes(photograph + rng.normal(0, 70, photograph.shape))

    def compressed() -> np.ndarray:
        buffer = io.BytesIO()
        small = image.resize((max(width // 3, 8), max(height // 3, 8)), Image.Resampling.BILINEAR)
        small.save(buffer, "JPEG", quality=2)
        return np.asarray(Image.open(buffer).resize((width, height), Image.Resampling.BILINEAR))

    def covered() -> np.ndarray:
        made = photograph.copy()
        made[: round(height * 0.65), :] = rng.integers(0, 256, 3)
        return np.rot90(made, int(rng.integers(4))).copy()

    ways: dict[str, Callable[[], np.ndarray]] = {
        "blurred": blurred, "dark": dark, "overexposed": overexposed, "noisy": noisy, "compressed": compressed,
        "covered": covered,
    }  # fmt: skip
    if way not in ways:
        raise ValueError(f"A photograph cannot be spoilt by {way!r}; use one of {', '.join(SPOILT)}.")
    return ways[way]()


def _lesion(
    rng: np.random.Generator,
    skin: np.ndarray,
    dermoscopic: np.ndarray,
    skin_colour: np.ndarray,
    limb: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Lay the middle of a dermoscopic photograph onto the limb, its skin matched to the skin there."""
    height, width = skin.shape[:2]
    side = max(8, int(rng.uniform(0.07, 0.22) * min(height, width)))
    tall, wide = dermoscopic.shape[:2]
    square = min(tall, wide)
    box = ((wide - square) // 2, (tall - square) // 2, (wide + square) // 2, (tall + square) // 2)
    small = Image.fromarray(dermoscopic).crop(box).resize((side, side), Image.Resampling.BOX)
    patch = np.asarray(small, float) / np.maximum(skin_colour, 1)
    off, along, half = limb
    # Somewhere near the limb's middle line, and whole.
    fits = (np.abs(off) < half * 0.5) & (np.abs(along) < 0.35)
    fits[: side // 2 + 1] = fits[height - side // 2 - 1 :] = False
    fits[:, : side // 2 + 1] = fits[:, width - side // 2 - 1 :] = False
    places = np.argwhere(fits)
    row, column = places[rng.integers(len(places))] if len(places) else (height // 2, width // 2)
    top, left = int(row) - side // 2, int(column) - side // 2
    yy, xx = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    soft = np.clip((1 - np.hypot(xx, yy)) * 4, 0, 1)[..., None]
    laid = skin.copy()
    there = laid[top : top + side, left : left + side]
    laid[top : top + side, left : left + side] = there * (1 - soft) + there * np.clip(patch, 0, 1.3) * soft
    return laid


def _rim(photograph: np.ndarray) -> np.ndarray:
    """Return the median colour of the outer fifth without black corners, as the skin's."""
    height, width = photograph.shape[:2]
    inner = np.zeros((height, width), bool)
    inner[height // 5 : height - height // 5, width // 5 : width - width // 5] = True
    outer = photograph[~inner]
    lit = outer[outer.max(axis=1) > 60]
    return np.asarray(np.median(lit if len(lit) else outer, axis=0), float)


def _lines(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    points = int(rng.integers(11, 26))
    font = ImageFont.load_default(points)
    ink = tuple(int(value) for value in rng.integers(0, 90, 3))
    while top + points < bottom and left < right:
        end = right if rng.random() < 0.85 else (left + right) // 2
        place = left
        while True:
            word = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.85 else str(rng.integers(1, 9999))
            length = int(draw.textlength(word, font))
            if place + length > end:
                break
            draw.text((place, top), word, fill=ink, font=font)
            place += length + points // 3
        top += int(points * 1.35)


def _clouds(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Return smooth noise `(h, w)` in 0 to 1."""
    grid = Image.fromarray(rng.uniform(0, 1, (cells + 2, cells + 2)).astype(np.float32))
    return np.asarray(np.clip(np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), float), 0, 1))


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, 0, 255) + 0.499, np.uint8)


def _sizes(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 16:
        raise ValueError(f"size is {height} x {width}; at least 16 x 16 pixels are needed")
    return height, width
