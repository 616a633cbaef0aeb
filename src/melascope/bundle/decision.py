"""From calibrated probabilities to a decision and its reasons in words.

The rule: a photograph alerts when its melanoma risk or its malignancy risk
reaches that group's threshold. A model without any threshold (too few
melanomas to choose one) never says `no_alert`: it refers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from melascope import diagnosis
from melascope.errors import BundleError
from melascope.finding import Decision, Measured, OperatingPointUsed

SCREENING = "screening"
_RISK = {"melanoma": "Melanoma risk", "malignant": "Malignancy risk"}
_NOT_ASSURED = "Its sensitivity is a target, not assured: its lower 95 % bound on calibration stays below it."


@dataclass(frozen=True)
class Verdict:
    """What follows from one photograph's probabilities; see `Finding` for each."""

    decision: Decision
    reasons: tuple[str, ...]
    diagnosis: str
    melanoma_risk: float | None
    malignancy_risk: float | None
    operating_point: OperatingPointUsed | None
    prediction_set: tuple[str, ...] | None


@dataclass(frozen=True)
class Decider:
    """A checked `decision.json`, ready to be applied.

    Attributes:
        classes: Codes, in the order of the logits.
        temperature: Divides the logits.
        points: The screening operating point of each group that has one.
        quantiles: Of the prediction set, per class; None is always in it. None altogether without a set.
        coverage: Of the prediction set.
    """

    classes: tuple[str, ...]
    temperature: float
    points: Mapping[str, OperatingPointUsed]
    quantiles: tuple[float | None, ...] | None
    coverage: float | None

    @classmethod
    def of(cls, decision: Mapping[str, Any], evaluation: Mapping[str, Any] | None = None) -> Decider:
        """Check `decision.json` and take the measured sensitivity and specificity from the evaluation's test part.

        Raises:
            BundleError: When anything in it is missing or impossible; the sentence says what.
        """
        if decision.get("schema") != 1:
            raise BundleError(f"decision.json is of version {decision.get('schema')}, not 1.")
        for key in ("name", "version", "protocol"):
            if not isinstance(decision.get(key), str) or not decision[key]:
                raise BundleError(f"decision.json has no {key}.")
        classes = decision.get("classes")
        if not isinstance(classes, list) or len(classes) < 2 or len(set(map(str, classes))) != len(classes):
            raise BundleError("decision.json needs a list of two or more different classes.")
        unknown = [str(code) for code in classes if str(code) not in diagnosis.DIAGNOSES]
        if unknown:
            raise BundleError(f"decision.json names classes that Melascope does not know: {', '.join(unknown)}.")
        _check_geometry(decision.get("geometry"))
        quantiles, coverage = _prediction_set(decision.get("prediction_set"), len(classes))
        return cls(
            classes=tuple(classes),
            temperature=_temperature(decision.get("calibration")),
            points=_points(decision.get("operating_points"), evaluation),
            quantiles=quantiles,
            coverage=coverage,
        )

    def judge(self, probabilities: np.ndarray) -> Verdict:
        """Return what follows from calibrated probabilities `(c,)`."""
        risks = {group: self._risk(probabilities, group) for group in _RISK}
        used = {g: point for g, point in self.points.items() if risks[g] is not None}
        over = [g for g, point in used.items() if (risks[g] or 0.0) >= point.threshold]
        decision: Decision
        if not used:
            decision = "refer"
            reasons = ["The model has no operating point: too few melanomas were there to choose a threshold."]
        elif over:
            decision = "alert"
            reasons = [_sentence(g, risks[g], used[g].threshold, "reaches") for g in over]
        else:
            decision = "no_alert"
            reasons = [_sentence(g, risks[g], point.threshold, "stays below") for g, point in used.items()]
        point = used[(over or list(used))[0]] if used else None
        if point is not None and not point.assured:
            reasons.append(_NOT_ASSURED)
        return Verdict(
            decision=decision,
            reasons=tuple(reasons),
            diagnosis=self.classes[int(np.argmax(probabilities))],
            melanoma_risk=risks["melanoma"],
            malignancy_risk=risks["malignant"],
            operating_point=point,
            prediction_set=self._set(probabilities),
        )

    def _risk(self, probabilities: np.ndarray, group: str) -> float | None:
        if not diagnosis.GROUPS[group].intersection(self.classes):
            return None
        return float(diagnosis.group_risk(probabilities[None], self.classes, group)[0])

    def _set(self, probabilities: np.ndarray) -> tuple[str, ...] | None:
        if self.quantiles is None:
            return None
        from melascope.statistics.prediction_set import members

        inside = members(probabilities[None], self.quantiles)[0]
        return tuple(code for code, member in zip(self.classes, inside, strict=True) if member)


