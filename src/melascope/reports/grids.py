"""Grids of photographs: some of each class, of each source, of each fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.reports import wording
from melascope.reports.album import Album, describe, name_of, readable, records
from melascope.reports.page import Details, Gallery

COLUMNS = {"diagnosis": "class", "source": "source", "fold": "fold", "part": "part", "site": "site"}
"""What photographs are sorted by, and what to call it."""
_MOST_VALUES = 24


def grids(table: pd.DataFrame, album: Album, stamp: str, seed: int = 0, n: int = 8) -> list[Any]:
    """Return, for each column that tells photographs apart, a fold-out with a row of photographs for each value.

    Args:
        table: The image table.
        album: Makes the pictures.
        stamp: Printed under each grid.
        seed: Of the draw.
        n: Photographs of each value.
    """
    usable, blocks = readable(table), []
    for column, what in COLUMNS.items():
        if column not in usable:
            continue
        values = usable[column].value_counts()
        if not 2 <= len(values) <= _MOST_VALUES:
            continue
        order = diagnosis.ordered(values.index) if column == "diagnosis" else sorted(values.index, key=str)
        rng = np.random.default_rng(seed)
        galleries = [_row(usable[usable[column] == value], column, value, album, stamp, rng, n) for value in order]
        blocks.append(Details(f"By {what}: {n} photographs of each", galleries))
    return blocks


def _row(
    rows: pd.DataFrame, column: str, value: Any, album: Album, stamp: str, rng: np.random.Generator, n: int
) -> Gallery:
    drawn = rows.iloc[np.sort(rng.permutation(len(rows))[:n])]
    other = "source" if column == "diagnosis" else "diagnosis"
    shown = []
    for row in records(drawn):
        told = row.get(other)
        words = "" if told is None or pd.isna(told) else wording.class_name(told) if other == "diagnosis" else str(told)
        shown.append(album.picture(row, " · ".join(filter(None, (name_of(row), words))), describe(row)))
    title = wording.class_name(value) if column == "diagnosis" else f"{COLUMNS[column]} {value}"
    note = f"{len(drawn)} of {wording.plural(len(rows), 'photograph')}, drawn at random."
    return Gallery(shown, title[:1].upper() + title[1:], note, stamp)
