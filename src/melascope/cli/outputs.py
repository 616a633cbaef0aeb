"""How findings leave the command line: a table for people; JSON Lines, CSV and Parquet for programs."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from melascope.bundle.lesions import lesion_columns, lesion_row
from melascope.bundle.rows import columns, kind, row
from melascope.finding import Finding, LesionFinding
from melascope.spreadsheet import quoted

FORMATS = ("table", "jsonl", "csv", "parquet")
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".txt": "table"}
BY = ("photograph", "lesion")
_ROWS_PER_GROUP = 4096


class Writer(Protocol):
    """Takes findings one by one."""

    def write(self, finding: Finding | LesionFinding) -> None:
        """Take one finding."""
        ...

    def close(self) -> None:
        """Write what is still held."""
        ...


@contextlib.contextmanager
def writing(kind_of: str, out: Path | None, classes: Sequence[str], by: str = BY[0]) -> Iterator[Writer]:
    """Yield a writer to stdout or to a file, which appears whole or not at all.

    Args:
        kind_of: `jsonl`, `csv` or `parquet`.
        out: The file, or None for stdout.
        classes: The model's codes.
        by: Whether findings of photographs come, or of lesions.
    """
    layout = _layout(classes, by)
    if out is None:
        stream = sys.stdout.buffer
        writer = _writer(kind_of, stream, layout)
        yield writer
        writer.close()
        stream.flush()
        return
    with whole(out) as stream:
        writer = _writer(kind_of, stream, layout)
        yield writer
        writer.close()


@contextlib.contextmanager
def whole(out: Path) -> Iterator[IO[bytes]]:
    """Yield a binary stream whose content takes the file's place only when all went well."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def safe_cell(value: Any) -> Any:
    """Return a CSV cell that no spreadsheet takes for a formula: such a text gets a leading apostrophe.

    Example:
        >>> safe_cell("=HYPERLINK(1)")
        "'=HYPERLINK(1)"
        >>> safe_cell(-0.5)
        -0.5
    """
    return quoted(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class _Layout:
    """The columns of a finding's flat row, what each holds, and what makes the row."""

    columns: Mapping[str, type]
    row: Callable[[Any], dict[str, Any]]


def _layout(classes: Sequence[str], by: str) -> _Layout:
    if by == "lesion":
        return _Layout(lesion_columns(classes), lambda lesion: lesion_row(lesion, classes))
    return _Layout({name: kind(name) for name in columns(classes)}, lambda finding: row(finding, classes))


def _writer(kind_of: str, stream: IO[bytes], layout: _Layout) -> Writer:
    writers: dict[str, type[_Lines] | type[_Csv] | type[_Parquet]] = {
        "jsonl": _Lines,
        "csv": _Csv,
        "parquet": _Parquet,
    }
    return writers[kind_of](stream, layout)


class _Lines:
    def __init__(self, stream: IO[bytes], layout: _Layout) -> None:
        self._stream = stream

    def write(self, finding: Finding | LesionFinding) -> None:
        self._stream.write(printable(finding.to_json()).encode() + b"\n")

    def close(self) -> None:
        pass


class _Csv:
    def __init__(self, stream: IO[bytes], layout: _Layout) -> None:
        self._layout = layout
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._csv.writerow(layout.columns)

    def write(self, finding: Finding | LesionFinding) -> None:
        cells = self._layout.row(finding)
        self._csv.writerow([_cell(cells[name]) for name in self._layout.columns])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    """Written in groups of rows, so that memory stays bounded."""

    def __init__(self, stream: IO[bytes], layout: _Layout) -> None:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        types = {float: arrow.float64(), int: arrow.int64(), bool: arrow.bool_(), str: arrow.string()}
        self._arrow = arrow
        self._layout = layout
        self._schema = arrow.schema([(name, types[held]) for name, held in layout.columns.items()])
        self._file = parquet.ParquetWriter(stream, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, finding: Finding | LesionFinding) -> None:
        cells = self._layout.row(finding)
        self._rows.append({key: printable(value) if isinstance(value, str) else value for key, value in cells.items()})
        if len(self._rows) == _ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return safe_cell(printable(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or value != value else value


def printable(text: str) -> str:
    """Return text that can be written as UTF-8: bytes of a file name that are none are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
