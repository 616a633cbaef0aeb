"""Tables of labels as data sets publish them, brought to the columns of the image table.

The same few columns have a name of their own in every set (`age_approx`,
`anatom_site_general`, `dx`), and the diagnosis stands in one column or in one
column per class. Readers and authorities share what is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.datasets.identity import canonical_id
from melascope.datasets.table import COLUMNS, unquoted
from melascope.errors import DataError

ID_COLUMNS = ("image_id", "image", "image_name", "isic_id", "img_id", "filename", "file_name")
"""Names under which the photograph stands in published tables, the first found counts."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "diagnosis": ("diagnosis", "dx"),
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "age": ("age", "age_approx", "age_approximate"),
    "sex": ("sex", "gender"),
    "site": ("site", "anatom_site_general", "anatom_site_general_challenge", "localization"),
    "source": ("source", "dataset"),
    "modality": ("modality", "image_type"),
    "confirmed_by": ("confirmed_by", "dx_type", "diagnosis_confirm_type"),
    "license": ("license", "copyright_license"),
    "split": ("split",),
    "fold": ("fold",),
}

NOT_MELANOMA = "not melanoma"
"""The label of a photograph of which a table says only that it is no melanoma."""

_MELANOMA_COLUMNS = ("melanoma", "target", "benign_malignant")
_NO_DIAGNOSIS = frozenset(("unknown", "unk", "none", "other", "indeterminate", NOT_MELANOMA))
_LONGEST_HEADER = 1_000_000
_UNKNOWN = frozenset(("unknown", "unk", "nan", "n/a", "none", ""))

# ISIC 2018 counts solar lentigo and lichenoid keratosis as benign keratosis; ISIC 2020 names them.
_CHALLENGE_SPELLINGS: Mapping[str, str] = {"solar lentigo": "BKL", "lichenoid keratosis": "BKL"}
_CHALLENGE_WITHOUT_CODE = frozenset(("lentigo nos", "cafe au lait macule", "atypical melanocytic proliferation"))

_SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training", "val", "valid", "validation"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_of(name: str) -> str | None:
    """Return `train` or `test` where a folder's or a cell's name says so, in any case; None for any other name.

    A validation folder counts as `train`: Melascope makes its own `tune` and
    `calibrate` from what is not the test.
    """
    return _SPLITS.get(name.strip().lower())


def read_cells(path: Path) -> pd.DataFrame:
    """Read a CSV, TSV or Parquet as text cells, stripped; empty cells are missing, column names are lower case.

    Raises:
        DataError: When the file is missing, may not be read, is no table or has no rows.
    """
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame.reset_index(drop=frame.index.names[0] is None)
            texts = frame.select_dtypes(exclude="number")
            frame[texts.columns] = texts.astype("string")
        else:
            names, separator = _header(path)
            _check_names(names, path)
            frame = unquoted(pd.read_csv(path, dtype="string", encoding="utf-8-sig", sep=separator))
            if not isinstance(frame.index, pd.RangeIndex):
                raise DataError(f"{path} has rows with more cells than its header has names; mend the header.")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder where a table is needed (CSV, TSV or Parquet).") from None
    except PermissionError:
        raise DataError(f"{path} may not be read; check its permissions.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8; save it again as a CSV in UTF-8.") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty.") from None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = reason.removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path} cannot be read as a table: {reason}") from None
    frame = _with_header(frame)
    _check_names(frame.columns, path)
    if frame.empty:
        raise DataError(f"{path} has a header but no rows.")
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            cells = frame[column].astype("string").str.strip()
            frame[column] = cells.mask(cells == "")
    return frame


def _header(path: Path) -> tuple[list[str], str]:
    """Return the names in a table's first line, and what separates them."""
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline(_LONGEST_HEADER)
    separator = "\t" if path.suffix.lower() in (".tsv", ".tab") else max((",", ";", "\t"), key=line.count)
    return [name.strip().strip('"') for name in line.split(separator)], separator


def _check_names(names: Iterable[str], path: Path) -> None:
    """Refuse a table that has a column twice: which of the two is meant, nobody knows."""
    seen = set()
    for name in map(_column, names):
        if name and name in seen:
            raise DataError(f'{path} has two columns "{name}"; keep the one that is meant.')
        seen.add(name)


def _column(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip().lower())


def _with_header(frame: pd.DataFrame) -> pd.DataFrame:
    """Give ISIC 2016's tables, which have no header, one; and bring column names to lower case."""
    names = [str(name).strip() for name in frame.columns]
    if len(names) == 2 and re.fullmatch(r"(?i)ISIC_\d{7}", names[0]):
        first = pd.DataFrame([names], columns=frame.columns, dtype="string")
        frame = pd.concat([first, frame.astype("string")], ignore_index=True)
        names = ["image_id", "benign_malignant"]
    frame = frame.copy()
    frame.columns = pd.Index([_column(name) for name in names])
    return frame


def id_column(columns: Iterable[str]) -> str | None:
    """Return which of the columns names the photograph, None where none does."""
    present = set(columns)
    return next((name for name in ID_COLUMNS if name in present), None)


def class_columns(columns: Iterable[str]) -> dict[str, str]:
    """Return the columns that are named after a diagnosis, column to code."""
    found = {}
    for column in columns:
        try:
            found[column] = diagnosis.parse(column)
        except DataError:
            continue
    return found


