"""Writing the copies that `balanced.draw` has drawn: whole or not at all, resumable, never over anything else."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.datasets.balanced import Balancing, draw
from melascope.datasets.identity import SCAN_COLUMNS, thread_count
from melascope.datasets.table import COLUMNS, save
from melascope.errors import DataError, ImageError
from melascope.images import decode, read_file
from melascope.images.turning import turned
from melascope.progress import Progress, silent

RECORD = "balancing.json"
TABLES = ("table.csv", "table.parquet")

_NOTE = "This folder holds copies only; the originals stay where they were, and table.csv names both."
_AT_A_TIME = 64
_JPEG_QUALITY = 95
# Of a turned copy, at that quality and with full colour: a skin photograph has less than one, noise nearly two.
_BYTES_PER_PIXEL = 1.5
_INHERITED = ("filed_diagnosis", "official_diagnosis", "label_from", "part")


def write_copies(
    table: pd.DataFrame,
    folder: str | os.PathLike[str],
    how: Balancing | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Write copies of a table's photographs into a folder, in one folder per diagnosis.

    A copy that is not turned is the very file of its source; any other is a JPEG of the source's size. Stopped at any
    moment, the same call goes on.

    Args:
        table: A scanned table.
        folder: New, empty, or begun by the same call.
        how: How many, and how turned; see `Balancing`.
        threads: How many are made at a time; None for one per core.
        progress: Called with the stage `writing copies`.

    Returns:
        A row per copy: the columns of its source without what a scan finds out, its own `image_id` and `path`,
        `copy_of` and `degrees`.

    Raises:
        DataError: When the folder holds something else, the disk has too little room, or a source cannot be read.
    """
    how = how or Balancing()
    drawn = draw(table, how)
    sources = table.iloc[drawn["row"].to_numpy()].reset_index(drop=True)
    target = Path(folder).absolute()
    kept = [c for c in sources.columns if c not in SCAN_COLUMNS and not c.startswith("trait_")]
    copies = sources[kept].assign(
        image_id=drawn["image_id"],
        copy_of=drawn["copy_of"],
        degrees=drawn["degrees"],
        path=_paths(target, drawn, sources),
    )
    try:
        _begin(target, how, copies, sources)
        _refuse_too_little_room(target, drawn, sources, copies)
        _write_all(copies, sources["path"].tolist(), thread_count(threads), progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"The disk of {target} is full; make room and start again, it goes on.") from None
        raise DataError(f"{target} cannot be written ({error.strerror or error}).") from None
    return copies


