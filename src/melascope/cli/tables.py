"""Findings as a person reads them: tables of photographs and of lesions, and the lines below them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melascope import diagnosis
from melascope.bundle.decision import SCREENING, percent
from melascope.cli.outputs import printable
from melascope.counted import plural
from melascope.finding import Finding, LesionFinding, Measured, OperatingPointUsed
from melascope.statistics.intervals import FEW

if TYPE_CHECKING:
    from rich.table import Table

MOST_ROWS = 200
"""A table of more findings than this shows the most urgent ones."""

_COLOURS = {"alert": "bold red", "refer": "bold yellow", "no_alert": "green", "refused": "dim"}
_WORDS = {"alert": "ALERT", "refer": "refer", "no_alert": "no alert", "refused": "refused"}
_NAME_WIDTH = 22
_MOST_CODES = 5
_MOST_DOUBTED = 5
_WIDE = 100  # columns of a terminal that has room for prediction sets, and for lesions beside neighbours


def findings_table(findings: Iterable[Finding], width: int | None = None) -> Table:
    """Return findings as a table for a person: a row per photograph, most urgent ones only where there are many.

    Args:
        findings: In the order of the rows.
        width: Columns of the terminal; None where there is room for everything.
    """
    from rich.table import Table
    from rich.text import Text

    rows = list(findings)
    shown = _most_urgent(rows)
    lesions = any(f.lesion_id for f in rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    names = _names(rows, shown)
    longest, narrow = max(map(len, names), default=0), width is not None and width < _WIDE
    # Of a set width: a least width would push the last column over a narrow terminal's edge.
    fixed = min(longest, _NAME_WIDTH) if narrow or longest <= _NAME_WIDTH else None
    table.add_column("Photograph", overflow="fold", width=fixed, min_width=_NAME_WIDTH if fixed is None else None)
    if lesions:
        table.add_column("Lesion", overflow="fold")
    table.add_column("Decision", no_wrap=True)
    table.add_column("Melanoma", justify="right", no_wrap=True)
    table.add_column("Malignant", justify="right", no_wrap=True)
    table.add_column("Most probable", overflow="fold")
    sets = _shows_sets(rows, width)
    if sets:
        table.add_column("Possible", overflow="fold")
    similar = any(f.neighbours for f in rows) and not (narrow and lesions)
    if similar:
        table.add_column("Neighbours", overflow="fold")
    for name, finding in zip(names, shown, strict=True):
        state = str(finding.decision or finding.status)
        cells = [Text(name)]
        if lesions:
            cells.append(Text(printable(finding.lesion_id or "")))
        cells.append(Text(_WORDS[state], style=_COLOURS[state]))
        cells += [Text("" if r is None else percent(r)) for r in (finding.melanoma_risk, finding.malignancy_risk)]
        cells.append(Text(_last_cell(finding), style="dim" if finding.status == "refused" else ""))
        cells += [Text(_set(finding))] if sets else []
        cells += [Text(_codes(finding))] if similar else []
        table.add_row(*cells)
    if len(shown) < len(rows):
        table.caption = (
            f"The {len(shown)} most urgent of {len(rows):,} photographs; all of them: --format csv --out FILE"
        )
    return table


def lesions_table(lesions: Iterable[LesionFinding], width: int | None = None) -> Table:
    """Return findings of lesions as a table for a person, most urgent ones only where there are many.

    Args:
        lesions: In the order of the rows.
        width: As for `findings_table`.
    """
    from rich.table import Table
    from rich.text import Text

    rows = list(lesions)
    shown = _most_urgent(rows)
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
    table.add_column("Most probable", overflow="fold")
    sets = _shows_sets(rows, width)
    if sets:
        table.add_column("Possible", overflow="fold")
    for name, lesion in zip(_names(rows, shown), shown, strict=True):
        state = str(lesion.decision or lesion.status)
        cells = [Text(name)]
        cells += [Text(printable(lesion.patient_id or ""))] if patients else []
        read, given = len(lesion.judged), len(lesion.findings)
        cells.append(Text(str(given) if read == given else f"{read} of {given}"))
        cells.append(Text(_WORDS[state], style=_COLOURS[state]))
        cells += [Text("" if r is None else percent(r)) for r in (lesion.melanoma_risk, lesion.malignancy_risk)]
        if ducklings:
            cells.append(Text("" if lesion.ugly_duckling is None else f"{lesion.ugly_duckling:.1f}"))
        cells.append(Text(_last_cell(lesion), style="dim" if lesion.status == "refused" else ""))
        cells += [Text(_set(lesion))] if sets else []
        table.add_row(*cells)
    if len(shown) < len(rows):
        table.caption = f"The {len(shown)} most urgent of {len(rows):,} lesions; all of them: --format csv --out FILE"
    return table


def first_choices(findings: Iterable[Finding | LesionFinding]) -> list[str]:
    """Return a line that explains the diagnoses behind `or`; none where every first choice is the most probable one."""
    if all(f.diagnosis is None or f.diagnosis == _most_probable(f) for f in _most_urgent(list(findings))):
        return []
    return ["Behind 'or': the model's first choice, whose probability stands out most above its usual frequency."]


def _most_probable(finding: Finding | LesionFinding) -> str:
    return max(finding.probabilities, key=lambda code: finding.probabilities[code])


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
        chosen = f"chosen for a {point.aim}{'' if point.target is None else f' of {percent(point.target)}'}"
        aim = f"{chosen}, {'assured' if point.assured else 'which is not assured'}"
        lines.append(
            f"{named[point.group].capitalize()}: sensitivity {_estimate(point.sensitivity)}, "
            f"specificity {_estimate(point.specificity)}, {where}; "
            f"{'neither is assured' if point.aim == 'youden' else aim}."
        )
        lines += _at_prevalence(point)
    return lines


def _at_prevalence(point: OperatingPointUsed) -> list[str]:
    """Return what an alert means where melanoma is as frequent as was stated; none where nothing was."""
    if point.prevalence is None:
        return []
    share = f"Where {percent(point.prevalence)} of the lesions are melanomas"
    if point.ppv is None or point.npv is None:
        return [f"{share}, it is not known what an alert means: nothing was measured."]
    if any(one is not None and one.n < FEW for one in (point.sensitivity, point.specificity)):
        return [f"{share}, it is not known what an alert means: it was measured on too few."]
    alerted = f"{percent(point.ppv.value)} of those that alert on melanoma risk are ({_span(point.ppv)})"
    return [f"{share}, {alerted}, and {percent(point.npv.value)} of the others are not ({_span(point.npv)})."]


def _span(measured: Measured) -> str:
    return f"{percent(measured.low)} to {percent(measured.high)}".replace(" % to ", " to ")


def doubted(findings: Iterable[Finding | LesionFinding]) -> list[str]:
    """Return a line for each of the first that are referred, or whose alert is in doubt: why that is."""
    rows = list(findings)
    shown = _most_urgent(rows)
    told = [(name, f) for name, f in zip(_names(rows, shown), shown, strict=True) if f.doubts][:_MOST_DOUBTED]
    lines = []
    for name, finding in told:
        stands = ["The alert stands, though there is doubt."] if finding.decision == "alert" else []
        lines.append(f"{name}: {' '.join([*stands, *finding.doubts])}")
    more = sum(bool(f.doubts) for f in rows) - len(lines)
    if more:
        unit = "lesion" if isinstance(rows[0], LesionFinding) else "photograph"
        are = plural(more, f"more {unit} is", f"more {unit}s are")
        lines.append(f"{are} referred or in doubt; --format jsonl says why.")
    return lines


def of_quality(findings: Iterable[Finding | LesionFinding]) -> list[str]:
    """Return a line for each of the first photographs whose quality could be better, as far as no doubt says it."""
    photographs = [one for f in findings for one in (f.findings if isinstance(f, LesionFinding) else (f,))]
    said = {
        number: [p["sentence"] for p in f.quality["problems"] if p["sentence"] not in " ".join(f.doubts)]
        for number, f in enumerate(photographs)
        if f.quality is not None
    }
    shown = [number for number, sentences in said.items() if sentences]
    names = _names(photographs, [photographs[number] for number in shown[:_MOST_DOUBTED]])
    lines = [f"{name}: {' '.join(said[number])}" for name, number in zip(names, shown, strict=False)]
    more = len(shown) - len(lines)
    if more:
        lines.append(f"{plural(more, 'more photograph')} could be better; --format jsonl says how.")
    return lines


def codes(findings: Iterable[Finding | LesionFinding], width: int | None = None) -> list[str]:
    """Return a line that says what the codes of prediction sets and neighbours mean; none where none are shown."""
    rows = list(findings)
    sets = [code for f in rows for code in f.prediction_set or ()] if _shows_sets(rows, width) else []
    similar = [one["diagnosis"] for f in rows if isinstance(f, Finding) for one in f.neighbours or ()]
    known = diagnosis.ordered((*sets, *similar))
    return [f"Codes: {', '.join(f'{code} {diagnosis.name(code)}' for code in known)}."] if known else []


def possible(
    findings: Iterable[Finding | LesionFinding], width: int | None = None, always: Sequence[str] = ()
) -> list[str]:
    """Return a line that says what the column of prediction sets promises; none where the table has no such column.

    Args:
        findings: In the order of the rows.
        width: As for `findings_table`.
        always: Diagnoses that are in every set.
    """
    rows = list(findings)
    first = next((f for f in rows if f.coverage is not None), None)
    if first is None or first.coverage is None or not _shows_sets(rows, width):
        return []
    of_means = " It was set on single photographs." if isinstance(first, LesionFinding) else ""
    named = f" {', '.join(always)} is always named: too few calibrated it." if len(always) == 1 else ""
    named = f" {', '.join(always)} are always named: too few calibrated them." if len(always) > 1 else named
    return [
        f"Possible: made to name the diagnosis of {percent(first.coverage)} of the photographs of each diagnosis, on "
        "average and if photographs are like the calibration ones. What is not named is not excluded."
        f"{of_means}{named}"
    ]


def _shows_sets(rows: Sequence[Finding | LesionFinding], width: int | None) -> bool:
    return (width is None or width >= _WIDE) and any(f.prediction_set is not None for f in rows)


def _set(finding: Finding | LesionFinding) -> str:
    """Return the diagnoses of the prediction set."""
    return "" if finding.prediction_set is None else " ".join(finding.prediction_set) or "none"


def _names(rows: Sequence[Finding | LesionFinding], shown: Sequence[Finding | LesionFinding]) -> list[str]:
    """Return what the shown rows are called: file names alone where they tell all the photographs apart.

    Paths would be torn over several lines.
    """
    paths = [f.path for f in rows if isinstance(f, Finding)]
    folder = _common_folder(paths)
    alone = len({Path(path).name for path in paths}) == len(set(paths))
    names = []
    for f in shown:
        if isinstance(f, LesionFinding):
            names.append(f.lesion_id or Path(f.findings[0].path).name)
        else:
            names.append(Path(f.path).name if alone else os.path.relpath(f.path, folder) if folder else f.path)
    return [printable(name) for name in names]


def _last_cell(finding: Finding | LesionFinding) -> str:
    if finding.status == "refused":
        refusals = finding.findings[:1] if isinstance(finding, LesionFinding) else (finding,)
        return " ".join(refused.error.message for refused in refusals if refused.error is not None)
    if finding.diagnosis is None:
        return ""
    said = dict.fromkeys((_most_probable(finding), finding.diagnosis))
    return ", or ".join(f"{diagnosis.name(code)} ({percent(finding.probabilities[code])})" for code in said)


def _estimate(measured: Measured | None) -> str:
    if measured is None:
        return "not measured"
    if measured.n < FEW:
        return f"too few to judge (n = {measured.n})"
    return f"{100 * measured.value:.0f} % ({100 * measured.low:.0f} to {100 * measured.high:.0f}, n = {measured.n:,})"


def _common_folder(paths: Sequence[str]) -> str | None:
    """Return the folder that all paths share, or None where shortening them would say less."""
    try:
        folder = os.path.commonpath([Path(path).absolute().parent for path in paths])
    except ValueError:  # none, or on several drives
        return None
    return folder if len(Path(folder).parts) > 2 else None


def _codes(finding: Finding) -> str:
    """Return the diagnoses of the neighbours, the most similar first."""
    found = [neighbour["diagnosis"] for neighbour in finding.neighbours or ()]
    return " ".join(found[:_MOST_CODES]) + (" ..." if len(found) > _MOST_CODES else "")


def _most_urgent(rows: list[Any]) -> list[Any]:
    """Return what a table shows: everything, or the most urgent findings where there are many."""
    return sorted(rows, key=_urgency, reverse=True)[:MOST_ROWS] if len(rows) > MOST_ROWS else rows


def _urgency(finding: Finding | LesionFinding) -> tuple[int, float]:
    order = {"alert": 3, "refer": 2, None: 1, "no_alert": 0}
    return order[finding.decision], max(finding.melanoma_risk or 0.0, finding.malignancy_risk or 0.0)
