"""Parts and folds that are fixed for ever: files of ids, ours and the user's.

`isic9-clean` is the protocol clean on the nine-class set, `ham10000-folds`
five lesion-disjoint folds of HAM10000. Neither holds anything but ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pandas as pd

from melascope.counted import plural
from melascope.datasets.groups import lesion_counts
from melascope.datasets.identity import canonical_id
from melascope.datasets.split import PARTS, SplitResult, balance
from melascope.datasets.table import save, unquoted
from melascope.errors import DataError

FIXED = ("ham10000-folds", "isic9-clean")
"""The names of the files that come with Melascope."""

_MEANT = {
    "training": "train", "tuning": "tune", "valid": "tune", "val": "tune", "validation": "tune", "dev": "tune",
    "calibration": "calibrate", "testing": "test", "holdout": "test",
}  # fmt: skip
_MOST_WORDS = 3


def fixed(name_or_path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a fold file: `image_id`, and `part` or `fold`.

    Args:
        name_or_path: One of `FIXED`, or a CSV or Parquet with those columns.

    Raises:
        DataError: When there is no such file, or it says nothing usable.

    Example:
        >>> sorted(fixed("ham10000-folds")["fold"].unique())
        [0, 1, 2, 3, 4]
    """
    if str(name_or_path) in FIXED:
        with resources.as_file(resources.files("melascope.datasets") / "folds" / f"{name_or_path}.csv") as path:
            return _read(path)
    path = Path(name_or_path)
    if not path.is_file():
        raise DataError(f"{path} does not exist. A fold file is a CSV, or one of: {', '.join(FIXED)}.")
    return _read(path)


