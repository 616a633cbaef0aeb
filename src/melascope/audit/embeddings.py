"""A vector for each photograph, near for photographs that look alike: from a bundle's network, or from pixels alone.

`describe` needs no network and no weights. Its parts are colour histograms and
quantiles by distance from the centre, low cosine coefficients, differences
between scales, and local binary patterns (Ojala, Pietikainen and Maenpaa
2002). All are the same for an image flipped or turned by 90 degrees. What each
is worth alone on HAM10000 (balanced accuracy over seven diagnoses of a class-weighted
logistic regression, five folds grouped by lesion; milliseconds a photograph on one core): histograms .58 (.2),
quantiles .59 (.5), cosines .52 (.1), scales .54 (.4), patterns .40 (.3), all .64. A dictionary of
patches learnt from the set itself (Coates, Ng and Lee 2011) added .01 for another 1.5 ms.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache as remembered
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from melascope import environment
from melascope.audit.problems import readable
from melascope.errors import DataError, ImageError
from melascope.images import DECODER_VERSION, Geometry, decode, read_file, resize
from melascope.progress import Progress, silent

if TYPE_CHECKING:
    from melascope.bundle import Bundle

DESCRIPTOR_VERSION = "1"
"""Raised whenever `describe` gives other numbers; cached vectors are keyed by it."""
SIDE = 96
"""Pixels a side at which photographs are described; they are squashed to a square, as some public sets are."""

_AT_A_TIME = 32  # images described together: large enough for numpy, 10 MB of temporary arrays for each thread
_RINGS = (0.4, 0.75, 1.0, np.inf)
_QUANTILE_RINGS = 6
_QUANTILES = (5, 25, 50, 75, 95)
_COSINES = 12
_SCALES = 5
_PATTERN_RADII = (1, 2, 4)


def embed(
    table: pd.DataFrame,
    bundle: Bundle | str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    cache: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Return a vector for each readable photograph of a scanned table.

    Args:
        table: A scanned table; each distinct `path` is opened once.
        bundle: A model, whose embedding is taken; None for `describe`.
        threads: Photographs looked at at a time; None for all cores.
        progress: Called with the stage `describing photographs`.
        cache: A folder that keeps the vectors by the files' content, so that only new photographs are
            looked at; None keeps nothing.

    Returns:
        `(n, d)` float32, a row for each row of `problems.readable(table)`, in its order.

    Raises:
        DataError: When a photograph that the scan could read cannot be read any more.
        BundleError: When the bundle is refused.
    """
    rows = readable(table)
    keys = rows["sha256"] if "sha256" in rows.columns and rows["sha256"].notna().all() else rows["path"]
    codes, names = pd.factorize(keys.astype(str))
    paths = rows["path"].astype(str).to_numpy(dtype=object)
    first = np.unique(codes, return_index=True)[1]
    model, identity = _model(bundle)
    store = _Store(cache, identity) if cache is not None and keys.name == "sha256" else None
    known = store.read() if store is not None else {}
    missing = [number for number, name in enumerate(names) if name not in known]
    vectors: list[np.ndarray] = [known.get(name, np.empty(0, np.float32)) for name in names]
    done = len(names) - len(missing)
    progress("describing photographs", done, len(names))
    wanted = [paths[first[number]] for number in missing]
    source = _described(wanted, threads) if model is None else _from_bundle(wanted, model, threads)
    for number, vector in zip(missing, source, strict=True):
        vectors[number] = vector
        done += 1
        if done % _AT_A_TIME == 0 or done == len(names):
            progress("describing photographs", done, len(names))
    if store is not None and missing:
        store.write(dict(zip(names, vectors, strict=True)))
    if not vectors:
        return np.empty((0, 0), np.float32)
    return np.stack(vectors)[codes]


def _model(bundle: Bundle | str | os.PathLike[str] | None) -> tuple[Bundle | None, str]:
    if bundle is None:
        return None, f"describe-{DESCRIPTOR_VERSION}-{SIDE}-{DECODER_VERSION}"
    from melascope.bundle import load_bundle

    model = load_bundle(bundle) if isinstance(bundle, (str, os.PathLike)) else bundle
    return model, f"{model.identity}-{DECODER_VERSION}"


