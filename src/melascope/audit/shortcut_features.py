"""What a shortcut is looked for in: a photograph's traits, its size and format, its source, the number in its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melascope.images.traits import TRAITS


@dataclass(frozen=True)
class Feature:
    """One column of numbers that may tell the diagnosis.

    Attributes:
        name: As in the table.
        label: In words, to stand before "tells".
        family: `size`, `file`, `name`, `source`, `border`, `colour`, `marks` or `light`.
        in_picture: Whether the pixels show it, so that a network could learn it.
        of_lesion: Whether the lesion itself has a part in it, so that it proves no shortcut.
        values: `(n,)` float, NaN where unknown; categories are numbers.
    """

    name: str
    label: str
    family: str
    in_picture: bool
    of_lesion: bool
    values: np.ndarray


# label, family, in_picture, of_lesion
_TRAITS = {
    "brightness": ("brightness", "light", True, True),
    "contrast": ("contrast", "light", True, True),
    "sharpness": ("sharpness", "light", True, True),
    "uniformity": ("uniformity", "light", True, True),
    "clipped": ("overexposure", "light", True, True),
    "dark_border": ("a black border", "border", True, False),
    "vignette": ("darkness of the corners", "border", True, False),
    "border_brightness": ("brightness of the border", "border", True, False),
    "skin_light": ("lightness of the skin around", "colour", True, False),
    "skin_red": ("red cast of the skin around", "colour", True, False),
    "skin_yellow": ("yellow or blue cast of the skin around", "colour", True, False),
    "ruler": ("regular marks at the border (a ruler)", "marks", True, False),
    "hair": ("hair", "marks", True, False),
    "ink": ("ink or stickers", "marks", True, False),
    "text": ("burned-in writing", "marks", True, False),
    "jpeg_quality": ("JPEG quality", "file", False, False),
    "chroma_pixels": ("JPEG colour resolution", "file", False, False),
    "compression": ("bytes per pixel", "file", False, True),
    "header_bytes": ("size of the metadata", "file", False, False),
}


def features(rows: pd.DataFrame) -> tuple[list[Feature], list[str]]:
    """Return the features that differ between rows, and the names of those that do not.

    Args:
        rows: Of a scanned table; columns that it lacks are not looked at.
    """
    found = []
    for name in TRAITS:
        if f"trait_{name}" in rows.columns:
            label, family, in_picture, of_lesion = _TRAITS.get(name, (name, "other", True, False))
            values = _numbers(rows[f"trait_{name}"])
            found.append(Feature(f"trait_{name}", label, family, in_picture, of_lesion, values))
    if {"width", "height"} <= set(rows.columns):
        width, height = _numbers(rows["width"]), _numbers(rows["height"])
        found.append(Feature("width", "width", "size", True, False, width))
        found.append(Feature("height", "height", "size", True, False, height))
        found.append(Feature("aspect", "aspect", "size", True, False, width / np.maximum(height, 1)))
    if "bytes" in rows.columns:
        # At one size and quality, the lesion's own structure decides the size of the file.
        found.append(Feature("bytes", "file size", "file", False, True, _numbers(rows["bytes"])))
    number = pd.to_numeric(rows["image_id"].astype("string").str.extract(r"(\d{1,15})\D*$")[0], errors="coerce")
    found.append(
        Feature("number", "the number in the file's name (its source)", "name", False, False, _numbers(number))
    )
    for name, label in (("format", "file format"), ("source", "source"), ("license", "licence")):
        if name in rows.columns:
            found.append(
                Feature(name, label, "source" if name != "format" else "file", False, False, _codes(rows[name]))
            )
    return _varying(found)


def _varying(found: Sequence[Feature]) -> tuple[list[Feature], list[str]]:
    kept: list[Feature] = []
    constant: list[Feature] = []
    for one in found:
        # An unknown value is a value: whether it is known may tell the diagnosis too.
        values = np.unique(np.where(np.isfinite(one.values), one.values, np.inf))
        (kept if len(values) > 1 else constant).append(one)
    return kept, [one.name for one in constant]


def _numbers(column: pd.Series) -> np.ndarray:
    values: np.ndarray = column.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _codes(column: pd.Series) -> np.ndarray:
    """Return categories as numbers, the most frequent first, so that a shallow tree parts the large ones."""
    order = column.value_counts().index
    codes = pd.Categorical(column, categories=list(order)).codes.astype(float)
    return np.where(codes < 0, np.nan, codes)
