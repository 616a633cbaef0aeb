"""Generated lesions that look like dermoscopy to a lay eye.

A lesion is painted as pigment and blood in the skin: each absorbs red, green
and blue by its own share (Beer and Lambert), so that one lesion looks right on
every skin tone. White and blue-grey lie over that, as they scatter light.

Generated lesions try the machinery and teach how it is used. They say nothing
about how a detector fares on people.
"""

from __future__ import annotations

import numpy as np

from melascope.images.synthetic_looks import Look, draw_look
from melascope.images.synthetic_view import Canvas, Framing, Ink, over, photograph

# Fitzpatrick I to VI as sRGB, between the tones that dermoscopy shows of each.
_SKIN = np.array(
    [(238, 200, 184), (229, 186, 163), (212, 166, 138), (183, 134, 104), (139, 97, 74), (97, 67, 54)], np.float32
)
_MELANIN = np.array((0.62, 1.05, 1.35), np.float32)
_BLOOD = np.array((0.12, 0.95, 0.8), np.float32)
_BLUE = np.array((0.40, 0.46, 0.57), np.float32)
_WHITE = np.array((0.91, 0.85, 0.83), np.float32)
_DEEP = np.array((0.27, 0.30, 0.40), np.float32)


def lesion(
    seed: int | np.random.Generator,
    diagnosis: str,
    size: int | tuple[int, int] = 128,
    skin_tone: int | None = None,
) -> np.ndarray:
    """Return a generated dermoscopic photograph of a lesion.

    Args:
        seed: A seed, or a generator to draw from. One seed gives one image, in every process.
        diagnosis: A code or a name, such as `MEL` or `nevus`.
        size: Pixels: the side of a square, or (height, width).
        skin_tone: Fitzpatrick type 1 to 6; drawn where None.

    Returns:
        `(h, w, 3)` uint8, sRGB.

    Raises:
        DataError: When the diagnosis is unknown.
        ValueError: When the skin tone or the size is impossible.

    Example:
        >>> lesion(1, "melanoma", size=64).shape
        (64, 64, 3)
    """
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    one, other = (int(value) for value in rng.integers(0, 2**63, 2))
    return render(one, other, diagnosis, size, skin_tone)


