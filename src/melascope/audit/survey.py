"""Looking at a data set as a whole: read, scan, audit, and write what may be used.

These are the calls behind `melascope data ...`; `melascope run` begins with
the same `survey`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis, environment
from melascope.audit.protocol import Prepared, apply_protocol
from melascope.audit.verdict import Audit, audit
from melascope.datasets import Pack, check_trainable, folds, pack, read, scan, split, table
from melascope.errors import DataError
from melascope.images import Geometry, decode, read_file
from melascope.progress import Progress, silent

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Survey:
    """A data set that was read, scanned and audited.

    Attributes:
        scanned: The image table with what the scan found out.
        audit: The problems and the verdict.
    """

    scanned: pd.DataFrame
    audit: Audit

    @property
    def unreadable(self) -> int:
        """How many files could not be read."""
        return int(self.scanned["error_kind"].notna().sum())


def survey(
    data: PathLike,
    images: PathLike | None = None,
    authority: Sequence[PathLike] = (),
    spellings: Mapping[str, str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Survey:
    """Read a data set, decode every photograph once, and audit it.

    Args:
        data: A folder with a subfolder per diagnosis, or a CSV or Parquet table.
        images: Where the photographs are that a CSV names.
        authority: CSVs with official labels, lesion and patient ids.
        spellings: What unknown labels mean, label to code.
        limit: Use only so many photographs, drawn by class and split.
        seed: Of that draw.
        progress: Called with the stage and how far it is.

    Raises:
        DataError: When the data set as a whole cannot be used.
    """
    frame = read(data, images=images, authority=authority, spellings=spellings)
    if limit is not None and limit < len(frame):
        frame = _draw(frame, limit, seed)
    scanned = scan(frame, threads=environment.threads(), progress=progress)
    return Survey(scanned, audit(scanned))


def audit_data(data: PathLike, out: PathLike | None = None, progress: Progress = silent, **reading: Any) -> Survey:
    """Find what is wrong with a data set; with `out`, write the tables and the page there.

    Returns:
        The survey; `survey.audit.problems` has a row per photograph and problem.

    Raises:
        DataError: As for `survey`.
    """
    found = survey(data, progress=progress, **reading)
    if out is not None:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        prepared = apply_protocol(found.scanned, found.audit, "clean")
        write_audit(folder, found, prepared)
        table.save(prepared.table, folder / "clean.parquet")
        table.save(prepared.table, folder / "clean.csv")
        _page(folder / "report.html", found, prepared, title=f"Audit of {Path(data).name}")
    return found


def write_audit(folder: Path, found: Survey, prepared: Prepared) -> dict[str, Any]:
    """Write `audit.json`, `problems.csv` and `excluded.csv`; return what stands in the first."""
    import json

    summary = {
        **found.audit.summary(),
        "protocol": prepared.name,
        "optimistic": prepared.optimistic,
        "leak": prepared.leak,
        "flow": flow(prepared),
        "warnings": list(prepared.warnings),
    }
    table.save(prepared.excluded, folder / "excluded.csv")
    table.save(found.audit.problems, folder / "problems.csv")
    partial = folder / ".audit.json.partial"
    partial.write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(folder / "audit.json")
    return summary


def flow(prepared: Prepared) -> list[dict[str, Any]]:
    """Return the flow from photographs found to photographs used as JSON-ready rows."""
    return [
        {"label": step.label, "photographs": step.photographs, "excluded": dict(step.excluded)}
        for step in prepared.flow
    ]


def show_data(
    data: PathLike, out: PathLike | None = None, seed: int = 0, progress: Progress = silent, **reading: Any
) -> Survey:
    """Look at a data set; with `out`, write a page with its counts and pictures there."""
    found = survey(data, seed=seed, progress=progress, **reading)
    if out is not None:
        prepared = apply_protocol(found.scanned, found.audit, "clean")
        _page(Path(out), found, prepared, title=Path(data).name, seed=seed)
    return found


def class_counts(scanned: pd.DataFrame) -> dict[str, Any]:
    """Count photographs per diagnosis and split.

    Returns:
        `{"splits": [...], "rows": [{"code", "name", <split>: n, "all", "share"}], "ratio", "sentence"}`, the largest
        class first.
    """
    labelled = scanned[scanned["diagnosis"].notna()]
    found = (str(name) for name in labelled["split"].dropna().unique())
    splits = sorted(found, key=lambda name: (name != "train", name))
    rows = []
    for code, part in labelled.groupby("diagnosis", observed=True):
        row: dict[str, Any] = {"code": str(code), "name": diagnosis.name(str(code))}
        row.update({name: int((part["split"] == name).sum()) for name in splits})
        row.update(all=len(part), share=len(part) / len(labelled))
        rows.append(row)
    if not rows:
        sentence = f"{len(scanned)} photographs, none of which has a diagnosis."
        return {"splits": splits, "rows": [], "ratio": None, "sentence": sentence}
    rows.sort(key=lambda row: -row["all"])
    most, least = rows[0], rows[-1]
    ratio = most["all"] / least["all"]
    sentence = (
        f"{len(labelled)} photographs of {len(rows)} diagnoses. Most frequent: {most['name']} ({most['all']}); "
        f"least frequent: {least['name']} ({least['all']}); ratio {ratio:.1f} to 1."
    )
    return {"splits": splits, "rows": rows, "ratio": ratio, "sentence": sentence}


def split_data(
    data: PathLike,
    out: PathLike | None = None,
    folds_wanted: int | None = None,
    seed: int = 0,
    protocol: str = "clean",
    progress: Progress = silent,
    **reading: Any,
) -> tuple[Survey, pd.DataFrame]:
    """Split a data set into parts, or folds, by photograph, lesion and patient.

    Returns:
        The survey, and how many photographs of each diagnosis stand in each part (or fold). With `out`, the table with
        the column `part` (or `fold`) is written there.
    """
    found = survey(data, progress=progress, **reading)
    prepared = apply_protocol(found.scanned, found.audit, protocol)
    check_trainable(prepared.table)
    frame = prepared.table.copy()
    if folds_wanted is None:
        frame["part"] = split(frame, seed=seed, group=prepared.split_group).part
        column = "part"
    else:
        frame["fold"] = folds(frame, folds_wanted, seed=seed, group=prepared.split_group)
        column = "fold"
    if out is not None:
        table.save(frame, out)
    balance = pd.crosstab(frame["diagnosis"], frame[column])
    balance.index = [diagnosis.name(str(code)) for code in balance.index]
    return found, balance


def pack_data(
    data: PathLike, size: int = 180, mode: str = "squash", progress: Progress = silent, **reading: Any
) -> tuple[Survey, Pack]:
    """Decode a data set once into the packed array `(n, size, size, 3)` that training reads."""
    found = survey(data, progress=progress, **reading)
    readable = found.scanned[found.scanned["error_kind"].isna()].reset_index(drop=True)
    if readable.empty:
        raise DataError(f"None of the {len(found.scanned):,} photographs in {data} can be read.")
    geometry = Geometry(size, size, mode)  # type: ignore[arg-type]
    return found, pack(readable, geometry, environment.cache_folder(), threads=environment.threads(), progress=progress)


def picture(path: str) -> np.ndarray:
    """Load a photograph as `(h, w, 3) uint8` for a page."""
    return decode(read_file(path), at_least=(256, 256))


def _page(target: Path, found: Survey, prepared: Prepared, title: str, seed: int = 0) -> None:
    from melascope.reports import DataReport, data_report

    page = data_report(
        DataReport(
            title=title,
            table=found.scanned,
            audit=found.audit.summary(),
            problems=found.audit.problems,
            flow=flow(prepared),
            picture=picture,
            seed=seed,
        )
    )
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(target)


def _draw(frame: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """Draw rows so that every class and split keeps its share, and none vanishes."""
    keys = frame["diagnosis"].fillna("") + "/" + frame["split"].fillna("")
    order = np.random.default_rng(seed).permutation(len(frame))
    rank = pd.Series(order, index=frame.index).groupby(keys).rank(method="first")
    share = rank / keys.map(keys.value_counts())
    chosen = share.sort_values(kind="stable").index[:limit]
    return frame.loc[sorted(chosen)].reset_index(drop=True)
