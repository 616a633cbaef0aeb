"""Several photographs of one lesion as one finding, and the lesions of one patient beside each other.

A lesion's probabilities are the plain mean of its photographs'. The mean of
log-odds would be sharper, but gives each photograph a veto: one that is blurred
or badly framed, and in which melanoma is given one in a million, would silence
three in which it is plain. In the plain mean it can take away its own share and
no more; sums stay sums (malignancy risk is that of the mean), and thresholds
chosen on such means make up for their being less extreme.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from melascope.bundle.decision import Decider, Verdict
from melascope.bundle.rows import LOOKS, MEASURED, kind, looks, measurements
from melascope.counted import plural
from melascope.errors import DataError
from melascope.finding import Finding, LesionFinding

OTHERS = 3
"""A lesion is compared with its patient's others where there are at least so many."""
_TO_DEVIATION = 1.4826  # of a median absolute deviation, for a normal distribution
_SAME = 1e-6  # embeddings are float32: differences below this are rounding

_COLUMNS: dict[str, type] = {
    "lesion_id": str,
    "patient_id": str,
    "photographs": int,
    "judged": int,
    "refused": int,
    "status": str,
    "error_kind": str,
    "error": str,
    "decision": str,
    "reasons": str,
    "diagnosis": str,
    "melanoma_risk": float,
    "malignancy_risk": float,
    "ugly_duckling": float,
    "operating_point": str,
    "group": str,
    "threshold": float,
    "assured": bool,
    "threshold_chosen_on": str,
    **{name: kind(name) for name in MEASURED},
    "prediction_set": str,
    "coverage": float,
    **LOOKS,
    "paths": str,
    "model": str,
    "model_version": str,
    "model_sha256": str,
}


def lesion_findings(findings: Iterable[Finding], decider: Decider) -> list[LesionFinding]:
    """Return a finding for each lesion, in the order of its first photograph.

    A refused photograph silences no other. Photographs that are outside what
    the model knows, too poor or not dermoscopic do not count where others of
    the lesion are fit to be judged; should one of them alert on its own, the
    lesion alerts. So it does where the model has no thresholds for lesions and
    any of its photographs alerts.

    Args:
        findings: Of photographs; those without a lesion id are lesions of their own. Embeddings, where they are
            there, tell how unlike the patient's other lesions each is.
        decider: Of the model that made them.

    Raises:
        DataError: When a lesion is given to two patients.
    """
    together: dict[Any, list[Finding]] = {}
    for number, finding in enumerate(findings):
        together.setdefault(number if finding.lesion_id is None else finding.lesion_id, []).append(finding)
    found = [lesion_finding(photographs, decider) for photographs in together.values()]
    scores = ugly_duckling(found, [lesion.patient_id for lesion in found])
    return [replace(lesion, ugly_duckling=score) for lesion, score in zip(found, scores, strict=True)]


def lesion_finding(photographs: Sequence[Finding], decider: Decider) -> LesionFinding:
    """Return the finding of one lesion from those of its photographs, of which there is at least one."""
    first = photographs[0]
    patients = sorted({f.patient_id for f in photographs if f.patient_id is not None})
    if len(patients) > 1:
        raise DataError(f"Lesion {first.lesion_id} is given to two patients, {' and '.join(patients[:2])}.")
    patient = patients[0] if patients else None
    read = [f for f in photographs if f.status == "ok"]
    if not read:
        return LesionFinding(first.lesion_id, tuple(photographs), "refused", first.model, patient_id=patient)
    doubted = {id(f): decider.doubts(f.novelty, f.quality, f.modality) for f in read}
    fit = [f for f in read if not doubted[id(f)]]
    judged, left_out = (fit, [f for f in read if doubted[id(f)]]) if fit else (read, [])
    p = np.mean([[f.probabilities[code] for code in decider.classes] for f in judged], axis=0)
    doubts = [] if fit else [sentence for f in read for sentence in doubted[id(f)]]
    doubts += [sentence for f in read for sentence in decider.doubts(context=f.context)]
    verdict = decider.verdict(p, decider.lesion_points, tuple(dict.fromkeys(doubts)))
    verdict = _not_silenced(verdict, left_out, "A photograph that is not fit to be judged alerts on its own.")
    if decider.lesion_reason and len(judged) > 1:
        # Thresholds of single photographs are too high for a mean, which is less extreme than they are.
        verdict = _not_silenced(verdict, judged, "One of its photographs alerts on its own.")
    reasons = [*verdict.reasons, *_about(photographs, read, judged, left_out, doubted)]
    if len(judged) > 1 and decider.lesion_reason:
        reasons.append(decider.lesion_reason)
    return LesionFinding(
        lesion_id=first.lesion_id,
        findings=tuple(photographs),
        status="ok",
        model=first.model,
        judged=tuple(f.path for f in judged),
        decision=verdict.decision,
        reasons=tuple(reasons),
        diagnosis=verdict.diagnosis,
        probabilities={code: float(x) for code, x in zip(decider.classes, p, strict=True)},
        melanoma_risk=verdict.melanoma_risk,
        malignancy_risk=verdict.malignancy_risk,
        operating_point=verdict.operating_point,
        prediction_set=verdict.prediction_set,
        coverage=decider.coverage,
        patient_id=patient,
        doubts=verdict.doubts,
    )


def _not_silenced(verdict: Verdict, photographs: Sequence[Finding], why: str) -> Verdict:
    """Let a lesion alert where one of some photographs does: neither leaving it out nor the mean must silence it."""
    alone = next((f for f in photographs if f.decision == "alert"), None)
    if alone is None or verdict.decision == "alert":
        return verdict
    told = (why, *alone.reasons[:1], *verdict.reasons)
    doubts = tuple(dict.fromkeys((*verdict.doubts, *alone.doubts)))
    return replace(verdict, decision="alert", reasons=told, operating_point=alone.operating_point, doubts=doubts)