def render(
    lesion_seed: int, view_seed: int, diagnosis: str, size: int | tuple[int, int] = 128, skin_tone: int | None = None
) -> np.ndarray:
    """Photograph a lesion: one `lesion_seed` is one lesion, each `view_seed` another photograph of it.

    The further arguments, the result and the errors are those of `lesion`.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 8:
        raise ValueError(f"size is {height} x {width}; at least 8 x 8 pixels are needed")
    if skin_tone is not None and skin_tone not in range(1, 7):
        raise ValueError(f"skin_tone is {skin_tone!r}; it is a Fitzpatrick type from 1 to 6")
    rng, view = np.random.default_rng(lesion_seed), np.random.default_rng(view_seed)
    canvas = Canvas(height, width, Framing.draw(view))
    # Tone first, by one draw in any case, so that a lesion on another skin is the same lesion.
    drawn = rng.uniform(0.6, 6.4)
    tone = float(np.clip(drawn if skin_tone is None else skin_tone + (drawn % 1 - 0.5) * 0.6, 1, 6))
    skin = _skin(rng, canvas, tone)
    return photograph(_paint(rng, canvas, draw_look(rng, diagnosis), skin), canvas, view)


def _skin(rng: np.random.Generator, canvas: Canvas, tone: float) -> np.ndarray:
    """Return bare skin `(h, w, 3)` float32: blotches, freckles, fine furrows and pores."""
    base = np.array([np.interp(tone, range(1, 7), _SKIN[:, channel]) for channel in range(3)], np.float32) / 255
    base = base * (1 + rng.normal(0, 0.025, 3)).astype(np.float32)
    blood = 0.03 * canvas.noise(rng, 1.5, 3) + rng.uniform(0.0, 0.08)
    brown = 0.035 * canvas.noise(rng, 5, 3)
    # Furrows cross at an angle and wander; they are what makes skin look like skin.
    wander = canvas.noise(rng, 3, 2) * np.float32(0.9)
    angle, density, depth = rng.uniform(0, np.pi), rng.uniform(36, 56), rng.uniform(0.01, 0.035)
    first = np.cos(density * (np.cos(angle) * canvas.x + np.sin(angle) * canvas.y) + wander * 2)
    second = np.cos(density * (np.cos(angle + 1.1) * canvas.x + np.sin(angle + 1.1) * canvas.y) - wander * 2)
    brown = brown + np.float32(depth) * (first + second)
    fine = canvas.noise(rng, 16)
    freckles = rng.uniform(0.05, 0.25) if rng.random() < 0.3 else 0.0
    brown = brown + np.float32(freckles) * _step(canvas.noise(rng, 10), 2.6, 2.0) + np.float32(0.015) * fine
    skin: np.ndarray = base * np.exp(-brown[..., None] * _MELANIN - blood[..., None] * _BLOOD)
    return skin


def _paint(rng: np.random.Generator, canvas: Canvas, look: Look, skin: np.ndarray) -> np.ndarray:
    inside, depth, side = _shape(rng, canvas, look)
    rough = canvas.noise(rng, 2.2, 3)
    patches = canvas.noise(rng, 2.6, 2)
    density = 1 + look.variegation * rough + look.centre * (depth - 0.4) + 0.9 * look.asymmetry * side
    brown = look.melanin * np.clip(density, 0.08, 2.5)
    brown = brown * _structures(rng, canvas, look, patches)
    brown = brown + look.blotches * _step(canvas.noise(rng, 2.4, 2) + look.asymmetry * side, 1.0, 0.8)
    if look.ridges:
        folds = np.sin(3 * canvas.noise(rng, 5, 2))
        brown = brown * (1 + look.ridges * folds)
    redness = look.blood * np.clip(1 + 0.5 * canvas.noise(rng, 2.5, 2) - 0.3 * side, 0.1, 2)
    brown, redness = inside * brown, inside * redness
    melanin = _MELANIN * np.array((1.0, 1 - 0.1 * look.yellow, 1 + 0.5 * look.yellow), np.float32)
    painted = skin * np.exp(-brown[..., None] * melanin - redness[..., None] * _BLOOD)
    light = np.float32(0.35 + 0.65 * float(skin.mean()) / 0.7)
    blue = look.blue * inside * _step(patches + 0.8 * side, 0.6, 1.8)
    painted = over(painted, blue, _BLUE * light)
    white = look.white * inside * _step(canvas.noise(rng, 2.2, 3) - 0.8 * side, 0.9, 1.6)
    painted = over(painted, white + look.central_white * inside * _step(depth + 0.1 * rough, 0.55, 0.2), _WHITE * light)
    painted = _details(rng, canvas, look, painted, light)
    if look.scale:
        painted = over(painted, look.scale * inside * _step(canvas.noise(rng, 7, 3), 1.1, 1.4), _WHITE * light)
    return painted


def _shape(rng: np.random.Generator, canvas: Canvas, look: Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far each pixel lies inside the lesion (0 to 1), its depth (1 in the centre) and its side (-1 to 1)."""
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    outline = 1 + look.elongation / 2 * np.cos(2 * angles + rng.uniform(0, 2 * np.pi))
    uneven = 1 + look.asymmetry * np.cos(angles + rng.uniform(0, 2 * np.pi))
    for waves in range(3, 13):
        share = rng.normal(0, 1) * (2.2 / waves) ** 0.9
        outline += look.irregularity * uneven * share * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    teeth = np.clip(np.cos(rng.integers(18, 30) * angles), 0, 1) ** 2
    outline += look.streaks * teeth * np.clip(np.cos(angles + rng.uniform(0, 2 * np.pi)), 0, 1)
    radius = look.radius * np.clip(outline, 0.3, 2.2).astype(np.float32)
    turn = np.arctan2(canvas.y, canvas.x)
    index = (turn * np.float32(360 / np.pi)).astype(np.int32) % 720
    distance = np.hypot(canvas.x, canvas.y)
    reach = radius[index]
    frayed = look.irregularity * look.radius * np.float32(0.5) * canvas.noise(rng, 7, 2)
    tilt = rng.uniform(0, 2 * np.pi)
    side = np.cos(turn - np.float32(tilt)) * np.clip(distance / look.radius, 0, 1)
    fade = look.border * (1 + 0.6 * look.asymmetry * side)
    inside = 1 / (1 + np.exp(np.clip((distance - reach - frayed) * 2 / fade, -30, 30)))
    return inside.astype(np.float32), np.clip(1 - distance / reach, 0, 1), side


