"""Official labels, lesion and patient ids from elsewhere, joined to a table by image id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from melascope.counted import plural
from melascope.datasets.labels import normalise, read_cells
from melascope.datasets.table import check
from melascope.diagnosis import coarsen_label
from melascope.errors import DataError

FILLED = ("lesion_id", "patient_id", "age", "sex", "site", "confirmed_by", "license")
"""Columns that an authority fills where the table has nothing."""


def join(
    table: pd.DataFrame,
    paths: Iterable[str | os.PathLike[str]],
    spellings: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the table with `official_diagnosis` and the gaps of `FILLED` closed.

    Without an authority the table is returned as it is. Of two authorities one
    may be finer (AK beside AKIEC); then the finer label counts.

    Raises:
        DataError: When an authority cannot be read, names none of the
            photographs, or contradicts itself or another one.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = (paths,)
    result = table
    for path in paths:
        where = str(Path(path).absolute())
        rows = check(normalise(read_cells(Path(where)), where, spellings).assign(path=where), where=where)
        rows = rows[rows["image_id"].isin(set(result["image_id"]))]
        if rows.empty:
            names = plural(table["image_id"].nunique(), "photograph")
            raise DataError(f"{where} names none of the {names} of the set.")
        values = {"official_diagnosis": _one_each(rows, "diagnosis", where)}
        values |= {column: _one_each(rows, column, where) for column in FILLED}
        result = _fill(result, values, where)
    return result


def _one_each(rows: pd.DataFrame, column: str, where: str) -> pd.Series:
    """Return the value of each image id, one per id; the ids are the index."""
    given = rows[["image_id", column]].dropna().drop_duplicates()
    twice = given["image_id"].duplicated(keep=False)
    if twice.any() and column in ("diagnosis", "lesion_id", "patient_id"):
        first = given[twice].iloc[0]["image_id"]
        values = " and ".join(map(str, given.loc[given["image_id"] == first, column]))
        raise DataError(f"{where} contradicts itself: {first} has the {column.replace('_', ' ')} {values}.")
    return given.drop_duplicates("image_id").set_index("image_id")[column]


def _fill(table: pd.DataFrame, values: Mapping[str, pd.Series], where: str) -> pd.DataFrame:
    result = table.copy()
    for column, value in values.items():
        if value.empty and column not in result.columns:
            continue
        joined = result["image_id"].map(value)
        if column not in result.columns:
            result[column] = joined.astype("string")
            continue
        if column == "official_diagnosis":
            joined = _finer(result["image_id"], result[column], joined, where)
            result[column] = joined
        else:
            result[column] = result[column].fillna(joined.astype(result[column].dtype))
    return result


def _finer(ids: pd.Series, before: pd.Series, now: pd.Series, where: str) -> pd.Series:
    """Return the finer of two official labels, per row."""
    pairs = pd.DataFrame({"before": before.astype("string"), "now": now.astype("string")})
    both = pairs.dropna()
    both = both[both["before"] != both["now"]]
    finer = {}
    for first, second in both.drop_duplicates().itertuples(index=False):
        if coarsen_label(first, (second,)) is not None:
            finer[first, second] = first
        elif coarsen_label(second, (first,)) is not None:
            finer[first, second] = second
        else:
            row = both.index[(both["before"] == first) & (both["now"] == second)][0]
            raise DataError(f"{where} calls {ids[row]} {second}, another authority {first}; give only one of the two.")
    result = pairs["before"].fillna(pairs["now"])
    if not both.empty:
        keys = list(zip(both["before"], both["now"], strict=True))
        result.loc[both.index] = pd.array([finer[key] for key in keys], dtype="string")
    return result
