"""Score against the number of lesions, with the curve that is fitted and what it says of twice as many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from melascope.reports import wording
from melascope.reports.figures.style import BLUE, INK, LINES, MUTED, SKY, UNAUDITED, VERMILION, empty, new, styled


@styled
def learning_curve(
    points: Sequence[Mapping[str, Any]],
    trainings: Sequence[Mapping[str, Any]],
    fits: Mapping[str, Mapping[str, Any]],
    scores: Sequence[tuple[str, str]],
    *,
    chance: Mapping[str, float] | None = None,
    stamp: str = UNAUDITED,
    unit: str = "lesions",
) -> Figure:
    """Draw each training as a dot, the mean of each size with its 95 % interval, the power law, and its extrapolation.

    Args:
        points: Of each size: `groups`, and `scores` (score to estimate).
        trainings: Of each training: `seed`, `fold`, `groups` and the scores.
        fits: Of each score: `a`, `b`, `c`, `groups` and `score`, or nothing where none was fitted.
        scores: Keys and titles, one panel each.
        chance: What guessing reaches, by score.
        stamp: Printed in the corner.
        unit: What `groups` counts.
    """
    shown = [(key, title) for key, title in scores if any(wording.known(p["scores"].get(key)) for p in points)]
    if not shown:
        return empty("No learning curve: no score is defined.", stamp)
    figure = new(3.9 * len(shown) if len(shown) > 1 else 5.4, 3.5, stamp)
    panels = np.atleast_1d(figure.subplots(1, len(shown)))
    for panel, (key, title) in zip(panels, shown, strict=True):
        sizes = [wording.number(p["groups"]) for p in points]
        _dots(panel, trainings, key)
        for size, point in zip(sizes, points, strict=True):
            _mean(panel, size, point["scores"].get(key), BLUE, "o")
        ticks = [*sizes, *_extrapolated(panel, sizes, fits.get(key) or {})]
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(ticks))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xticklabels([wording.count(tick) for tick in ticks])
        panel.set_xlim(min(ticks) / 1.25, max(ticks) * 1.3)
        if chance and key in chance and panel.get_ylim()[0] <= chance[key] <= panel.get_ylim()[1]:
            panel.axhline(chance[key], color=MUTED, linewidth=0.9, linestyle=LINES[2])
            panel.annotate(
                "chance", (min(ticks) / 1.2, chance[key]), xytext=(0, 3), textcoords="offset points", fontsize=8
            )
        panel.grid(True, axis="y")
        panel.set_title(title)
        panel.set_xlabel(f"{unit} in training")
    return figure


def _dots(panel: Any, trainings: Sequence[Mapping[str, Any]], key: str) -> None:
    curves: dict[tuple[Any, Any], list[tuple[float, float]]] = {}
    for row in trainings:
        value = wording.number(row.get(key))
        if np.isfinite(value):
            curves.setdefault((row["seed"], row["fold"]), []).append((wording.number(row["groups"]), value))
    for curve in curves.values():
        panel.plot(*zip(*sorted(curve), strict=True), "o-", color=SKY, alpha=0.35, markersize=3.5, linewidth=0.8)


def _mean(panel: Any, size: float, estimate: Any, colour: str, marker: str) -> None:
    if not wording.known(estimate):
        return
    low, high = wording.bounds(estimate)
    panel.plot([size, size], [low, high], color=colour, linewidth=1.8, solid_capstyle="butt")
    panel.plot([size], [wording.value(estimate)], marker, color=colour, markersize=6)


def _extrapolated(panel: Any, sizes: Sequence[float], fit: Mapping[str, Any]) -> list[float]:
    """Draw a law over what was measured, and dashed to what it is asked for; return that size."""
    if "a" not in fit:
        return []
    asked = float(fit["groups"]["asked"])

    def curve(n: np.ndarray) -> np.ndarray:
        values: np.ndarray = fit["a"] - fit["b"] * n ** -fit["c"]
        return values

    inside, beyond = np.geomspace(min(sizes), max(sizes), 60), np.geomspace(max(sizes), asked, 20)
    panel.plot(inside, curve(inside), color=INK, linewidth=1.2)
    panel.plot(beyond, curve(beyond), color=INK, linewidth=1.2, linestyle=LINES[1])
    _mean(panel, asked, fit["score"], VERMILION, "D")
    panel.annotate(
        f"twice as many: {wording.score(fit['score']).replace(wording.NBSP, ' ')}",
        (0.98, 0.03), xycoords="axes fraction", ha="right", fontsize=8, color=VERMILION,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip
    return [asked]
