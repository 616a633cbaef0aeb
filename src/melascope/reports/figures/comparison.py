"""Figures that put runs side by side."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from melascope.reports import wording
from melascope.reports.figures.style import BLUE, GRID, INK, MUTED, UNAUDITED, empty, new, short, styled


@styled
def compare_forest(differences: pd.DataFrame, *, title: str = "", stamp: str = UNAUDITED) -> Figure:
    """Draw paired differences with their 95 % intervals around the line of no difference.

    A filled point is shown to differ; a hollow one is not.

    Args:
        differences: Columns `name`, `value`, `low`, `high`, and optionally `differs`; without it, a difference is what
            has an interval that leaves out zero.
        title: Above the axes.
        stamp: Printed in the corner.
    """
    numbers = differences.copy()
    for column in ("value", "low", "high"):
        numbers[column] = pd.to_numeric(numbers[column], errors="coerce") if column in numbers else np.nan
    numbers = numbers[np.isfinite(numbers["value"])]
    if numbers.empty:
        return empty("No differences to draw.", stamp)
    figure = new(7.0, 1.15 + 0.34 * len(numbers), stamp)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1)
    rows = numbers.to_dict("records")
    reach = 1.15 * max(0.02, float(np.nanmax(np.abs(numbers[["value", "low", "high"]].to_numpy()))))
    for row, entry in enumerate(rows):
        told = differs(entry)
        colour = BLUE if told else MUTED
        axes.plot([entry["low"], entry["high"]], [row, row], color=colour, linewidth=1.8)
        axes.plot([entry["value"]], [row], marker="o", color=colour if told else "white", markeredgecolor=colour)
        axes.text(1.05 * reach, row, difference(entry["value"], entry["low"], entry["high"]), va="center", fontsize=8)
        axes.axhline(row + 0.5, color=GRID, linewidth=0.6)
    axes.set_xlim(-reach, 2.9 * reach)
    axes.set_yticks(range(len(rows)), [short(entry.get("name", ""), 44) for entry in rows], color=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([t for t in axes.get_xticks() if -reach <= t <= reach])
    axes.set_xlabel("difference (filled: shown to differ)", loc="left")
    if title:
        axes.set_title(title)
    return figure


def differs(entry: Mapping[Hashable, Any]) -> bool:
    """Whether a row says that it differs; without a word of its own, whether its interval leaves out zero."""
    if entry.get("differs") is not None:
        return bool(entry["differs"])
    return wording.number(entry.get("low")) > 0 or wording.number(entry.get("high")) < 0


def difference(value: object, low: object, high: object) -> str:
    """Return `+0.03 (−0.01 to +0.07)`."""
    shown = [wording.number(x) for x in (value, low, high)]
    text = [("–" if np.isnan(x) else f"{x:+.3f}".replace("-", "−")) for x in shown]
    return text[0] if np.isnan(shown[1]) else f"{text[0]} ({text[1]} to {text[2]})"
