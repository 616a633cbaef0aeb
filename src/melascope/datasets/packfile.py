"""The files of a pack: the array, its checksums, its manifest, and when they may be believed.

`pixels.u8` is the array; `rows.u4` holds for each row the CRC-32 of its pixels
and a mark that they were written; `manifest.json` says what was packed. A row
is marked only after its pixels are on the disk.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.errors import SpaceError
from melascope.images import Geometry
from melascope.progress import Progress

FORMAT = 1
_MARK = 0x4D454C41
# A kill loses what was written since the last mark: at most so much work.
_BYTES_PER_MARK = 128 * 2**20
_SECONDS_PER_MARK = 1.0
_SPARE_BYTES = 16 * 2**20
_PIXELS, _ROWS, _MANIFEST = "pixels.u8", "rows.u4", "manifest.json"


@dataclass(frozen=True)
class Layout:
    """What a pack must hold: its identity, how many rows, and the shape of each."""

    identity: str
    rows: int
    geometry: Geometry

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.geometry.height * self.geometry.width * 3

    def manifest(self) -> dict[str, Any]:
        """Return the content of `manifest.json`."""
        return {"schema": FORMAT, "identity": self.identity, "rows": self.rows, "geometry": self.geometry.to_json()}


def open_whole(folder: Path, layout: Layout, progress: Progress) -> np.ndarray | None:
    """Return the array of a finished pack, read-only; None where it is missing, damaged or another's."""
    marks = _marks(folder, layout)
    try:
        if marks is None or (folder / _PIXELS).stat().st_size != layout.rows * layout.row_bytes:
            return None
        if not _intact(folder, layout, marks, progress).all():
            return None
    except FileNotFoundError:
        return None
    shape = (layout.rows, layout.geometry.height, layout.geometry.width, 3)
    return np.memmap(folder / _PIXELS, dtype=np.uint8, mode="r", shape=shape)


def _marks(folder: Path, layout: Layout) -> np.ndarray | None:
    """Return the checksums and marks `(n, 2)`; None where they or the manifest do not fit."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        marks = np.fromfile(folder / _ROWS, dtype="<u4")
    except (FileNotFoundError, ValueError):
        return None
    fits = manifest == layout.manifest() and marks.size == 2 * layout.rows and (folder / _PIXELS).is_file()
    return marks.reshape(-1, 2) if fits else None


def _intact(folder: Path, layout: Layout, marks: np.ndarray, progress: Progress) -> np.ndarray:
    """Return which rows `(n,)` are marked as written and have the checksum they were written with."""
    good: np.ndarray = marks[:, 1] == _MARK
    with (folder / _PIXELS).open("rb") as file:
        for row in np.flatnonzero(good):
            file.seek(int(row) * layout.row_bytes)
            data = file.read(layout.row_bytes)
            good[row] = len(data) == layout.row_bytes and zlib.crc32(data) == marks[row, 0]
            if row % 256 == 0:
                progress("checking pack", int(row), layout.rows)
    progress("checking pack", layout.rows, layout.rows)
    return good


class Building:
    """A pack that is being built, in a folder of its own; written by one thread.

    Opening it goes on where an earlier building was stopped, and takes the
    space of the whole array before anything is decoded.

    Raises:
        SpaceError: When there is too little space.
        OSError: When the folder cannot be written.
    """

    def __init__(self, folder: Path, layout: Layout, progress: Progress) -> None:
        self._folder = folder
        self._layout = layout
        self._marks = self._resume(progress)
        self.written: np.ndarray = self._marks[:, 1] == _MARK
        """Which rows `(n,)` are written."""
        self._reserve()
        self._pending = 0
        self._marked = time.monotonic()
        self._pixels = (folder / _PIXELS).open("r+b", buffering=0)
        self._rows = (folder / _ROWS).open("r+b", buffering=0)

    def _resume(self, progress: Progress) -> np.ndarray:
        marks = _marks(self._folder, self._layout)
        if marks is not None:
            marks[~_intact(self._folder, self._layout, marks, progress)] = 0
            return marks
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir()
        marks = np.zeros((self._layout.rows, 2), dtype="<u4")
        marks.tofile(self._folder / _ROWS)
        (self._folder / _PIXELS).touch()
        # The manifest comes last: without it the folder counts for nothing.
        fresh = self._folder / f"{_MANIFEST}.new"
        fresh.write_text(json.dumps(self._layout.manifest(), indent=2), encoding="utf-8")
        fresh.replace(self._folder / _MANIFEST)
        return marks

    def _reserve(self) -> None:
        pixels = self._folder / _PIXELS
        needed = self._layout.rows * self._layout.row_bytes
        status = pixels.stat()
        taken = min(getattr(status, "st_blocks", 0) * 512, needed)
        free = shutil.disk_usage(self._folder).free
        if free < needed - taken + _SPARE_BYTES:
            raise SpaceError(
                f"Packing needs {(needed - taken + _SPARE_BYTES) / 1e6:,.0f} MB in {self._folder.parent}, where "
                f"{free / 1e6:,.0f} MB are free; make space, or name another folder with --cache."
            )
        with pixels.open("r+b") as file:
            file.truncate(needed)
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, needed)
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # some file systems cannot reserve
                        raise

    def read(self, row: int) -> np.ndarray:
        """Return a row that is written, `(h, w, 3)` uint8."""
        self._pixels.seek(row * self._layout.row_bytes)
        data = np.frombuffer(self._pixels.read(self._layout.row_bytes), dtype=np.uint8)
        return data.reshape(self._layout.geometry.height, self._layout.geometry.width, 3)

    def write(self, rows: Iterable[int], image: np.ndarray) -> None:
        """Write an image `(h, w, 3)` uint8 to all rows that show it."""
        data = np.ascontiguousarray(image).data.cast("B")
        checksum = zlib.crc32(data)
        for row in rows:
            self._pixels.seek(row * self._layout.row_bytes)
            at = 0
            while at < len(data):  # a nearly full disk takes part of a write
                at += self._pixels.write(data[at:]) or 0
            self._marks[row] = checksum, _MARK
            self.written[row] = True
            self._pending += len(data)
        if self._pending >= _BYTES_PER_MARK or time.monotonic() - self._marked >= _SECONDS_PER_MARK:
            self.mark()

    def mark(self) -> None:
        """Bring pixels to the disk, then the marks that say so."""
        if not self._pending:
            return
        os.fsync(self._pixels.fileno())
        self._rows.seek(0)
        self._rows.write(self._marks.tobytes())
        os.fsync(self._rows.fileno())
        self._pending, self._marked = 0, time.monotonic()

    def close(self) -> None:
        """Mark what is written, and close."""
        try:
            # On a full disk nothing more can be marked; those rows are made again.
            with suppress(OSError):
                self.mark()
        finally:
            self._pixels.close()
            self._rows.close()

    def finish(self, folder: Path) -> None:
        """Move the finished pack to its place; whatever damaged pack stood there goes."""
        if folder.exists():
            shutil.rmtree(folder)
        self._folder.replace(folder)
        with suppress(OSError):  # not every system lets folders be synced
            handle = os.open(folder.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