def _from_bundle(paths: list[str], bundle: Bundle, threads: int | None) -> Iterator[np.ndarray]:
    from melascope.bundle import Predictor

    for number, raw in Predictor(bundle, threads).stream(paths):
        if raw.embedding is None:
            raise _gone(paths[number], raw.refusal.message if raw.refusal is not None else "")
        yield raw.embedding.astype(np.float32)


def _described(paths: list[str], threads: int | None) -> Iterator[np.ndarray]:
    from melascope.bundle.engine import ordered_map

    parts = (paths[start : start + _AT_A_TIME] for start in range(0, len(paths), _AT_A_TIME))
    workers = max(1, threads if threads is not None else environment.threads())
    for vectors in ordered_map(lambda part: describe(_pixels(part)), parts, workers, ahead=2):
        yield from vectors


def _pixels(paths: Iterable[str]) -> np.ndarray:
    geometry = Geometry(SIDE, SIDE, "squash")
    images = []
    for path in paths:
        try:
            images.append(resize(decode(read_file(path), (SIDE, SIDE)), geometry))
        except ImageError as error:
            raise _gone(path, str(error)) from None
    return np.stack(images)


def _gone(path: str, why: str) -> DataError:
    return DataError(f"{path} could be read by the scan and cannot be read now ({why.rstrip('.')}); scan again.")


class _Store:
    """Vectors by the SHA-256 of the files, in one file per model."""

    def __init__(self, folder: str | os.PathLike[str], identity: str) -> None:
        self._path = Path(folder) / f"embeddings-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"

    def read(self) -> dict[str, np.ndarray]:
        # What is damaged is computed again: a cache must never stop an audit.
        damaged = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)
        with contextlib.suppress(*damaged), self._path.open("rb") as file, np.load(file) as kept:
            return dict(zip(kept["sha256"].tolist(), kept["vectors"], strict=True))
        return {}

    def write(self, vectors: dict[str, np.ndarray]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, sha256=np.array(list(vectors)), vectors=np.stack(list(vectors.values())))
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)


def describe(images: np.ndarray) -> np.ndarray:
    """Return descriptors `(n, 1141)` float32 of photographs `(n, 96, 96, 3)` uint8, the same for all eight symmetries.

    Raises:
        DataError: When the images have another size.
    """
    if images.shape[1:] != (SIDE, SIDE, 3):
        raise DataError(f"Images of shape {images.shape[1:]} were given; describe needs ({SIDE}, {SIDE}, 3).")
    colours = _opponent(images)
    parts = (_histograms(images), _quantiles(colours), _cosines(colours), _scales(colours), _patterns(colours[..., 0]))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _opponent(images: np.ndarray) -> np.ndarray:
    # The root makes steps in dark and in light lesions alike.
    roots = np.sqrt(np.arange(256, dtype=np.float32) / 255)[images]
    red, green, blue = roots[..., 0], roots[..., 1], roots[..., 2]
    return np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], axis=-1)


@remembered
def _radius(side: int) -> np.ndarray:
    """Return the distance from the centre `(side, side)`; 1 at the middle of an edge."""
    place = (np.arange(side) - (side - 1) / 2) / ((side - 1) / 2)
    radius: np.ndarray = np.hypot(place[:, None], place[None, :])
    return radius


def _shares(levels: np.ndarray, n: int) -> np.ndarray:
    """Return the roots of how often each of n levels occurs `(images, n)`, among levels `(images, pixels)`."""
    shifted = levels.astype(np.intp) + n * np.arange(len(levels))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=n * len(levels)).reshape(len(levels), n)
    shares: np.ndarray = np.sqrt(counts / levels.shape[1])
    return shares


