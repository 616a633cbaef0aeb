"""The report that puts runs side by side."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from melascope.reports import figures, wording
from melascope.reports.data_report import FOOTER
from melascope.reports.figures.comparison import difference, differs
from melascope.reports.page import Drawing, Page, Points, Section, Table, Text


class Compared(Protocol):
    """What a comparison must have; `evaluation.Comparison` does."""

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run."""

    @property
    def differences(self) -> pd.DataFrame:
        """Columns `name`, `value`, `low`, `high` and optionally `p`."""

    @property
    def notes(self) -> Sequence[str]:
        """What limits the comparison."""


def compare_report(comparison: Compared, title: str = "Runs side by side", stamp: str | None = None) -> str:
    """Return a comparison as one self-contained HTML page.

    Args:
        comparison: The runs, their paired differences, and notes.
        title: Of the page.
        stamp: For every figure; by default what all runs have in common of `audited` and `protocol`.
    """
    runs, differences = comparison.runs, comparison.differences
    audited = "audited" in runs and len(runs) > 0 and all(value is True or value == 1 for value in runs["audited"])
    protocols = sorted({str(value) for value in runs["protocol"].dropna()}) if "protocol" in runs else []
    protocol = protocols[0] if len(protocols) == 1 else "differs" if protocols else None
    stamp = stamp or wording.stamp(audited, protocol)
    sections = [
        Section("differences", "What differs", _differences(differences, stamp)),
        Section("notes", "What limits the comparison", _notes(comparison.notes)),
        Section("runs", "The runs", _runs(runs)),
    ]
    stamps = [("good", "audited data") if audited else ("warning", "unaudited data")]
    if protocol:
        told = "the protocols differ" if protocol == "differs" else f"protocol: {protocol}"
        stamps.append(("warning" if protocol == "differs" else "note", told))
    subtitle = f"{wording.plural(len(runs), 'run')}, compared in pairs on the photographs they share"
    return Page(title=title, subtitle=subtitle, stamps=stamps, sections=sections, footer=FOOTER).render()


def _differences(differences: pd.DataFrame, stamp: str) -> list[Any]:
    if differences.empty:
        return [Text("There is nothing that can be compared.", "note")]
    columns, *rows = paired(differences)
    told = "; ".join(f"{row[0]}: {row[1]}, {row[-1]}" for row in rows)
    caption = (
        "Paired differences, each with its own 95 % interval. Filled: shown to differ. An interval that contains zero "
        "shows no difference; where there is a p corrected for the number of pairs, that decides."
    )
    return [
        Drawing(figures.compare_forest(differences, stamp=stamp), f"{caption} {told}", caption, True),
        Table("Paired differences", columns, rows),
    ]


def _verdict(entry: Mapping[Hashable, Any]) -> str:
    if entry.get("too_few"):
        return "too few to judge"
    return "a difference" if differs(entry) else "no difference shown"


def _p(value: Any) -> str:
    p = wording.number(value)
    return "–" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _notes(notes: Sequence[Any]) -> list[Any]:
    return [Points([("note", str(note)) for note in notes])] if len(notes) else []


def _runs(runs: pd.DataFrame) -> list[Any]:
    if runs.empty:
        return []
    columns, *rows = side_by_side(runs)
    return [Table("The runs", columns, rows)]


def side_by_side(runs: pd.DataFrame) -> list[list[str]]:
    """Return the runs as a table in words, a column for each run; its first row is the heading."""
    frame = runs if runs.index.name is None else runs.reset_index()
    head, *others = frame.columns
    rows = [[str(head), *map(_cell, frame[head])]]
    return rows + [[str(name).replace("_", " ").replace("auc", "AUC"), *map(_cell, frame[name])] for name in others]


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        told = "too few to judge" if wording.too_few(value) else wording.score(value, 3)
        return wording.with_n(told, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return "–" if value is None or value is pd.NA else str(value)


def paired(differences: pd.DataFrame) -> list[list[str]]:
    """Return the differences as a table in words; its first row is the heading."""
    rows = [["score", "difference (95 % interval)", "p", "p, corrected for the number of pairs", "n", "what it shows"]]
    for entry in differences.to_dict("records"):
        low, high = entry.get("low"), entry.get("high")
        verdict = _verdict(entry)
        cells = [_p(entry.get("p")), _p(entry.get("p_corrected")), wording.count(entry.get("n")), verdict]
        rows.append([str(entry.get("name", "")), difference(entry.get("value"), low, high), *cells])
    return rows
