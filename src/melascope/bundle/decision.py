"""From calibrated probabilities to a decision and its reasons in words.

The rule: a photograph alerts when its melanoma risk or its malignancy risk
reaches that group's threshold. Where it does not, but lies outside what the
model knows (novelty, quality, modality, age or site), it is referred: a missing
alert would be a guess. An alert stays an alert, and says the doubt as well. A
model without any threshold (too few melanomas to choose one) never says
`no_alert`: it refers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from melascope import diagnosis
from melascope.bundle import decision_file as checked
from melascope.bundle.decision_file import RISKS
from melascope.bundle.doubts import doubts
from melascope.bundle.predictive import stated
from melascope.errors import BundleError
from melascope.finding import Decision, OperatingPointUsed
from melascope.statistics.operating_point import SCREENING
from melascope.statistics.prediction_set import members
from melascope.statistics.prior import first_choice
from melascope.statistics.scaling import Scaling

__all__ = ["SCREENING", "Decider", "Verdict", "percent"]

_NOT_ASSURED = (
    "The threshold was chosen for {aim}, which is not assured: the lower 95 % bound on calibration stays below that."
)
_BALANCED = "This operating point balances sensitivity and specificity; neither is assured."
_RULES_IN = "At this operating point a missing alert rules nothing out: it aims at few false alarms."


@dataclass(frozen=True)
class Verdict:
    """What follows from one photograph's probabilities; see `Finding` for each.

    `doubts` are those of the reasons that would refer it were it no alert.
    """

    decision: Decision
    reasons: tuple[str, ...]
    diagnosis: str
    melanoma_risk: float | None
    malignancy_risk: float | None
    operating_point: OperatingPointUsed | None
    prediction_set: tuple[str, ...] | None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decider:
    """A checked `decision.json`, ready to be applied.

    Attributes:
        classes: Codes, in the order of the logits.
        calibration: Turns logits into probabilities.
        points: The operating point of each group that has one.
        quantiles: Of the prediction set, per class; None is always in it. None altogether without a set.
        coverage: Of the prediction set.
        lesion_points: As `points`, for the scores of lesions.
        lesion_reason: Why `lesion_points` are those of photographs; None where they are not.
        prior: Shares of the classes that the first choice weighs away, or None.
        known: Lesions of the training part, and the malignant ones of these, per age band and per site.
        names: Of all operating points, the deployed one first.
    """

    classes: tuple[str, ...]
    calibration: Scaling
    points: Mapping[str, OperatingPointUsed]
    quantiles: tuple[float | None, ...] | None
    coverage: float | None
    lesion_points: Mapping[str, OperatingPointUsed] = field(default_factory=dict)
    lesion_reason: str | None = None
    prior: tuple[float, ...] | None = None
    known: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        decision: Mapping[str, Any],
        evaluation: Mapping[str, Any] | None = None,
        operating_point: str | None = None,
        prevalence: float | None = None,
    ) -> Decider:
        """Check `decision.json` and take the measured sensitivity and specificity from the evaluation's test part.

        Args:
            decision: The content of `decision.json`.
            evaluation: The content of `metrics.json`, or None.
            operating_point: Its name; None for `screening`. A group that lacks it keeps its own.
            prevalence: Of melanoma where the model is used, for PPV and NPV; None where it is not known.

        Raises:
            BundleError: When anything in it is missing or impossible; the sentence says what.
            ValueError: When the prevalence is not in (0, 1).
        """
        classes = checked.check_names(decision)
        checked.check_geometry(decision.get("geometry"))
        quantiles, coverage = checked.prediction_set(decision.get("prediction_set"), len(classes))
        calibration = checked.calibration(decision.get("calibration"), len(classes))
        names = checked.names(decision.get("operating_points"))
        if operating_point is not None and operating_point not in names:
            there = f"; it has {', '.join(names)}" if names else ", nor any other"
            raise BundleError(f'The model has no operating point "{operating_point}"{there}.')
        tested = checked.dig(evaluation, "parts", "test")
        points = checked.operating_points(decision["operating_points"], checked.dig(tested, "groups"), operating_point)
        lesion_points, lesion_reason = checked.lesion_points(
            decision.get("lesion_operating_points"), points, checked.dig(tested, "per_lesion"), operating_point
        )
        if prevalence is not None:
            points, lesion_points = (
                {g: stated(p, prevalence) for g, p in of.items()} for of in (points, lesion_points)
            )
        return cls(
            classes=classes,
            calibration=calibration,
            points=points,
            quantiles=quantiles,
            coverage=coverage,
            lesion_points=lesion_points,
            lesion_reason=lesion_reason,
            prior=checked.prior(decision.get("first_choice"), len(classes)),
            known=checked.known_context(decision.get("known_context")),
            names=names,
        )

    def judge(
        self,
        probabilities: np.ndarray,
        novelty: Mapping[str, Any] | None = None,
        quality: Mapping[str, Any] | None = None,
        modality: str | Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Verdict:
        """Return what follows from a photograph's calibrated probabilities `(c,)`.

        Args:
            probabilities: As the calibration gives them.
            novelty: `{"score", "outside"}`, or None where it is not known.
            quality: `{"score", "problems"}`, likewise.
            modality: `dermoscopic` or another word, likewise.
            context: `{"age", "site"}`, either of them, likewise.
        """
        return self.verdict(probabilities, self.points, self.doubts(novelty, quality, modality, context))

    def doubts(
        self,
        novelty: Mapping[str, Any] | None = None,
        quality: Mapping[str, Any] | None = None,
        modality: str | Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """Return, in sentences, why a missing alert could not be trusted; arguments as for `judge`."""
        return doubts(novelty, quality, modality, context, self.known)

    def verdict(
        self, probabilities: np.ndarray, points: Mapping[str, OperatingPointUsed], doubted: tuple[str, ...] = ()
    ) -> Verdict:
        """Return what follows from probabilities `(c,)` at the operating points of photographs, or of lesions."""
        risks = {group: self._risk(probabilities, group) for group in RISKS}
        used = {g: point for g, point in points.items() if risks[g] is not None}
        over = [g for g, point in used.items() if (risks[g] or 0.0) >= point.threshold]
        point = used[(over or list(used))[0]] if used else None
        decision: Decision
        if not used:
            decision = "refer"
            none = "The model has no operating point: too few melanomas were there to choose a threshold."
            reasons = [none, *doubted]
        elif over:
            decision = "alert"
            reasons = [*(_sentence(g, risks[g], used[g].threshold, "reaches") for g in over), *doubted]
        else:
            decision = "refer" if doubted else "no_alert"
            reasons = [*doubted, *(_sentence(g, risks[g], p.threshold, "stays below") for g, p in used.items())]
        if point is not None:
            reasons += _about(point, bool(over))
        return Verdict(
            decision=decision,
            reasons=tuple(reasons),
            diagnosis=self.classes[int(first_choice(probabilities, self.prior))],
            melanoma_risk=risks["melanoma"],
            malignancy_risk=risks["malignant"],
            operating_point=point,
            prediction_set=self._set(probabilities),
            doubts=doubted,
        )

    @property
    def always_possible(self) -> tuple[str, ...]:
        """The diagnoses that are in every prediction set, since too few lesions calibrated them."""
        return tuple(c for c, limit in zip(self.classes, self.quantiles or (), strict=False) if limit is None)

    def _risk(self, probabilities: np.ndarray, group: str) -> float | None:
        if not diagnosis.GROUPS[group].intersection(self.classes):
            return None
        return float(diagnosis.group_risk(probabilities[None], self.classes, group)[0])

    def _set(self, probabilities: np.ndarray) -> tuple[str, ...] | None:
        if self.quantiles is None:
            return None
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
    return f"{RISKS[group]} {value} {relation} the threshold of {bound}."


def _about(point: OperatingPointUsed, alerts: bool) -> list[str]:
    """Return what must be known of the operating point itself."""
    if point.aim == "youden":
        return [_BALANCED]
    aim = f"a {point.aim}" + ("" if point.target is None else f" of {percent(point.target)}")
    told = [] if point.assured else [_NOT_ASSURED.format(aim=aim)]
    return told if alerts or point.aim == "sensitivity" else [_RULES_IN, *told]
