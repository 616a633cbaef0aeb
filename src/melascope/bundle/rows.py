"""A finding as one flat row, for CSV, Parquet and DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from melascope.finding import Finding, Measured, OperatingPointUsed

_TEXT = (
    "path",
    "image_id",
    "lesion_id",
    "patient_id",
    "sha256",
    "status",
    "error_kind",
    "error",
    "decision",
    "reasons",
    "diagnosis",
)
_RISKS = ("melanoma_risk", "malignancy_risk")
_SCORES = ("sensitivity", "specificity", "ppv", "npv")
_ESTIMATES = tuple(f"{score}{end}" for score in _SCORES for end in ("", "_low", "_high", "_n"))
MEASURED = (*_ESTIMATES, "measured_on", "aim", "target", "prevalence")
"""The columns of how good an operating point is, and what it aims at."""
_POINT = ("operating_point", "group", "threshold", "assured", *MEASURED, "threshold_chosen_on")
LOOKS: Mapping[str, type] = {
    "quality": float,
    "quality_problems": str,
    "neighbours": str,
    "neighbour_diagnoses": str,
    "neighbour_distances": str,
    "novelty": float,
    "novelty_outside": bool,
    "modality": str,
    "age": float,
    "site": str,
}
"""The columns of what a photograph looks like and whom it shows, and what each holds."""
_REST = ("prediction_set", "coverage", *LOOKS, "model", "model_version", "model_sha256")
_NUMBERS = frozenset(
    (*_RISKS, "threshold", "target", "prevalence", "coverage", *(e for e in _ESTIMATES if not e.endswith("_n")))
)


def columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of a row for a model of these classes."""
    return [*_TEXT, *_RISKS, *(f"p_{code}" for code in classes), *_POINT, *_REST]


def kind(column: str) -> type:
    """Return what a column holds: float, int, bool or str; any cell may be None."""
    if column in LOOKS:
        return LOOKS[column]
    if column in _NUMBERS or column.startswith("p_"):
        return float
    if column.endswith("_n"):
        return int
    return bool if column == "assured" else str


def row(finding: Finding, classes: Sequence[str]) -> dict[str, Any]:
    """Return a finding as one flat row; what it does not say is None."""
    point = finding.operating_point
    return {
        "path": finding.path,
        "image_id": finding.image_id,
        "lesion_id": finding.lesion_id,
        "patient_id": finding.patient_id,
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
        **measurements(point),
        "threshold_chosen_on": point.chosen_on if point else None,
        "prediction_set": " ".join(finding.prediction_set) if finding.prediction_set is not None else None,
        "coverage": finding.coverage,
        **looks([finding]),
        "model": finding.model.name,
        "model_version": finding.model.version,
        "model_sha256": finding.model.sha256,
    }


def measurements(point: OperatingPointUsed | None) -> dict[str, Any]:
    """Return the columns `MEASURED` of an operating point."""
    return {
        **{key: cell for score in _SCORES for key, cell in _estimate(score, getattr(point, score, None)).items()},
        "measured_on": point.measured_on if point else None,
        "aim": point.aim if point else None,
        "target": point.target if point else None,
        "prevalence": point.prevalence if point else None,
    }


def looks(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the columns `LOOKS` of a photograph, or of those of one lesion.

    Of several photographs: the lowest scores, whether any is outside, every problem and modality, and the neighbours
    that are nearest to any, as many as the photograph with the most of them names.
    """
    qualities = [f.quality for f in findings if f.quality is not None]
    novelties = [f.novelty for f in findings if f.novelty is not None]
    contexts = [f.context or {} for f in findings]
    similar = _nearest(findings)
    return {
        "quality": _lowest(quality["score"] for quality in qualities),
        "quality_problems": _joined(problem["kind"] for quality in qualities for problem in quality["problems"]),
        "neighbours": _joined(one["image_id"] for one in similar),
        "neighbour_diagnoses": " ".join(one["diagnosis"] for one in similar) or None,
        "neighbour_distances": " ".join(f"{one['distance']:.6g}" for one in similar) or None,
        "novelty": _lowest(novelty["score"] for novelty in novelties),
        "novelty_outside": any(novelty["outside"] for novelty in novelties) if novelties else None,
        "modality": _joined(f.modality for f in findings if f.modality is not None),
        "age": next((context["age"] for context in contexts if "age" in context), None),
        "site": next((context["site"] for context in contexts if "site" in context), None),
    }


def _nearest(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    most = max((len(f.neighbours or ()) for f in findings), default=0)
    found: dict[str, dict[str, Any]] = {}
    for one in sorted((n for f in findings for n in f.neighbours or ()), key=lambda n: float(n["distance"])):
        found.setdefault(one["image_id"], one)
    return list(found.values())[:most]


def _lowest(scores: Iterable[float | None]) -> float | None:
    return min((score for score in scores if score is not None), default=None)


def _joined(words: Iterable[str]) -> str | None:
    return " ".join(dict.fromkeys(words)) or None


def _estimate(name: str, measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {f"{name}{end}": None for end in ("", "_low", "_high", "_n")}
    return {
        name: measured.value,
        f"{name}_low": measured.low,
        f"{name}_high": measured.high,
        f"{name}_n": measured.n,
    }
