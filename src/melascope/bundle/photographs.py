"""Which photographs are meant: files, folders and patterns become a list of files."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from melascope.bundle.drawn import is_drawn
from melascope.counted import plural
from melascope.errors import DataError

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif"))
"""The endings, in lower case, by which a folder's photographs are known."""


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        files: Distinct files, in the order asked; folders sorted by name. A
            file that was named but does not exist is kept: it will be refused.
        notes: A sentence for each path, folder or pattern that gave nothing.
    """

    files: list[Path]
    notes: list[str]


def find(paths: Iterable[str | os.PathLike[str]]) -> Found:
    """Return the photographs that files, folders (searched recursively) and patterns such as `b*/*.jpg` mean.

    A file is taken whatever its ending is; in a folder the ending decides.
    Hidden files and the pictures that Melascope drew are passed over.

    Raises:
        DataError: When nothing at all was found; one sentence for each path.
    """
    files: dict[str, Path] = {}
    notes: list[str] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = _folder(path, notes)
        elif not os.path.lexists(path) and glob.has_magic(str(given)):
            found = _pattern(str(given), notes)
        else:
            found = [path]
        for file in found:
            files.setdefault(os.path.realpath(file), file)
    if not files:
        raise DataError(" ".join(notes) or "No photograph was named.")
    if not any(os.path.lexists(file) for file in files.values()):
        missing = [f"{file} does not exist." for file in files.values()]
        raise DataError(" ".join(notes + missing[:10]))
    return Found(list(files.values()), notes)


def _folder(folder: Path, notes: list[str]) -> list[Path]:
    found: list[Path] = []
    closed: list[OSError] = []
    others = 0
    for where, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith(".") or is_drawn(path):
                continue
            if path.suffix.lower() in SUFFIXES:
                found.append(path)
            else:
                others += 1
    for error in closed:
        notes.append(f"{error.filename} may not be read ({error.strerror}); its photographs were left out.")
    if not found and not closed:
        rest = f", only {plural(others, 'other file')}" if others else ""
        notes.append(f"{folder} holds no photographs{rest} (looked for {', '.join(sorted(SUFFIXES))}).")
    return found


def _pattern(pattern: str, notes: list[str]) -> list[Path]:
    matches = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (may be absolute)
    files = [path for path in matches if not path.is_dir() and not is_drawn(path)]
    # `photos/*` is not meant to refuse the spreadsheet beside the photographs; `photos/*.dat` says what it means.
    found = [path for path in files if path.suffix.lower() in SUFFIXES] or files
    if "**" not in pattern:
        for folder in matches:
            found += _folder(folder, notes) if folder.is_dir() else []
    if not found:
        notes.append(f"Nothing matches {pattern}.")
    return found
