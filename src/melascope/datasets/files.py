"""Finding photographs in folders: walking, telling images from other files, and looking up ids."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from melascope.counted import plural
from melascope.datasets.identity import EXTENSIONS, canonical_id
from melascope.errors import DataError

# What systems and notebooks leave behind; `.ipynb_checkpoints` even holds copies of images.
_SKIPPED_FOLDERS = ("__MACOSX", "@eaDir")
_IMAGE_EXTENSIONS = EXTENSIONS - {".dcm"}
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"GIF8", b"BM")


def images_below(root: Path) -> list[tuple[str, ...]]:
    """Return the images below a folder as parts of their relative paths, sorted.

    A file counts as an image by its ending, in any case; one with an ending
    that is unknown counts when its first bytes are those of an image. Hidden
    files and folders are passed over, links are followed once. A name that is
    not UTF-8 has replacement characters, with which no file is found: the scan
    lists it as unreadable.

    Raises:
        DataError: When the folder does not exist, or it or one below may not be read.
    """
    return [parts if is_text("/".join(parts)) else _replaced(parts) for parts in _walk(root, (), set())]


def is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _replaced(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(os.fsencode(part).decode("utf-8", "replace") for part in parts)


def _walk(folder: Path, parts: tuple[str, ...], seen: set[tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise DataError(f"{folder} does not exist.") from None
    except NotADirectoryError:
        raise DataError(f"{folder} is not a folder.") from None
    except PermissionError:
        raise DataError(f"{folder} may not be read; check its permissions.") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}).") from None
    for entry in listed:
        if entry.name.startswith(".") or entry.name in _SKIPPED_FOLDERS:
            continue
        if _is_folder(entry):
            yield from _walk(folder / entry.name, (*parts, entry.name), seen)
        elif _is_image(entry):
            yield (*parts, entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a Path for each of a million files is slow
    if ending in _IMAGE_EXTENSIONS:
        return True
    try:
        # Opening a named pipe would wait for ever.
        if ending == ".dcm" or not entry.is_file():
            return False
        with Path(entry.path).open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    return start.startswith(_MAGIC) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def locate(ids: Sequence[str], folder: Path, where: str) -> pd.Series:
    """Return the path of each image id `(n,)`, found by canonical id in a folder and below.

    An id that is not there keeps the path where it was expected, so that the
    scan lists it as missing.

    Raises:
        DataError: When none is there, or when an id stands for several files of different size.
    """
    wanted = set(ids)
    index: dict[str, Path] = {}
    for parts in images_below(folder):
        key = canonical_id(parts[-1])
        if key not in wanted:
            continue
        path = folder.joinpath(*parts)
        first = index.setdefault(key, path)
        if first is not path and first.stat().st_size != path.stat().st_size:
            raise DataError(
                f"{folder} holds different files for {key}: {first.relative_to(folder)} and "
                f"{path.relative_to(folder)}. Point --images at the folder that is meant."
            )
    if not index:
        example = next(iter(ids))
        raise DataError(
            f"None of {plural(len(wanted), 'photograph')} that {where} names, such as {example}, is in {folder} or "
            "below; point --images at the folder that holds them."
        )
    return pd.Series([str(index.get(key) or folder / f"{key}.jpg") for key in ids], dtype="string")
