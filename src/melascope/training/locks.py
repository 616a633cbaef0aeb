"""Locks between commands: one after the other where they can wait, one only where they cannot share a folder.

The system frees a lock when its process ends, in whatever way, so that none is left behind by `kill -9`. Windows has
none of them, and commands there must not share a folder.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from melascope.errors import RunError

_P = ParamSpec("_P")
_T = TypeVar("_T")


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time go on; the others wait.

    Args:
        path: Of the lock, a file that stays.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)  # not a blocking call, which ctrl-C could not end
        yield


@contextlib.contextmanager
def at_work(folder: str | os.PathLike[str], movable: bool = True) -> Iterator[None]:
    """Have a folder to oneself for a block; whoever else wants it meanwhile is refused at once.

    What is locked is the folder itself, so that no file more lies in it. It is made where it is missing, and goes
    again where nothing was written into it. Where a disk cannot lock a folder, as over NFS, nobody is refused.

    Args:
        folder: Where the command writes.
        movable: Whether the command could write elsewhere.

    Raises:
        RunError: When another command is at work there.
    """
    path = Path(folder)
    if sys.platform == "win32" or (path.exists() and not path.is_dir()):  # the block says that it is a file
        yield
        return
    import fcntl

    made = [place for place in (path, *path.parents) if not place.exists()]
    handle = _opened(path)
    try:
        try:
            while True:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(path, handle):
                    break
                # Whoever had it before took it away again, empty.
                os.close(handle)
                handle = _opened(path)
        except BlockingIOError:
            made = []
            elsewhere = ", or choose another folder with --out" if movable else ""
            raise RunError(f"Another melascope is at work in {path}. Wait for it to end{elsewhere}.") from None
        except OSError:  # no locks on this disk
            pass
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
        os.close(handle)


def _opened(path: Path) -> int:
    """Return a handle of a folder, which is made where it is missing."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # taken away in between
            return os.open(path, os.O_RDONLY)


def _is_at(path: Path, handle: int) -> bool:
    """Return whether a folder still stands where it was opened."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def alone_in_out(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Have a function at work in the folder that its argument `out` names, from its first line to its last.

    Args:
        function: What a command does; it has an argument `out`.

    Returns:
        The same, which raises RunError when another command is at work there.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def held(*arguments: _P.args, **named: _P.kwargs) -> _T:
        with at_work(signature.bind(*arguments, **named).arguments["out"]):
            return function(*arguments, **named)

    return held
