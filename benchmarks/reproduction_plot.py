"""The waterfall: what each correction takes from an accuracy that was published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.figure import Figure

from melascope.reports.figures.style import BLUE, GRID, INK, MUTED, SKY, VERMILION, new, styled


@dataclass(frozen=True)
class Bar:
    """One training of the waterfall.

    Attributes:
        label: What was corrected; three lines at most.
        values: The accuracy of each seed.
        photographs: How many judge.
        seeds: Which.
        precision: In which it was trained.
        published: What was published.
        elsewhere: Whether it is no correction, but what one of the networks has on other photographs.
        lately: The mean, the lowest and the highest accuracy of the last epochs, where each was judged.
        balanced: The balanced accuracy of each seed.
        counts: As how many independent photographs those that judge count; as many as judge where it is not known.
    """

    label: str
    values: tuple[float, ...]
    photographs: int
    seeds: tuple[str, ...]
    precision: str
    published: float | None = None
    elsewhere: bool = False
    lately: tuple[float, float, float] | None = None
    balanced: tuple[float, ...] = ()
    counts: float | None = None

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def independent(self) -> float:
        """As how many independent photographs those that judge count."""
        return self.photographs if self.counts is None else self.counts


class Judged(Protocol):
    """An accuracy, and as how many independent photographs those that judged it count."""

    @property
    def mean(self) -> float: ...
    @property
    def independent(self) -> float: ...


def half_width(*accuracies: tuple[float, float]) -> float:
    """Return half the 95 % interval of a sum or a difference of accuracies on different photographs.

    Args:
        accuracies: Of each, its value and how many independent photographs judged it.
    """
    return 1.96 * math.sqrt(sum(value * (1 - value) / n for value, n in accuracies))


def apart(before: Judged, after: Judged) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies on different photographs."""
    value = after.mean - before.mean
    half = half_width(*((one.mean, one.independent) for one in (before, after)))
    return value - half, value + half


def difference(before: Judged, after: Judged) -> str:
    """Return the difference of two accuracies on different photographs, with its interval."""
    low, high = apart(before, after)
    return f"{after.mean - before.mean:+.3f} ({low:+.3f} to {high:+.3f})"


@styled
def waterfall(bars: Sequence[Bar], *, title: str, stamp: str) -> Figure:
    """Draw the first accuracy as a whole bar, each correction as the step it costs, and what stands elsewhere apart."""
    figure = new(9.6, 4.6, stamp)
    axes = figure.subplots()
    gap = 0.35
    places = [place + (gap if bar.elsewhere else 0.0) for place, bar in enumerate(bars)]
    before = None
    for number, (place, bar) in enumerate(zip(places, bars, strict=True), start=1):
        whole = before is None or bar.elsewhere
        low, high = (0.0, bar.mean) if before is None or bar.elsewhere else sorted((before, bar.mean))
        rise = before is not None and bar.mean >= before
        colour = SKY if bar.elsewhere else BLUE if whole else MUTED if rise else VERMILION
        axes.bar(place, high - low, bottom=low, width=0.62, color=colour, alpha=1.0 if whole else 0.85)
        reach = bar.values if bar.lately is None else (*bar.values, *bar.lately[1:])
        top = max(bar.mean if whole or before is None else before, bar.published or 0.0, *reach) + 0.025
        if not whole and before is not None:
            axes.plot([place - 0.69, place + 0.31], [before, before], color=INK, linewidth=0.8)
            step = _step(bar.mean - before)
            axes.text(place, top + 0.05, step, ha="center", fontsize=8.5, color=INK)
        axes.plot([place + 0.24] * 2, [min(reach), max(reach)], color=INK, linewidth=1.4)
        axes.text(place, top, f"{bar.mean:.0%}".replace("%", " %"), ha="center", fontsize=9.5, fontweight="bold")
        if bar.published is not None:
            axes.plot(
                [place - 0.36, place + 0.36], [bar.published] * 2, color=INK, linewidth=1.2, linestyle=(0, (2, 2))
            )
            said = f"published:\n{bar.published:.0%}".replace("%", " %")
            inside, on = min(bar.published, bar.mean) - 0.015, INK if bar.elsewhere else "white"
            axes.text(place, inside, said, ha="center", va="top", fontsize=8, color=on)
        axes.text(place, 0.015, str(number), ha="center", fontsize=8, color="white" if colour == BLUE else INK)
        before = bar.mean
    apart = [place for place, bar in zip(places, bars, strict=True) if bar.elsewhere]
    if apart:
        axes.axvline(apart[0] - 0.5 - gap / 2, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        middle = (apart[0] + apart[-1]) / 2
        axes.text(middle, 0.93, "Test, other photographs:\nno correction", ha="center", fontsize=8.5, color=MUTED)
    labels = [f"{bar.label}\n{bar.photographs:,} judge\n{bar.precision}" for bar in bars]
    axes.set_xticks(places, labels, fontsize=7.6)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.set_ylabel("accuracy of the last epoch (stroke: last ten)")
    axes.grid(True, axis="y", color=GRID)
    axes.set_title(title)
    return figure


def _step(change: float) -> str:
    """Return a change of an accuracy in points of a hundred."""
    points = round(100 * change)
    return f"{points:+d} point{'' if abs(points) == 1 else 's'}".replace("-", "\u2212")
