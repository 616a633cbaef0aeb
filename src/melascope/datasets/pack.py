"""Photographs decoded once into one array on disk, memory-mapped for training and evaluation.

A pack is built in a folder named `*.partial`, from which a killed packing goes
on, and renamed when it is whole. It is opened only when its manifest, its size
and its checksums are right; otherwise it is made anew.

The name of a pack is a hash of the photographs' contents in table order, the
geometry and the decoder's version. Paths are no part of it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from melascope.counted import plural
from melascope.datasets.identity import sha256, thread_count
from melascope.datasets.packfile import FORMAT, Building, Layout, open_whole
from melascope.errors import DataError, ImageError
from melascope.images import DECODER_VERSION, Geometry, prepare, read_file
from melascope.progress import Progress, silent

_ROWS_PER_TASK = 16


@dataclass(frozen=True)
class Pack:
    """A packed data set.

    Attributes:
        images: `(n, height, width, 3)` uint8, sRGB, read-only and memory-mapped; rows as in the table.
        keys: The sha256 of each row's file `(n,)`.
        geometry: How the photographs were prepared.
        path: The folder of the pack.
    """

    images: np.ndarray
    keys: np.ndarray
    geometry: Geometry
    path: Path
    _first: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def rows(self, keys: Iterable[str]) -> np.ndarray:
        """Return the rows `(k,)` of `images` that hold the files with these sha256; raises DataError for others."""
        if not self._first:
            self._first.update(zip(reversed(self.keys.tolist()), reversed(range(len(self.keys))), strict=True))
        try:
            return np.fromiter((self._first[key] for key in keys), dtype=np.int64)
        except KeyError as error:
            raise DataError(f"The pack {self.path} holds no photograph with the sha256 {error.args[0]}.") from None


def pack(
    table: pd.DataFrame,
    geometry: Geometry,
    cache: str | os.PathLike[str],
    threads: int | None = None,
    progress: Progress = silent,
) -> Pack:
    """Prepare every photograph of a scanned table, or open the pack that holds them already.

    Stopped at any moment, the next call goes on; another process that packs
    the same is waited for. Files with the same bytes are decoded once.

    Args:
        table: A scanned table of readable photographs; row order is kept.
        geometry: The network's input.
        cache: Folder for packs, made where it is missing.
        threads: How many photographs are decoded at a time; None for one per core.
        progress: Called with the stages `packing photographs` and `checking pack`.

    Raises:
        DataError: When a photograph was not scanned, is unreadable or has changed since,
            or the cache cannot be written or has too little space.
    """
    keys = _keys(table)
    layout = Layout(_identity(keys, geometry), len(keys), geometry)
    folder = Path(cache).absolute() / layout.identity[:32]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        images = open_whole(folder, layout, progress)
        if images is None:
            with _alone(folder, progress):
                # Another process may have finished it while this one waited.
                images = open_whole(folder, layout, progress)
                if images is None:
                    building = Building(folder.with_suffix(".partial"), layout, progress)
                    try:
                        _fill(building, keys, table["path"].tolist(), geometry, thread_count(threads), progress)
                    finally:
                        building.close()  # after an interrupt too: what is done stays done
                    building.finish(folder)
                    images = open_whole(folder, layout, progress)
    except OSError as error:
        raise _explained(error, folder.parent) from None
    if images is None:
        raise DataError(f"The pack {folder} does not read back as it was written; the disk may be failing.")
    return Pack(images, keys, geometry, folder)


def _keys(table: pd.DataFrame) -> np.ndarray:
    if table.empty:
        raise DataError("There are no photographs to pack.")
    if "sha256" not in table.columns:
        raise DataError("The table was not scanned; datasets.scan finds out what each file holds.")
    unusable = table["sha256"].isna()
    if "error_kind" in table.columns:
        unusable |= table["error_kind"].notna()
    if unusable.any():
        path, count = table.loc[unusable, "path"].iloc[0], int(unusable.sum())
        raise DataError(
            f"{plural(count, 'photograph')} cannot be read, such as {path}; "
            f"leave {'it' if count == 1 else 'them'} out before packing."
        )
    return table["sha256"].to_numpy(dtype=object)


def _identity(keys: np.ndarray, geometry: Geometry) -> str:
    settings = {"format": FORMAT, "decoder": DECODER_VERSION, "geometry": geometry.to_json()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update("".join(keys).encode())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Let one process at a time build a pack. The system frees the lock of a process that is killed."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with folder.with_suffix(".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting for another process that packs the same", 0, 1)
                time.sleep(0.2)
        yield


def _fill(
    building: Building,
    keys: np.ndarray,
    paths: Sequence[str],
    geometry: Geometry,
    threads: int,
    progress: Progress,
) -> None:
    codes, unique = pd.factorize(keys)
    order = np.argsort(codes, kind="stable")
    todo = []
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        done = rows[building.written[rows]]
        if not len(done):
            todo.append(rows)
        elif len(done) < len(rows):
            building.write(rows[~building.written[rows]].tolist(), building.read(int(done[0])))
    finished = int(building.written.sum())
    progress("packing photographs", finished, len(keys))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pack")
    try:
        remaining = iter(range(0, len(todo), _ROWS_PER_TASK))
        waiting: dict[Future[list[np.ndarray]], list[np.ndarray]] = {}
        while True:
            # A short queue bounds memory.
            while len(waiting) < 2 * threads + 1 and (start := next(remaining, None)) is not None:
                chunk = todo[start : start + _ROWS_PER_TASK]
                files = [(paths[rows[0]], unique[codes[rows[0]]]) for rows in chunk]
                waiting[pool.submit(_prepare_all, files, geometry)] = chunk
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                for rows, image in zip(waiting.pop(future), future.result(), strict=True):
                    building.write(rows.tolist(), image)
                    finished += len(rows)
                progress("packing photographs", finished, len(keys))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    building.mark()


def _prepare_all(files: Sequence[tuple[str, str]], geometry: Geometry) -> list[np.ndarray]:
    return [_prepare(path, key, geometry) for path, key in files]


def _prepare(path: str, key: str, geometry: Geometry) -> np.ndarray:
    try:
        data = read_file(path)
        if sha256(data) != key:
            raise DataError(f"{path} has changed since it was scanned; start again, so that it is judged as it is now.")
        return prepare(data, geometry)
    except ImageError as error:
        raise DataError(f"{path} was readable when it was scanned, and is no longer: {error}") from None


def _explained(error: OSError, cache: Path) -> DataError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(f"The disk of {cache} is full; make space, or name another folder with --cache, and go on.")
    reason = error.strerror or str(error)
    return DataError(f"The pack cannot be written to {cache} ({reason}); name another folder with --cache.")
