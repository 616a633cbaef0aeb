"""Grids of photographs: one per class, a random sample, augmentations, examples with their findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from melascope.reports.figures.style import MUTED, UNAUDITED, bare, class_name, empty, new, short, styled

Pictures = Sequence[tuple[str, np.ndarray]]
"""Captions with their photographs, each `(h, w, 3) uint8`, sRGB."""


@styled
def picture_grid(pictures: Pictures, *, columns: int = 6, title: str = "", stamp: str = UNAUDITED) -> Figure:
    """Draw photographs in a grid, each with its caption below.

    Args:
        pictures: Captions with their photographs.
        columns: How many stand side by side.
        title: Above the grid.
        stamp: Printed in the corner.
    """
    if not pictures:
        return empty("No photographs to show.", stamp)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new(1.25 * columns + 0.1, 1.5 * rows + (0.5 if title else 0.25), stamp)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    for axes in np.atleast_1d(figure.subplots(rows, columns)).ravel()[len(pictures) :]:
        axes.remove()
    for axes, (caption, picture) in zip(figure.axes, pictures, strict=False):
        axes.imshow(picture)
        bare(axes)
        axes.set_xlabel(short(caption, 22), fontsize=7.5, color=MUTED)
    return figure


def one_per_class(pictures: Mapping[str, np.ndarray], *, stamp: str = UNAUDITED) -> Figure:
    """Draw one photograph of each class; `pictures` maps codes to `(h, w, 3) uint8`."""
    named = [(class_name(code), picture) for code, picture in pictures.items()]
    return picture_grid(named, columns=5, title="One photograph of each class", stamp=stamp)


def random_grid(pictures: Pictures, *, stamp: str = UNAUDITED) -> Figure:
    """Draw a random sample; each caption is a diagnosis."""
    named = [(class_name(caption), picture) for caption, picture in pictures]
    return picture_grid(named, columns=8, title="A random sample", stamp=stamp)


def augmentation_preview(preview: Mapping[str, np.ndarray], *, stamp: str = UNAUDITED) -> Figure:
    """Draw what each augmentation does to one photograph; `preview` maps names to `(k, h, w, 3) uint8`."""
    shown = [(name, np.asarray(pictures)) for name, pictures in preview.items() if len(pictures)]
    if not shown:
        return empty("This recipe does not augment.", stamp)
    width = max(len(pictures) for _, pictures in shown)
    blank = np.full_like(shown[0][1][0], 255)
    rows = [(name if k == 0 else "", p[k] if k < len(p) else blank) for name, p in shown for k in range(width)]
    return picture_grid(rows, columns=width, title="What augmentation does", stamp=stamp)


def examples_grid(examples: Mapping[str, Pictures], *, columns: int = 6, stamp: str = UNAUDITED) -> Figure:
    """Draw examples under headings such as `melanoma, alerted`; each picture's caption says what the model said."""
    rows = []
    for heading, pictures in examples.items():
        rows += [(f"{heading}: {caption}", picture) for caption, picture in pictures[:columns]]
    return picture_grid(rows, columns=columns, title="Examples", stamp=stamp)
