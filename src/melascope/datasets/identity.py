"""Which photograph is it: canonical ids, content hashes, and the scan that finds both.

`scan` is the only place that opens every file of a data set: it reads each one
once, decodes it once and remembers what later steps need. JPEG is decoded
scaled in the cosine domain, which still reads every byte of its pixels, so
that truncated files are found at a fraction of the cost.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from melascope.errors import ImageError
from melascope.image_id import EXTENSIONS, canonical_id
from melascope.images import decode, read_file, read_header
from melascope.progress import Progress, silent

__all__ = [
    "EXTENSIONS",
    "SCAN_COLUMNS",
    "canonical_id",
    "hash_distances",
    "perceptual_hash",
    "scan",
    "sha256",
    "thread_count",
]

SCAN_COLUMNS = ("sha256", "width", "height", "bytes", "phash", "error_kind", "error")
"""What `scan` adds to a table."""

# The hash looks at a 32 x 32 reduction, so a decode to no less than twice that is enough.
_HASH_GRID = 32
_HASH_SIDE = 16
_DECODE_AT_LEAST = (2 * _HASH_GRID, 2 * _HASH_GRID)
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
        `phash` (`perceptual_hash` in hexadecimal), `error_kind` and `error`. A
        photograph that cannot be used has the last two; it raises nothing.
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
    looked = pd.DataFrame(found, columns=list(SCAN_COLUMNS)).iloc[codes]
    result = table.drop(columns=[column for column in SCAN_COLUMNS if column in table.columns])
    for column in SCAN_COLUMNS:
        dtype: Any = "Int64" if column in ("width", "height", "bytes") else "string"
        result[column] = pd.array(looked[column].tolist(), dtype=dtype)
    return result


def _look_at_all(paths: Iterable[str]) -> list[tuple[Any, ...]]:
    return [_look_at(path) for path in paths]


def _look_at(path: str) -> tuple[Any, ...]:
    content: str | None = None
    size: int | None = None
    try:
        data = read_file(path)
        content, size = sha256(data), len(data)
        # Decoding comes first: it checks the limits and tells best what is wrong.
        hashed = perceptual_hash(decode(data, at_least=_DECODE_AT_LEAST)).tobytes().hex()
        header = read_header(data)
    except ImageError as error:
        return content, None, None, size, None, error.kind, str(error)
    return content, header.width, header.height, size, hashed, None, None


def hash_distances(a: pd.Series, b: pd.Series) -> np.ndarray:
    """Return how many of the 256 bits differ `(n,)`, for two columns of hashes in hexadecimal; none may be empty."""
    counts: np.ndarray = np.bitwise_count(_bits(a) ^ _bits(b)).sum(axis=1, dtype=np.int64)
    return counts


def _bits(column: pd.Series) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(column)), np.uint8).reshape(-1, 32)
