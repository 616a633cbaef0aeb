"""How a training went: its learning curves, in a run's report and on a page of their own while Test is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from melascope.reports import data_sections as data
from melascope.reports import figures, wording
from melascope.reports.data_report import FOOTER
from melascope.reports.page import Code, Details, Drawing, Page, Points, Section, Text


@dataclass(frozen=True)
class TrainingReport:
    """What the page shows.

    Attributes:
        title: Which recipe, on which data.
        history: `history.csv`.
        sizes: Photographs in `train` and `tune`; None where there are none.
        classes: How many diagnoses there are.
        kept_epoch: Whose weights were kept, where that is not the last.
        remarks: `(level, text)`.
        audit: `audited`, `protocol`, `optimistic`.
        recipe: As TOML.
        command: What judges the run.
        environment: Versions and machine.
    """

    title: str
    history: pd.DataFrame
    sizes: Mapping[str, int | None]
    classes: int
    kept_epoch: int | None
    remarks: Sequence[tuple[str, str]]
    audit: Mapping[str, Any]
    recipe: str
    command: str
    environment: Mapping[str, Any] = field(default_factory=dict)


def training_report(inputs: TrainingReport) -> str:
    """Return a training as one self-contained HTML page."""
    audit = inputs.audit
    stamp = wording.stamp(audit["audited"], audit["protocol"], audit["optimistic"])
    stamps = [
        ("good", "audited data") if audit["audited"] else ("warning", "unaudited data"),
        ("note", f"protocol: {audit['protocol']}"),
        *([("warning", "optimistic protocol")] if audit["optimistic"] else []),
        ("good", "test part closed"),
        ("warning", "not a medical device"),
    ]
    blocks = curves(inputs.history, inputs.sizes, inputs.classes, inputs.kept_epoch, stamp)
    remarks = [Points(list(inputs.remarks))] if inputs.remarks else []
    note = (
        "The scores on train are taken while the network learns, with augmentation and dropout, and are rather too low "
        "for that. No number here says how good the network is: tune may have helped to choose it. Test does, once."
    )
    sections = [
        Section("training", "How it learned", [*remarks, *blocks, Text(note, "note")]),
        Section("next", "What comes next", [Code(inputs.command, "Calibrate, judge on Test, and report")]),
        Section(
            "reproduce",
            "Doing it again",
            [Details("The recipe, as it was resolved", [Code(inputs.recipe.strip())]), *data.facts(inputs.environment)],
        ),
    ]
    subtitle = f"{wording.plural(len(inputs.history), 'epoch')}; nothing here was seen from the test part"
    return Page(title=inputs.title, subtitle=subtitle, stamps=stamps, sections=sections, footer=FOOTER).render()


def curves(
    history: pd.DataFrame | None,
    sizes: Mapping[str, int | None],
    classes: int | None,
    kept_epoch: int | None,
    stamp: str,
) -> list[Any]:
    """Return the learning curves with how to read them; nothing without a history.

    Args:
        history: `history.csv`.
        sizes: Photographs in `train` and `tune`.
        classes: How many diagnoses there are.
        kept_epoch: Whose weights were kept; None to have the history say it.
        stamp: Of the figure.
    """
    if history is None or history.empty:
        return []
    figure = figures.history(
        history,
        n_train=sizes.get("train"),
        n_tune=sizes.get("tune"),
        n_classes=classes,
        best_epoch=_best_epoch(history, kept_epoch),
        stamp=f"train, tune · {stamp}",
    )
    last = history.iloc[-1]
    told = [
        f"{name.replace('_', ' ')} {wording.number(last.get(name)):.2f} on train, "
        f"{wording.number(last.get('tune_' + name)):.2f} on tune"
        for name in ("loss", "accuracy", "balanced_accuracy", "melanoma_auc")
        if name in history
    ]
    words = f"Learning curves over {wording.plural(len(history), 'epoch')}; at the end {wording.listed(told)}."
    reading = (
        "An epoch is one pass over the training photographs. Both scores rising together: it still learns. Train "
        "rising while tune stands still or falls: it learns these photographs by heart (over-fitting). Both low: "
        "it has not learned enough (under-fitting)."
    )
    caption = (
        "Loss and scores per epoch, on what it learned from (train) and on what it did not (tune). "
        "No intervals: these curves guide the training, they are not results."
    )
    return [Text(reading), Drawing(figure, words, caption, True)]


def _best_epoch(history: pd.DataFrame, told: Any) -> int | None:
    """Return the epoch whose weights were kept, where the settings or the history say so."""
    if told is not None:
        return int(told)
    if "kept" not in history or "epoch" not in history:
        return None
    kept = history[history["kept"].fillna(False).astype(bool)]
    return int(kept["epoch"].iloc[-1]) if len(kept) else None
