"""The report about a data set alone: what is in it, what it looks like, what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from melascope.reports import data_sections as data
from melascope.reports import wording
from melascope.reports.album import Album, LoadPicture
from melascope.reports.audit_sections import audit_details
from melascope.reports.grids import grids
from melascope.reports.page import Page, Row, Section, Text

FOOTER = (
    "For research only. Not a medical device: nothing here may decide about a patient.",
    "Made by Melascope. This page is one file, asks for nothing on the network, and prints as it stands.",
)


@dataclass(frozen=True)
class DataReport:
    """What a data report shows.

    Attributes:
        title: Such as the data set's name.
        table: The image table, best with the scan's `width`, `height`, `error_kind`.
        audit: The audit's summary; empty means unaudited, and every figure says so.
        problems: The audit's rows: `kind, group, image_id, path, diagnosis, split, evidence`.
        flow: Steps `{"label", "photographs", "excluded": {reason: count}}`.
        picture: Loads a photograph by its path as `(h, w, 3) uint8`.
        augmentation: Name of each augmentation to `(k, h, w, 3) uint8` of one photograph.
        settings: What else to print about how the data were read.
        environment: Versions and machine.
        seed: Of the random sample.
    """

    title: str
    table: pd.DataFrame
    audit: Mapping[str, Any] = field(default_factory=dict)
    problems: pd.DataFrame | None = None
    flow: Sequence[Mapping[str, Any]] = ()
    picture: LoadPicture | None = None
    augmentation: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


def data_report(inputs: DataReport) -> str:
    """Return the data report as one self-contained HTML page.

    Example:
        >>> page = data_report(DataReport(title="my set", table=table))
    """
    table, album = inputs.table, Album(inputs.picture)
    verdict = inputs.audit.get("verdict")
    stamp = f"audited: {verdict}" if verdict else wording.stamp(bool(inputs.audit), None)
    parts = {str(part): int(n) for part, n in data.part_of(table).value_counts().items()}
    sections = [
        Section("audit", "What is wrong with it", _audit(inputs, album, stamp)),
        Section("flow", "What may be used", data.flow(inputs.flow, {}, stamp), "statistics"),
        Section("counts", "What is in it", [*data.class_counts(table, stamp), *data.missing_data(table)]),
        Section("pictures", "What it looks like", _pictures(inputs, album, stamp)),
        Section("how", "How it was read", [*data.facts(inputs.settings), *data.facts(inputs.environment)]),
    ]
    stamps = [("note", stamp)] if inputs.audit else [("warning", "unaudited")]
    where = wording.listed([f"{wording.count(n)} in {part}" for part, n in parts.items()])
    return Page(
        title=inputs.title,
        subtitle=f"A look at {wording.plural(len(table), 'photograph')}" + (f": {where}." if len(parts) > 1 else "."),
        stamps=stamps,
        sections=sections,
        footer=FOOTER,
    ).render()


def _audit(inputs: DataReport, album: Album, stamp: str) -> list[Any]:
    return [
        *data.audit_summary(inputs.audit),
        *audit_details(inputs.audit, album, stamp),
        *data.audit_pictures(inputs.problems, album, stamp),
    ]


def _pictures(inputs: DataReport, album: Album, stamp: str) -> list[Any]:
    blocks = data.pictures(inputs.table, album, stamp, inputs.seed)
    blocks += grids(inputs.table, album, stamp, inputs.seed)
    blocks += data.augmentation(inputs.augmentation, stamp)
    sizes = data.sizes(inputs.table, stamp)
    return [*blocks, Row(sizes)] if sizes else blocks or [Text("No photograph could be shown.", "note")]
