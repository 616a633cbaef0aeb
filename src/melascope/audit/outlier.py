"""Photographs far from the rest, blank ones, and files that are not what their name says.

Far from the rest is told by a robust z, the distance from the median in units
of the median absolute deviation times 1.4826 (Iglewicz and Hoaglin 1993), with
three guards: the unit has a floor, so that a homogeneous set does not flag
trivia; the limit is 4, since such measures have long tails; and where more than
one photograph in fifty lies as far out on one side, they are a part of the set
(a second camera), not outliers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melascope.audit.problems import Found, problems, readable
from melascope.counted import plural

LIMIT = 4.0
"""Robust z from which on a photograph is far from the rest."""
RARE = 0.02
"""Share of the photographs; more than these far out on one side are no outliers."""
FEWEST = 30
"""Readable photographs below which nothing is said about what is usual."""
BLACK, WHITE = 20.0, 245.0
"""Mean grey levels, below and above which a photograph is near black or near white."""
FLAT = 3.0
"""Standard deviation of the grey levels below which a photograph is uniform."""

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
}
_FORMAT_OF = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings}


@dataclass(frozen=True)
class _Measure:
    """A number by which photographs are compared.

    Attributes:
        name: Of the measure.
        value: From a table to the numbers `(n,)`, NaN where unknown.
        floor: The least unit of z, on the logarithm where `ratio`.
        ratio: Whether it is compared by ratio, not by difference.
        low: What a photograph far below is called.
        high: And one far above.
        form: How a value is written.
    """

    name: str
    value: Callable[[pd.DataFrame], np.ndarray]
    floor: float
    ratio: bool
    low: str
    high: str
    form: str


def _column(name: str) -> Callable[[pd.DataFrame], np.ndarray]:
    def value(rows: pd.DataFrame) -> np.ndarray:
        return _numbers(rows, name)

    return value


def _numbers(rows: pd.DataFrame, name: str) -> np.ndarray:
    if name not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[name].to_numpy(dtype=float, na_value=np.nan)


def _side(rows: pd.DataFrame) -> np.ndarray:
    found: np.ndarray = np.sqrt(_numbers(rows, "width") * _numbers(rows, "height"))
    return found


def _aspect(rows: pd.DataFrame) -> np.ndarray:
    found: np.ndarray = _numbers(rows, "width") / np.maximum(_numbers(rows, "height"), 1)
    return found


MEASURES = (
    # A floor of .1 on the logarithm flags a factor of 1.5 from the median; of 5 levels, a difference of 20.
    _Measure("size", _side, 0.1, True, "small", "large", "{:.0f} pixels (root of width times height)"),
    _Measure("aspect", _aspect, 0.06, True, "tall", "wide", "an aspect of {:.2f}"),
    _Measure("brightness", _column("trait_brightness"), 5.0, False, "dark", "bright", "a mean grey level of {:.0f}"),
    _Measure("contrast", _column("trait_contrast"), 0.1, True, "flat", "rich in contrast", "a contrast of {:.1f}"),
    _Measure(
        "sharpness", _column("trait_sharpness"), 0.1, True, "blurred", "full of fine detail", "a sharpness of {:.2f}"
    ),
)


def find(table: pd.DataFrame) -> Found:
    """Return every photograph that is far from the rest, blank or wrongly named, one row each with all reasons.

    Args:
        table: A scanned table; measures whose columns it lacks are not looked at.

    Returns:
        Problems, and details: `photographs`, `limit`, `measures` (per measure `median`, `low`, `high`: the usual range,
        5th to 95th percentile; `below`, `above`: where far begins; `flagged`; `apart_low`, `apart_high`: how many lie
        that far out together and are taken for a part of the set), and `counts` per reason.
    """
    rows = readable(table)
    reasons: dict[str, list[tuple[int, str]]] = {}
    for name, flagged in (("wrongly named", _wrongly_named(rows)), ("blank", _blank(rows))):
        reasons[name] = flagged
    blank = np.zeros(len(rows), dtype=bool)
    blank[[place for place, _ in reasons["blank"]]] = True
    measures = {}
    for measure in MEASURES:
        values = measure.value(rows)
        known = np.isfinite(values) & (values > 0 if measure.ratio else True) & ~blank
        if known.sum() < FEWEST:
            continue
        described, flagged = _far(measure, values, known)
        measures[measure.name] = described
        reasons[measure.name] = flagged
    details: dict[str, Any] = {
        "photographs": len(rows),
        "limit": LIMIT,
        "measures": measures,
        "counts": {name: len(flagged) for name, flagged in reasons.items()},
    }
    if not measures:
        few = plural(len(rows), "readable photograph is", "readable photographs are")
        details["sentence"] = f"{few} too few to say what is usual."
    texts: dict[int, list[str]] = {}
    for flagged in reasons.values():
        for place, text in flagged:
            texts.setdefault(place, []).append(text)
    places = sorted(texts)
    chosen = rows.iloc[places]
    evidence = pd.Series(["; ".join(texts[place]) for place in places], dtype="string")
    return Found(problems("outlier", chosen, chosen["path"].to_numpy(dtype=object), evidence), details)


def _wrongly_named(rows: pd.DataFrame) -> list[tuple[int, str]]:
    if "format" not in rows.columns:
        return []
    found = []
    for place, (path, kind) in enumerate(zip(rows["path"], rows["format"], strict=True)):
        ending = os.path.splitext(str(path))[1].lower()  # noqa: PTH122 - a Path for each of a million rows is slow
        named = _FORMAT_OF.get(ending)
        if named is not None and not pd.isna(kind) and named != kind:
            found.append((place, f"wrongly named: {kind} content in a file that ends in {ending}"))
    return found


def _blank(rows: pd.DataFrame) -> list[tuple[int, str]]:
    brightness, contrast = _numbers(rows, "trait_brightness"), _numbers(rows, "trait_contrast")
    found = []
    for place in np.flatnonzero((brightness < BLACK) | (brightness > WHITE) | (contrast < FLAT)):
        mean, spread = brightness[place], contrast[place]
        if mean < BLACK:
            found.append((int(place), f"near black: a mean grey level of {mean:.0f} of 255"))
        elif mean > WHITE:
            found.append((int(place), f"near white: a mean grey level of {mean:.0f} of 255"))
        else:
            found.append((int(place), f"uniform: its grey levels differ by {spread:.1f} of 255 (standard deviation)"))
    return found


def _far(measure: _Measure, values: np.ndarray, known: np.ndarray) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    scale = np.log(values, where=known, out=np.zeros(len(values))) if measure.ratio else values
    middle = float(np.median(scale[known]))
    unit = max(measure.floor, 1.4826 * float(np.median(np.abs(scale[known] - middle))))
    z = np.where(known, (scale - middle) / unit, 0.0)
    usual = np.quantile(values[known], [0.05, 0.95])
    ends = [middle - LIMIT * unit, middle + LIMIT * unit]
    below, above = (float(np.exp(end)) if measure.ratio else float(end) for end in ends)
    described: dict[str, Any] = {
        "median": float(np.median(values[known])),
        "low": float(usual[0]),
        "high": float(usual[1]),
        "below": below,
        "above": above,
        "flagged": 0,
        "apart_low": 0,
        "apart_high": 0,
    }
    found = []
    for side, word, key in ((z < -LIMIT, measure.low, "apart_low"), (z > LIMIT, measure.high, "apart_high")):
        places = np.flatnonzero(side)
        # Of few photographs one is always more than a share of them.
        if len(places) > max(1.0, RARE * float(known.sum())):
            described[key] = len(places)
            continue
        described["flagged"] += len(places)
        found += [
            (
                int(place),
                f"{word}: {measure.form.format(values[place])}; usual are "
                f"{_plain(measure, usual[0])} to {_plain(measure, usual[1])}",
            )
            for place in places
        ]
    return described, found


def _plain(measure: _Measure, value: float) -> str:
    start = measure.form.index("{")
    return measure.form[start : measure.form.index("}") + 1].format(value)
