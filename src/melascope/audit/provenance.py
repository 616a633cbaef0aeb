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
from melascope.errors import DataError

_TOLD = ("image_id", "diagnosis", "official_diagnosis", "lesion_id", "patient_id", "split")
AUDITED = "audited.parquet"
"""Every photograph with what was found out about it, beside `audit.json`."""


def state(frame: pd.DataFrame) -> dict[str, Any]:
    """Return what tells whether data have changed: `files`, `bytes` and a `digest`.

    The digest is over paths, sizes and times of change, and over what labels, authorities and tables say of each.

    Args:
        frame: An image table as `read` returns it.
    """
    digest, total = hashlib.sha256(), 0
    told = [column for column in _TOLD if column in frame.columns]
    cells = frame[told].astype("string").fillna("").agg("\0".join, axis=1)
    for path, words in sorted(zip(frame["path"], cells, strict=True)):
        try:
            status = os.stat(path)  # noqa: PTH116 - a Path for each of a million files is slow
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            size, changed = -1, -1
        total += max(size, 0)
        digest.update(f"{path}\0{words}\0{size}\0{changed}\n".encode())
    return {"files": len(frame), "bytes": total, "digest": digest.hexdigest()}


def reuse(folder: Path, frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Found]]:
    """Return the photographs of an audit that was made of these very data, its summary, and what its model suspected.

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
        raise DataError(
            f"The audit in {folder} is not of these photographs and labels as they are now{changed}; the same DATA, "
            f"--authority and --spelling give the same. {again}"
        )
    return tables.load(folder / AUDITED), summary, _suspected(folder, summary)


def _suspected(folder: Path, summary: dict[str, Any]) -> dict[str, Found]:
    """Return the one kind of problem that cannot be found again from the table, if it was looked for."""
    kind = "label_suspect"
    told = summary.get("kinds", {}).get(kind, {})
    if not told.get("looked_for"):
        return {}
    problems = pd.read_csv(folder / "problems.csv", dtype="string")
    return {kind: Found(problems[problems["kind"] == kind].reset_index(drop=True), told.get("details", {}))}


def refuse_unusable(verdict: str, reasons: list[str]) -> None:
    """Refuse to train on what the audit calls not usable.

    Raises:
        DataError: With the audit's first reason.
    """
    if verdict == NOT_USABLE:
        raise DataError(f"{reasons[0]} Mend the data set; run and train take it as it is with --unaudited.")
