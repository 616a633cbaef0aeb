"""How findings leave the command line: a table for people; JSON Lines, CSV and Parquet for programs."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from melascope.bundle.decision import SCREENING, percent
from melascope.bundle.lesions import lesion_columns, lesion_row
from melascope.bundle.rows import columns, kind, row
from melascope.finding import Finding, LesionFinding, Measured, OperatingPointUsed
from melascope.spreadsheet import quoted

if TYPE_CHECKING:
    from rich.table import Table

FORMATS = ("table", "jsonl", "csv", "parquet")
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet", ".txt": "table"}
BY = ("photograph", "lesion")
MOST_ROWS = 200
"""A table of more findings than this shows the most urgent ones."""

_COLOURS = {"alert": "bold red", "refer": "bold yellow", "no_alert": "green", "refused": "dim"}
_WORDS = {"alert": "ALERT", "refer": "refer", "no_alert": "no alert", "refused": "refused"}
_ROWS_PER_GROUP = 4096
_NAME_WIDTH = 22
_MOST_CODES = 5
_MOST_POOR = 5
_MOST_PROBLEMS = 2


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


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return findings as a table for a person: a row per photograph, most urgent ones only where there are many."""
    from rich.table import Table
    from rich.text import Text

    rows = list(findings)
    shown = rows
    if len(rows) > MOST_ROWS:
        shown = sorted(rows, key=_urgency, reverse=True)[:MOST_ROWS]
    folder = _common_folder([f.path for f in rows])
    lesions = any(f.lesion_id for f in rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    # File names alone where they tell the photographs apart: paths would be torn over several lines.
    alone = len({Path(f.path).name for f in rows}) == len({f.path for f in rows})
    names = [
        _printable(Path(f.path).name if alone else os.path.relpath(f.path, folder) if folder else f.path) for f in shown
    ]
    table.add_column("Photograph", overflow="fold", min_width=min(_NAME_WIDTH, max(map(len, names), default=0)))
    if lesions:
        table.add_column("Lesion", overflow="fold")
    table.add_column("Decision", no_wrap=True)
    table.add_column("Melanoma", justify="right", no_wrap=True)
    table.add_column("Malignant", justify="right", no_wrap=True)
    table.add_column("Most likely", overflow="fold")
    similar = any(f.neighbours for f in rows)
    if similar:
        table.add_column("Neighbours", overflow="fold")
    for name, finding in zip(names, shown, strict=True):
        state = str(finding.decision or finding.status)
        cells = [Text(name)]
        if lesions:
            cells.append(Text(_printable(finding.lesion_id or "")))
        cells.append(Text(_WORDS[state], style=_COLOURS[state]))
        cells += [Text("" if r is None else percent(r)) for r in (finding.melanoma_risk, finding.malignancy_risk)]
        cells.append(Text(_last_cell(finding), style="dim" if finding.status == "refused" else ""))
        cells += [Text(_codes(finding))] if similar else []
        table.add_row(*cells)
    if len(shown) < len(rows):
        table.caption = (
            f"The {len(shown)} most urgent of {len(rows):,} photographs; all of them: --format csv --out FILE"
        )
    return table


def lesions_table(lesions: Iterable[LesionFinding]) -> Table:
    """Return findings of lesions as a table for a person, most urgent ones only where there are many."""
    from rich.table import Table
    from rich.text import Text

    rows = list(lesions)
    shown = sorted(rows, key=_urgency, reverse=True)[:MOST_ROWS] if len(rows) > MOST_ROWS else rows
    patients = any(lesion.patient_id is not None for lesion in rows)
    ducklings = any(lesion.ugly_duckling is not None for lesion in rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("Lesion", overflow="fold")
    if patients:
        table.add_column("Patient", overflow="fold")
    table.add_column("Photographs", justify="right")
    table.add_column("Decision", no_wrap=True)
    table.add_column("Melanoma", justify="right", no_wrap=True)
    table.add_column("Malignant", justify="right", no_wrap=True)
    if ducklings:
        table.add_column("Unlike others", justify="right")
    table.add_column("Most likely", overflow="fold")
    for lesion in shown:
        state = str(lesion.decision or lesion.status)
        cells = [Text(_printable(lesion.lesion_id or Path(lesion.findings[0].path).name))]
        cells += [Text(_printable(lesion.patient_id or ""))] if patients else []
        read, given = len(lesion.judged), len(lesion.findings)
        cells.append(Text(str(given) if read == given else f"{read} of {given}"))
        cells.append(Text(_WORDS[state], style=_COLOURS[state]))
        cells += [Text("" if r is None else percent(r)) for r in (lesion.melanoma_risk, lesion.malignancy_risk)]
        if ducklings:
            cells.append(Text("" if lesion.ugly_duckling is None else f"{lesion.ugly_duckling:.1f}"))
        cells.append(Text(_last_cell(lesion), style="dim" if lesion.status == "refused" else ""))
        table.add_row(*cells)
    if len(shown) < len(rows):
        table.caption = f"The {len(shown)} most urgent of {len(rows):,} lesions; all of them: --format csv --out FILE"
    return table


def rule(points: Iterable[OperatingPointUsed]) -> list[str]:
    """Return in words when an alert is given, and how good that rule was where it was measured."""
    points = list(points)
    if not points:
        return ["The model has no operating point, so every photograph is referred."]
    named = {"melanoma": "melanoma", "malignant": "malignancy"}
    told = " or ".join(f"{named[p.group]} risk of at least {percent(p.threshold)}" for p in points)
    names = sorted({p.name for p in points} - {SCREENING})
    lines = [f"Operating point: {', '.join(names)}."] if names else []
    lines.append(f"Alert: {told}.")
    for point in points:
        where = "on test photographs" if point.measured_on == "test" else "where the threshold was chosen (optimistic)"
        where = where.replace("photographs", point.chosen_on)
        aim = "assured" if point.assured else "a target, not assured"
        if point.aim != "sensitivity":
            aim = "neither is assured" if point.aim == "youden" else f"the specificity is {aim}"
        lines.append(
            f"{named[point.group].capitalize()}: sensitivity {_estimate(point.sensitivity)}, "
            f"specificity {_estimate(point.specificity)}, {where}; {aim}."
        )
    return lines


def _estimate(measured: Measured | None) -> str:
    if measured is None:
        return "not measured"
    return f"{100 * measured.value:.0f} % ({100 * measured.low:.0f} to {100 * measured.high:.0f}, n = {measured.n:,})"


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
        self._stream.write(_printable(finding.to_json()).encode() + b"\n")

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
        self._rows.append({key: _printable(value) if isinstance(value, str) else value for key, value in cells.items()})
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
        return safe_cell(_printable(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or value != value else value


def _printable(text: str) -> str:
    """Return text that can be written as UTF-8: bytes of a file name that are none are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _common_folder(paths: Sequence[str]) -> str | None:
    """Return the folder that all paths share, or None where shortening them would say less."""
    try:
        folder = os.path.commonpath([Path(path).absolute().parent for path in paths])
    except ValueError:  # none, or on several drives
        return None
    return folder if len(Path(folder).parts) > 2 else None


def _last_cell(finding: Finding | LesionFinding) -> str:
    from melascope import diagnosis

    if finding.status == "refused":
        refusals = finding.findings[:1] if isinstance(finding, LesionFinding) else (finding,)
        return " ".join(refused.error.message for refused in refusals if refused.error is not None)
    if finding.diagnosis is None:
        return ""
    return f"{diagnosis.name(finding.diagnosis)} ({percent(finding.probabilities[finding.diagnosis])})"


def _codes(finding: Finding) -> str:
    """Return the diagnoses of the neighbours, the most similar first."""
    found = [neighbour["diagnosis"] for neighbour in finding.neighbours or ()]
    return " ".join(found[:_MOST_CODES]) + (" ..." if len(found) > _MOST_CODES else "")


def too_poor(findings: Iterable[Finding]) -> list[str]:
    """Return a line for each of the first photographs that are too poor to be judged: what its photographer can do."""
    from melascope.images.quality import TOO_POOR

    poor = [f for f in findings if f.quality is not None and f.quality["score"] < TOO_POOR]
    lines = [
        f"{_printable(Path(f.path).name)} is too poor: "
        + " ".join(problem["sentence"] for problem in (f.quality or {})["problems"][:_MOST_PROBLEMS])
        for f in poor[:_MOST_POOR]
    ]
    if len(poor) > _MOST_POOR:
        lines.append(f"{len(poor):,} photographs are too poor; quality in --format csv or jsonl says why.")
    return lines


def _urgency(finding: Finding | LesionFinding) -> tuple[int, float]:
    order = {"alert": 3, "refer": 2, None: 1, "no_alert": 0}
    return order[finding.decision], max(finding.melanoma_risk or 0.0, finding.malignancy_risk or 0.0)
