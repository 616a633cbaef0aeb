"""What Melascope says about a photograph, and about a lesion: plain frozen data, and its JSON.

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
Aim = Literal["sensitivity", "specificity", "youden"]

COVERAGE_NOTE = (
    "The set holds the diagnosis of at least this share of the photographs of each diagnosis, on average and if "
    "photographs are exchangeable with the calibration ones."
)
"""What `coverage` promises, and what not; it stands wherever a prediction set is shown."""
LESION_COVERAGE_NOTE = f"{COVERAGE_NOTE} It was set on single photographs."


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
        assured: Whether the target was assured on `calibrate`.
        sensitivity: As measured on `measured_on`.
        specificity: As measured on `measured_on`.
        measured_on: `test`, or `calibrate` where no test was made.
        aim: What the threshold was chosen for: a `sensitivity`, a `specificity`, or Youden's index (`youden`).
        target: The sensitivity or specificity aimed at; None for Youden's index, or where it is not known.
        chosen_on: Whether the threshold was chosen on `photographs` or on `lesions`.
        prevalence: Of melanoma where the model is used, as it was stated; None where it was not, and for other groups.
        ppv: The share of alerts that are melanomas at that prevalence; the interval joins the ends of both above.
        npv: The share of missing alerts that are none.
    """

    name: str
    group: str
    threshold: float
    assured: bool
    sensitivity: Measured | None
    specificity: Measured | None
    measured_on: str
    aim: Aim = "sensitivity"
    target: float | None = None
    chosen_on: str = "photographs"
    prevalence: float | None = None
    ppv: Measured | None = None
    npv: Measured | None = None


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
    `diagnosis` is the first choice; where the model weighs its classes' prior
    away, it need not be the most probable one. `decision` is None only where
    `status` is `refused`. `context` has the `age` and `site` that were given.
    `quality` is `{"score", "problems": [{"kind", "severity", "sentence"}]}`, and
    `neighbours` has `{"image_id", "diagnosis", "distance", "source", "licence"}`
    of the most similar photographs of known diagnosis, the most similar first;
    each is None where nobody asked or the model cannot tell.
    `coverage` is that of the prediction set, and the JSON's `coverage_note`
    says what it promises.
    Not part of the JSON: `doubts`, those of the reasons for which a missing
    alert would not be trusted, and, there only where asked for, `heatmap`,
    `(h', w')` floats in [0, 1] for melanoma, and `embedding`, `(d,)`.
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
    neighbours: tuple[dict[str, Any], ...] | None = None
    patient_id: str | None = None
    context: dict[str, Any] | None = None
    schema: int = SCHEMA
    doubts: tuple[str, ...] = ()
    heatmap: Any = field(default=None, compare=False, repr=False)
    embedding: Any = field(default=None, compare=False, repr=False)

    @property
    def coverage_note(self) -> str | None:
        """What the coverage promises; None without a prediction set."""
        return None if self.coverage is None else COVERAGE_NOTE

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data; NaN becomes null."""
        return {key: _plain(getattr(self, key)) for key in _KEYS}

    def to_json(self) -> str:
        """Return the finding as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class LesionFinding:
    """What a model says about one lesion, of which there may be several photographs.

    `probabilities` is the mean over the photographs in `judged`; thresholds,
    where the model has them, were chosen on such means. `findings` has every
    photograph, also those that were refused.

    Attributes:
        lesion_id: None for a photograph that no table names a lesion for.
        findings: Of each photograph.
        status: `refused` only where every photograph was.
        model: Which model spoke.
        judged: Paths of the photographs behind the probabilities: those fit to be judged or, where none is, all that
            could be read.
        decision: As for a photograph; None only where `status` is `refused`.
        reasons: In words.
        diagnosis: The first choice.
        probabilities: Mean of the photographs'.
        melanoma_risk: Of that mean.
        malignancy_risk: Of that mean.
        operating_point: That decided; `chosen_on` says whether lesions or photographs set its threshold.
        prediction_set: Of that mean. Its coverage was set on single photographs.
        coverage: Of the prediction set.
        patient_id: Whose lesion it is, where a table says so.
        ugly_duckling: How unlike the patient's other lesions it looks; see `melascope.bundle.lesions`. None where
            that cannot be said.
        doubts: As for a photograph, and not part of the JSON: why it is referred, or why its alert is in doubt.
    """

    lesion_id: str | None
    findings: tuple[Finding, ...]
    status: Literal["ok", "refused"]
    model: Model
    judged: tuple[str, ...] = ()
    decision: Decision | None = None
    reasons: tuple[str, ...] = ()
    diagnosis: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    melanoma_risk: float | None = None
    malignancy_risk: float | None = None
    operating_point: OperatingPointUsed | None = None
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None
    patient_id: str | None = None
    ugly_duckling: float | None = None
    schema: int = SCHEMA
    doubts: tuple[str, ...] = ()

    @property
    def coverage_note(self) -> str | None:
        """What the coverage promises; None without a prediction set."""
        return None if self.coverage is None else LESION_COVERAGE_NOTE

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data; NaN becomes null."""
        shown = [finding.to_dict() for finding in self.findings]
        return {key: shown if key == "findings" else _plain(getattr(self, key)) for key in _LESION_KEYS}

    def to_json(self) -> str:
        """Return the finding as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)


_KEYS = (
    "schema",
    "path",
    "sha256",
    "image_id",
    "lesion_id",
    "patient_id",
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
    "coverage_note",
    "novelty",
    "quality",
    "modality",
    "neighbours",
    "context",
    "model",
)
_LESION_KEYS = (
    "schema",
    "lesion_id",
    "patient_id",
    "status",
    "decision",
    "reasons",
    "diagnosis",
    "probabilities",
    "melanoma_risk",
    "malignancy_risk",
    "operating_point",
    "prediction_set",
    "coverage",
    "coverage_note",
    "ugly_duckling",
    "judged",
    "findings",
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
