"""The waterfall: what each correction takes from an accuracy that was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from melascope.reports.figures.style import BLUE, GRID, INK, MUTED, VERMILION, new, styled


@dataclass(frozen=True)
class Bar:
    """One training of the waterfall.

    Attributes:
        label: What was corrected; two lines at most.
        values: The accuracy of each seed.
        photographs: How many judge.
    """

    label: str
    values: tuple[float, ...]
    photographs: int

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.values) / len(self.values)


@styled
def waterfall(bars: Sequence[Bar], *, title: str, stamp: str) -> Figure:
    """Draw the first and the last accuracy as whole bars, and each correction between them as the step it costs."""
    figure = new(8.4, 4.0, stamp)
    axes = figure.subplots()
    before = None
    for place, bar in enumerate(bars):
        whole = place in (0, len(bars) - 1)
        low, high = (0.0, bar.mean) if whole or before is None else sorted((before, bar.mean))
        colour = BLUE if whole else VERMILION if before is not None and bar.mean < before else MUTED
        axes.bar(place, high - low, bottom=low, width=0.62, color=colour, alpha=1.0 if whole else 0.85)
        if before is not None:
            axes.plot([place - 0.69, place + 0.31], [before, before], color=INK, linewidth=0.8)
            step = f"{100 * (bar.mean - before):+.0f} points".replace("-", "\u2212")
            axes.text(place, max(before, *bar.values) + 0.075, step, ha="center", fontsize=8.5, color=INK)
        axes.plot([place, place], [min(bar.values), max(bar.values)], color=INK, linewidth=1.4)
        top = max(before or 0.0, *bar.values) + 0.025
        axes.text(place, top, f"{bar.mean:.0%}".replace("%", " %"), ha="center", fontsize=9.5, fontweight="bold")
        before = bar.mean
    axes.set_xticks(range(len(bars)), [f"{bar.label}\n({bar.photographs:,} judge)" for bar in bars], fontsize=7.6)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_ylabel("accuracy of the last epoch")
    axes.grid(True, axis="y", color=GRID)
    axes.set_title(title)
    return figure
