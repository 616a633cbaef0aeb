"""Which photographs of an experiment are the test, closed to it, and which folds somebody else has fixed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope.audit.protocol import Prepared
from melascope.counted import plural
from melascope.datasets import fixed
from melascope.datasets.fixed import own_parts, parts_told, place, refuse_torn
from melascope.datasets.split import PARTS
from melascope.errors import DataError

OWN = "table"
"""As `--parts`: the folds are those of the table's own column `fold`."""


@dataclass(frozen=True)
class Open:
    """What an experiment may use.

    Attributes:
        rows: The photographs; with `fold` where folds are fixed, without it where they are to be drawn.
        closed: How many photographs were left out: those of the test part.
        torn: How many groups stand in several of the fixed folds.
        folds_from: What fixed the folds; None where they are to be drawn.
        warnings: What a reader must know, a sentence each.
    """

    rows: pd.DataFrame
    closed: int
    torn: int = 0
    folds_from: str | None = None
    warnings: list[str] = field(default_factory=list)


def without_test(prepared: Prepared, parts: str | os.PathLike[str] | None, unaudited: bool, data: str) -> Open:
    """Leave out the test: the Test folder, the `part` of a divided table, and the part `test` of a file.

    A `part` of the table's own must name one for every photograph, unless a file of parts does.

    Args:
        prepared: As a protocol has the photographs.
        parts: A fold file, or `table` for the table's own folds.
        unaudited: Whether groups may be torn apart.
        data: What to call the table.

    Raises:
        DataError: When a photograph has no place or no part, or a group stands in several parts or folds.
    """
    rows = prepared.table
    test = _equal(rows["split"], "test")
    told = None if parts is None or parts == OWN else fixed(parts)
    own, warnings = own_parts(rows) if told is None or "part" not in told else (parts_told(rows), [])
    if own is not None:
        if not unaudited:
            refuse_torn(rows["group"], own.where(own.isin(PARTS)))
        test |= _equal(own, "test")
    folds, source = None, None
    if parts is not None:
        placed = rows.get("fold", pd.Series(pd.NA, index=rows.index)) if told is None else place(rows, told)
        _refuse_missing(rows[~test], placed[~test], parts)
        if not unaudited:
            refuse_torn(rows["group"], placed)
        if placed.name == "part":
            test |= _equal(placed, "test")
        else:
            folds, source = placed, f"{data} (its column fold)" if parts == OWN else str(parts)
    own_folds = "fold" in rows and bool(rows["fold"].notna().any())
    rows = rows.drop(columns="fold", errors="ignore")
    torn = 0
    if folds is not None:
        rows = rows.assign(fold=folds)
        pairs = rows.loc[~test, ["group", "fold"]].drop_duplicates()
        torn = int(pairs["group"][pairs["group"].duplicated()].nunique())
    elif own_folds:
        warnings.append(f"The table has a column fold, which was not used: folds are drawn. --parts {OWN} uses it.")
    shared = len(set(rows["group"][test]) & set(rows["group"][~test]))
    if shared and prepared.split_group == "group":
        warnings.append(
            f"{plural(shared, 'photograph, lesion or patient', 'photographs, lesions or patients')} of the closed "
            "test part can also be found here: that test is no test of what is chosen by these numbers."
        )
    return Open(rows[~test].reset_index(drop=True), int(test.sum()), torn, source, warnings)


def _equal(column: pd.Series, name: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (column == name).fillna(False).to_numpy(dtype=bool)
    return found


def _refuse_missing(rows: pd.DataFrame, placed: pd.Series, parts: str | os.PathLike[str]) -> None:
    missing = placed.isna().to_numpy(dtype=bool)
    if not missing.any():
        return
    none = f"{plural(int(missing.sum()), 'photograph')} no place, such as {rows['image_id'][missing].iloc[0]}"
    if parts == OWN:
        raise DataError(f"--parts {OWN}: the table's column fold gives {none}. Fill it, or name a file of folds.")
    raise DataError(f"{parts} gives {none}; it belongs to other data, or to another protocol.")
