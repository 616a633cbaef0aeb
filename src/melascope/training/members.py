"""What a run puts into its bundle beside network and decision: novelty, modality and neighbours.

All three are fitted to what the exported file gives, through the predictor
that is deployed: novelty and modality on `train`, their thresholds on
`calibrate`; the neighbours are photographs of `train`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope.bundle import Predictor, modality, neighbours, novelty
from melascope.errors import ImageError
from melascope.images import strangers
from melascope.images.decode import decode, read_file
from melascope.images.geometry import resize
from melascope.progress import Progress, silent

METHOD = "vim"
"""Of `melascope.statistics.novelty.METHODS`: first or a hundredth behind in the networks of docs/novelty.md."""
MOST = 20_000
"""Photographs of `train` that are looked at and kept as neighbours: 3 MB; of more, each class gets its even share."""
_DERMOSCOPIC = 0.9
_VIEWS = 240
_FEWEST = 3


def members(
    predictor: Predictor,
    train: pd.DataFrame,
    labels: NDArray[np.int64],
    calibrate: pd.DataFrame,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, bytes]:
    """Return `novelty.npz`, `neighbours.npz` and, where the photographs are known as dermoscopic, `modality.npz`.

    Args:
        predictor: Of the exported network.
        train: The rows of the part `train`.
        labels: `(len(train),)` class numbers.
        calibrate: The rows of the part `calibrate`.
        seed: Of the draw where there are more than `MOST` photographs, and of the pictures that are none.
        progress: Told how many photographs were looked at.

    Returns:
        Bytes by the member's name; none where fewer than three photographs can be read.
    """
    kept = _even(labels, MOST, seed)
    rows, labels = train.iloc[kept].reset_index(drop=True), labels[kept]
    total = len(rows) + len(calibrate)
    known, known_logits = _look(predictor, rows, progress, 0, total)
    held, held_logits = _look(predictor, calibrate, progress, len(rows), total)
    read, fit_to = np.isfinite(known).all(axis=1), np.isfinite(held).all(axis=1)
    if min(read.sum(), fit_to.sum()) < _FEWEST:
        return {}
    rows = rows.iloc[np.flatnonzero(read)].reset_index(drop=True)
    labels, known, known_logits = labels[read], known[read], known_logits[read]
    held, held_logits = held[fit_to], held_logits[fit_to]
    groups = calibrate["group"].to_numpy(dtype=object)[fit_to]
    found = {
        novelty.MEMBER: novelty.make(
            METHOD, (known, known_logits, labels), (held, held_logits), groups=groups, seed=seed
        ),
        neighbours.MEMBER: neighbours.make(
            known, list(rows["image_id"].astype(str)), _cells(rows, "lesion_id", "group"),
            list(rows["diagnosis"].astype(str)), _cells(rows, "source"), _cells(rows, "license"),
            _cells(rows, "sha256"),
        ),
    }  # fmt: skip
    if _dermoscopic(train):
        views = rows.sample(min(len(rows), _VIEWS), random_state=seed)
        pictures, named = _strangers(predictor, views, seed)
        embeddings = np.concatenate([known, pictures])
        kinds = ["dermoscopic"] * len(known) + named
        found[modality.MEMBER] = modality.make(embeddings, kinds, held, groups=groups)
    return found


def _even(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.intp]:
    """Return at most so many rows, in order; the smaller classes whole, the larger ones alike."""
    if len(labels) <= most:
        return np.arange(len(labels))
    drawn = np.random.default_rng(seed).permutation(len(labels))
    place = pd.Series(labels[drawn]).groupby(labels[drawn]).cumcount().to_numpy()
    return np.sort(drawn[np.argsort(place, kind="stable")[:most]])


def _look(
    predictor: Predictor, rows: pd.DataFrame, progress: Progress, before: int, total: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return embeddings `(n, d)` and logits `(n, c)` of a table's photographs; NaN where one was refused."""
    embeddings: Any = None
    logits = np.full((len(rows), len(predictor.classes)), np.nan, np.float32)
    for row, raw in predictor.stream([str(path) for path in rows["path"]]):
        if raw.embedding is not None and raw.logits is not None:
            if embeddings is None:
                embeddings = np.full((len(rows), len(raw.embedding)), np.nan, np.float32)
            embeddings[row], logits[row] = raw.embedding, raw.logits
        progress("embedding", before + row + 1, total)
    if embeddings is None:
        embeddings = np.full((len(rows), 1), np.nan, np.float32)
    return embeddings, logits


def _dermoscopic(train: pd.DataFrame) -> bool:
    """Whether nearly all photographs are known to be dermoscopic: only then is anything else a stranger."""
    if "modality" not in train:
        return False
    told = train["modality"].astype("string").str.casefold() == "dermoscopic"
    return float(told.fillna(False).mean()) >= _DERMOSCOPIC


def _strangers(predictor: Predictor, views: pd.DataFrame, seed: int) -> tuple[NDArray[np.float32], list[str]]:
    """Return embeddings of pictures that are no dermoscopy, and the modality of each."""
    embeddings, named = [], []
    geometry = predictor.bundle.geometry
    for kind, pixels in strangers.examples(list(_photographs(views)), seed=seed):
        embeddings.append(predictor.run(resize(pixels, geometry)[None]).embedding[0])
        named.append(kind)
    return np.stack(embeddings).astype(np.float32), named


def _photographs(rows: pd.DataFrame) -> Iterator[NDArray[np.uint8]]:
    for path in rows["path"]:
        try:
            yield decode(read_file(str(path)), at_least=(150, 200))
        except ImageError:
            continue


def _cells(rows: pd.DataFrame, *columns: str) -> list[Any]:
    """Return a column's text, None where it is empty; the next column stands in for it there."""
    found = pd.Series([None] * len(rows), index=rows.index, dtype=object)
    for column in reversed(columns):
        if column in rows:
            text = rows[column].astype("string").str.strip()
            found = text.where(text.fillna("") != "").astype(object).where(lambda cell: cell.notna(), found)
    return [cell if isinstance(cell, str) else None for cell in found]
