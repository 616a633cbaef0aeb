"""Whether a photograph is good enough to be judged, and what the photographer can do about it.

Every photograph is first reduced to a short side of 150 pixels, so that blur,
hair and rulers are told relative to the picture, and a small file is not called
blurred for being small. A few classical measures (`measure`) are held against
limits (`LIMITS`), which were set on controlled damage to real photographs and
on how often undamaged sets would be blamed: docs/quality.md has the numbers,
`benchmarks/quality.py` repeats them. There is no network in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope.images.burned_text import SUSPECTED, text_score
from melascope.images.lesion_place import Place, locate
from melascope.images.overlays import hair_share, ink_mask, ruler_score
from melascope.images.regions import enlarged, grown, reduced, windowed_means

WORKING_SIDE = 150
"""Pixels of the short side on which all is measured; a caller that decodes at a reduction keeps at least these."""

TOO_POOR = 0.5
"""A photograph with a score below this is too poor to be judged."""

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]
_WHITE = 250


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a photograph.

    Attributes:
        kind: One of `KINDS`.
        severity: 0 (hardly noticed) to 1.
        sentence: To the photographer: what is wrong, and what to do.
    """

    kind: str
    severity: float
    sentence: str


@dataclass(frozen=True)
class Quality:
    """How good a photograph is.

    Attributes:
        score: 0 to 1 (nothing to complain of): the product of 1 - weight x severity over the problems.
        problems: What was found, the one that costs most first.
    """

    score: float
    problems: tuple[Problem, ...]

    @property
    def too_poor(self) -> bool:
        """Whether the score is below `TOO_POOR`."""
        return self.score < TOO_POOR

    def to_dict(self) -> dict[str, Any]:
        """Return `{"score": ..., "problems": [{"kind": ..., "severity": ..., "sentence": ...}]}`, JSON-ready."""
        told = [{"kind": p.kind, "severity": round(p.severity, 3), "sentence": p.sentence} for p in self.problems]
        return {"score": round(self.score, 4), "problems": told}


@dataclass(frozen=True)
class Limit:
    """From which value of a measure on a problem is told, and how much it then counts.

    Attributes:
        kind: The problem's.
        measure: A name that `measure` returns.
        noticed: Where the severity leaves 0.
        worst: Where it reaches `most`; below `noticed` where small values are bad.
        weight: By which share the score falls at severity 1.
        most: The largest severity that this measure alone can give.
    """

    kind: str
    measure: str
    noticed: float
    worst: float
    weight: float
    most: float = 1.0

    def severity(self, value: float) -> float:
        """Return the severity of a value, 0 to `most`; a value that could not be measured is no problem."""
        if not math.isfinite(value):
            return 0.0
        return self.most * min(1.0, max(0.0, (value - self.noticed) / (self.worst - self.noticed)))


LIMITS: tuple[Limit, ...] = (
    # Fine detail alone goes with slight blur, which costs little; coarse detail goes with strong blur only.
    Limit("blur", "fine_detail", 0.63, 0.32, 0.9, most=0.4),
    Limit("blur", "coarse_detail", 0.60, 0.28, 0.9),
    # 1/3 is what a smear longer than three steps leaves.
    Limit("blur", "smear", 0.38, 0.358, 0.9),
    # The darkest skin, well exposed, stays above: see docs/quality.md before raising it.
    Limit("dark", "lightest", 66, 40, 0.9),
    Limit("overexposed", "clipped", 0.05, 0.6, 0.9),
    Limit("low_contrast", "range", 0.24, 0.06, 0.8),
    # Melanomas that fill the picture are found as others are; only crops made by hand lose some.
    Limit("cut_off", "cut", 0.12, 0.6, 0.4),
    Limit("no_lesion", "visibility", 0.03, 0.003, 0.6),
    Limit("small_lesion", "lesion_share", 0.05, 0.025, 0.8),
    Limit("hair", "hair", 0.035, 0.18, 0.85),
    Limit("ink", "ink", 0.005, 0.15, 0.5),
    Limit("ruler", "ruler", 0.84, 1.0, 0.1),
    Limit("few_pixels", "pixels", 120, 24, 0.7),
    Limit("black_frame", "black", 0.3, 0.7, 0.8),
    Limit("text", "text", SUSPECTED, 10.0, 0.1),
)
"""The limits, by kind of problem and measure."""

