"""Scores fold by fold, recipes one under the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from melascope.reports import wording
from melascope.reports.figures.style import BLUE, GRID, INK, MUTED, SERIES, UNAUDITED, empty, new, short, styled


@styled
def fold_scores(
    recipes: Mapping[str, Mapping[str, Any]],
    scores: Sequence[tuple[str, str]],
    *,
    chance: Mapping[str, float] | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw every fold's score as a dot, its mean with its 95 % interval; a thin line joins a fold across recipes.

    Args:
        recipes: Name to `scores` (score to estimate) and `by_fold` (rows with `seed`, `fold` and the scores).
        scores: Keys and titles, one panel each.
        chance: What guessing reaches, by score.
        stamp: Printed in the corner.
    """
    shown = [
        (key, title) for key, title in scores if any(wording.known(r["scores"].get(key)) for r in recipes.values())
    ]
    if not shown:
        return empty("No scores by fold.", stamp)
    figure = new(1.4 + 2.75 * len(shown), 1.15 + 0.62 * len(recipes), stamp)
    panels = np.atleast_1d(figure.subplots(1, len(shown), sharey=True))
    for panel, (key, title) in zip(panels, shown, strict=True):
        _panel(panel, recipes, key)
        panel.set_title(title)
        panel.grid(True, axis="x")
        if chance and key in chance and panel.get_xlim()[0] <= chance[key] <= panel.get_xlim()[1]:
            panel.axvline(chance[key], color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
            panel.text(chance[key], len(recipes) - 0.45, " chance", fontsize=7.5, color=MUTED, va="bottom")
    panels[0].set_yticks(range(len(recipes)), [short(name, 24) for name in recipes], color=INK)
    panels[0].set_ylim(len(recipes) - 0.4, -0.6)
    return figure


def _panel(panel: Any, recipes: Mapping[str, Mapping[str, Any]], key: str) -> None:
    places: dict[tuple[Any, Any], list[tuple[float, float]]] = {}
    for row, recipe in enumerate(recipes.values()):
        for fold in recipe["by_fold"]:
            value = wording.number(fold.get(key))
            if np.isfinite(value):
                places.setdefault((fold["seed"], fold["fold"]), []).append((value, row + 0.17))
    for joined in places.values():
        if len(joined) > 1:
            panel.plot(*zip(*joined, strict=True), color=GRID, linewidth=0.9, zorder=1)
    for row, recipe in enumerate(recipes.values()):
        colour = SERIES[row % len(SERIES)] if len(recipes) > 1 else BLUE
        dots = [wording.number(fold.get(key)) for fold in recipe["by_fold"]]
        panel.plot(dots, [row + 0.17] * len(dots), "o", color=colour, alpha=0.55, markersize=4, markeredgewidth=0)
        estimate = recipe["scores"].get(key)
        if not wording.known(estimate):
            continue
        low, high = wording.bounds(estimate)
        panel.plot([low, high], [row - 0.12] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")
        panel.plot([wording.value(estimate)], [row - 0.12], "D", color=colour, markersize=5.5)
        text = wording.score(estimate).replace(wording.NBSP, " ").replace(" to ", "–")
        panel.annotate(
            text, (wording.value(estimate), row - 0.12), xytext=(0, 5), textcoords="offset points",
            ha="center", fontsize=8, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )  # fmt: skip
    panel.margins(x=0.12)
