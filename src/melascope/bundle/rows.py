"""A finding as one flat row, for CSV, Parquet and DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from melascope.finding import Finding, Measured

_TEXT = ("path", "image_id", "lesion_id", "sha256", "status", "error_kind", "error", "decision", "reasons", "diagnosis")
_RISKS = ("melanoma_risk", "malignancy_risk")
_POINT = (
    "operating_point",
    "group",
    "threshold",
    "assured",
    "sensitivity",
    "sensitivity_low",
    "sensitivity_high",
    "sensitivity_n",
    "specificity",
    "specificity_low",
    "specificity_high",
    "specificity_n",
    "measured_on",
)
_LOOKS = ("quality", "quality_problems", "neighbours", "neighbour_diagnoses")
_REST = ("prediction_set", "coverage", *_LOOKS, "model", "model_version", "model_sha256")
_NUMBERS = frozenset(
    (
        *_RISKS,
        "threshold",
        "coverage",
        "quality",
        *(f"{s}{e}" for s in ("sensitivity", "specificity") for e in ("", "_low", "_high")),
    )
)


def columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of a row for a model of these classes."""
    return [*_TEXT, *_RISKS, *(f"p_{code}" for code in classes), *_POINT, *_REST]


def kind(column: str) -> type:
    """Return what a column holds: float, int, bool or str; any cell may be None."""
    if column in _NUMBERS or column.startswith("p_"):
        return float
    if column.endswith("_n"):
        return int
    return bool if column == "assured" else str


def row(finding: Finding, classes: Sequence[str]) -> dict[str, Any]:
    """Return a finding as one flat row; what it does not say is None."""
    point = finding.operating_point
    quality, similar = finding.quality, finding.neighbours
    return {
        "path": finding.path,
        "image_id": finding.image_id,
        "lesion_id": finding.lesion_id,
        "sha256": finding.sha256,
        "status": finding.status,
        "error_kind": finding.error.kind if finding.error else None,
        "error": finding.error.message if finding.error else None,
        "decision": finding.decision,
        "reasons": " ".join(finding.reasons) or None,
        "diagnosis": finding.diagnosis,
        "melanoma_risk": finding.melanoma_risk,
        "malignancy_risk": finding.malignancy_risk,
        **{f"p_{code}": finding.probabilities.get(code) for code in classes},
        "operating_point": point.name if point else None,
        "group": point.group if point else None,
        "threshold": point.threshold if point else None,
        "assured": point.assured if point else None,
        **_estimate("sensitivity", point.sensitivity if point else None),
        **_estimate("specificity", point.specificity if point else None),
        "measured_on": point.measured_on if point else None,
        "prediction_set": " ".join(finding.prediction_set) if finding.prediction_set is not None else None,
        "coverage": finding.coverage,
        "quality": quality["score"] if quality is not None else None,
        "quality_problems": " ".join(one["kind"] for one in quality["problems"]) or None if quality else None,
        "neighbours": " ".join(one["image_id"] for one in similar) if similar else None,
        "neighbour_diagnoses": " ".join(one["diagnosis"] for one in similar) if similar else None,
        "model": finding.model.name,
        "model_version": finding.model.version,
        "model_sha256": finding.model.sha256,
    }


def _estimate(name: str, measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {f"{name}{end}": None for end in ("", "_low", "_high", "_n")}
    return {
        name: measured.value,
        f"{name}_low": measured.low,
        f"{name}_high": measured.high,
        f"{name}_n": measured.n,
    }