def percent(risk: float) -> str:
    """Return a risk in percent with what digits it deserves: `62 %`, `4.1 %`, `under 0.1 %`."""
    if risk < 0.001:
        return "under 0.1 %"
    if risk > 0.999:
        return "over 99.9 %"
    return f"{100 * risk:.1f} %" if risk < 0.0995 or risk > 0.9905 else f"{100 * risk:.0f} %"


def _sentence(group: str, risk: float | None, threshold: float, relation: str) -> str:
    value, bound = percent(risk or 0.0), percent(threshold)
    if value == bound and relation == "stays below":  # 29.96 % and 30 % must not read as a contradiction
        value = f"{100 * (risk or 0.0):.4g} %"
        value = f"just under {bound}" if value == bound else value
    return f"{_RISK[group]} {value} {relation} the threshold of {bound}."


def _check_geometry(value: Any) -> None:
    from melascope.images.geometry import Geometry

    try:
        Geometry.from_json(value)
    except ValueError as error:
        raise BundleError(f"decision.json: {error}.") from None


def _temperature(calibration: Any) -> float:
    if not isinstance(calibration, Mapping) or calibration.get("method") != "temperature":
        raise BundleError('decision.json has no calibration of method "temperature".')
    temperature = calibration.get("temperature")
    if not _is_number(temperature) or not temperature > 0:
        raise BundleError(f"decision.json has the temperature {temperature!r}; it must be a number above 0.")
    return float(temperature)


def _points(points: Any, evaluation: Mapping[str, Any] | None) -> dict[str, OperatingPointUsed]:
    if not isinstance(points, Mapping) or not set(points) <= set(_RISK):
        raise BundleError("decision.json has no operating_points for melanoma and malignant.")
    result = {}
    for group in _RISK:
        named = points.get(group)
        if not named:
            continue
        if not isinstance(named, Mapping):
            raise BundleError(f"decision.json: the operating points of {group} are not named.")
        name = SCREENING if SCREENING in named else next(iter(named))
        point = named[name]
        threshold = point.get("threshold") if isinstance(point, Mapping) else None
        if not _is_number(threshold) or not 0 <= threshold <= 1:
            raise BundleError(f"decision.json: the threshold for {group} is {threshold!r}; it must lie in 0 to 1.")
        tested = _dig(evaluation, "parts", "test", "groups", group, "operating_points", name)
        measured = tested if _measured(_dig(tested, "sensitivity")) else point
        result[group] = OperatingPointUsed(
            name=str(name),
            group=group,
            threshold=float(threshold),
            assured=point.get("assured") is True,
            sensitivity=_measured(_dig(measured, "sensitivity")),
            specificity=_measured(_dig(measured, "specificity")),
            measured_on="test" if measured is tested else "calibrate",
        )
    return result


def _prediction_set(value: Any, classes: int) -> tuple[tuple[float | None, ...] | None, float | None]:
    if value is None:
        return None, None
    quantiles = value.get("quantiles") if isinstance(value, Mapping) else None
    coverage = value.get("coverage") if isinstance(value, Mapping) else None
    if not isinstance(quantiles, list) or len(quantiles) != classes:
        raise BundleError(f"decision.json: the prediction set needs {classes} quantiles, one for each class.")
    if not all(limit is None or _is_number(limit) for limit in quantiles):
        raise BundleError("decision.json: a quantile of the prediction set is neither a number nor null.")
    if not _is_number(coverage) or not 0 < coverage < 1:
        raise BundleError(f"decision.json: the coverage is {coverage!r}; it must lie between 0 and 1.")
    return tuple(None if limit is None else float(limit) for limit in quantiles), float(coverage)


def _measured(value: Any) -> Measured | None:
    if not isinstance(value, Mapping) or not _is_number(value.get("value")):
        return None
    low, high, n = value.get("low"), value.get("high"), value.get("n")
    return Measured(
        float(value["value"]),
        float(low) if _is_number(low) else math.nan,
        float(high) if _is_number(high) else math.nan,
        int(n) if _is_number(n) else 0,
    )


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
