"""The image table: one row per photograph, one schema for the whole house.

Only `image_id` and `path` are required; every other column may be missing or
empty. Further columns are allowed and kept. A table is a plain DataFrame.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from melascope.counted import plural
from melascope.errors import DataError
from melascope.spreadsheet import FORMULA

COLUMNS = (
    "image_id",
    "path",
    "diagnosis",
    "lesion_id",
    "patient_id",
    "age",
    "sex",
    "site",
    "source",
    "modality",
    "confirmed_by",
    "license",
    "split",
    "fold",
)
_NUMBERS = {"age": "Float64", "fold": "Int64"}
_FORMULA = rf"'*[{re.escape(''.join(FORMULA))}]"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def check(frame: pd.DataFrame, where: str = "the table") -> pd.DataFrame:
    """Return the table with every column of the schema present and typed.

    Args:
        frame: At least `image_id` and `path`.
        where: What to call the table in an error.

    Raises:
        DataError: When a required column is missing or has empty cells, or a
            numeric column holds something else.
    """
    for column in ("image_id", "path"):
        if column not in frame.columns:
            raise DataError(
                f'{where} has no column "{column}". An image table needs image_id and path; '
                f"it has: {', '.join(map(str, frame.columns)) or 'no columns'}."
            )
        empty = frame[column].isna() | (frame[column].astype("string").str.strip() == "")
        if empty.any():
            raise DataError(
                f'{where} has {plural(int(empty.sum()), "row")} with an empty "{column}", first in row {_first(empty)}.'
            )
    result = frame.copy()
    for column in COLUMNS:
        if column not in result.columns:
            result[column] = pd.NA
        if column in _NUMBERS:
            numbers = pd.to_numeric(result[column], errors="coerce")
            bad = numbers.isna() & result[column].notna()
            if bad.any():
                value = result.loc[bad, column].iloc[0]
                raise DataError(
                    f'{where} has "{value}" in column "{column}", row {_first(bad)}; a number is needed there.'
                )
            result[column] = numbers.astype(_NUMBERS[column])  # type: ignore[call-overload]
        else:
            result[column] = result[column].astype("string")
    others = [column for column in result.columns if column not in COLUMNS]
    return result[[*COLUMNS, *others]].reset_index(drop=True)


def _first(mask: pd.Series) -> int:
    return int(mask.to_numpy().argmax()) + 1


def save(frame: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a table as CSV or Parquet, by the file's ending; the file appears whole or not at all.

    In a CSV a text that a spreadsheet would take for a formula, such as the id `=1+1`, begins with an apostrophe, which
    every reader of Melascope takes off again.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    if target.suffix.lower() == ".csv":
        _quoted(frame).to_csv(partial, index=False)
    elif target.suffix.lower() == ".parquet":
        frame.to_parquet(partial, index=False)
    else:
        raise DataError(f"{target}: a table is saved as .csv or .parquet.")
    partial.replace(target)
    return target


def _texts(frame: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    return [(name, column) for name, column in frame.items() if not pd.api.types.is_numeric_dtype(column)]  # type: ignore[misc]


def _quoted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts are as `spreadsheet.quoted` has them, but for numbers, which are no formulas."""
    changed = {}
    for name, column in _texts(frame):
        text = column.astype("string")
        formula = (text.str.match(_FORMULA) & ~text.str.fullmatch(_NUMBER)).fillna(False)
        if formula.any():
            changed[name] = ("'" + text).where(formula, text)
    return frame.assign(**changed) if changed else frame


def unquoted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame of a CSV that was read, without the apostrophes that `save` wrote."""
    changed = {}
    for name, column in _texts(frame):
        text = column.astype("string")
        formula = text.str.match("'" + _FORMULA).fillna(False)
        if formula.any():
            changed[name] = text.str[1:].where(formula, text)
    return frame.assign(**changed) if changed else frame


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table that `save` wrote, or any CSV or Parquet with the schema's names.

    Raises:
        DataError: When the file is missing, unreadable or not an image table.
    """
    source = Path(path)
    try:
        if source.suffix.lower() == ".parquet":
            frame = pd.read_parquet(source)
        else:
            frame = unquoted(pd.read_csv(source, dtype="string"))
    except FileNotFoundError:
        raise DataError(f"{source} does not exist.") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{source} cannot be read as a table: {str(error).splitlines()[0]}") from None
    return check(frame, where=str(source))
