"""The photographs of a report: loaded once each, small, and never a reason for a report to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from melascope.errors import MelascopeError
from melascope.reports import wording
from melascope.reports.page import Picture, jpeg

LoadPicture = Callable[[str], np.ndarray]
"""Loads a photograph by its path as `(h, w, 3) uint8`, sRGB."""


class Album:
    """Turns rows of a table into pictures for a page.

    Args:
        load: Loads a photograph by its path; None shows blanks.
        longest: The longer side of a picture in the page, in pixels.
    """

    def __init__(self, load: LoadPicture | None, longest: int = 160) -> None:
        self._load = load
        self._longest = longest
        self._sources: dict[str, str | None] = {}

    def source(self, path: str) -> str | None:
        """Return the photograph as a data URI, or None where it cannot be shown."""
        if path not in self._sources:
            self._sources[path] = self._encode(path)
        return self._sources[path]

    def _encode(self, path: str) -> str | None:
        if self._load is None:
            return None
        try:
            return jpeg(self._load(path), self._longest)
        except (MelascopeError, OSError, ValueError):
            # An unreadable photograph is listed by the audit; here it is a blank with its name.
            return None

    def picture(self, row: Any, caption: str, alt: str, tag: str = "", level: str = "note") -> Picture:
        """Return the picture of a table's row, which has `path`."""
        source = self.source(str(row["path"]))
        return Picture(source, alt if source else f"{alt} (cannot be shown)", caption, tag, level)


def name_of(row: Any) -> str:
    """Return what to call a row's photograph: its image id, else its file name without folders."""
    image_id = row.get("image_id")
    if image_id is not None and not pd.isna(image_id) and str(image_id).strip():
        return str(image_id)
    return PurePath(str(row["path"])).name


def describe(row: Any) -> str:
    """Return an alternative text such as `Photograph ISIC_0000001, nevus`."""
    diagnosis = row.get("diagnosis")
    told = "" if diagnosis is None or pd.isna(diagnosis) else f", {wording.class_name(diagnosis)}"
    return f"Photograph {name_of(row)}{told}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that the scan, or the predictor, could read."""
    for column in ("error_kind", "error"):
        if column in table:
            return table[table[column].isna()]
    return table


def spread(frame: pd.DataFrame, column: str, n: int) -> pd.DataFrame:
    """Return `n` rows evenly spaced over the values of a column, so that examples are not the extremes only."""
    ordered = frame.sort_values(column, ascending=False, kind="stable")
    if len(ordered) <= n:
        return ordered
    return ordered.iloc[np.linspace(0, len(ordered) - 1, n).round().astype(int)]


def records(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """Return the rows as dictionaries."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