def _read(path: Path) -> pd.DataFrame:
    try:
        is_parquet = path.suffix.lower() == ".parquet"
        frame = pd.read_parquet(path) if is_parquet else unquoted(pd.read_csv(path, dtype="string"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    column = next((name for name in ("part", "fold") if name in frame), None)
    if "image_id" not in frame or column is None:
        raise DataError(f"{path} is no fold file: it needs image_id, and part or fold.")
    ids = frame["image_id"].map(canonical_id).astype("string")
    if frame[column].isna().any() or ids.isna().any():
        raise DataError(f"{path} has a row without image_id or {column}.")
    told = pd.DataFrame({"image_id": ids, column: frame[column]}).drop_duplicates()
    if told["image_id"].duplicated().any():
        twice = told["image_id"][told["image_id"].duplicated()].iloc[0]
        raise DataError(f"{path} puts {twice} into two {column}s.")
    if column == "part":
        unknown = sorted(set(told["part"]) - set(PARTS))
        if unknown:
            raise DataError(f'{path}: "{unknown[0]}" is no part; parts are {", ".join(PARTS)}.')
        return told.astype({"part": "string"}).reset_index(drop=True)
    numbers = pd.to_numeric(told["fold"], errors="coerce")
    if numbers.isna().any() or (numbers != numbers.round()).any():
        raise DataError(f"{path}: a fold is a whole number.")
    return told.assign(fold=numbers.astype("int64")).reset_index(drop=True)


def unknown_names(told: pd.DataFrame, table: pd.DataFrame, where: str) -> list[str]:
    """Return a sentence on the photographs of a fold file that a data set does not have; nothing where it has all.

    Args:
        told: As `fixed` returns it.
        table: The photographs of the data set, whether used or not.
        where: What to call the file.

    Raises:
        DataError: When the data set has none of them.
    """
    missing = told["image_id"][~told["image_id"].isin(set(table["image_id"]))].drop_duplicates()
    if len(missing) and missing.nunique() == told["image_id"].nunique():
        raise DataError(
            f"{where} names none of the photographs of these data; its first is {missing.iloc[0]}, theirs is "
            f"{table['image_id'].iloc[0]}. Give the file that was made of them."
        )
    if missing.empty:
        return []
    are = plural(len(missing), "photograph that is", "photographs that are")
    return [f"{where} names {are} not among these data, such as {missing.iloc[0]}."]


def place(table: pd.DataFrame, told: pd.DataFrame) -> pd.Series:
    """Return the part, or fold, that a fold file gives each row of a table; missing where it names none.

    Raises:
        DataError: When the file names none of the photographs.
    """
    column = "part" if "part" in told else "fold"
    found = table["image_id"].map(told.set_index("image_id")[column])
    if found.isna().all():
        raise DataError(
            f"The fold file names none of {plural(len(table), 'photograph')}; its first is {told['image_id'].iloc[0]}, "
            f"theirs is {table['image_id'].iloc[0]}."
        )
    return pd.Series(found, index=table.index, name=column, dtype="string" if column == "part" else "Int64")


def parts_told(table: pd.DataFrame) -> pd.Series | None:
    """Return a table's own column `part`; None where it has none, or means something else by it, such as a body part.

    A column means parts where some row has one of `PARTS`, or a word that others use for one, such as `valid`. Case
    does not matter; what is neither stays as it is, and what is empty is missing.

    Args:
        table: An image table, or rows of it.
    """
    if "part" not in table.columns:
        return None
    text = table["part"].astype("string").str.strip()
    lower = text.str.lower()
    if not lower.isin([*PARTS, *_MEANT]).any():
        return None
    return text.mask(lower.isin(PARTS), lower).mask(text == "").rename("part")


def own_parts(
    table: pd.DataFrame, without: str = "to have the photographs divided anew"
) -> tuple[pd.Series | None, list[str]]:
    """Return the parts that a table's own column `part` gives all of its rows, and a sentence where it is not used.

    A column that gives some rows a part and others none is refused: to drop it would train on its test.

    Args:
        table: The rows that count, as a protocol has them; those that it leaves out need no part.
        without: What it is good for to drop the column.

    Returns:
        The part of each row, one of `PARTS`; None where the table has no such column, or means something else by it.

    Raises:
        DataError: When some rows have a part, and others none or a word that is none.
    """
    told = parts_told(table)
    if told is None:
        return None, _other_meaning(table)
    wrong = ~told.isin(PARTS)
    if not wrong.any():
        return told, []
    words = told.fillna("").where(wrong).value_counts()
    found, mend = [], []
    for word in map(str, words.index[:_MOST_WORDS]):
        first = table["image_id"][(told.fillna("") == word).to_numpy(dtype=bool)].iloc[0]
        quoted = f'"{word}"' if word else "empty"
        found.append(f"{words[word]:,} {quoted} (such as {first})")
        meant = _MEANT.get(word.lower(), "one of the four")
        # Thresholds are set on calibrate; a set with one part for both has that one and no tune.
        meant = "calibrate" if meant == "tune" and not (told == "calibrate").any() else meant
        mend.append(f"write {meant} for {quoted}" if word else "fill in the empty cells")
    if len(words) > _MOST_WORDS:
        found.append("and others")
    remedy = ", ".join(dict.fromkeys(mend))
    raise DataError(
        f"The table's column part is none of {', '.join(PARTS[:-1])} and {PARTS[-1]} for {int(wrong.sum()):,} of "
        f"{plural(len(table), 'photograph')}: {', '.join(found)}. {remedy[0].upper()}{remedy[1:]}, or drop the column "
        f"{without}."
    )


def _other_meaning(table: pd.DataFrame) -> list[str]:
    words = table["part"].dropna().astype(str).str.strip() if "part" in table.columns else pd.Series(dtype=str)
    words = words[words != ""]
    if words.empty:
        return []
    return [f'The table has a column part, which was not used: "{words.iloc[0]}" and its other words name no parts.']


def split_as_told(table: pd.DataFrame, told: pd.DataFrame, allow_torn: bool = False) -> SplitResult:
    """Divide a table as a fold file says.

    Args:
        table: With `diagnosis` in every row, and `group`.
        told: As `fixed` returns it, with `part`; every photograph of the table must be named there. Without `image_id`
            it has the parts row by row.
        allow_torn: Whether a group may stand in several parts.

    Raises:
        DataError: When a photograph has no part, or a group stands in several parts.
    """
    if "part" not in told:
        raise DataError("That file gives folds; a run needs parts: train, tune, calibrate and test.")
    part = place(table, told) if "image_id" in told else told["part"].astype("string")
    if part.isna().any():
        raise DataError(
            f"The fold file gives {int(part.isna().sum()):,} of {plural(len(table), 'photograph')} no part, such as "
            f"{table['image_id'][part.isna()].iloc[0]}; it belongs to other data, or to another protocol."
        )
    if not allow_torn:
        refuse_torn(table["group"], part)
    counts = lesion_counts(table)
    names = table["group"].to_numpy(dtype=object)
    shares = balance(table, part.to_numpy(dtype=object), names)
    return SplitResult(part, not (part == "tune").any(), counts["known"], counts["assumed"], shares)


def refuse_torn(groups: pd.Series, placed: pd.Series) -> None:
    """Refuse parts that tear a photograph, a lesion or a patient apart.

    Raises:
        DataError: With how many, and one of them.
    """
    pairs = pd.DataFrame({"group": groups, "placed": placed}).dropna().drop_duplicates()
    found = sorted(map(str, pairs["group"][pairs["group"].duplicated()].unique()))
    if found:
        raise DataError(
            f"{plural(len(found), 'photograph, lesion or patient', 'photographs, lesions or patients')}, such as that "
            f"of {found[0]}, {'stands' if len(found) == 1 else 'stand'} in several parts. "
            "Split by group (melascope data split), or use these parts all the same with --unaudited."
        )


def keep_placed(
    table: pd.DataFrame, told: pd.DataFrame, column: str, divide: Callable[[pd.DataFrame], pd.Series]
) -> tuple[pd.Series, int]:
    """Place the rows of a table as an earlier file has them, and the new ones by a split of their own.

    A new photograph of a group that has a place goes there. Where a new photograph ties two groups together that
    stood apart, both go to the place that is furthest from training, so that no test is spoilt.

    Args:
        table: With `group` and what `divide` needs.
        told: As `fixed` returns it.
        column: `part` or `fold`, as wanted now.
        divide: Splits the rows that are new.

    Returns:
        The part or fold of each row, and how many rows stayed where they were.

    Raises:
        DataError: When the file gives the other of part and fold, or knows none of the photographs.
    """
    if column not in told:
        raise DataError(f"The earlier file has no column {column}; it cannot be gone on with.")
    before = place(table, told)
    order = {name: rank for rank, name in enumerate(("train", "tune", "calibrate", "test"))}
    rank = before.map(order) if column == "part" else before
    known = rank.groupby(table["group"]).transform("max")
    new = known.isna()
    names = {number: name for name, number in order.items()}
    placed = known.map(names) if column == "part" else known
    result = pd.Series(placed, index=table.index, name=column, dtype=before.dtype)
    # The set's own Test stays Test, also where it is new.
    if column == "part" and (table["split"] == "test").any():
        result[(table["split"] == "test").fillna(False)] = "test"
    if new.any():
        result[new] = divide(table[new]).astype(before.dtype)
    return result, int((result == before).fillna(False).sum())


def write(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write the fold file of a table with the column `part` or `fold`: ids only, sorted."""
    column = "part" if "part" in table and table["part"].notna().any() else "fold"
    rows = table[["image_id", column]].drop_duplicates().sort_values("image_id", kind="stable")
    twice = rows["image_id"][rows["image_id"].duplicated()].drop_duplicates()
    if len(twice):
        raise DataError(
            f"{plural(len(twice), 'name')}, such as {twice.iloc[0]}, "
            f"{'stands' if len(twice) == 1 else 'stand'} for photographs in several {column}s; a file of ids "
            "cannot say which is which. Give the photographs names of their own, or keep the whole table."
        )
    return save(rows, path)
