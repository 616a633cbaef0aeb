"""Pictures that Melascope draws of photographs: how their files are named, told from photographs, and written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

HEATMAP = ".heatmap.jpg"
STRIP = ".neighbours.png"
_ENDINGS = (HEATMAP, STRIP)


def is_drawn(path: Path) -> bool:
    """Return whether a file is a picture that Melascope drew, by its name."""
    return path.name.casefold().endswith(_ENDINGS)


class Names:
    """Names pictures after their photographs: distinct within a folder, and never a photograph's own.

    Args:
        folder: Where the pictures go; made if it does not exist.
        ending: `HEATMAP` or `STRIP`.
        photographs: Files that must not be overwritten: those that are looked at.
    """

    def __init__(
        self, folder: str | os.PathLike[str], ending: str, photographs: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ending = ending
        # Only names with our endings can collide; those are kept, and case does not tell files apart everywhere.
        self._kept = {os.path.realpath(path).casefold() for path in photographs if is_drawn(Path(path))}
        self._taken: set[str] = set()

    def of(self, photograph: str) -> Path:
        """Return the file for the picture of a photograph."""
        stem = Path(photograph).stem
        number = 1
        while True:
            name = f"{stem}{self._ending}" if number == 1 else f"{stem}-{number}{self._ending}"
            kept = os.path.realpath(self.folder / name).casefold() in self._kept
            if name.casefold() not in self._taken and not kept:
                self._taken.add(name.casefold())
                return self.folder / name
            number += 1


def save(picture: np.ndarray, target: Path) -> None:
    """Write a picture `(h, w, 3)` uint8 as JPEG or PNG, by the file's ending; it appears whole or not at all."""
    from PIL import Image

    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("wb") as file:
            if target.suffix == ".png":
                Image.fromarray(picture).save(file, "PNG")
            else:
                Image.fromarray(picture).save(file, "JPEG", quality=90)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
