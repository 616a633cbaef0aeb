"""Fetching many photographs at once: a few threads, each file checked to its last byte before it is kept."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from melascope.datasets.archive_folder import Folder
from melascope.datasets.archive_http import ArchiveError, Client, StoppedError
from melascope.datasets.archive_records import Archive, Photograph
from melascope.datasets.identity import sha256
from melascope.errors import DataError, ImageError
from melascope.images import Limits, decode, read_file, read_header
from melascope.progress import Progress, silent

_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp", "GIF": ".gif"}
# A signed address lapses, and the archive moves files: these say that a fresh record may help.
_LAPSED = frozenset((400, 401, 403, 404, 410))
_GIVE_UP_AFTER = 25
_DECODE_AT_LEAST = (64, 64)
_JOIN_WITHIN = 2.0

Done = tuple[str, BaseException | None]


@dataclass
class Outcome:
    """What became of many.

    Attributes:
        fetched: How many arrived.
        failed: The id and the reason of each that did not.
        resized: How many arrived whole, but not with the bytes that the archive had stated.
        gave_up: Whether so many failed in a row that the rest was not tried.
    """

    fetched: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    resized: int = 0
    gave_up: bool = False


def check_space(folder: Path, needed: int) -> None:
    """Refuse what the disk has no room for; a twentieth is left over.

    Raises:
        DataError: When `needed` bytes do not fit.
    """
    free = shutil.disk_usage(folder).free
    if needed > free * 0.95:
        raise DataError(
            f"The photographs need {needed / 1e9:,.2f} GB, and {folder} has {free / 1e9:,.2f} GB free; "
            "free some space, name another folder, or take --size thumbnail or --limit."
        )


def examined(data: bytes) -> tuple[bytes, str]:
    """Return a photograph's bytes and the ending for its file name.

    Raises:
        ImageError: When it is not an image that can be read to its end.
    """
    # The header alone would let a file pass whose second half is missing.
    decode(data, at_least=_DECODE_AT_LEAST)
    return data, _ENDINGS[read_header(data).format]


def adopt(folder: Folder, photograph: Photograph) -> bool:
    """Keep a file that already stands in the folder without a note of it, where it is whole; say whether."""
    for ending in _ENDINGS.values():
        path = folder.images / f"{photograph.id}{ending}"
        try:
            size = path.stat().st_size
            if photograph.size not in (None, size):
                continue
            data, _ending = examined(read_file(path))
        except (OSError, ImageError):
            continue
        folder.note_file(photograph.id, path.name, size, sha256(data))
        return True
    return False


def each_of(
    names: Sequence[str],
    work: Callable[[str], None],
    stop: threading.Event,
    connections: int,
    told: Callable[[int], None],
) -> tuple[list[tuple[str, str]], bool]:
    """Do one piece of work for each name, several at a time; return what failed, and whether the rest was given up.

    Anything but an ArchiveError ends it all. Threads are daemons, so that ctrl-C need not wait for a silent server.
    """
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    done: queue.SimpleQueue[Done] = queue.SimpleQueue()
    for name in names:
        todo.put(name)

    def labour() -> None:
        while not stop.is_set():
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                work(name)
            except BaseException as error:
                done.put((name, error))
            else:
                done.put((name, None))

    workers = [threading.Thread(target=labour, daemon=True, name="fetch") for _ in range(min(connections, len(names)))]
    failed: list[tuple[str, str]] = []
    in_a_row = 0
    for worker in workers:
        worker.start()
    try:
        for number in range(1, len(names) + 1):
            name, error = _next(done)
            if error is None:
                in_a_row = 0
            elif isinstance(error, ArchiveError):
                failed.append((name, str(error)))
                # One that is not there says nothing about the others.
                in_a_row += error.status not in (404, 410)
                if in_a_row >= _GIVE_UP_AFTER:
                    return failed, True
            else:
                raise error
            told(number)
    finally:
        stop.set()
        until = time.monotonic() + _JOIN_WITHIN
        for worker in workers:
            worker.join(timeout=max(0.0, until - time.monotonic()))
    return failed, False


def _next(done: queue.SimpleQueue[Done]) -> Done:
    """Wait for what is done next; in short waits, since on Windows ctrl-C does not end a long one."""
    while True:
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=1.0)


def download(
    folder: Folder, archive: Archive, names: Sequence[str], connections: int = 8, progress: Progress = silent
) -> Outcome:
    """Fetch photographs into a folder.

    Args:
        folder: Knows their records; keeps what arrives.
        archive: Asked again for a photograph whose address has lapsed.
        names: The ids.
        connections: How many are fetched at a time.
        progress: Called with the stage `fetching photographs`.

    Raises:
        OSError: When the disk is full or may not be written.
    """
    outcome = Outcome()
    keep = threading.Lock()

    def work(name: str) -> None:
        photograph = folder.listed[name]
        try:
            data, ending = _fetched(archive.client, photograph)
        except ArchiveError as error:
            if error.status not in _LAPSED:
                raise
            photograph = archive.photograph(name)
            data, ending = _fetched(archive.client, photograph)
        digest = sha256(data)
        with keep:
            if archive.client.stop.is_set():
                raise StoppedError
            folder.add_file(name, data, ending, digest)
            outcome.fetched += 1
            outcome.resized += photograph.size not in (None, len(data))

    stage = "fetching photographs"
    if names:
        progress(stage, 0, len(names))
    outcome.failed, outcome.gave_up = each_of(
        names, work, archive.client.stop, connections, lambda number: progress(stage, number, len(names))
    )
    return outcome


def _fetched(client: Client, photograph: Photograph) -> tuple[bytes, str]:
    return client.get(photograph.url, Limits().max_bytes, examined)
