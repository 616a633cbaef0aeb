"""What stands in this set and in another: photographs, lesions, patients.

An external test is external only when nothing of it was trained on. The other
set may be a folder, a table, or a bundle with its list of training photographs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope.audit.problems import Found, problems, readable
from melascope.bundle import load_bundle
from melascope.bundle.trained_on import SAME_PHOTOGRAPH
from melascope.datasets import find_same, read, scan
from melascope.datasets.identity import symmetric_hashes
from melascope.errors import DataError
from melascope.progress import Progress, silent

PathLike = str | os.PathLike[str]

BUNDLE_ENDING = ".melascope"
# An archive gives each number once; other names, such as 1.jpg, say nothing across sets.
_ARCHIVE_ID = r"ISIC_\d{7}"


def mark(
    table: pd.DataFrame,
    others: Sequence[PathLike],
    images: Sequence[PathLike] = (),
    threads: int | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return a scanned table with `also_in` (names of other sets) and `also_in_evidence`, missing where in none.

    Args:
        table: A scanned table.
        others: Folders, tables or bundles.
        images: Folders in which the photographs of such tables are searched.
        threads: How many files are read at a time.
        progress: Called with the stage and how far it is.

    Raises:
        DataError, BundleError: When another set cannot be read.
    """
    names: list[list[str]] = [[] for _ in range(len(table))]
    evidence: list[list[str]] = [[] for _ in range(len(table))]
    for other in others:
        name = Path(other).name
        if str(other).lower().endswith(BUNDLE_ENDING):
            found = _in_bundle(table, Path(other))
        else:
            found = _in_set(table, other, images, threads, progress)
        for row, told in found.items():
            names[row].append(name)
            evidence[row].append(f"{name}: {told}")
    kept = table.drop(columns=["also_in", "also_in_evidence"], errors="ignore")
    return kept.assign(also_in=_joined(names), also_in_evidence=_joined(evidence))


def _joined(cells: list[list[str]]) -> Any:
    return pd.array(["; ".join(cell) or None for cell in cells], dtype="string")


def _in_bundle(table: pd.DataFrame, path: Path) -> dict[int, str]:
    """Return the rows that a bundle was trained on, and how that is known."""
    known = load_bundle(path).trained_on
    if known is None:
        return {}
    rows = np.flatnonzero(table["error_kind"].isna().to_numpy())
    part = table.iloc[rows]
    same_bytes = known.contains(part["sha256"].tolist())
    nearest = known.nearest(symmetric_hashes(part["phash"])).reshape(len(part), -1).min(axis=1)
    found = {}
    for row, identical, bits in zip(rows, same_bytes, nearest, strict=True):
        if identical:
            found[int(row)] = "trained on the same file"
        elif bits <= SAME_PHOTOGRAPH:
            found[int(row)] = f"trained on a photograph whose hash differs in {bits} of 256 bits"
    return found


def _in_set(
    table: pd.DataFrame, path: PathLike, images: Sequence[PathLike], threads: int | None, progress: Progress
) -> dict[int, str]:
    """Return the rows that share a photograph, a lesion or a patient with another set, and how that is known."""
    other = scan(_read(path, images), threads=threads, progress=progress)
    found: dict[int, str] = {}
    usable = readable(other)
    archive = usable["image_id"][usable["image_id"].str.fullmatch(_ARCHIVE_ID).fillna(False)]
    shared = (
        ("sha256", usable["sha256"], "the same file"),
        ("image_id", archive, "the same archive id"),
        ("lesion_id", usable["lesion_id"], "another photograph of lesion "),
        ("patient_id", usable["patient_id"], "another photograph of patient "),
    )
    for column, values, told in shared:
        for row in np.flatnonzero(table[column].isin(set(values.dropna())).to_numpy(dtype=bool)):
            name = str(table[column].iloc[row]) if told.endswith(" ") else ""
            found.setdefault(int(row), told + name)
        if column == "image_id":
            # What the pixels show comes before what is only related.
            pairs = find_same(table, other, threads=threads, progress=progress)
            ends = pairs[["a", "b"]].to_numpy(dtype=int)
            for (row, there), told_pair in zip(ends, pairs["evidence"], strict=True):
                found.setdefault(int(row), f"{other['image_id'].iloc[there]}: {told_pair}")
    return found


def _read(path: PathLike, images: Sequence[PathLike]) -> pd.DataFrame:
    if Path(path).is_dir() or not images:
        return read(path)
    problem: DataError | None = None
    for folder in images:
        try:
            return read(path, images=folder)
        except DataError as error:
            problem = problem or error
    raise problem or DataError(f"{path} cannot be read.")


def find(table: pd.DataFrame) -> Found:
    """Return every photograph that stands in another set too; a group per photograph."""
    rows = readable(table)
    if "also_in" not in rows.columns:
        return Found(problems("other_set_leak", rows.iloc[:0], np.empty(0), ""))
    rows = rows[rows["also_in"].notna()]
    names = rows["also_in"].str.split("; ").explode()
    details = {"sets": {str(name): int(count) for name, count in names.value_counts().items()}}
    return Found(
        problems("other_set_leak", rows, rows["image_id"].to_numpy(dtype=object), rows["also_in_evidence"]), details
    )
