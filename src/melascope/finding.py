"""What Melascope says about a photograph: plain frozen data, and its JSON.

The same JSON comes from the command line, from Python and from a server.
A key whose question the model does not answer is null: a model without a
novelty score says `"novelty": null` rather than a made-up number.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 1
Decision = Literal["alert", "no_alert", "refer"]


@dataclass(frozen=True)
class Measured:
    """A measured score with its 95 % interval; `n` is what it was measured on."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class OperatingPointUsed:
    """The operating point behind a decision.

    Attributes:
        name: Such as `screening`.
        group: `melanoma` or `malignant`.
        threshold: A risk of at least this much alerts.
        assured: Whether the target sensitivity was assured on `calibrate`.
        sensitivity: As measured on `measured_on`.
        specificity: As measured on `measured_on`.
        measured_on: `test`, or `calibrate` where no test was made.
    """

    name: str
    group: str
    threshold: float
    assured: bool
    sensitivity: Measured | None
    specificity: Measured | None
    measured_on: str


@dataclass(frozen=True)
class Model:
    """Which model spoke: its name, version and identity (sha256)."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Refusal:
    """Why a photograph was not read: a kind for programs, a sentence for people."""

    kind: str
    message: str


@dataclass(frozen=True)
class Finding:
    """What a model says about one photograph.

    `probabilities` is calibrated and sums to 1 over the model's classes.
    `decision` is None only where `status` is `refused`. `heatmap` is not part
    of the JSON: `(h', w')` floats in [0, 1] for melanoma, where asked for.
    """

    path: str
    sha256: str | None
    image_id: str | None
    status: Literal["ok", "refused"]
    model: Model
    lesion_id: str | None = None
    error: Refusal | None = None
    decision: Decision | None = None
    reasons: tuple[str, ...] = ()
    diagnosis: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    melanoma_risk: float | None = None
    malignancy_risk: float | None = None
    operating_point: OperatingPointUsed | None = None
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None
    novelty: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    modality: str | None = None
    schema: int = SCHEMA
    heatmap: Any = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data; NaN becomes null."""
        keep = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "heatmap"}
        return {key: _plain(keep[key]) for key in _KEYS}

    def to_json(self) -> str:
        """Return the finding as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


_KEYS = (
    "schema",
    "path",
    "sha256",
    "image_id",
    "lesion_id",
    "status",
    "error",
    "decision",
    "reasons",
    "diagnosis",
    "probabilities",
    "melanoma_risk",
    "malignancy_risk",
    "operating_point",
    "prediction_set",
    "coverage",
    "novelty",
    "quality",
    "modality",
    "model",
)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
