"""A photograph beside its most similar ones of known diagnosis, from images that the reader has at hand."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from melascope import diagnosis
from melascope.bundle.decision import percent
from melascope.bundle.drawn import STRIP, Names, save
from melascope.bundle.photographs import find
from melascope.errors import ImageError
from melascope.finding import Finding
from melascope.image_id import canonical_id
from melascope.images.contact_strip import SIDE, Tile, draw
from melascope.images.decode import decode, read_file

_DECISIONS = {"alert": "alert", "no_alert": "no alert", "refer": "refer"}


class StripWriter:
    """Writes `NAME.neighbours.png`: a photograph, then its neighbours with diagnosis and distance.

    Names are unique within the folder, and no photograph is overwritten.

    Args:
        folder: Made if it does not exist.
        images: Files and folders, searched with their subfolders, in which neighbours are looked for by their
            image id; the first of equal ids counts.
        photographs: Files that must not be overwritten: those that are looked at.

    Attributes:
        shown: Neighbours whose photograph was found, so far.
        absent: Those whose photograph was not.

    Raises:
        DataError: When `images` hold no photograph.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        images: Iterable[str | os.PathLike[str]],
        photographs: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self._files: dict[str, Path] = {}
        for file in find(images).files:
            self._files.setdefault(canonical_id(file.name), file)
        self._names = Names(folder, STRIP, photographs)
        self.shown = self.absent = 0

    def write(self, finding: Finding) -> Path | None:
        """Write the strip of one finding; None where it names no neighbours or its file cannot be read again."""
        if not finding.neighbours:
            return None
        own = _thumbnail(Path(finding.path))
        if own is None:
            return None
        tiles = [_asked(finding, own)]
        for neighbour in finding.neighbours:
            file = self._files.get(neighbour["image_id"])
            picture = _thumbnail(file) if file is not None else None
            self.shown += picture is not None
            self.absent += picture is None
            tiles.append(_neighbour(neighbour, picture))
        target = self._names.of(finding.path)
        save(draw(tiles), target)
        return target


def _asked(finding: Finding, picture: np.ndarray) -> Tile:
    told = (
        [f"{diagnosis.name(finding.diagnosis)}, {percent(finding.probabilities[finding.diagnosis])}"]
        if (finding.diagnosis is not None)
        else []
    )
    told += [_DECISIONS[finding.decision]] if finding.decision is not None else []
    lines = ["The model says: " + "; ".join(told)] if told else []
    # An alert about which there is a doubt must not look like any other.
    lines += [f"In doubt: {finding.doubts[0]}"] if finding.doubts else []
    return Tile(picture, Path(finding.path).name, tuple(lines))


def _neighbour(neighbour: dict[str, Any], picture: np.ndarray | None) -> Tile:
    code = neighbour["diagnosis"]
    origin = ", ".join(text for text in (neighbour["source"], neighbour["licence"]) if text)
    lines = [f"distance {neighbour['distance']:.3f}", neighbour["image_id"], *([origin] if origin else [])]
    missing = f"{neighbour['image_id']}\nis not among the images"
    return Tile(picture, diagnosis.name(code), tuple(lines), missing, diagnosis.DIAGNOSES[code].malignant)


def _thumbnail(file: Path) -> np.ndarray | None:
    try:
        return decode(read_file(file), (SIDE, SIDE))
    except ImageError:
        return None
