"""Photographs cut to their lesion, by masks that others drew: the most that finding the lesion first could give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MARGIN = 0.25
"""Of the lesion's height and width, left on each side."""
_SMALLEST = 1 / 3  # of a photograph's sides: no crop is smaller


def to_lesions(
    images: NDArray[np.uint8], image_ids: Sequence[str], masks: Path, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return photographs `(n, h, w, 3)` cut to their lesion and brought to `size`; whole where there is no mask.

    A cut has the photograph's own ratio of sides and lies within it, so that nothing is squashed that was not.

    Args:
        images: Whole photographs.
        image_ids: Of each.
        masks: Folder with `ID_segmentation.png`, above 127 where the lesion is, as HAM10000's are published.
        size: Height and width.

    Raises:
        SystemExit: Where the folder holds no mask of any of them.
    """
    made = np.empty((len(images), *size, 3), dtype=np.uint8)
    found = 0
    for place, (image, name) in enumerate(zip(images, image_ids, strict=True)):
        box: tuple[float, float, float, float] = (0, 0, image.shape[1], image.shape[0])
        if (file := masks / f"{name}_segmentation.png").exists():
            found += 1
            box = around(
                np.asarray(Image.open(file).convert("L").resize(image.shape[1::-1], Image.Resampling.BOX)) > 127
            )
        made[place] = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box=box)
    if not found:
        raise SystemExit(f"{masks} holds no ..._segmentation.png of these photographs.")
    return made


def around(lesion: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the cut around a lesion `(h, w)`; the whole where there is none."""
    height, width = lesion.shape
    rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    if not len(rows):
        return 0, 0, width, height
    # The larger of the two shares of the photograph's sides is that of the cut.
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    share = float(np.clip((1 + 2 * MARGIN) * max(tall / height, wide / width), _SMALLEST, 1))
    top, left = (
        float(np.clip((ends[0] + ends[-1] + 1) / 2 - share * side / 2, 0, side - share * side))
        for ends, side in ((rows, height), (columns, width))
    )
    return left, top, left + share * width, top + share * height
