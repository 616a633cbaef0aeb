"""Curves: ROC, precision-recall, reliability and decision.

Each states its area or its slope with the interval, and the ROC marks the
operating point where it was measured, which is not where it was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from melascope.reports import wording
from melascope.reports.figures.style import (
    BLUE,
    INK,
    LINES,
    MARKERS,
    MUTED,
    SERIES,
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
def roc(
    curves: Mapping[str, Mapping[str, Any]],
    *,
    auc: Mapping[str, Estimate | None] | None = None,
    points: Mapping[str, Mapping[str, Any]] | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw receiver operating characteristics with their areas and operating points.

    Args:
        curves: Name to `{"fpr": [...], "tpr": [...]}`.
        auc: Name to the area with its interval.
        points: Name to an operating point `{"sensitivity", "specificity", ...}`, each an estimate;
            drawn as a cross whose arms are the intervals.
        stamp: Printed in the corner.
    """
    shown = _usable(curves, "fpr", "tpr")
    if not shown:
        return empty("No ROC curve: too few photographs of one kind.", stamp)
    figure = new(4.6, 4.5, stamp)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=LINES[2])
    axes.annotate("chance", (0.6, 0.6), xytext=(4, -10), textcoords="offset points", fontsize=8, color=MUTED)
    handles: list[Any] = []
    for index, (name, (x, y)) in enumerate(shown.items()):
        label = f"{short(class_name(name), 22)}: AUC {wording.score((auc or {}).get(name))}"
        handles += axes.plot(x, y, color=SERIES[index % 7], linestyle=LINES[index % 7], label=label)
        point = (points or {}).get(name)
        if point:
            _cross(axes, point, index)
    if points:
        handles += axes.plot([], [], color=INK, marker="o", linestyle="", label="operating point, 95 % intervals")
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    percent_axis(axes.xaxis, "false alerts (1 − specificity)")
    percent_axis(axes.yaxis, "sensitivity")
    axes.set_title(_title("ROC", (auc or {}).get(next(iter(shown)))))
    axes.legend(handles=handles, loc="lower right", fontsize=8, framealpha=0.85, frameon=True, edgecolor="none")
    return figure


def _cross(axes: Any, point: Mapping[str, Any], index: int) -> None:
    sensitivity, specificity = wording.value(point.get("sensitivity")), wording.value(point.get("specificity"))
    if not np.isfinite([sensitivity, specificity]).all():
        return
    low, high = wording.bounds(point.get("sensitivity"))
    right, left = (1 - bound for bound in wording.bounds(point.get("specificity")))
    x = 1 - specificity
    colour = SERIES[index % 7]
    axes.plot([x, x], [low, high], color=colour, linewidth=1.4, zorder=4)
    axes.plot([left, right], [sensitivity, sensitivity], color=colour, linewidth=1.4, zorder=4)
    axes.plot(
        [x],
        [sensitivity],
        marker=MARKERS[index % 7],
        color=colour,
        markersize=8,
        markeredgecolor="white",
        markeredgewidth=1.2,
        zorder=5,
    )


@styled
def precision_recall(
    curves: Mapping[str, Mapping[str, Any]],
    *,
    average_precision: Mapping[str, Estimate | None] | None = None,
    prevalence: Mapping[str, float] | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw precision-recall curves with average precision and the line of chance.

    Args:
        curves: Name to `{"recall": [...], "precision": [...]}`.
        average_precision: Name to the score with its interval.
        prevalence: Name to the share of positives, which is the precision of chance.
        stamp: Printed in the corner.
    """
    shown = _usable(curves, "recall", "precision")
    if not shown:
        return empty("No precision-recall curve: too few photographs of one kind.", stamp)
    figure = new(4.6, 4.5, stamp)
    axes = figure.subplots()
    for index, (name, (x, y)) in enumerate(shown.items()):
        label = f"{short(class_name(name), 20)}: AP {wording.score((average_precision or {}).get(name))}"
        # Average precision takes each precision over the step of recall that leads to it.
        where: Any = "pre" if x[0] < x[-1] else "post"
        axes.step(x, y, where=where, color=SERIES[index % 7], linestyle=LINES[index % 7], label=label)
        chance = wording.number((prevalence or {}).get(name))
        if np.isfinite(chance):
            axes.axhline(chance, color=SERIES[index % 7], linewidth=0.9, linestyle=LINES[2], alpha=0.7)
            text = f"chance, {short(class_name(name), 16)}: {wording.share(chance)}"
            axes.annotate(text, (0.0, chance), xytext=(2, 3), textcoords="offset points", fontsize=8, color=MUTED)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    percent_axis(axes.xaxis, "sensitivity (recall)")
    percent_axis(axes.yaxis, "precision in these data")
    axes.set_title("Precision and recall")
    axes.legend(loc="upper right", fontsize=8, framealpha=0.85, frameon=True, edgecolor="none")
    return figure


@styled
def reliability(
    bins: Sequence[Mapping[str, Any]],
    *,
    name: str = "melanoma",
    slope: Estimate | None = None,
    intercept: Estimate | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw predicted against observed risk in equal-mass bins, with 95 % intervals.

    Args:
        bins: Each `{"predicted": mean risk, "observed": estimate}`.
        name: Of the risk.
        slope: Of the logistic recalibration; 1 is perfect.
        intercept: Of the logistic recalibration; 0 is perfect.
        stamp: Printed in the corner.
    """
    rows = [
        (wording.number(b.get("predicted")), wording.value(b.get("observed")), *wording.bounds(b.get("observed")))
        for b in bins
    ]
    points = np.array([row for row in rows if np.isfinite(row[:2]).all()], dtype=float)
    if not len(points):
        return empty("No reliability diagram: nothing was scored.", stamp)
    figure = new(4.6, 4.5, stamp)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=LINES[2])
    axes.annotate("as predicted", (0.7, 0.7), xytext=(6, -12), textcoords="offset points", fontsize=8, color=MUTED)
    axes.vlines(points[:, 0], points[:, 2], points[:, 3], color=BLUE, linewidth=1.4)
    axes.plot(points[:, 0], points[:, 1], color=BLUE, marker="o", linewidth=1.2)
    n = sum(wording.cases(b.get("observed")) or 0 for b in bins)
    told = f"slope {wording.score(slope)}\nintercept {wording.score(intercept)}\nn = {wording.count(n)}"
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none"}
    axes.text(0.98, 0.03, told, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, bbox=box)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    percent_axis(axes.xaxis, f"predicted {name} risk")
    percent_axis(axes.yaxis, f"observed share of {name}")
    axes.set_title(f"Calibration, {name}")
    return figure


