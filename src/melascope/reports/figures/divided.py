"""The figure of a split: how the photographs of each diagnosis fall to the parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from melascope.reports import wording
from melascope.reports.figures.style import INK, SERIES, UNAUDITED, empty, new, percent_axis, short, styled


@styled
def shares(table: pd.DataFrame, *, stamp: str = UNAUDITED) -> Figure:
    """Draw one bar for each diagnosis, divided as its photographs are; a good split has bars that look alike.

    Args:
        table: Diagnoses by name (rows), parts or folds (columns); each row adds up to 1.
        stamp: Printed in the corner.

    Example:
        >>> figure = shares(pd.DataFrame({"train": [0.7, 0.6], "test": [0.3, 0.4]}, index=["melanoma", "nevus"]))
    """
    if table.empty:
        return empty("Nothing was divided.", stamp)
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
