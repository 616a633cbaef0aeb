"""The figure of a split: how the photographs of each diagnosis fall to the parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from melascope.reports import wording
from melascope.reports.figures.style import BLUE, INK, MUTED, SERIES, UNAUDITED, empty, new, percent_axis, short, styled

MOST_PARTS = 20
"""More parts or folds than these are drawn as a range."""


@styled
def shares(table: pd.DataFrame, *, stamp: str = UNAUDITED) -> Figure:
    """Draw one bar for each diagnosis, divided as its photographs are; a good split has bars that look alike.

    Of more than `MOST_PARTS` parts nobody could tell the pieces apart: then the line of a diagnosis runs from its
    smallest share to its largest, with a point at the middle one.

    Args:
        table: Diagnoses by name (rows), parts or folds (columns); each row adds up to 1.
        stamp: Printed in the corner.

    Example:
        >>> figure = shares(pd.DataFrame({"train": [0.7, 0.6], "test": [0.3, 0.4]}, index=["melanoma", "nevus"]))
    """
    if table.empty:
        return empty("Nothing was divided.", stamp)
    if len(table.columns) > MOST_PARTS:
        return _ranges(table, stamp)
    figure = new(6.6, 1.3 + 0.3 * len(table), stamp)
    axes = figure.subplots()
    rows, left = np.arange(len(table)), np.zeros(len(table))
    for number, part in enumerate(table.columns):
        values = table[part].fillna(0).to_numpy(dtype=float)
        # More folds than colours: shade tells them apart, and so does the label inside.
        colour, alpha = SERIES[number % len(SERIES)], 0.55 if number >= len(SERIES) else 0.85
        axes.barh(rows, values, left=left, height=0.7, color=colour, alpha=alpha, edgecolor="white", label=str(part))
        for row, value in enumerate(values):
            if value >= 0.07:
                place = float(left[row] + value / 2)
                axes.text(place, row, wording.share(value), ha="center", va="center", fontsize=7.5, color="white")
        left = left + values
    axes.set_yticks(rows, [short(str(name)) for name in table.index], color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    percent_axis(axes.xaxis, "share of the diagnosis' photographs")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(len(table.columns), 5), frameon=False, fontsize=8.5)
    return figure


def _ranges(table: pd.DataFrame, stamp: str) -> Figure:
    figure = new(6.6, 1.3 + 0.3 * len(table), stamp)
    axes = figure.subplots()
    rows, values = np.arange(len(table)), table.fillna(0).to_numpy(dtype=float)
    low, middle, high = values.min(axis=1), np.median(values, axis=1), values.max(axis=1)
    axes.hlines(rows, low, high, color=BLUE, linewidth=3, alpha=0.45, label="smallest to largest share")
    axes.plot(middle, rows, "o", color=BLUE, label="middle one")
    even = 1 / len(table.columns)
    axes.axvline(
        even, color=MUTED, linestyle=(0, (5, 2)), linewidth=1, label=f"an even share, 1 of {len(table.columns)}"
    )
    for row, (least, most) in enumerate(zip(low, high, strict=True)):
        told = f"  {wording.share(least, 1000)} to {wording.share(most, 1000)}"
        axes.text(float(most), row, told, ha="left", va="center", fontsize=7.5)
    axes.set_yticks(rows, [short(str(name)) for name in table.index], color=INK)
    axes.invert_yaxis()
    # Room for the words at the right of the longest line.
    axes.set_xlim(0, 1.35 * max(float(high.max()), even))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_xlabel(f"share of the diagnosis' photographs in each of {len(table.columns)}")
    axes.grid(True, axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8.5)
    return figure