def _about(
    photographs: Sequence[Finding],
    read: Sequence[Finding],
    judged: Sequence[Finding],
    left_out: Sequence[Finding],
    doubted: dict[int, tuple[str, ...]],
) -> list[str]:
    """Return what was not counted, and why."""
    told, of = [], plural(len(photographs), "photograph")
    refused = len(photographs) - len(read)
    if refused:
        told.append(f"{refused} of {of} could not be read.")
    if left_out:
        why = " ".join(dict.fromkeys(sentence for f in left_out for sentence in doubted[id(f)]))
        were = "was" if len(left_out) == 1 else "were"
        told.append(f"{len(left_out)} of {of} {were} left out: {why}")
    if len(judged) > 1:
        told.append(f"Risks are the mean of {len(judged)} photographs.")
    return told


def ugly_duckling(lesions: Sequence[LesionFinding], patients: Sequence[str | None]) -> list[float | None]:
    """Return how unlike its patient's other lesions each lesion looks; about 0 is usual, 3 and more stands out.

    A lesion's embedding is the mean of its judged photographs', each of length
    one. Its distance from the mean of the patient's other lesions is compared
    with the same distance of those others: what counts is that it is larger
    than theirs, for some people's moles are all unlike each other. The
    difference is told in units of its spread over all patients given (the
    median absolute deviation as a standard deviation).

    Args:
        lesions: Whose findings have embeddings (`Predictor.predict(..., embeddings=True)`).
        patients: Whose each is; None where that is not known.

    Returns:
        None where a lesion has no embedding, or fewer than three others of its patient are there.

    Source: the sign is that of Grob and Bonerandi 1998, Archives of Dermatology 134:103; the score is ours, and how
    well it finds melanomas has not been measured.
    """
    embeddings = [_embedding(lesion) for lesion in lesions]
    members: dict[str, list[int]] = {}
    for i, (embedding, patient) in enumerate(zip(embeddings, patients, strict=True)):
        if embedding is not None and patient is not None:
            members.setdefault(patient, []).append(i)
    differences: dict[int, float] = {}
    for rows in members.values():
        if len(rows) > OTHERS:
            points = np.stack([embeddings[i] for i in rows])  # type: ignore[misc]
            rest = (points.sum(axis=0) - points) / (len(rows) - 1)
            away = np.linalg.norm(points - rest, axis=1)
            differences |= {i: float(away[k] - np.median(np.delete(away, k))) for k, i in enumerate(rows)}
    values = np.array(list(differences.values()))
    spread = _TO_DEVIATION * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
    if spread <= _SAME and len(values):
        spread = float(values.std())  # most lesions alike: the median sees no spread
    if spread <= _SAME:
        return [None] * len(lesions)
    return [differences[i] / spread if i in differences else None for i in range(len(lesions))]


def _embedding(lesion: LesionFinding) -> np.ndarray | None:
    judged = set(lesion.judged)
    found = [np.asarray(f.embedding, float) for f in lesion.findings if f.path in judged and f.embedding is not None]
    if not found:
        return None
    return np.asarray(np.mean([e / max(float(np.linalg.norm(e)), 1e-12) for e in found], axis=0))


def lesion_columns(classes: Sequence[str]) -> dict[str, type]:
    """Return the columns of a lesion's row for a model of these classes, and what each holds; any cell may be None."""
    names = list(_COLUMNS)
    after = names.index("malignancy_risk") + 1
    probabilities = {f"p_{code}": float for code in classes}
    return {**{n: _COLUMNS[n] for n in names[:after]}, **probabilities, **{n: _COLUMNS[n] for n in names[after:]}}


def lesion_row(lesion: LesionFinding, classes: Sequence[str]) -> dict[str, Any]:
    """Return a lesion's finding as one flat row; what it does not say is None.

    What it looks like is told of the photographs behind the probabilities: see `melascope.bundle.rows.looks`.
    """
    point, judged = lesion.operating_point, set(lesion.judged)
    errors = [f.error for f in lesion.findings if f.error is not None]
    return {
        "lesion_id": lesion.lesion_id,
        "patient_id": lesion.patient_id,
        "photographs": len(lesion.findings),
        "judged": len(lesion.judged),
        "refused": sum(f.status == "refused" for f in lesion.findings),
        "status": lesion.status,
        "error_kind": " ".join(dict.fromkeys(error.kind for error in errors)) or None,
        "error": " ".join(dict.fromkeys(error.message for error in errors)) or None,
        "decision": lesion.decision,
        "reasons": " ".join(lesion.reasons) or None,
        "diagnosis": lesion.diagnosis,
        "melanoma_risk": lesion.melanoma_risk,
        "malignancy_risk": lesion.malignancy_risk,
        **{f"p_{code}": lesion.probabilities.get(code) for code in classes},
        "ugly_duckling": lesion.ugly_duckling,
        "operating_point": point.name if point else None,
        "group": point.group if point else None,
        "threshold": point.threshold if point else None,
        "assured": point.assured if point else None,
        "threshold_chosen_on": point.chosen_on if point else None,
        **measurements(point),
        "prediction_set": " ".join(lesion.prediction_set) if lesion.prediction_set is not None else None,
        "coverage": lesion.coverage,
        **looks([f for f in lesion.findings if f.path in judged and f.status == "ok"]),
        "paths": " ".join(f.path for f in lesion.findings),
        "model": lesion.model.name,
        "model_version": lesion.model.version,
        "model_sha256": lesion.model.sha256,
    }
