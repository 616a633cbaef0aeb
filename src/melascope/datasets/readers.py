"""From a data set as it was published to the image table.

`read` asks each reader of `READERS` whether it recognises what it was given.
A package of one's own adds a reader with `READERS["name"] = Reader(...)`; the
last added is asked first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.datasets import authority as authorities
from melascope.datasets.balanced import listed_copies
from melascope.datasets.balanced_files import refuse_copies_only
from melascope.datasets.files import images_below, is_text, locate
from melascope.datasets.identity import canonical_id
from melascope.datasets.labels import (
    ID_COLUMNS,
    canonical_ids,
    class_columns,
    id_column,
    normalise,
    read_cells,
    split_of,
)
from melascope.datasets.rows import once_each, remembered
from melascope.datasets.table import check
from melascope.errors import DataError

TABLE_ENDINGS = (".csv", ".tsv", ".tab", ".parquet")


@dataclass(frozen=True)
class Source:
    """What a reader is given.

    Attributes:
        path: The data set: a folder or a table, absolute.
        images: The folder in which the photographs of a table are searched; None where not said.
        spellings: Further spellings of diagnoses, label to code.
        cells: The cells of a table as `labels.read_cells` returns them; None for a folder.
    """

    path: Path
    images: Path | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    cells: pd.DataFrame | None = None

    @property
    def columns(self) -> frozenset[str]:
        """The column names of a table, lower case; empty for a folder."""
        return frozenset() if self.cells is None else frozenset(self.cells.columns)


@dataclass(frozen=True)
class Reader:
    """One way in which data sets are published.

    Attributes:
        recognises: Whether a source is of this kind.
        read: Return its rows: `image_id`, `path` and what else is known.
    """

    recognises: Callable[[Source], bool]
    read: Callable[[Source], pd.DataFrame]


def read(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    authority: Iterable[str | os.PathLike[str]] = (),
    spellings: Mapping[str, str] | None = None,
    reader: str | None = None,
) -> pd.DataFrame:
    """Read a data set into the image table, one row per photograph found or named.

    Args:
        path: A folder with one folder per diagnosis (inside `Train` and `Test`
            or not), or a CSV, TSV or Parquet: ISIC challenge labels, HAM10000
            metadata, or any table with `image_id` and `path` or `diagnosis`.
        images: The folder in which a table's photographs are searched by id;
            the table's own folder where not given.
        authority: Tables of official labels, lesion and patient ids, joined by image id.
        spellings: Further spellings of diagnoses, label to code.
        reader: A name in `READERS`, to skip recognition.

    Returns:
        The image table. `diagnosis` is the label as filed; with an authority
        there is also `official_diagnosis`, missing where the authority has none. A table that an audit has written
        keeps its `filed_diagnosis`, `official_diagnosis` and `label_from`. A file that a table lists twice, and says
        the same of, has one row. `attrs["notes"]` tells what a reader must know of a table, a sentence each.

    Raises:
        DataError: When nothing can be read; the message says what and how to mend it.
    """
    source = _source(path, images, spellings)
    if reader is not None and reader not in READERS:
        raise DataError(f'There is no reader "{reader}"; there are: {", ".join(READERS)}.')
    if reader is None and source.cells is None:
        refuse_copies_only(source.path)
    chosen = READERS[reader] if reader else next((r for r in reversed(READERS.values()) if r.recognises(source)), None)
    if chosen is None:
        raise DataError(
            f"{source.path} is no table that Melascope knows. It needs a column image_id (or "
            f"{', '.join(ID_COLUMNS[1:])}) and a column diagnosis, dx or path, or one column per diagnosis; "
            f"it has: {', '.join(sorted(map(str, source.columns)))}."
        )
    where = str(source.path)
    table = remembered(check(chosen.read(source), where=where), where, dict(spellings or {}))
    table = authorities.join(table, authority, spellings)
    if source.cells is not None:
        table, notes = once_each(table, where)
        table.attrs["notes"] = [*notes, *listed_copies(table, where)]
    return table


def _source(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None, spellings: Mapping[str, str] | None
) -> Source:
    given = Path(path).absolute()
    folder = None if images is None else Path(images).absolute()
    if not is_text(str(given)):
        raise DataError(f"The name of {os.fsencode(given).decode('utf-8', 'replace')} is not text in UTF-8; rename it.")
    try:
        is_folder = given.is_dir()
        exists = is_folder or given.exists()
    except OSError as error:
        raise DataError(f"{given} cannot be read ({error.strerror}).") from None
    if not exists:
        raise DataError(f"{given} does not exist.")
    if is_folder:
        if folder is not None:
            raise DataError(f"{given} is a folder; --images goes with a table of labels (CSV or Parquet).")
        return Source(given, None, spellings or {})
    if given.suffix.lower() not in TABLE_ENDINGS:
        raise DataError(f"{given} is neither a folder nor a table ({', '.join(TABLE_ENDINGS)}).")
    return Source(given, folder, spellings or {}, read_cells(given))


def _is_folder(source: Source) -> bool:
    return source.cells is None


def _read_folders(source: Source) -> pd.DataFrame:
    """Class folders: the innermost folder named after a diagnosis is the label, `Train` or `Test` the split."""
    found = images_below(source.path)
    if not found:
        raise DataError(f"{source.path} holds no photographs{_other_tables(source.path)}.")
    every = sorted({parts[:-1] for parts in found})
    depths = {folders: _label_depth(folders, source.spellings) for folders in every}
    _refuse_unknown(source, depths)
    labels = {f: diagnosis.parse(f[d], source.spellings) for f, d in depths.items() if d is not None}
    splits = {folders: next(filter(None, map(split_of, folders)), None) for folders in every}
    return pd.DataFrame(
        {
            "image_id": [canonical_id(parts[-1]) for parts in found],
            "path": [str(source.path.joinpath(*parts)) for parts in found],
            "diagnosis": [labels[parts[:-1]] for parts in found],
            "split": [splits[parts[:-1]] for parts in found],
        },
        dtype="string",
    )


def _label_depth(folders: tuple[str, ...], spellings: Mapping[str, str]) -> int | None:
    """Return which of the folders is named after a diagnosis; the innermost counts."""
    for depth in reversed(range(len(folders))):
        try:
            diagnosis.parse(folders[depth], spellings)
        except DataError:
            continue
        return depth
    return None


def _refuse_unknown(source: Source, depths: Mapping[tuple[str, ...], int | None]) -> None:
    unknown = [folders for folders, depth in depths.items() if depth is None]
    if not unknown:
        return
    usual = [depth for depth in depths.values() if depth is not None]
    names = sorted({name for folders in unknown for name in folders if split_of(name) is None})
    if not usual and not names:
        raise DataError(
            f"{source.path} holds photographs but no folder that says their diagnosis. Sort them into folders "
            f"named after diagnoses, or give a table of labels with --images{_other_tables(source.path)}."
        )
    folders = unknown[0]
    place = source.path.joinpath(*folders)
    named = [name for name in folders if split_of(name) is None]
    if not named:
        raise DataError(f"{place} holds photographs beside its class folders; move each into the folder of its class.")
    # The folder at which its sisters name their class is the one whose name is not understood.
    depth = max(set(usual), key=usual.count) if usual else folders.index(named[0])
    name = folders[depth] if depth < len(folders) and split_of(folders[depth]) is None else named[-1]
    try:
        diagnosis.parse(name, source.spellings)
    except DataError as error:
        hint = "" if usual else _other_tables(source.path)
        raise DataError(f"{place}{hint}: {error}") from None


def _other_tables(folder: Path) -> str:
    """Say which tables a folder holds, for one who gave the folder and meant the table."""
    tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in TABLE_ENDINGS)
    return f" (there is {', '.join(tables[:3])}: give that instead of the folder)" if tables else ""


def _is_ham10000(source: Source) -> bool:
    return {"lesion_id", "image_id", "dx"} <= source.columns


def _read_ham10000(source: Source) -> pd.DataFrame:
    """HAM10000 metadata: `lesion_id, image_id, dx, dx_type, age, sex, localization`."""
    return _read_by_id(source)


def _is_challenge(source: Source) -> bool:
    columns = source.columns
    if id_column(columns) is None or "path" in columns:
        return False
    return len(class_columns(columns)) > 1 or bool({"melanoma", "target", "benign_malignant"} & columns)


def _read_challenge(source: Source) -> pd.DataFrame:
    """ISIC challenge labels of 2016 to 2020: one column per class, or one for melanoma."""
    return _read_by_id(source)


def _is_table(source: Source) -> bool:
    columns = source.columns
    return "path" in columns or (id_column(columns) is not None and bool({"diagnosis", "dx"} & columns))


def _read_table(source: Source) -> pd.DataFrame:
    """A table in the house's own columns; a relative `path` starts at --images, or at the table's folder."""
    cells = _cells(source)
    if "path" not in source.columns:
        return _further(_read_by_id(source), cells)
    rows = normalise(cells, str(source.path), source.spellings)
    folder = source.images or source.path.parent
    named = cells["path"].astype("string")
    if named.isna().any():
        raise DataError(f'{source.path} has {plural(int(named.isna().sum()), "row")} with an empty "path".')
    rows["path"] = pd.Series([os.path.join(folder, path) for path in named], dtype="string")  # noqa: PTH118
    if not any(map(os.path.lexists, rows["path"])):
        raise DataError(
            f"None of {plural(len(rows), 'file')} that {source.path} names, such as {rows['path'].iloc[0]}, exists; "
            "relative paths start at the table's folder, or at --images."
        )
    return _further(rows, cells)


def _further(rows: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with those columns of the table that are none of ours."""
    known = {*rows.columns, *ID_COLUMNS}
    return pd.concat([rows, cells[[column for column in cells.columns if column not in known]]], axis=1)


def _read_by_id(source: Source) -> pd.DataFrame:
    cells = _cells(source)
    rows = normalise(cells, str(source.path), source.spellings)
    folder = source.images or source.path.parent
    rows["path"] = locate(rows["image_id"].tolist(), folder, str(source.path))
    # Whoever has divided a published table must find the parts kept, or refused: never drawn anew without a word.
    return rows.assign(part=cells["part"]) if "part" in cells.columns else rows


def _cells(source: Source) -> pd.DataFrame:
    if source.cells is None:
        raise DataError(f"{source.path} is a folder; this reader needs a table.")
    return source.cells


READERS: dict[str, Reader] = {
    "table": Reader(_is_table, _read_table),
    "isic-challenge": Reader(_is_challenge, _read_challenge),
    "ham10000": Reader(_is_ham10000, _read_ham10000),
    "folders": Reader(_is_folder, _read_folders),
}
"""The known readers by name; the last one that recognises a source reads it."""

__all__ = ["READERS", "Reader", "Source", "canonical_ids", "read"]
