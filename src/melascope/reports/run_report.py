"""The report of a run: the clinician's page first, the statistician's and the student's after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from melascope.reports import data_sections as data
from melascope.reports import run_examples, run_results, run_summary, run_trust, wording
from melascope.reports.album import Album, LoadPicture
from melascope.reports.audit_sections import audit_details
from melascope.reports.data_report import FOOTER
from melascope.reports.page import Code, Details, Page, Points, Row, Section
from melascope.reports.training_report import curves


@dataclass(frozen=True)
class RunReport:
    """What a run's report shows; all of it plain data, all but title and metrics optional.

    Attributes:
        title: Such as the run's name.
        metrics: `metrics.json`.
        history: `history.csv`.
        audit: The audit's summary.
        problems: The audit's rows, for pictures of what is wrong.
        flow: Steps `{"label", "photographs", "excluded"}`; `metrics["flow"]` where not given.
        remarks: `(level, text)`, level `good`, `note` or `warning`; or objects with these attributes.
        table: The image table with `part`.
        predictions: A row per photograph: `path`, `part`, `diagnosis`, `p_<CODE>`, ...
        picture: Loads a photograph by its path as `(h, w, 3) uint8`.
        augmentation: Name of each augmentation to `(k, h, w, 3) uint8` of one photograph.
        overlays: Captions with heat-map overlays `(h, w, 3) uint8`.
        recipe: The resolved recipe, as nested mappings or as TOML text.
        environment: Versions and machine.
        settings: `command`, `seed`, `kept_epoch` (whose weights were kept) and whatever else the run was asked.
        seed: Of the random sample of photographs.
    """

    title: str
    metrics: Mapping[str, Any]
    history: pd.DataFrame | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    problems: pd.DataFrame | None = None
    flow: Sequence[Mapping[str, Any]] = ()
    remarks: Sequence[Any] = ()
    table: pd.DataFrame | None = None
    predictions: pd.DataFrame | None = None
    picture: LoadPicture | None = None
    augmentation: Mapping[str, np.ndarray] = field(default_factory=dict)
    overlays: Sequence[tuple[str, np.ndarray]] = ()
    recipe: Mapping[str, Any] | str = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


def run_report(inputs: RunReport) -> str:
    """Return the run's report as one self-contained HTML page.

    Example:
        >>> page = run_report(RunReport(title="small-cnn on my set", metrics=metrics))
    """
    metrics, album = inputs.metrics, Album(inputs.picture)
    stamp = wording.stamp(metrics.get("audited"), metrics.get("protocol"), metrics.get("optimistic"))
    judged = run_examples.judged(metrics, inputs.predictions)
    part, _ = run_summary.headline_part(metrics)
    here = f"{part} · {stamp}"
    table = inputs.table if inputs.table is not None else pd.DataFrame()
    sections = [
        Section("summary", "In short", run_summary.summary(metrics), "for everyone"),
        Section(
            "examples", "What it found and what it missed", run_examples.examples(judged, album, here, inputs.overlays)
        ),
        Section("remarks", "What stands out", _remarks(inputs.remarks)),
        Section("limits", "What it does not know", run_summary.limits(metrics)),
        Section("results", "Results in full", run_results.results(metrics, stamp), "statistics"),
        Section("calibration", "Do the risks mean what they say?", run_trust.calibration(metrics, stamp), "statistics"),
        Section("baselines", "What it must beat", run_trust.baselines(metrics, stamp), "statistics"),
        Section("training", "How it learned", _training(inputs, stamp), "learning"),
        Section(
            "errors", "Right and wrong, class by class", run_examples.class_examples(judged, album, here), "learning"
        ),
        Section("data", "The photographs", _data(inputs, table, album, stamp), "data"),
        Section("audit", "What is wrong with the photographs", _audit(inputs, album, stamp), "data"),
        Section("methods", "How it was judged", _methods(inputs, table, stamp), "statistics"),
        Section("reproduce", "Doing it again", _reproduce(inputs), "engineering"),
    ]
    return Page(
        title=inputs.title, subtitle=_subtitle(metrics), stamps=_stamps(metrics), sections=sections, footer=FOOTER
    ).render()


def _subtitle(metrics: Mapping[str, Any]) -> str:
    model = metrics.get("model") or {}
    name = " ".join(str(model[key]) for key in ("name", "version") if model.get(key))
    identity = str(model.get("sha256") or "")[:12]
    words = [f"Model {name}" if name else "", f"identity {identity}" if identity else "", "for research only"]
    return " · ".join(word for word in words if word)


def _stamps(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    # Under an optimistic protocol the flaws that the audit found are still in the data.
    audited = ("warning", "audited, flaws kept") if metrics.get("optimistic") else ("good", "audited data")
    stamps = [audited if metrics.get("audited") is True else ("warning", "unaudited data")]
    if metrics.get("protocol"):
        stamps.append(("note", f"protocol: {metrics['protocol']}"))
    if metrics.get("optimistic"):
        stamps.append(("warning", "optimistic protocol"))
    trained = metrics.get("trained_on") or {}
    if wording.number(trained.get("images")) > 0:
        stamps.append(
            ("warning", f"{wording.count(trained['images'])} of {wording.count(trained.get('of'))} were trained on")
        )
    part, _ = run_summary.headline_part(metrics)
    point = run_summary.operating_point((metrics.get("parts") or {}).get(part) or {}, "melanoma")
    if point:
        stamps.append(("good", "target assured") if point.get("assured") else ("note", "target, not assured"))
    stamps.append(("warning", "not a medical device"))
    return stamps


def _remarks(remarks: Sequence[Any]) -> list[Any]:
    points = [(str(r.level), str(r.text)) if hasattr(r, "level") else (str(r[0]), str(r[1])) for r in remarks]
    order = {"warning": 0, "note": 1, "good": 2}
    return [Points(sorted(points, key=lambda point: order.get(point[0], 1)))] if points else []


def _training(inputs: RunReport, stamp: str) -> list[Any]:
    parts = inputs.metrics.get("parts") or {}
    sizes = {name: (parts.get(name) or {}).get("n_images") for name in ("train", "tune")}
    classes = len(inputs.metrics.get("classes") or ()) or None
    return curves(inputs.history, sizes, classes, inputs.settings.get("kept_epoch"), stamp)


def _data(inputs: RunReport, table: pd.DataFrame, album: Album, stamp: str) -> list[Any]:
    if table.empty:
        return []
    blocks = data.class_counts(table, stamp) + data.pictures(table, album, stamp, inputs.seed)
    blocks += data.augmentation(inputs.augmentation, stamp)
    sizes = data.sizes(table, stamp)
    return [*blocks, Row(sizes)] if sizes else blocks


def _audit(inputs: RunReport, album: Album, stamp: str) -> list[Any]:
    return [
        *data.audit_summary(inputs.audit),
        *audit_details(inputs.audit, album, stamp),
        *data.audit_pictures(inputs.problems, album, stamp),
    ]


def _methods(inputs: RunReport, table: pd.DataFrame, stamp: str) -> list[Any]:
    metrics = inputs.metrics
    parts = {
        name: int(found["n_images"])
        for name, found in (metrics.get("parts") or {}).items()
        if name in data.PARTS and isinstance(found, Mapping) and found.get("n_images") is not None
    }
    blocks = run_trust.honesty(metrics) + data.flow(inputs.flow or metrics.get("flow") or (), parts, stamp)
    blocks += run_trust.sample_size(metrics) + run_trust.subgroups(metrics)
    return blocks + (data.missing_data(table) if len(table) else [])


def _reproduce(inputs: RunReport) -> list[Any]:
    settings = dict(inputs.settings)
    command = settings.pop("command", None)
    blocks: list[Any] = []
    if command:
        blocks.append(Code(str(command), "The command"))
    if inputs.recipe:
        text = inputs.recipe if isinstance(inputs.recipe, str) else toml(inputs.recipe)
        blocks.append(Details("The recipe, as it was resolved", [Code(text.strip())]))
    blocks += data.facts(settings) + data.facts(inputs.environment)
    model = inputs.metrics.get("model") or {}
    return blocks + data.facts({f"model {key}": value for key, value in model.items()})


def toml(recipe: Mapping[str, Any]) -> str:
    """Return nested mappings as TOML-like text, for reading."""
    lines = [f"{key} = {_literal(value)}" for key, value in recipe.items() if not isinstance(value, Mapping)]
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *[f"{name} = {_literal(inner)}" for name, inner in value.items()]]
    return "\n".join(lines)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