def write_tables(table: pd.DataFrame, copies: pd.DataFrame, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the image table of originals and copies into the folder of the copies, as CSV and as Parquet.

    Paths of copies start at the folder, those of originals are absolute.
    """
    target = Path(folder).absolute()
    told = [*COLUMNS, *(c for c in _INHERITED if c in table.columns)]
    made = copies.assign(path=[str(Path(path).relative_to(target)) for path in copies["path"]])
    originals = table.assign(path=[str(Path(path).absolute()) for path in table["path"]])
    if "copy_of" not in originals.columns:
        originals["copy_of"] = pd.array([pd.NA] * len(originals), dtype="string")
    both = pd.concat([originals[[*told, "copy_of"]], made[[*told, "copy_of"]]], ignore_index=True)
    return [save(both, target / name) for name in TABLES]


def refuse_copies_only(folder: Path) -> None:
    """Refuse a folder that `write_copies` has made as a data set: the originals are not in it.

    Raises:
        DataError: When it is one; the message says what to give instead.
    """
    if not (folder / RECORD).is_file():
        return
    table = folder / TABLES[0]
    instead = (
        f"Give its table of both instead: {table}."
        if table.is_file()
        else "Give the photographs that they were made of; where data balance was stopped, repeat it for its table."
    )
    raise DataError(
        f"{folder} was made by melascope data balance and holds copies only; the originals stand elsewhere. {instead}"
    )


def _paths(target: Path, drawn: pd.DataFrame, sources: pd.DataFrame) -> list[str]:
    found = []
    for image_id, code, degrees, path, split in zip(
        drawn["image_id"], drawn["diagnosis"], drawn["degrees"], sources["path"], sources["split"], strict=True
    ):
        ending = ".jpg" if degrees else Path(path).suffix.lower()
        name = image_id.replace("_COPY", "_copy") + ending
        place = target if pd.isna(split) else target / "Train"
        found.append(str(place / diagnosis.name(code) / name))
    return found


def _begin(target: Path, how: Balancing, copies: pd.DataFrame, sources: pd.DataFrame) -> None:
    """Take the folder, or go on with it."""
    digest = hashlib.sha256(json.dumps(how.to_json(), sort_keys=True).encode())
    for column in (copies["image_id"], copies["degrees"].map(repr), sources["sha256"]):
        digest.update("\n".join(column.astype(str)).encode())
    record = {"settings": how.to_json(), "copies": len(copies), "mark": digest.hexdigest(), "note": _NOTE}
    path = target / RECORD
    # Killed before the record was whole, the folder holds its beginning and nothing else.
    if target.is_dir() and any(one.name != f".{RECORD}.partial" for one in target.iterdir()):
        try:
            before: Any = json.loads(path.read_text(encoding="utf-8"))["mark"]
        except FileNotFoundError:
            raise DataError(f"{target} holds something else already; choose a new folder for the copies.") from None
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path} is damaged; choose a new folder for the copies.") from None
        if before != record["mark"]:
            raise DataError(
                f"{target} holds copies that were made of other photographs or in another way; choose a new folder."
            )
        return
    target.mkdir(parents=True, exist_ok=True)
    _whole(path, json.dumps(record, indent=1).encode())


def _refuse_too_little_room(target: Path, drawn: pd.DataFrame, sources: pd.DataFrame, copies: pd.DataFrame) -> None:
    pixels = sources["width"].astype("float64") * sources["height"].astype("float64")
    size = np.where(drawn["degrees"] == 0, sources["bytes"].astype("float64"), _BYTES_PER_PIXEL * pixels)
    missing = np.array([not os.path.lexists(path) for path in copies["path"]], dtype=bool)
    needed, free = float(size[missing].sum()), shutil.disk_usage(target).free
    if needed > free:
        raise DataError(
            f"The copies take about {needed / 1e9:.1f} GB, and the disk of {target} has {free / 1e9:.1f} GB; make "
            "room, or ask for fewer with --per-class."
        )


def _write_all(copies: pd.DataFrame, sources: list[str], threads: int, progress: Progress) -> None:
    for folder in {Path(path).parent for path in copies["path"]}:
        folder.mkdir(parents=True, exist_ok=True)
    jobs = list(zip(sources, copies["path"], copies["degrees"], strict=True))
    progress("writing copies", 0, len(jobs))
    with ThreadPoolExecutor(threads, thread_name_prefix="copy") as pool:
        # Few at a time, so that ctrl-C has little to wait for.
        for start in range(0, len(jobs), _AT_A_TIME):
            _finish(pool.map(_write_one, jobs[start : start + _AT_A_TIME]))
            progress("writing copies", min(start + _AT_A_TIME, len(jobs)), len(jobs))


def _finish(results: Iterable[None]) -> None:
    for _ in results:
        pass


def _write_one(job: tuple[str, str, float]) -> None:
    source, path, degrees = job
    made = Path(path)
    if made.exists() and made.stat().st_size:  # a machine that lost its power can leave a name without a content
        return
    try:
        data = read_file(source)
        _whole(made, data if degrees == 0 else _jpeg(turned(decode(data), degrees)))
    except ImageError as error:
        raise DataError(f"{source} can no longer be read, so that no copy is made of it: {error}") from None


def _jpeg(image: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def _whole(path: Path, data: bytes) -> None:
    partial_path = path.with_name(f".{path.name}.partial")
    partial_path.write_bytes(data)
    partial_path.replace(path)
