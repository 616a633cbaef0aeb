"""Operating points: the threshold comes from `calibrate`, what it does is measured on `test`.

A target sensitivity is *assured* only when the one-sided exact (Clopper and
Pearson 1934) lower 95 % bound of the sensitivity on `calibrate` reaches it: for
0.95 that takes 59 melanomas with none missed (0.95^59 < 0.05 <= 0.95^58), or
93 with one missed. The largest threshold that merely reaches the target there
misses one melanoma in twenty by construction and is practically never assured;
`choose(..., assure=True)` pays for the assurance with a lower threshold.

A point aims at a sensitivity, at a specificity (then it is that which is
assured or not), or at the largest Youden index. Youden's index, sensitivity +
specificity - 1, gives a missed melanoma and a false alarm the same weight per
case and per non-case, whatever the mix of the set; the lowest total error
would depend on that mix, and in a clinic another one holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from melascope.statistics.intervals import (
    DRAWS,
    FEW,
    LEVEL,
    Array,
    Estimate,
    Groups,
    count_units,
    proportion,
    wilson,
)
from melascope.statistics.scores import _columns, _shaped

Aim = Literal["sensitivity", "specificity", "youden"]
SCREENING, BALANCED, RULE_IN = "screening", "balanced", "rule-in"
POINTS: Mapping[str, tuple[Aim, float]] = {
    SCREENING: ("sensitivity", 0.95),
    BALANCED: ("youden", math.nan),
    RULE_IN: ("specificity", 0.95),
}
"""The operating points of a run: name to what is aimed at, and how much of it."""
_SLACK = 1e-4


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on a risk, and what it did where it was chosen.

    Attributes:
        name: Such as `screening`.
        group: `melanoma` or `malignant`.
        target: The sensitivity or specificity wanted; NaN where the point aims at Youden's index.
        threshold: A risk of at least this much alerts.
        assured: Whether the lower bound of what is aimed at reached the target.
        sensitivity: On `calibrate`; optimistic, since the threshold was chosen there.
        specificity: On `calibrate`; optimistic likewise.
        n_positive: Rows of the group on `calibrate`.
        n_negative: The others.
    """

    name: str
    group: str
    target: float
    threshold: float
    assured: bool
    sensitivity: Estimate
    specificity: Estimate
    n_positive: int
    n_negative: int
    aim: Aim = "sensitivity"

    def to_json(self) -> dict[str, Any]:
        """Return the point as `decision.json` holds it (without name and group, which are its keys)."""
        return {
            "threshold": self.threshold,
            "aim": self.aim,
            "target": None if math.isnan(self.target) else self.target,
            "assured": self.assured,
            "sensitivity": self.sensitivity.to_json(),
            "specificity": self.specificity.to_json(),
            "n_positive": self.n_positive,
            "n_negative": self.n_negative,
        }


def lower_bound(successes: int, n: int, level: float = LEVEL) -> float:
    """Return the one-sided exact lower bound of a proportion (Clopper and Pearson 1934)."""
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(successes, n, middle) < 1 - level else (low, middle)
    return low


def is_assured(successes: int, n: int, target: float, level: float = LEVEL) -> bool:
    """Return whether so many successes would be rarer than 1 - level were the proportion only the target."""
    return n > 0 and _at_least(successes, n, target) <= 1 - level


def _at_least(successes: int, n: int, p: float) -> float:
    """Return the binomial probability of at least so many successes."""
    if p <= 0 or p >= 1:
        return float(successes == 0 or p >= 1)
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(successes, n + 1)
    ]
    return math.fsum(math.exp(x) for x in logs)


