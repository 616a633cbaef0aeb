"""Whether an audit that was made is of these data, as they are now."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from melascope.audit.problems import Found
from melascope.audit.reasons import NOT_USABLE
from melascope.datasets import table as tables
from melascope.datasets.identity import SCAN_COLUMNS
from melascope.datasets.rows import AUDITED_COLUMNS
from melascope.errors import DataError

_TOLD = (
    "image_id",
    "diagnosis",
    "official_diagnosis",
    "lesion_id",
    "patient_id",
    "split",
    "filed_diagnosis",
    "label_from",
)
_PLACED = ("part", "fold", "copy_of")
"""Told only where some row says them, so that audits of tables without them, made before these counted, stay valid."""
CLEAN = ("clean.parquet", "clean.csv")
"""What an audit left, one row per photograph to be used."""
AUDITED = "audited.parquet"
"""Every photograph with what was found out about it, beside `audit.json`."""


def state(frame: pd.DataFrame) -> dict[str, Any]:
    """Return what tells whether data have changed: `files`, `bytes`, `digest`, `folder` and `moved_digest`.

    The digest is over paths, sizes and times of change, and over what labels, authorities and tables say of each.
    `folder` is the innermost one that holds every file; `moved_digest` is over paths below it, sizes and what is said,
    so that the same files in another place can be told from other files.

    Args:
        frame: An image table as `read` returns it.
    """
    digest, moved, total = hashlib.sha256(), hashlib.sha256(), 0
    folder = _common_folder(frame["path"].tolist())
    for path, words in sorted(zip(frame["path"], _said(frame), strict=True)):
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path for each of a million files is slow
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            size, changed = -1, -1
        total += max(size, 0)
        digest.update(f"{path}\0{words}\0{size}\0{changed}\n".encode())
        moved.update(f"{path[len(folder) :]}\0{words}\0{size}\n".encode())
    return {
        "files": len(frame),
        "bytes": total,
        "digest": digest.hexdigest(),
        "folder": folder,
        "moved_digest": moved.hexdigest(),
    }


def flow_before(data: str | os.PathLike[str], found: int) -> list[dict[str, Any]]:
    """Return the flow (STARD) of the audit that wrote the table `data`, empty where none did.

    `clean.parquet` holds what that audit left; without its flow, what it left out would be counted nowhere.

    Args:
        data: What is read: only `clean.parquet` or `clean.csv` beside their `audit.json` have a flow before.
        found: How many photographs the table has; an audit that left another number did not write it.
    """
    path = Path(data)
    told = path.parent / "audit.json"
    if path.name not in CLEAN or not told.is_file():
        return []
    try:
        summary = json.loads(told.read_text(encoding="utf-8"))
        steps = [dict(step) for step in summary["flow"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return steps if summary.get("used") == found else []


def _said(frame: pd.DataFrame) -> pd.Series:
    """Return all that labels, authorities and tables say of each row, in one text."""
    told = [column for column in _TOLD if column in frame.columns]
    cells = frame[told].astype("string").fillna("").agg("\0".join, axis=1)
    for column in _PLACED:
        if column in frame.columns:
            values = frame[column].astype("string").fillna("")
            if (values != "").any():
                cells = cells + f"\0{column}=" + values
    return cells


def _common_folder(paths: list[str]) -> str:
    folders = {os.path.dirname(path) for path in paths}  # noqa: PTH120 - a Path for each of a million files is slow
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        return ""


def reuse(folder: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Found]]:
    """Return the photographs of an audit that was made of these very data, its summary, and what its model suspected.

    What files hold and comparisons found is the audit's; what tables and labels say is that of the frame just read.

    Args:
        folder: Where `melascope data audit` wrote.
        frame: The image table as it is read now.

    Raises:
        DataError: When there is no finished audit, or it is of other data, or of these before they changed.
    """
    again = f"Make it again: melascope data audit ... --out {folder}"
    try:
        summary = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        then = dict(summary["data"])
    except FileNotFoundError:
        raise DataError(f"{folder} holds no finished audit (audit.json is missing). {again}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'audit.json'} cannot be read as an audit. {again}") from None
    now = state(frame)
    if then.get("digest") != now["digest"]:
        changed = "" if then.get("files") == now["files"] else f" ({then.get('files'):,} then, {now['files']:,} now)"
        if then.get("moved_digest") == now["moved_digest"]:
            raise DataError(_moved(folder, then, now, again))
        raise DataError(
            f"The audit in {folder} is not of these photographs and labels as they are now{changed}; the same DATA, "
            f"--authority and --spelling give the same. {again}"
        )
    scanned = _as_read(tables.load(folder / AUDITED), frame)
    if scanned is None:
        raise DataError(f"{folder / AUDITED} names other photographs than {folder / 'audit.json'}. {again}")
    return scanned, summary, _suspected(folder, summary)


def _as_read(scanned: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return a scanned table with the columns of the frame just read, None where that lacks a row of it."""
    at = pd.Index(_rows(frame)).get_indexer(pd.Index(_rows(scanned)))
    if (at < 0).any():
        return None
    measured = {*SCAN_COLUMNS, *AUDITED_COLUMNS}
    read = [column for column in frame if column not in measured and not str(column).startswith("trait_")]
    return scanned.assign(**{str(column): frame[column].array.take(at) for column in read})


def _rows(frame: pd.DataFrame) -> pd.Series:
    """Return a text that tells each row from all others: path, what is said, and a count where both are repeated."""
    texts = frame["path"].astype("string") + "\0" + _said(frame)
    return texts + "\0" + texts.groupby(texts).cumcount().astype("string")


def _moved(folder: Path, then: dict[str, Any], now: dict[str, Any], again: str) -> str:
    """Say that names, sizes and labels are those of the audit, and what is not."""
    if then.get("folder") != now["folder"]:
        return (
            f"The audit in {folder} is of the same files, by names, sizes and labels, under another folder (it was "
            f"{then.get('folder')}, it is {now['folder']}), and names them where they stood. Move them back there, or "
            f"{again[:1].lower()}{again[1:]}"
        )
    return (
        f"The audit in {folder} is not of these photographs and labels as they are now: names, sizes and labels are "
        f"the same, but files were written since. {again}"
    )


def _suspected(folder: Path, summary: dict[str, Any]) -> dict[str, Found]:
    """Return the one kind of problem that cannot be found again from the table, if it was looked for."""
    kind = "label_suspect"
    told = summary.get("kinds", {}).get(kind, {})
    if not told.get("looked_for"):
        return {}
    problems = tables.unquoted(pd.read_csv(folder / "problems.csv", dtype="string"))
    return {kind: Found(problems[problems["kind"] == kind].reset_index(drop=True), told.get("details", {}))}


def refuse_unusable(verdict: str, reasons: list[str]) -> None:
    """Refuse to train on what the audit calls not usable.

    Raises:
        DataError: With every reason for which it is not.
    """
    if verdict == NOT_USABLE:
        opening = f"{NOT_USABLE.capitalize()}: "
        fatal = [reason for reason in reasons if reason.startswith(opening)] or reasons[:1]
        told = opening + " ".join(_sentence(reason.removeprefix(opening)) for reason in fatal)
        raise DataError(f"{told} Mend the data set; run and train take it as it is with --unaudited.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