def normalise(cells: pd.DataFrame, where: str, spellings: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the columns of the image table that a published table holds.

    Args:
        cells: As `read_cells` returns them.
        where: What to call the table in an error.
        spellings: Further spellings of diagnoses, label to code.

    Returns:
        `image_id` and whatever else is known, one row per row; `diagnosis` as
        codes, missing where the table gives none. A table that only tells
        melanoma from the rest yields MEL and missing, unless a spelling says
        what "not melanoma" means.

    Raises:
        DataError: When photographs are not named, a diagnosis is unknown, or a row of a one-hot table
            does not name exactly one class.
    """
    ids = id_column(cells.columns)
    named = cells[ids] if ids is not None else cells.get("path")
    if named is None:
        raise DataError(
            f"{where} does not name its photographs: it needs a column image_id (or {', '.join(ID_COLUMNS[1:])}); "
            f"it has: {', '.join(map(str, cells.columns))}."
        )
    empty = named.isna().to_numpy()
    if empty.any():
        count = int(empty.sum())
        raise DataError(f'{where} has {plural(count, "row")} with an empty "{named.name}", first in row {_row(empty)}.')
    result = pd.DataFrame({"image_id": canonical_ids(named)})
    for column, names in _ALIASES.items():
        name = next((name for name in names if name in cells.columns), None)
        if name is not None and column != "diagnosis":
            result[column] = cells[name]
    for column in ("sex", "site"):
        if column in result.columns:
            text = result[column].astype("string").str.lower()
            result[column] = text.mask(text.isin(_UNKNOWN))
    if "split" in result.columns:
        text = result["split"].astype("string")
        result["split"] = text.map({value: split_of(value) or value for value in text.dropna().unique()})
    labels = _labels(cells, where)
    if labels is not None:
        result["diagnosis"] = codes(labels, where, spellings)
    return result


def canonical_ids(names: pd.Series) -> pd.Series:
    """Return `canonical_id` of every name."""
    return pd.Series([canonical_id(name) for name in names], index=names.index, dtype="string")


def _row(mask: object) -> int:
    return int(pd.Series(mask).to_numpy().argmax()) + 1


def _labels(cells: pd.DataFrame, where: str) -> pd.Series | None:
    for name in _ALIASES["diagnosis"]:
        if name in cells.columns:
            labels: pd.Series = cells[name].astype("string")
            for column in _MELANOMA_COLUMNS:
                if column in cells.columns:  # ISIC 2020 gives both; the second fills the first's gaps
                    melanoma = _melanoma(cells[column], where)
                    gaps = labels.isna() | labels.str.lower().isin(_NO_DIAGNOSIS)
                    labels = labels.mask(gaps & melanoma.eq("MEL").to_numpy(), "MEL")
            return labels
    schema = {*COLUMNS, *ID_COLUMNS, *(name for names in _ALIASES.values() for name in names)}
    columns = class_columns(column for column in cells.columns if column not in schema)
    if len(columns) > 1:
        return _one_hot(cells, columns, where)
    for column in _MELANOMA_COLUMNS:
        if column in cells.columns:
            return _melanoma(cells[column], where)
    return None


def _one_hot(cells: pd.DataFrame, columns: Mapping[str, str], where: str) -> pd.Series:
    names = [*columns, *(name for name in ("unk", "unknown") if name in cells.columns)]
    values = cells[names].apply(pd.to_numeric, errors="coerce")
    bad = ~values.isin((0, 1)).all(axis=1).to_numpy()
    if bad.any():
        raise DataError(f"{where} has something other than 0 or 1 among {', '.join(names)}, first in row {_row(bad)}.")
    hot = values.to_numpy(dtype="int64")
    nevus_left_over = set(columns.values()) == {"MEL", "SK"}  # ISIC 2017: neither of the two is a nevus
    wrong = (hot.sum(axis=1) > 1) if nevus_left_over else (hot.sum(axis=1) != 1)
    if wrong.any():
        raise DataError(
            f"{where} names {int(hot[wrong.argmax()].sum())} classes in row {_row(wrong)}; a row names exactly one."
        )
    codes = pd.Series([*columns.values(), *["unknown"] * (len(names) - len(columns))], dtype="string")
    labels: pd.Series = codes.iloc[hot.argmax(axis=1)].reset_index(drop=True)
    labels[hot.sum(axis=1) == 0] = "NV"
    return labels


def _melanoma(column: pd.Series, where: str) -> pd.Series:
    meanings = {"1": "MEL", "1.0": "MEL", "malignant": "MEL", "melanoma": "MEL", "true": "MEL"}
    meanings |= dict.fromkeys(("0", "0.0", "benign", "false", NOT_MELANOMA), NOT_MELANOMA)
    text = column.astype("string").str.lower()
    labels = text.map(meanings)
    bad = (labels.isna() & text.notna()).to_numpy()
    if bad.any():
        place = f'in column "{column.name}", row {_row(bad)}'
        raise DataError(f'{where} has "{text[bad].iloc[0]}" {place}; 0 or 1 is needed.')
    return labels.astype("string")


def codes(labels: pd.Series, where: str, spellings: Mapping[str, str] | None) -> pd.Series:
    """Return labels as codes, missing where a label says that there is none.

    Raises:
        DataError: When a label is unknown.
    """
    own = {_plain(label) for label in spellings or {}}
    meaning: dict[str, str | None] = {}
    for label in labels.dropna().unique():
        plain = _plain(label)
        if plain not in own and plain in _NO_DIAGNOSIS | _CHALLENGE_WITHOUT_CODE:
            meaning[label] = None
            continue
        try:
            meaning[label] = diagnosis.parse(label, {**_CHALLENGE_SPELLINGS, **(spellings or {})})
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    return labels.map(meaning).astype("string")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
