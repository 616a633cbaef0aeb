"""Checkpoints: arrays and a little state in one `.npz`, whole or not at all.

Written to a temporary file, flushed to disk, then renamed; every member has
a CRC, which `read` checks. No pickle.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.errors import RunError

_STATE = "__state__"
_KEPT = 2


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], state: Any = None) -> None:
    """Write arrays and a JSON-able state.

    Raises:
        RunError: When it cannot be written, such as on a full disk; an
            earlier file of that name stays as it was.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    members = dict(arrays)
    if state is not None:
        members[_STATE] = np.frombuffer(json.dumps(state).encode(), dtype=np.uint8)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **members)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise RunError(
            f"{target.parent}: {target.name} could not be written ({error.strerror or error}). "
            "What was there before is intact; make room or give access, then go on with --resume."
        ) from None


def read(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file that `write` wrote.

    Raises:
        RunError: When it is missing or damaged.
    """
    return _read(Path(path))[0]


def names(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of the arrays of a file that `write` wrote; the arrays are not read.

    Raises:
        RunError: When it is missing or no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except FileNotFoundError:
        raise RunError(f"{path} does not exist.") from None
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise RunError(f"{path} is damaged or no weights file: {_why(error)}.") from None


class Checkpoints:
    """The checkpoints of one training: the last two epochs, and the best weights.

    Args:
        folder: Where they are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, epoch: int, arrays: Mapping[str, NDArray[Any]], state: Any) -> None:
        """Write the checkpoint of a finished epoch (counted from 1), and drop those before the previous one."""
        write(self.folder / f"epoch-{epoch:05d}.npz", arrays, state)
        for old in self._found()[:-_KEPT]:
            old.unlink(missing_ok=True)

    def latest(self) -> tuple[dict[str, NDArray[Any]], Any] | None:
        """Return (arrays, state) of the last sound checkpoint; a damaged one is passed over for the one before."""
        for path in reversed(self._found()):
            with contextlib.suppress(RunError):
                return _read(path)
        return None

    def clear(self) -> None:
        """Remove all, with leftovers of interrupted writes."""
        if self.folder.is_dir():
            for path in (*self.folder.glob("*.npz"), *self.folder.glob(".*.partial")):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*.npz"))


def _why(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile) and "not a zip" in str(error):
        return "it is no .npz archive"  # the same words whoever finds it out
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], Any]:
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no .npz archive")
            file.seek(0)
            with np.load(file, allow_pickle=False) as loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        state = json.loads(arrays.pop(_STATE).tobytes()) if _STATE in arrays else None
    except FileNotFoundError:
        raise RunError(f"{path} does not exist.") from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise RunError(f"{path} is damaged or no weights file: {_why(error)}.") from None
    return arrays, state


def _flush_folder(folder: Path) -> None:
    # A rename survives a power cut only when the folder itself is flushed; Windows cannot and need not.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