_SENTENCES = {
    "blur": "The photograph is blurred: hold the dermatoscope still, touch the skin, and focus again.",
    "dark": "The photograph is too dark: switch the dermatoscope's light on, or expose longer.",
    "overexposed": "The photograph is overexposed, light parts are plain white: expose less, and avoid reflections.",
    "low_contrast": "The photograph has little contrast: clean the lens and its contact plate, and use enough fluid.",
    "cut_off": "The lesion reaches the edge of the photograph: centre it, or show it whole from further away.",
    "no_lesion": "No lesion stands out from the skin: centre the lesion, and photograph it from closer by.",
    "small_lesion": "The lesion is very small in the photograph: go closer, until it fills a third of the picture.",
    "hair": "Hair covers the skin: comb it aside, shave it, or flatten it with fluid.",
    "ink": "There is ink or a coloured mark on the skin: wipe it off before photographing.",
    "ruler": "A ruler or scale lies in the picture: take one photograph without it.",
    "few_pixels": "The photograph has too few pixels: send the original file, not a thumbnail.",
    "black_frame": "Most of the photograph is black: let the skin fill the picture, or crop the black frame away.",
    "text": "Writing is burned into the photograph: switch the camera's captions off; it may also name the patient.",
}

KINDS: tuple[str, ...] = tuple(_SENTENCES)
"""The kinds of problem."""

MEASURES = (
    "fine_detail",
    "coarse_detail",
    "smear",
    "lightest",
    "clipped",
    "range",
    "cut",
    "visibility",
    "lesion_share",
    "hair",
    "ink",
    "ruler",
    "pixels",
    "black",
    "text",
)
"""The names of what `measure` returns, in its order.

- `fine_detail`, `coarse_detail`: detail of 1 to 3 pixels in relation to that of 3 to 9, at a short side of 150 and of
  75 pixels; blur takes the finer first, whatever the skin's texture.
- `smear`: differences over one step in relation to those over three, at a short side of 75 pixels, in the one of eight
  directions where that is least: motion blurs along its path only.
- `lightest`: 95th percentile of the grey levels, 0 to 255.
- `clipped`: share of pixels at 250 or more in two channels (in one only, skin is still told from lesion).
- `range`: the 99th less the 2nd percentile of the grey levels, as a share of the 99th.
- `cut`: share of the lesion's outline on the photograph's edge or on black corners.
- `visibility`: by how much the lesion absorbs more than the skin (nats), times `range`.
- `lesion_share`: the lesion's share of the photograph.
- `hair`: share of the skin beside the lesion that thin dark lines cover; `ink`: share of the photograph.
- `ruler`: how regular the narrow ticks along an edge are, 0 to 1.
- `pixels`: short side of the file.
- `black`: share of the black frame.
- `text`: see `burned_text`.

All but `black` and `pixels` leave the black corners out.
"""


def assess(image: np.ndarray, original_size: tuple[int, int] | None = None, place: Place | None = None) -> Quality:
    """Return how good a photograph is, and what is wrong with it.

    Args:
        image: `(h, w, 3)` uint8, sRGB, upright; of any size.
        original_size: (height, width) of the file, where `image` is a reduction of it.
        place: What `lesion_place.locate` says of the photograph; looked for where None.

    Raises:
        ValueError: When `image` is of another shape or type, or empty.

    Example:
        >>> quality = assess(decode(read_file("lesion.jpg")))
        >>> print(quality.score, *(problem.sentence for problem in quality.problems))
    """
    return judge(_measure(image, original_size, place, exactly=False))


def judge(measures: dict[str, float]) -> Quality:
    """Return the quality that measures stand for."""
    worst: dict[str, tuple[float, float]] = {}
    for limit in LIMITS:
        severity = limit.severity(measures[limit.measure])
        if severity > 0:
            worst[limit.kind] = max(worst.get(limit.kind, (0.0, 0.0)), (limit.weight * severity, severity))
    if "no_lesion" in worst:
        # Of a lesion that hardly shows, size and outline are guesses.
        worst.pop("small_lesion", None)
        worst.pop("cut_off", None)
    if "small_lesion" in worst:
        worst.pop("low_contrast", None)  # the percentiles that tell it overlook so small a lesion
    if "text" in worst:
        worst.pop("ruler", None)  # upright strokes of letters
    score = 1.0
    for cost, _ in worst.values():
        score *= 1 - cost
    ordered = sorted(worst, key=lambda kind: -worst[kind][0])
    return Quality(score, tuple(Problem(kind, worst[kind][1], _SENTENCES[kind]) for kind in ordered))


def measure(
    image: np.ndarray, original_size: tuple[int, int] | None = None, place: Place | None = None
) -> dict[str, float]:
    """Return `MEASURES` of a photograph; NaN where one cannot be told. Arguments and errors are those of `assess`."""
    return _measure(image, original_size, place, exactly=True)


