"""Scores: the confusion matrix, and points with intervals per class or per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from melascope.reports import wording
from melascope.reports.figures.style import (
    BLUE,
    GRID,
    INK,
    MUTED,
    UNAUDITED,
    VERMILION,
    class_name,
    empty,
    new,
    percent_axis,
    short,
    styled,
)
from melascope.reports.wording import Estimate


@styled
def confusion(
    matrix: Sequence[Sequence[float]], classes: Sequence[str], *, title: str = "", stamp: str = UNAUDITED
) -> Figure:
    """Draw a confusion matrix: each cell has its count and its share of the row, the shade is the share.

    Args:
        matrix: `(c, c)` counts; rows are the diagnoses, columns what the model said.
        classes: The codes of rows and columns.
        title: Above the matrix.
        stamp: Printed in the corner.
    """
    counts = np.asarray(matrix, dtype=float)
    n = len(classes)
    if counts.shape != (n, n) or not np.nansum(counts):
        return empty("No confusion matrix: nothing was scored.", stamp)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    figure = new(1.9 + 0.52 * n, 1.25 + 0.44 * n, stamp)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for i in range(n):
        for j in range(n):
            dark = shares[i, j] > 0.6
            colour = "white" if dark else INK if counts[i, j] else "#a6afba"
            heavy = "bold" if i == j else "normal"
            axes.text(j, i - 0.14, wording.count(counts[i, j]), ha="center", va="center", color=colour, weight=heavy)
            if counts[i, j]:
                text = f"{wording.percentage(shares[i, j])} %"
                axes.text(j, i + 0.22, text, ha="center", va="center", fontsize=7.5, color=colour)
    names = [f"{short(class_name(c), 24)}  n={wording.count(t)}" for c, t in zip(classes, totals[:, 0], strict=True)]
    axes.set_yticks(range(n), names, color=INK)
    axes.set_xticks(range(n), [short(c, 7) for c in classes], color=INK)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("the model's first choice")
    axes.set_ylabel("diagnosis")
    if title:
        axes.set_title(title)
    return figure


@styled
def per_class_intervals(
    per_class: Mapping[str, Mapping[str, Any]],
    *,
    scores: Sequence[str] = ("sensitivity", "specificity"),
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw each class's scores as a point with its 95 % interval; classes with fewer than ten stay grey.

    Args:
        per_class: Code to `{"sensitivity": estimate, ..., "n"}`.
        scores: Which scores, one panel each.
        stamp: Printed in the corner.
    """
    shown = [c for c in per_class if any(wording.known(per_class[c].get(score)) for score in scores)]
    if not shown:
        return empty("No scores per class.", stamp)
    figure = new(1.9 + 2.5 * len(scores), 1.05 + 0.32 * len(shown), stamp)
    panels = np.atleast_1d(figure.subplots(1, len(scores), sharey=True))
    for panel, score in zip(panels, scores, strict=True):
        for row, code in enumerate(shown):
            few = bool(per_class[code].get("too_few")) or (wording.number(per_class[code].get("n")) < wording.FEW)
            _interval(panel, row, per_class[code].get(score), few, emphasised=code == "MEL")
        panel.set_title(score)
        panel.set_xlim(-0.02, 1.75)
        percent_axis(panel.xaxis, "")
        panel.set_xticks([0, 0.5, 1])  # the panels are narrow: quarters run into each other
        panel.spines["bottom"].set_bounds(0, 1)
        panel.grid(True, axis="x")
    labels = [f"{short(class_name(c), 26)}  n={wording.count(per_class[c].get('n'))}" for c in shown]
    panels[0].set_yticks(range(len(shown)), labels, color=INK)
    panels[0].set_ylim(len(shown) - 0.5, -0.5)
    return figure


@styled
def intervals(
    rows: Sequence[tuple[str, Estimate | None]],
    *,
    title: str = "",
    chance: float | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw labelled proportions as points with 95 % intervals, one under the other.

    Args:
        rows: `(label, estimate)` in order.
        title: Above the axes.
        chance: What guessing reaches, drawn as a dashed line.
        stamp: Printed in the corner.
    """
    shown = [(label, estimate) for label, estimate in rows if wording.known(estimate)]
    if not shown:
        return empty("No scores to compare.", stamp)
    figure = new(5.4, 1.0 + 0.32 * len(shown), stamp)
    axes = figure.subplots()
    for row, (_, estimate) in enumerate(shown):
        _interval(axes, row, estimate, wording.too_few(estimate), emphasised=False)
    labels = [f"{short(label, 30)}  n={wording.count((e or {}).get('n'))}" for label, e in shown]
    axes.set_yticks(range(len(shown)), labels, color=INK)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.62)
    percent_axis(axes.xaxis, "")
    axes.spines["bottom"].set_bounds(0, 1)
    axes.grid(True, axis="x")
    if chance is not None:
        axes.axvline(chance, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
        axes.text(chance, len(shown) - 0.52, " chance", fontsize=7.5, color=MUTED, va="bottom")
    if title:
        axes.set_title(title)
    return figure


def _interval(axes: Any, row: int, estimate: Estimate | None, few: bool, *, emphasised: bool) -> None:
    """Draw one point with its interval and its numbers at the right."""
    centre = wording.value(estimate)
    if not np.isfinite(centre):
        axes.text(1.04, row, "–", va="center", fontsize=8, color=MUTED)
        return
    low, high = wording.bounds(estimate)
    colour = MUTED if few else VERMILION if emphasised else BLUE
    axes.plot([low, high], [row, row], color=colour, linewidth=1.6, alpha=0.5 if few else 1, solid_capstyle="butt")
    axes.plot([centre], [row], marker="o", color="white" if few else colour, markeredgecolor=colour, markersize=6)
    text = "too few" if few else wording.percent(estimate).replace(wording.NBSP, " ")
    axes.text(1.04, row, text.replace(" to ", "–"), va="center", fontsize=8, color=MUTED if few else INK)
    axes.axhline(row + 0.5, color=GRID, linewidth=0.6)
