"""Figures about the data: how many of each class, how large, and who was left out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from melascope.reports import wording
from melascope.reports.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    UNAUDITED,
    VERMILION,
    bare,
    class_name,
    empty,
    new,
    short,
    styled,
)


@styled
def class_counts(counts: pd.DataFrame, *, stamp: str = UNAUDITED) -> Figure:
    """Draw photographs per class, one panel for each part; every bar is labelled with its count.

    Args:
        counts: One row per class (index: codes), one column per part, whole numbers.
        stamp: Printed in the corner.

    Example:
        >>> figure = class_counts(pd.DataFrame({"train": [438, 357]}, index=["MEL", "NV"]))
    """
    if counts.empty or not len(counts.columns):
        return empty("No classes to count.", stamp)
    parts = [str(part) for part in counts.columns]
    rows = np.arange(len(counts))
    figure = new(1.9 + 1.25 * max(2, len(parts)), 1.0 + 0.27 * len(counts), stamp)
    panels: Sequence[Axes] = np.atleast_1d(figure.subplots(1, len(parts), sharey=True)).tolist()
    for panel, part, column in zip(panels, parts, counts.columns, strict=True):
        values = counts[column].fillna(0).to_numpy(dtype=float)
        panel.barh(rows, values, height=0.68, color=[VERMILION if c == "MEL" else BLUE for c in counts.index])
        for row, value in zip(rows, values, strict=True):
            panel.annotate(
                wording.count(value),
                (value, row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        panel.set_title(part)
        panel.set_xlabel(f"n = {wording.count(values.sum())}")
        panel.set_xlim(0, max(1.0, values.max()) * 1.42)
        panel.set_xticks([])
        panel.spines["bottom"].set_visible(False)
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(rows, [short(class_name(code)) for code in counts.index], color=INK, fontsize=9)
    panels[0].invert_yaxis()
    return figure


@styled
def image_sizes(widths: Sequence[float], heights: Sequence[float], *, stamp: str = UNAUDITED) -> Figure:
    """Draw the sizes of the photographs, in pixels: one disc per size, its area the number of photographs."""
    both = pd.DataFrame({"width": pd.to_numeric(pd.Series(widths), errors="coerce")})
    both["height"] = pd.to_numeric(pd.Series(heights), errors="coerce").to_numpy()
    both = both.dropna().astype(float)
    if both.empty:
        return empty("The sizes of the photographs are not known.", stamp)
    sizes = both.value_counts().reset_index(name="n").sort_values("n", ascending=False)
    figure = new(4.6, 3.4, stamp)
    axes = figure.subplots()
    area = 30 + 550 * sizes["n"] / sizes["n"].max()
    axes.scatter(sizes["width"], sizes["height"], s=area, color=BLUE, alpha=0.35, edgecolor=BLUE, linewidth=0.8)
    for row in sizes.head(3).itertuples():
        axes.annotate(
            f"{row.width:.0f} × {row.height:.0f}\nn = {wording.count(row.n)}",
            (float(row.width), float(row.height)),  # type: ignore[arg-type]
            xytext=(0, 16),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    for limits, column in ((axes.set_xlim, "width"), (axes.set_ylim, "height")):
        low, high = sizes[column].min(), sizes[column].max()
        margin = max(0.28 * (high - low), 0.12 * high)
        limits(max(0, low - margin), high + margin)
    axes.grid(True)
    axes.set_xlabel("width (pixels)")
    axes.set_ylabel("height (pixels)")
    axes.set_title(f"{wording.plural(len(sizes), 'size')}, {wording.plural(len(both), 'photograph')}")
    return figure


@styled
def flow_diagram(
    flow: Sequence[Mapping[str, Any]], parts: Mapping[str, int] | None = None, *, stamp: str = UNAUDITED
) -> Figure:
    """Draw the way from photographs found to photographs scored, after STARD (Bossuyt et al. 2015).

    Args:
        flow: Steps in order, each `{"label", "photographs", "excluded": {reason: count}}`;
            `excluded` is what left on the way to that step.
        parts: Photographs in each part at the end, drawn as the last row of boxes.
        stamp: Printed in the corner.
    """
    if not flow:
        return empty("No flow of photographs was recorded.", stamp)
    boxes, arrows, y = _flow_layout(flow, parts or {})
    width, height = 6.2, -y + 0.35
    figure = new(width, height, stamp)
    axes = figure.subplots()
    bare(axes)
    axes.set_xlim(0, width)
    axes.set_ylim(y - 0.1, 0.08)
    for x, top, w, h, title, lines, main in boxes:
        shape = FancyBboxPatch(
            (x, top - h),
            w,
            h,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="#eef4fa" if main else "white",
            edgecolor=BLUE if main else "#aab4c0",
            linewidth=1.0,
            linestyle="-" if main else (0, (4, 2)),
        )
        axes.add_patch(shape)
        for i, line in enumerate([*title, *lines]):
            bold = i < len(title)
            axes.text(
                x + 0.1,
                top - 0.16 - 0.17 * i,
                line,
                va="center",
                fontsize=8.5,
                fontweight="bold" if bold and main else "normal",
                color=INK if bold or main else MUTED,
            )
    for start, end in arrows:
        # Horizontal lines between the last row's boxes only connect; the others lead somewhere.
        head = "-" if start[1] == end[1] and end[0] != 3.0 else "-|>"
        style = {"arrowstyle": head, "color": MUTED, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", xy=end, xytext=start, arrowprops=style)
    axes.axhline(y - 0.1, color=GRID, linewidth=0)
    return figure


def _flow_layout(
    flow: Sequence[Mapping[str, Any]], parts: Mapping[str, int]
) -> tuple[list[tuple[float, float, float, float, list[str], list[str], bool]], list[tuple[Any, Any]], float]:
    """Return boxes (x, top, width, height, title lines, other lines, main), arrows and the lowest y, in inches."""
    boxes: list[tuple[float, float, float, float, list[str], list[str], bool]] = []
    arrows: list[tuple[Any, Any]] = []
    y, bottom = 0.0, 0.0
    for index, step in enumerate(flow):
        left_out = {str(reason): n for reason, n in (step.get("excluded") or {}).items() if n}
        if index:
            lines = [
                line
                for reason, n in left_out.items()
                for line in textwrap.wrap(f"{wording.count(n)}  {reason}", 46, subsequent_indent="     ")
            ]
            gap = 0.3
            if left_out:
                title = [f"left out: {wording.count(sum(left_out.values()))}"]
                h = 0.17 * (len(lines) + 1) + 0.16
                boxes.append((3.0, y - 0.14, 3.15, h, title, lines, False))
                arrows.append(((1.2, y - 0.14 - h / 2), (3.0, y - 0.14 - h / 2)))
                gap = h + 0.28
            arrows.append(((1.2, y), (1.2, y - gap)))
            y -= gap
        title = textwrap.wrap(str(step.get("label", "")), 30) or [""]
        h = 0.17 * (len(title) + 1) + 0.16
        boxes.append((0.05, y, 2.6, h, title, [wording.plural(step.get("photographs"), "photograph")], True))
        y -= h
        bottom = y
    if parts:
        w = (6.1 - 0.1 * (len(parts) - 1)) / len(parts)
        for index, (part, n) in enumerate(parts.items()):
            x = 0.05 + index * (w + 0.1)
            boxes.append((x, y - 0.42, w, 0.5, [str(part)], [wording.count(n)], True))
            arrows.append(((min(max(1.2, x + w / 2), x + w / 2), y - 0.2), (x + w / 2, y - 0.42)))
        last = 0.05 + (len(parts) - 1) * (w + 0.1) + w / 2
        arrows.append(((1.2, y), (1.2, y - 0.22)))
        arrows.append(((min(1.2, 0.05 + w / 2), y - 0.2), (last, y - 0.2)))
        bottom = y - 0.92
    return boxes, arrows, bottom
