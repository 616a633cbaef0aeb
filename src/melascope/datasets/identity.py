"""Which photograph is it: canonical ids, content hashes, and the scan that finds both.

`scan` is the only place that opens every file of a data set: it reads each one
once, decodes it once and remembers what later steps need. JPEG is decoded
scaled in the cosine domain, which still reads every byte of its pixels, so
that truncated files are found at a fraction of the cost.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from melascope.datasets.fingerprint import fingerprint
from melascope.errors import ImageError
from melascope.image_id import EXTENSIONS, canonical_id
from melascope.images import decode, read_file, read_header
from melascope.images.embedded import attribution, personal
from melascope.images.traits import TRAITS, measure
from melascope.progress import Progress, silent

__all__ = [
    "EXTENSIONS",
    "SCAN_COLUMNS",
    "canonical_id",
    "hash_distances",
    "perceptual_hash",
    "scan",
    "sha256",
    "symmetric_hashes",
    "thread_count",
]

SCAN_COLUMNS = (
    "sha256",
    "width",
    "height",
    "bytes",
    "format",
    "phash",
    "fingerprint",
    "personal",
    "attribution",
    "error_kind",
    "error",
)
"""What `scan` adds to a table, beside a column `trait_NAME` for each of `images.traits.TRAITS`."""

_HASH_GRID = 32
_HASH_SIDE = 16
# Enough for the hash's 32 x 32 reduction, and for letters of five pixels to be suspected.
_DECODE_AT_LEAST = (128, 128)
_FILES_PER_TASK = 32


def sha256(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@cache
def _cosines() -> np.ndarray:
    frequency = np.arange(_HASH_SIDE)[:, None]
    place = (2 * np.arange(_HASH_GRID) + 1)[None, :]
    return np.cos(np.pi * frequency * place / (2 * _HASH_GRID)).astype(np.float32)


def perceptual_hash(array: np.ndarray) -> np.ndarray:
    """Return a 256-bit hash that survives resizing, squashing and re-encoding.

    The signs of the 16 x 16 lowest cosine coefficients of the photograph,
    reduced to 32 x 32 grey levels: a flip turns the signs of the odd columns, a
    transposition transposes, so that all eight symmetries follow from one hash.

    Args:
        array: `(h, w, 3)` uint8, sRGB.

    Returns:
        `(32,)` uint8. The distance of two photographs is the number of bits
        that differ: 0 to 30 for one photograph in two encodings or sizes, around 125 for two photographs.
    """
    from PIL import Image

    # Averaged in floats: rounding to whole grey levels would decide the signs of small coefficients.
    grey = Image.fromarray(np.ascontiguousarray(array)).convert("L").convert("F")
    small = np.asarray(grey.resize((_HASH_GRID, _HASH_GRID), Image.Resampling.BOX), dtype=np.float32)
    cosines = _cosines()
    coefficients = cosines @ (small - small.mean()) @ cosines.T
    # A uniform image has no coefficients but rounding; they must not become random bits.
    return np.packbits(coefficients > 0.5)


def symmetric_hashes(hashes: pd.Series) -> np.ndarray:
    """Return the perceptual hashes of a photograph's eight symmetries, flips and quarter turns.

    Args:
        hashes: `(n,)` hexadecimal, as `scan` gives them.

    Returns:
        `(8 n, 32)` uint8; eight rows for each photograph, the upright one first.
    """
    bits = np.unpackbits(_bits(hashes), axis=1).reshape(-1, _HASH_SIDE, _HASH_SIDE).astype(bool)
    odd = np.arange(_HASH_SIDE) % 2 == 1
    # A flip changes the sign of every odd frequency along it. Zero, like the mean, has no sign to change:
    # such bits stay unset, which costs a uniform photograph's hash alone.
    forms = []
    for turned in (bits, bits.transpose(0, 2, 1)):
        for rows in (False, True):
            for columns in (False, True):
                change = (odd[:, None] & rows) ^ (odd[None, :] & columns)
                forms.append(np.packbits((turned ^ change).reshape(len(bits), -1), axis=1))
    return np.stack(forms, axis=1).reshape(-1, _HASH_SIDE * _HASH_SIDE // 8)


def thread_count(threads: int | None) -> int:
    """Return how many threads to use: `threads`, or as many as there are cores for this process."""
    if threads is not None:
        return max(1, threads)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def scan(table: pd.DataFrame, threads: int | None = None, progress: Progress = silent) -> pd.DataFrame:
    """Read every photograph of a table once and add what its file holds.

    Args:
        table: An image table; each distinct `path` is opened once.
        threads: How many files are read at a time; None for one per core.
        progress: Called with the stage `reading photographs`.

    Returns:
        The table with `sha256`, `width` and `height` (pixels, upright), `bytes`,
        `format`, `phash` (`perceptual_hash` in hexadecimal), `fingerprint` (what `find_same` compares), `personal`
        and `attribution` (what the file says of persons and rights), `error_kind` and `error`, and a number
        `trait_NAME` for each of `images.traits.TRAITS`. A photograph that cannot be used has the two errors; it
        raises nothing.
    """
    codes, paths = pd.factorize(table["path"])
    found: list[tuple[Any, ...]] = [()] * len(paths)
    starts = range(0, len(paths), _FILES_PER_TASK)
    names = [str(path) for path in paths]
    done = 0
    progress("reading photographs", 0, len(names))
    workers = thread_count(threads)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scan")
    try:
        waiting: dict[Future[list[tuple[Any, ...]]], int] = {}
        remaining = iter(starts)
        while True:
            # A short queue keeps a million paths from becoming a million futures.
            while len(waiting) < 4 * workers and (start := next(remaining, None)) is not None:
                waiting[pool.submit(_look_at_all, names[start : start + _FILES_PER_TASK])] = start
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                start = waiting.pop(future)
                rows = future.result()
                found[start : start + len(rows)] = rows
                done += len(rows)
                progress("reading photographs", done, len(names))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    traits = [f"trait_{name}" for name in TRAITS]
    looked = pd.DataFrame(found, columns=[*SCAN_COLUMNS, *traits]).iloc[codes]
    kept = table.drop(columns=[column for column in looked.columns if column in table.columns])
    dtypes: dict[str, Any] = dict.fromkeys(SCAN_COLUMNS, "string") | dict.fromkeys(traits, "float64")
    dtypes |= dict.fromkeys(("width", "height", "bytes"), "Int64")
    scanned = {column: pd.array(looked[column].tolist(), dtype=dtype) for column, dtype in dtypes.items()}
    return pd.concat([kept, pd.DataFrame(scanned, index=kept.index)], axis=1)


def _look_at_all(paths: Iterable[str]) -> list[tuple[Any, ...]]:
    return [_look_at(path) for path in paths]


def _look_at(path: str) -> tuple[Any, ...]:
    content: str | None = None
    size: int | None = None
    try:
        data = read_file(path)
        content, size = sha256(data), len(data)
        # Decoding comes first: it checks the limits and tells best what is wrong.
        small = decode(data, at_least=_DECODE_AT_LEAST)
        header = read_header(data)
    except ImageError as error:
        unseen = [None] * (len(SCAN_COLUMNS) - 6)
        kind, told = error.kind, str(error)
        if kind == "missing" and "\ufffd" in path:
            # What stands in a folder and cannot be found by the name that it is listed under.
            kind, told = "unreadable", "The file's name is not text in UTF-8; rename it."
        return content, None, None, size, *unseen, kind, told, *([math.nan] * len(TRAITS))
    traits = measure(data, header, small)
    return (
        content,
        header.width,
        header.height,
        size,
        header.format,
        perceptual_hash(small).tobytes().hex(),
        fingerprint(small).hex(),
        "; ".join(personal(data)) or None,
        attribution(data),
        None,
        None,
        *(traits[name] for name in TRAITS),
    )


def hash_distances(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Return how many of the 256 bits differ `(n,)`, for two columns of hashes in hexadecimal; none may be empty."""
    counts: np.ndarray = np.bitwise_count(_bits(a) ^ _bits(b)).sum(axis=1, dtype=np.int64)
    return counts


def _bits(column: pd.Series) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(column)), np.uint8).reshape(-1, 32)
