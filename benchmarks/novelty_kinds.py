"""The pictures that `benchmarks.novelty` shows a model: what a person might upload that is no dermoscopy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from melascope.image_id import canonical_id
from melascope.images import strangers


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        pixels: `(h, w, 3)` uint8.
        group: What it is a picture of; crops of one photograph share it.
        chooses: Whether it is of the half on which the method is chosen; the other half is reported.
    """

    pixels: np.ndarray
    group: str
    chooses: bool = False


def locked(lesion: str) -> bool:
    """Whether a lesion of HAM10000 is of the tenth that nothing may be chosen or fitted on."""
    return hashlib.sha256(lesion.encode()).digest()[0] % 10 == 0


def packaged(folders: list[Path]) -> Iterator[Picture]:
    """Yield the photographs that installed packages bring, and those of folders, whole and in crops."""
    met: dict[str, int] = {}
    found = list(strangers.packaged((*strangers.INSTALLED, "skimage")))
    for folder in folders:
        for file in sorted(folder.iterdir()):
            found += strangers.crops(file, f"{folder.name}/{file.stem}")
    for name, pixels in found:
        yield Picture(pixels, name, met.setdefault(name, len(met)) % 2 == 0)


def drawn(kind: str, count: int) -> Iterator[Picture]:
    draw = {"texture": strangers.texture, "document": strangers.document}[kind]
    # Far from the seeds of `strangers.examples`, from which a modality may have learnt.
    for seed in range(900_000, 900_000 + count):
        yield Picture(draw(seed, (150, 200)), f"{kind}-{seed}", seed % 2 == 0)


def clinical(photographs: list[tuple[str, np.ndarray]]) -> Iterator[Picture]:
    for seed, (lesion, pixels) in enumerate(photographs, 900_000):
        yield Picture(strangers.clinical(seed, pixels, (210, 280)), lesion)


def spoilt(photographs: list[tuple[str, np.ndarray]], way: str) -> Iterator[Picture]:
    for seed, (lesion, pixels) in enumerate(photographs):
        yield Picture(strangers.spoil(pixels, way, seed), lesion)


def other_set(folder: Path, lesions: Path | None, table: pd.DataFrame, count: int) -> list[tuple[str, Path]]:
    """Return (lesion, file) of photographs of another set: no photograph or lesion of the table, none locked."""
    lesion_of: dict[str, str] = {}
    if lesions is not None:
        read = pd.read_csv(lesions)
        lesion_of = dict(zip(read["image_id"].map(canonical_id), read["lesion_id"].astype(str), strict=True))
    known = set(table["image_id"]) | set(table["lesion_id"].dropna())
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.jpg")):
        name = canonical_id(file.name)
        lesion = lesion_of.get(name, name)
        # HAM_0000001 is the same lesion under either spelling of the set's name.
        if name in known or lesion in known or lesion in found or locked(lesion):
            continue
        found[lesion] = file
    return sorted(found.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())[:count]
