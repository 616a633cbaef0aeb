"""Figures of a tuning: the score trial by trial, what mattered, and the score against each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from melascope.reports.figures.style import BLUE, INK, LINES, MUTED, UNAUDITED, VERMILION, empty, new, short, styled

_MOST_PANELS = 12


@styled
def tuning_history(
    trials: pd.DataFrame, score: str, *, lower_is_better: bool = False, best: int | None = None, stamp: str = UNAUDITED
) -> Figure:
    """Draw the score of each trial in order, the best so far, and the trials that were pruned.

    Args:
        trials: Columns `number`, `state` (`complete`, `pruned`, ...) and the score.
        score: Name of its column.
        lower_is_better: Which way is better.
        best: Number of the best trial.
        stamp: Printed in the corner.
    """
    done = trials[(trials["state"] == "complete") & trials[score].notna()]
    pruned = trials[(trials["state"] == "pruned") & trials[score].notna()]
    if done.empty:
        return empty("No trial is complete.", stamp)
    figure = new(7.0, 3.2, stamp)
    axes = figure.subplots()
    line = np.minimum.accumulate(done[score]) if lower_is_better else np.maximum.accumulate(done[score])
    reach = [*done["number"], max(trials["number"])]  # it stays the best while others are pruned
    axes.step(
        reach, [*line, list(line)[-1]], where="post", color=INK, linestyle=LINES[1], linewidth=1.3, label="best so far"
    )
    axes.plot(done["number"], done[score], "o", color=BLUE, label=f"complete (n = {len(done)})")
    if len(pruned):
        label = f"pruned, mean of its folds (n = {len(pruned)})"
        axes.plot(pruned["number"], pruned[score], "s", color=MUTED, markerfacecolor="none", label=label)
    chosen = done[done["number"] == best]
    if len(chosen):
        axes.plot(chosen["number"], chosen[score], "D", color=VERMILION, markersize=8, label=f"best: trial {best}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(_named(score, lower_is_better))
    axes.grid(True, axis="y")
    figure.legend(loc="outside upper left", ncols=4)
    return figure


@styled
def tuning_importance(importance: Mapping[str, float], *, n: int | None = None, stamp: str = UNAUDITED) -> Figure:
    """Draw how much of the differences between trials goes with each value.

    Args:
        importance: Share of each value, such as `{"network.dropout": 0.7}`.
        n: Trials it rests on.
        stamp: Printed in the corner.
    """
    if not importance:
        return empty("Too few trials to tell what mattered.", stamp)
    rows = sorted(importance.items(), key=lambda row: row[1])
    figure = new(7.0, 0.9 + 0.32 * len(rows), stamp)
    axes = figure.subplots()
    axes.barh([short(key, 34) for key, _ in rows], [value for _, value in rows], color=BLUE, height=0.6)
    for place, (_, value) in enumerate(rows):
        axes.annotate(
            f"{value:.2f}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, 1.12 * max(value for _, value in rows) or 1)
    axes.set_xlabel("importance (all together 1)" + (f", from {n} trials" if n else ""))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    return figure


@styled
def tuning_slices(
    trials: pd.DataFrame,
    score: str,
    keys: Sequence[str],
    *,
    by_factors: Sequence[str] = (),
    lower_is_better: bool = False,
    best: int | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw the score of the complete trials against each value that was searched, a panel each.

    Args:
        trials: Columns `number`, `state`, the score, and one per key.
        score: Name of its column.
        keys: The values searched, the most important first; at most 12 are drawn.
        by_factors: Those on a logarithmic axis.
        lower_is_better: Which way is better.
        best: Number of the best trial.
        stamp: Printed in the corner.
    """
    done = trials[(trials["state"] == "complete") & trials[score].notna()]
    shown = [key for key in keys if key in done and done[key].notna().any()][:_MOST_PANELS]
    if done.empty or not shown:
        return empty("No trial is complete.", stamp)
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new(7.0, 0.3 + 2.2 * rows, stamp)
    panels: list[Axes] = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel().tolist()
    for place, (panel, key) in enumerate(zip(panels, shown, strict=False)):
        _slice(panel, done[done[key].notna()], score, key, key in by_factors, best)
        if place % columns == 0:
            panel.set_ylabel(_named(score, lower_is_better))
    for panel in panels[len(shown) :]:
        panel.remove()
    return figure


def _slice(panel: Axes, rows: pd.DataFrame, score: str, key: str, log: bool, best: int | None) -> None:
    values = rows[key]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers:
        x = values.to_numpy(dtype=float)
    else:
        words = sorted({_word(value) for value in values})
        x = np.array([words.index(_word(value)) for value in values], dtype=float)
        panel.set_xticks(range(len(words)), [short(word, 14) for word in words], rotation=20 if len(words) > 3 else 0)
        panel.set_xlim(-0.5, len(words) - 0.5)
    if log:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(numticks=4))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # powers would be mathematics
        panel.xaxis.set_minor_formatter(NullFormatter())
    chosen = (rows["number"] == best).to_numpy()
    panel.plot(x[~chosen], rows[score][~chosen], "o", color=BLUE, markersize=4, alpha=0.7)
    panel.plot(x[chosen], rows[score][chosen], "D", color=VERMILION, markersize=7)
    panel.set_title(short(key, 30), fontsize=9)
    panel.grid(True, axis="y")


def _word(value: object) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _named(score: str, lower_is_better: bool) -> str:
    return score.replace("_", " ").replace("auc", "AUC") + (" (lower is better)" if lower_is_better else "")