def _measure(
    image: np.ndarray, original_size: tuple[int, int] | None, place: Place | None, exactly: bool
) -> dict[str, float]:
    """Return `MEASURES`; unless exactly, those that take long may be 0 where they are no problem anyway."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"image: an array (h, w, 3) of uint8 is needed, not {image.shape} of {image.dtype}")
    short = min(original_size or image.shape[:2])
    # A smaller one is taken as it is: enlarged, it would look blurred.
    small = reduced(image, min(WORKING_SIDE, *image.shape[:2]))
    place = locate(small) if place is None else place
    height, width = small.shape[:2]
    lit = ~enlarged(place.black, height, width) if place.black.any() else np.ones((height, width), bool)
    if not lit.any():
        lit[:] = True
    seen = lit if not lit.all() else np.s_[:]  # a mask of all pixels would only take its time
    planes = np.ascontiguousarray(small.transpose(2, 0, 1))
    colours = planes.astype(np.float32)
    grey = (colours * _GREY).sum(axis=0)
    low, high, lightest = _levels(grey[seen].ravel(), (0.02, 0.99, 0.95))
    spread = (high - low) / max(high, 1.0)
    halved, lit_halves = _halved(grey), _halved(lit.astype(np.float32)) > 0.99
    # Within the lesion blue is a veil or a blue nevus, and thin dark lines are its pigment network.
    beside = lit & ~place.mask(height, width)
    ink = ink_mask(colours.transpose(1, 2, 0), place.skin) & beside
    red, green, blue = planes >= _WHITE
    least = {limit.measure: 0.0 if exactly else limit.noticed for limit in LIMITS}
    return {
        "fine_detail": _detail(grey, lit),
        "coarse_detail": _detail(halved, lit_halves),
        "smear": _smear(halved, lit_halves),
        "lightest": lightest,
        "clipped": float(((red & green) | (red & blue) | (green & blue))[seen].mean()),
        "range": spread,
        "cut": place.cut,
        "visibility": max(0.0, place.contrast) * spread,
        "lesion_share": place.share,
        "hair": hair_share(grey, beside & ~grown(ink) if ink.any() else beside, least["hair"]),
        "ink": float(ink[seen].mean()),
        "ruler": ruler_score(grey),
        "pixels": float(short),
        "black": float(place.black.mean()),
        "text": text_score(small, least["text"]),
    }


def _levels(values: np.ndarray, shares: tuple[float, ...]) -> list[float]:
    counts = np.cumsum(np.bincount(values.astype(np.uint8), minlength=256))
    return [float(np.searchsorted(counts, share * counts[-1])) for share in shares]


def _halved(values: np.ndarray) -> np.ndarray:
    height, width = (length // 2 * 2 for length in values.shape)
    whole = values[:height, :width]
    mean: np.ndarray = (whole[::2, ::2] + whole[1::2, ::2] + whole[::2, 1::2] + whole[1::2, 1::2]) / 4
    return mean


def _detail(grey: np.ndarray, lit: np.ndarray) -> float:
    """Return detail of 1 to 3 pixels in relation to detail of 3 to 9; NaN where too little is lit.

    The idea of comparing a photograph with its own blurred copy is that of Crete et al. (2007).
    """
    if min(grey.shape) < 16:
        return math.nan
    fine = windowed_means(grey, 3)[3:-3, 3:-3]
    coarse = windowed_means(windowed_means(grey, 5), 5)
    inner = grey[4:-4, 4:-4] - fine, fine - coarse
    if not lit.all():
        # The soft edge of a black frame is no detail of the skin.
        seen = windowed_means(lit.astype(np.float32), 9) > 0.999
        if seen.sum() < 100:
            return math.nan
        inner = inner[0][seen], inner[1][seen]
    elif inner[0].size < 100:
        return math.nan
    # 0.1 grey levels, so that a plain surface has none.
    return float(inner[0].std() / (inner[1].std() + 0.1))


_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
_FAR = 3


def _smear(grey: np.ndarray, lit: np.ndarray) -> float:
    """Return the least relation of differences over one step to those over three, by direction; NaN where too small."""
    if min(grey.shape) < 16:
        return math.nan
    whole = bool(lit.all())
    least = math.inf
    for rows, columns in _DIRECTIONS:
        near, far = (_deviation(grey, lit, whole, rows * steps, columns * steps) for steps in (1, _FAR))
        least = min(least, near / (far + 0.1))
    return least if math.isfinite(least) else math.nan


def _deviation(grey: np.ndarray, lit: np.ndarray, whole: bool, rows: int, columns: int) -> float:
    """Return the deviation of the differences between pixels so far apart, both of them lit."""
    height, width = grey.shape
    here = np.s_[rows:, max(0, columns) : width + min(0, columns)]
    there = np.s_[: height - rows, max(0, -columns) : width + min(0, -columns)]
    apart = grey[here] - grey[there]
    if not whole:
        apart = apart[lit[here] & lit[there]]
    return float(apart.std()) if apart.size else math.nan