@styled
def decision_curve(
    curve: Mapping[str, Any],
    *,
    name: str = "melanoma",
    threshold: float | None = None,
    n: int | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw the net benefit over thresholds at a stated prevalence (Vickers and Elkin 2006).

    Args:
        curve: `{"prevalence", "threshold": [...], "model": [...], "everybody": [...]}`; with `low` and `high`, where
            there is an interval, a band.
        name: Of what is found.
        threshold: The operating point's, drawn as a vertical line where it is in range.
        n: Of the photographs behind the curve.
        stamp: Printed in the corner.
    """
    shown = _usable(
        {key: {"x": curve.get("threshold"), "y": curve.get(key)} for key in ("model", "low", "high", "everybody")},
        "x",
        "y",
    )
    prevalence = wording.number(curve.get("prevalence"))
    if "model" not in shown or not np.isfinite(prevalence):
        return empty("No decision curve.", stamp)
    figure = new(4.6, 4.5, stamp)
    axes = figure.subplots()
    x, y = shown["model"]
    if "low" in shown and "high" in shown:
        axes.fill_between(x, shown["low"][1], shown["high"][1], color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(x, y, color=BLUE, label="by this model")
    if "everybody" in shown:
        axes.plot(*shown["everybody"], color=VERMILION, linestyle=LINES[1], label="referring everybody")
    axes.axhline(0, color=MUTED, linewidth=1.2, linestyle=LINES[2], label="referring nobody")
    if threshold is not None and x.min() <= threshold <= x.max():
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle=LINES[3], label="operating point")
    # Far beyond the prevalence nobody's curve is in the picture: show what is, and the operating point.
    seen = x[y > -0.5 * prevalence]
    axes.set_xlim(0, min(x.max(), 1.3 * max(seen.max(initial=0.0), threshold or 0.0, 2 * prevalence)))
    axes.set_ylim(-0.5 * prevalence, 1.1 * prevalence)
    axes.text(0.03, 0.03, f"n = {wording.count(n)}", transform=axes.transAxes, fontsize=8.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.grid(True)
    axes.set_xlabel("risk from which one would refer")
    axes.set_ylabel("net benefit per lesion")
    axes.set_title(f"Decision curve, {name}, prevalence {wording.share(prevalence)}")
    axes.legend(loc="upper right", fontsize=8, framealpha=0.85, frameon=True, edgecolor="none")
    return figure


def _usable(curves: Mapping[str, Mapping[str, Any]], x: str, y: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the curves that have two equally long finite columns."""
    found = {}
    for name, curve in curves.items():
        if not isinstance(curve, Mapping) or curve.get(x) is None or curve.get(y) is None:
            continue
        columns = np.array(curve[x], dtype=float), np.array(curve[y], dtype=float)
        if len(columns[0]) == len(columns[1]) > 1:
            keep = np.isfinite(columns[0]) & np.isfinite(columns[1])
            if keep.sum() > 1:
                found[name] = (columns[0][keep], columns[1][keep])
    return found


def _title(text: str, estimate: Estimate | None) -> str:
    n = wording.cases(estimate)
    return text if n is None else f"{text}, n = {wording.count(n)}"