def threshold_for(p: Array, y: Array, target: float, weights: Array | None = None) -> Any:
    """Return the largest threshold whose sensitivity reaches the target, one per draw `(k,)`; NaN without positives."""
    positive = np.asarray(y, dtype=bool)
    w = _columns(weights, len(positive))[positive]
    risk = np.asarray(p, dtype=float)[positive]
    if not len(risk):
        return _shaped(np.full(w.shape[1], np.nan), weights)
    order = np.argsort(-risk, kind="stable")
    found = np.cumsum(w[order], axis=0, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = found / found[-1] >= target
    return _shaped(np.where(found[-1] > 0, risk[order][reached.argmax(axis=0)], np.nan), weights)


def specificity_threshold(p: Array, y: Array, target: float, weights: Array | None = None) -> Any:
    """Return the smallest threshold whose specificity reaches the target, one per draw; NaN without negatives.

    It is one of the risks given or, where even the largest alerts too often, lies just above that.
    """
    risk, positive = np.asarray(p, dtype=float), np.asarray(y, dtype=bool)
    w = _columns(weights, len(risk))
    if positive.all():
        return _shaped(np.full(w.shape[1], np.nan), weights)
    at = np.append(np.unique(risk), np.nextafter(risk.max(), np.inf))
    below = _cumulated(risk[~positive], w[~positive], at)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = (below / below[-1] >= target) & _drawn(risk, w, at)
    return _shaped(np.where(below[-1] > 0, at[reached.argmax(axis=0)], np.nan), weights)


def youden_threshold(p: Array, y: Array, weights: Array | None = None) -> Any:
    """Return the threshold with the largest Youden index, the lowest of several, one per draw; NaN with one class only.

    Source: Youden 1950, Cancer 3:32.
    """
    risk, positive = np.asarray(p, dtype=float), np.asarray(y, dtype=bool)
    w = _columns(weights, len(risk))
    if positive.all() or not positive.any():
        return _shaped(np.full(w.shape[1], np.nan), weights)
    at = np.append(np.unique(risk), np.inf)
    missed, passed = (_cumulated(risk[rows], w[rows], at) for rows in (positive, ~positive))
    with np.errstate(invalid="ignore", divide="ignore"):
        index = passed / passed[-1] - missed / missed[-1]
    some = np.isfinite(index).all(axis=0)
    # Sums in another order differ in their last digits; such indices are equal.
    index = np.where(_drawn(risk, w, at), np.round(np.where(some, index, 0.0), 12), -np.inf)
    return _shaped(np.where(some, at[index.argmax(axis=0)], np.nan), weights)


def _cumulated(risk: Array, w: Array, at: Array) -> Array:
    """Return the weight of the risks below each threshold, `(len(at), k)`; the last threshold is above them all."""
    order = np.argsort(risk, kind="stable")
    summed = np.concatenate([np.zeros((1, w.shape[1])), np.cumsum(w[order], axis=0, dtype=float)])
    return np.asarray(summed[np.searchsorted(risk[order], at, side="left")])


def _drawn(risk: Array, w: Array, at: Array) -> Array:
    """Return which thresholds are risks that a draw has, `(len(at), k)`; the last, above them all, always may be."""
    mass = np.diff(_cumulated(risk, w, at), axis=0) > 0
    return np.concatenate([mass, np.ones((1, w.shape[1]), dtype=bool)])


def threshold_of(aim: Aim, p: Array, y: Array, target: float, weights: Array | None = None) -> Any:
    """Return the threshold that an aim asks for, one per draw; see `threshold_for` and its two siblings."""
    if aim == "youden":
        return youden_threshold(p, y, weights)
    return (threshold_for if aim == "sensitivity" else specificity_threshold)(p, y, target, weights)


def deployed(named: Mapping[str, Any]) -> str | None:
    """Return the name of the point that decides where none is asked for: `screening`, else the first; None of none."""
    return SCREENING if SCREENING in named else next(iter(named), None)


def choose(
    p: Array,
    y: Array,
    target: float = 0.95,
    name: str = SCREENING,
    group: str = "melanoma",
    groups: Groups = None,
    assure: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    aim: Aim = "sensitivity",
) -> OperatingPoint:
    """Return the operating point that an aim asks for, such as a target sensitivity.

    The threshold lies a ten-thousandth below the risk that it was chosen for
    (less where another risk is nearer), so that the last digits of a risk,
    which differ between machines, decide nothing.

    Args:
        p: `(n,)` calibrated risks on `calibrate`.
        y: `(n,)` bool, whether the row is of the group.
        target: The sensitivity or specificity wanted, in (0, 1]; no matter for Youden's index.
        name: What to call the point.
        group: Whose risk `p` is.
        groups: `(n,)` lesions or patients. Photographs of one lesion are not
            independent: the bound counts lesions, at the photographs' rate
            rounded down.
        assure: Lower the threshold until the target sensitivity is assured,
            where any threshold assures it. Otherwise, and by default, the
            largest threshold whose sensitivity reaches the target.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        aim: `sensitivity`, `specificity` (the smallest threshold that reaches
            the target), or `youden` (the largest index; nothing is assured).

    Raises:
        ValueError: When there is no positive or no negative row, or the target is impossible.
    """
    risk, positive = np.asarray(p, dtype=float), np.asarray(y, dtype=bool)
    if aim == "youden":
        target = math.nan
    elif not 0 < target <= 1:
        raise ValueError(f"A target {aim} of {target} is impossible; it lies in (0, 1].")
    if not positive.any() or positive.all():
        raise ValueError(f"An operating point for {group} needs rows with it and rows without it.")
    wanted = positive if aim == "sensitivity" else ~positive
    number = count_units(groups, wanted)

    def reaches(threshold: float) -> bool:
        if aim == "youden":
            return False
        share = float(((risk[wanted] >= threshold) == (aim == "sensitivity")).mean())
        return is_assured(math.floor(share * number + 1e-9), number, target)

    threshold = float(threshold_of(aim, risk, positive, target))
    if assure and aim == "sensitivity" and not reaches(threshold):
        lower = np.unique(risk[positive])
        lower = lower[lower < threshold][::-1]
        threshold = next((float(t) for t in lower if reaches(float(t))), threshold)
    threshold = _between(risk, threshold)
    sensitivity, specificity = measure(risk, positive, threshold, groups, draws=draws, seed=seed)
    return OperatingPoint(
        name,
        group,
        target,
        threshold,
        reaches(threshold),
        sensitivity,
        specificity,
        int(positive.sum()),
        int((~positive).sum()),
        aim,
    )


def _between(risk: Array, threshold: float) -> float:
    """Return a threshold a little lower, that no risk lies on and that divides the risks alike."""
    below = risk[risk < threshold]
    gap = (threshold - float(below.max())) / 2 if len(below) else threshold
    return min(1.0, threshold - min(gap, _SLACK * threshold))


def measure(
    p: Array, y: Array, threshold: float, groups: Groups = None, draws: int = DRAWS, seed: int = 0
) -> tuple[Estimate, Estimate]:
    """Return sensitivity and specificity, with intervals, of alerting at `p >= threshold`."""
    alert, positive = np.asarray(p, dtype=float) >= threshold, np.asarray(y, dtype=bool)
    names = np.arange(len(positive)).astype(str) if groups is None else np.asarray(groups, dtype=object)
    return (
        proportion(alert[positive], names[positive], draws=draws, seed=seed),
        proportion(~alert[~positive], names[~positive], draws=draws, seed=seed),
    )


def predictive_values(sensitivity: Any, specificity: Any, prevalence: float) -> tuple[Any, Any]:
    """Return PPV and NPV at a stated prevalence (Bayes); floats or arrays. NaN where nothing, or all, alerts.

    Raises:
        ValueError: When the prevalence is not in (0, 1).
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"A prevalence of {prevalence} is impossible; it lies in (0, 1).")
    sensitivity, specificity = np.asarray(sensitivity, dtype=float), np.asarray(specificity, dtype=float)
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, passed = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    with np.errstate(invalid="ignore", divide="ignore"):
        return true / (true + false), passed / (passed + missed)


def predictive_intervals(
    sensitivity: tuple[float, float, float], specificity: tuple[float, float, float], prevalence: float
) -> list[tuple[float, float, float]]:
    """Return PPV and NPV, each as (value, low, high), from sensitivity and specificity as (value, low, high).

    Both rise with sensitivity and with specificity, so that the lower, and the upper, ends of their intervals together
    bound them. They hold only if sensitivity and specificity are the same there.

    Raises:
        ValueError: When the prevalence is not in (0, 1).
    """
    ends = [predictive_values(*end, prevalence) for end in zip(sensitivity, specificity, strict=True)]
    return [(float(ends[0][i]), float(ends[1][i]), float(ends[2][i])) for i in (0, 1)]


def net_benefit(p: Array, y: Array, prevalence: float, thresholds: Array) -> tuple[Array, Array]:
    """Return the net benefit, at a stated prevalence, of acting on the model and of acting on everybody.

    Source: Vickers and Elkin 2006, Medical Decision Making 26:565.
    """
    risk, positive = np.asarray(p, dtype=float), np.asarray(y, dtype=bool)
    odds = thresholds / (1 - thresholds)
    alert = risk[:, None] >= thresholds
    sensitivity, fall_out = alert[positive].mean(axis=0), alert[~positive].mean(axis=0)
    return (
        sensitivity * prevalence - fall_out * (1 - prevalence) * odds,
        prevalence - (1 - prevalence) * odds,
    )


def sample_size(n: int, at: float = 0.95, width: float = 0.1) -> dict[str, float | int]:
    """Return the interval that n independent positives give a proportion, and how many a given width needs.

    Returns:
        `n, at, low, high, width` (Wilson's interval around `at`) and `needed`
        for an interval no wider than `width`.
    """

    def span(number: int) -> Estimate:
        return wilson(at * number, number)

    low, high = 1, FEW
    while span(high).high - span(high).low > width:
        low, high = high, high * 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if span(middle).high - span(middle).low > width else (low, middle)
    now = span(n) if n else Estimate(math.nan, 0.0, 1.0, 0)
    return {"n": n, "at": at, "low": now.low, "high": now.high, "width": now.high - now.low, "needed": high}