def _histograms(images: np.ndarray) -> np.ndarray:
    ring = np.searchsorted(_RINGS, _radius(SIDE))
    coarse = (images[..., 0] >> 6) * 16 + (images[..., 1] >> 6) * 4 + (images[..., 2] >> 6)
    found = []
    for number in range(len(_RINGS)):
        inside = ring == number
        found.append(_shares(coarse[:, inside], 64))
        found += [_shares(images[..., channel][:, inside] >> 4, 16) for channel in range(3)]
    return np.concatenate(found, axis=1)


def _quantiles(colours: np.ndarray) -> np.ndarray:
    ring = np.minimum((_radius(SIDE) * _QUANTILE_RINGS).astype(int), _QUANTILE_RINGS - 1)
    found = []
    for number in range(_QUANTILE_RINGS):
        values = colours[:, ring == number]
        ranked = np.percentile(values, _QUANTILES, axis=1)
        found += [values.mean(axis=1), values.std(axis=1), *ranked]
    return np.concatenate(found, axis=1)


def _cosines(colours: np.ndarray) -> np.ndarray:
    frequency = np.arange(_COSINES)[:, None]
    waves = np.cos(np.pi * frequency * (2 * np.arange(SIDE) + 1) / (2 * SIDE)).astype(np.float32) / SIDE
    found = np.einsum("fi,nijc,gj->nfgc", waves, colours, waves, optimize=True)
    # A flip turns the signs of the odd coefficients, a transposition transposes: sizes of all, signs of the even ones.
    sizes = np.abs(found)
    sizes = (sizes + sizes.transpose(0, 2, 1, 3)) / 2
    signed = found + found.transpose(0, 2, 1, 3)
    row, column = np.triu_indices(_COSINES)
    even = (row % 2 == 0) & (column % 2 == 0)
    logs = np.log(sizes[:, row, column] + 1e-4)
    return np.concatenate([part.reshape(len(colours), -1) for part in (logs, signed[:, row[even], column[even]])], 1)


def _scales(colours: np.ndarray) -> np.ndarray:
    found = []
    for _ in range(_SCALES):
        n, side = colours.shape[:2]
        halved = colours.reshape(n, side // 2, 2, side // 2, 2, 3).mean(axis=(2, 4))
        detail = np.abs(colours - halved.repeat(2, axis=1).repeat(2, axis=2))
        radius = _radius(side)
        for inside in (radius < 0.5, (radius >= 0.5) & (radius < 1), radius >= 1):
            if inside.any():
                values = detail[:, inside]
                found += [np.log(values.mean(axis=1) + 1e-3), np.log(values.std(axis=1) + 1e-3)]
        colours = halved
    return np.concatenate(found, axis=1)


@remembered
def _pattern_classes() -> np.ndarray:
    """Return the class `(256,)` of each pattern of 8 neighbours: those that turning or mirroring makes equal."""
    least = []
    for pattern in range(256):
        bits = [pattern >> i & 1 for i in range(8)]
        turned = [way[i:] + way[:i] for way in (bits, bits[::-1]) for i in range(8)]
        least.append(min(sum(bit << i for i, bit in enumerate(way)) for way in turned))
    return np.unique(least, return_inverse=True)[1]


def _patterns(lightness: np.ndarray) -> np.ndarray:
    classes = _pattern_classes()
    found = []
    for far in _PATTERN_RADII:
        inner = SIDE - 2 * far
        # A little lighter than the centre does not count: noise on plain skin would make patterns.
        centre = lightness[:, far:-far, far:-far] + 0.004
        pattern = np.zeros(centre.shape, np.uint8)
        around = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))
        for bit, (down, right) in enumerate(around):
            top, left = far * (1 + down), far * (1 + right)
            lighter = lightness[:, top : top + inner, left : left + inner] > centre
            pattern |= lighter.astype(np.uint8) << bit
        kinds = classes[pattern]
        radius = _radius(SIDE)[far:-far, far:-far]
        found += [_shares(kinds[:, inside], int(classes.max()) + 1) for inside in (radius < 0.6, radius >= 0.6)]
    return np.concatenate(found, axis=1)
