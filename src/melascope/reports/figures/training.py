"""Learning curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from melascope.reports import wording
from melascope.reports.figures.style import BLUE, INK, LINES, MUTED, UNAUDITED, VERMILION, empty, new, styled

_PANELS = (
    ("loss", "Loss (lower is better)"),
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("melanoma_auc", "Melanoma AUC"),
)


@styled
def history(
    frame: pd.DataFrame,
    *,
    n_train: int | None = None,
    n_tune: int | None = None,
    n_classes: int | None = None,
    best_epoch: int | None = None,
    stamp: str = UNAUDITED,
) -> Figure:
    """Draw loss, accuracy, balanced accuracy and melanoma AUC per epoch, on train and tune.

    Args:
        frame: `history.csv`: `epoch`, and `loss`, `accuracy`, `balanced_accuracy`,
            `melanoma_auc`, each also with `tune_`; missing columns are left out.
        n_train: Photographs in train.
        n_tune: Photographs in tune.
        n_classes: For the line of chance in balanced accuracy.
        best_epoch: The epoch whose weights were kept, drawn as a vertical line.
        stamp: Printed in the corner.
    """
    shown = [(key, title) for key, title in _PANELS if key in frame or f"tune_{key}" in frame]
    if frame.empty or not shown:
        return empty("No learning curve was recorded.", stamp)
    epochs = frame["epoch"].to_numpy() if "epoch" in frame else np.arange(1, len(frame) + 1)
    rows = (len(shown) + 1) // 2
    figure = new(7.0, 0.5 + 2.35 * rows, stamp)
    panels: list[Axes] = np.atleast_1d(figure.subplots(rows, min(2, len(shown)))).ravel().tolist()
    for panel, (key, title) in zip(panels, shown, strict=False):
        _curve(panel, frame, epochs, key)
        panel.set_title(title)
        if key == "balanced_accuracy" and n_classes:
            panel.axhline(1 / n_classes, color=MUTED, linewidth=0.9, linestyle=LINES[2])
            panel.annotate("chance", (epochs[0], 1 / n_classes), xytext=(0, 3), textcoords="offset points", fontsize=8)
        if key == "melanoma_auc":
            panel.axhline(0.5, color=MUTED, linewidth=0.9, linestyle=LINES[2])
            panel.annotate("chance", (epochs[0], 0.5), xytext=(0, 3), textcoords="offset points", fontsize=8)
        if best_epoch is not None:
            panel.axvline(best_epoch, color=INK, linewidth=0.9, linestyle=LINES[1], alpha=0.6, zorder=1)
    for panel in panels[len(shown) :]:
        panel.remove()
    panels[0].plot([], [], color=BLUE, marker="o", label=_with_n("train", n_train))
    panels[0].plot([], [], color=VERMILION, marker="s", linestyle=LINES[1], label=_with_n("tune", n_tune))
    if best_epoch is not None:
        panels[0].plot([], [], color=INK, linewidth=0.9, linestyle=LINES[1], label=f"kept: epoch {best_epoch}")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def _curve(panel: Axes, frame: pd.DataFrame, epochs: np.ndarray, key: str) -> None:
    every = max(1, len(epochs) // 12)
    ends = []
    for column, colour, marker, line, name in (
        (key, BLUE, "o", LINES[0], "train"),
        (f"tune_{key}", VERMILION, "s", LINES[1], "tune"),
    ):
        if column not in frame:
            continue
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(values).any():
            continue
        panel.plot(epochs, values, color=colour, marker=marker, linestyle=line, markersize=4, markevery=every)
        last = int(np.flatnonzero(np.isfinite(values))[-1])
        ends.append((values[last], epochs[last], name, colour))
    panel.margins(x=0.04)
    left, right = panel.get_xlim()
    panel.set_xlim(left, right + 0.24 * (right - left))
    bottom, top = panel.get_ylim()
    # Two labels at one height would cover each other: push them apart.
    close = len(ends) == 2 and abs(ends[0][0] - ends[1][0]) < 0.1 * (top - bottom)
    for rank, (value, epoch, name, colour) in enumerate(sorted(ends)):
        panel.annotate(
            f"{name} {value:.2f}",
            (epoch, value),
            xytext=(6, (6 if rank else -6) if close else 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
        )
    panel.grid(True, axis="y")
    ticks = MaxNLocator(integer=True, nbins=6).tick_values(float(epochs[0]), float(epochs[-1]))
    panel.set_xticks([tick for tick in ticks if epochs[0] <= tick <= epochs[-1]])
    panel.set_xlabel("epoch")


def _with_n(name: str, n: int | None) -> str:
    return name if n is None else f"{name} (n = {wording.count(n)})"
