"""What an alert, and a missing one, mean where melanoma is as frequent as is stated."""

from __future__ import annotations

from dataclasses import replace

from melascope.finding import Measured, OperatingPointUsed
from melascope.statistics.operating_point import predictive_intervals


def stated(point: OperatingPointUsed, prevalence: float) -> OperatingPointUsed:
    """Return melanoma's operating point with PPV and NPV at a prevalence; any other one as it is.

    Args:
        point: Of `melanoma` or another group.
        prevalence: Of melanoma, in (0, 1).

    Raises:
        ValueError: When the prevalence is not in (0, 1).
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"A prevalence of {prevalence} is impossible; it lies between 0 and 1, such as 0.02.")
    if point.group != "melanoma":
        return point
    found, passed = point.sensitivity, point.specificity
    if found is None or passed is None:
        return replace(point, prevalence=prevalence)
    told = predictive_intervals(
        (found.value, found.low, found.high), (passed.value, passed.low, passed.high), prevalence
    )
    ppv, npv = (Measured(*ends, n=found.n + passed.n) for ends in told)
    return replace(point, prevalence=prevalence, ppv=ppv, npv=npv)