def _structures(rng: np.random.Generator, canvas: Canvas, look: Look, patches: np.ndarray) -> np.ndarray:
    """Return the factor by which network and globules change the pigment."""
    factor = np.ones((canvas.height, canvas.width), np.float32)
    density, angle = rng.uniform(36, 54), rng.uniform(0, np.pi)
    if look.network:
        # Three waves at 60 degrees make a honeycomb; noise in their phases makes it atypical.
        comb = np.zeros_like(factor)
        for turn in range(3):
            direction = angle + turn * np.pi / 3
            wander = (0.3 + 1.6 * look.disorder) * canvas.noise(rng, 4)
            comb += np.cos(density * (np.cos(direction) * canvas.x + np.sin(direction) * canvas.y) + wander)
        lines = np.clip(1 - comb, 0, 2) - 0.9
        patchy = np.clip(1 + look.disorder * patches, 0, 1.6)
        factor += look.network * 0.55 * lines * patchy
    if look.globules:
        spots = _step(canvas.noise(rng, 11), 1.0 - 0.4 * look.disorder * np.clip(patches, -1, 1), 0.5)
        factor += look.globules * 1.3 * spots
    return np.clip(factor, 0.1, 3)


def _details(
    rng: np.random.Generator, canvas: Canvas, look: Look, painted: np.ndarray, light: np.float32
) -> np.ndarray:
    """Add what is drawn rather than painted: nests, lacunae, vessels, openings and cysts."""

    def places(count: int, reach: float) -> np.ndarray:
        turn, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count)) * reach * look.radius
        return canvas.to_pixels(np.stack([np.cos(turn) * distance, np.sin(turn) * distance], axis=1))

    length = canvas.pixel_length
    if look.nests:
        ink = Ink(canvas)
        for place in places(look.nests, 0.85):
            radius = length(rng.uniform(0.03, 0.11))
            ink.blob(place, (radius, radius * rng.uniform(0.6, 1.4)), rng.uniform(0.5, 0.9))
        painted = over(painted, ink.mask(length(0.018)), _DEEP * light)
    if look.lacunae:
        ink = Ink(canvas)
        for place in places(look.lacunae, 0.85):
            radius = length(rng.uniform(0.05, 0.14))
            ink.blob(place, (radius, radius * rng.uniform(0.7, 1.3)), rng.uniform(0.5, 1.0))
        mask = ink.mask(length(0.015))[..., None]
        painted = painted * np.exp(-mask * (_BLOOD * 0.9 + np.float32(0.25)))
    if look.vessels:
        ink = Ink(canvas)
        for _ in range(look.vessels):
            _vessel(rng, canvas, ink, look.radius)
        mask = ink.mask(length(0.006))[..., None]
        painted = painted * np.exp(-mask * (_BLOOD * 0.9 + np.float32(0.12)))
    if look.comedones:
        ink = Ink(canvas)
        for place in places(look.comedones, 0.85):
            radius = length(rng.uniform(0.018, 0.045))
            ink.blob(place, (radius, radius * rng.uniform(0.7, 1.3)), rng.uniform(0.5, 0.9))
        painted = painted * np.exp(-ink.mask(length(0.008))[..., None] * _MELANIN * np.float32(1.1))
    if look.cysts:
        ink = Ink(canvas)
        for place in places(look.cysts, 0.85):
            radius = length(rng.uniform(0.012, 0.04))
            ink.blob(place, (radius, radius), rng.uniform(0.5, 0.9))
        painted = over(painted, ink.mask(length(0.012)), _WHITE * light)
    return painted


def _vessel(rng: np.random.Generator, canvas: Canvas, ink: Ink, radius: float) -> None:
    """Draw a vessel that enters from the rim and branches twice."""
    turn = rng.uniform(0, 2 * np.pi)
    begin = 0.9 * radius * np.array([np.cos(turn), np.sin(turn)])
    branches = [(begin, turn + np.pi + rng.normal(0, 0.4), 0.018)]
    for _ in range(3):
        grown = []
        for start, heading, width in branches:
            steps = heading + np.cumsum(rng.normal(0, 0.25, 6))
            path = start + np.cumsum(np.stack([np.cos(steps), np.sin(steps)], axis=1) * radius * 0.09, axis=0)
            ink.line(canvas.to_pixels(np.vstack([start, path])), canvas.pixel_length(width), 0.8)
            for fork in (-0.6, 0.6):
                grown.append((path[-1], steps[-1] + fork + rng.normal(0, 0.2), width * 0.65))
        branches = grown


def _step(values: np.ndarray, threshold: float | np.ndarray, softness: float) -> np.ndarray:
    """Return 0 below the threshold and 1 above it, with a soft passage."""
    share = np.clip((values - threshold) / softness + np.float32(0.5), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
