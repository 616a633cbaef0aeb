"""What a `decision.json` may hold: each part checked, with one sentence where it makes no sense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard, get_args

import numpy as np

from melascope import diagnosis
from melascope.errors import BundleError
from melascope.finding import Aim, Measured, OperatingPointUsed
from melascope.statistics.operating_point import deployed
from melascope.statistics.scaling import METHODS, Scaling

RISKS = {"melanoma": "Melanoma risk", "malignant": "Malignancy risk"}
"""The groups of diagnoses that alert, and what their risk is called."""
UNIT = "photographs"


def check_names(decision: Mapping[str, Any]) -> tuple[str, ...]:
    """Check version, name and protocol, and return the classes."""
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
    return tuple(classes)


def check_geometry(value: Any) -> None:
    """Refuse a geometry that no photograph can be brought into."""
    from melascope.images.geometry import Geometry

    try:
        Geometry.from_json(value)
    except ValueError as error:
        raise BundleError(f"decision.json: {error}.") from None


def calibration(value: Any, classes: int) -> Scaling:
    """Return the calibrator: of method `temperature`, `vector` or `dirichlet`."""
    method = value.get("method") if isinstance(value, Mapping) else None
    if method not in METHODS:
        raise BundleError(f"decision.json has no calibration of a method that is known ({', '.join(METHODS)}).")
    if method == "temperature":
        temperature = value.get("temperature")
        if not is_number(temperature) or not temperature > 0:
            raise BundleError(f"decision.json has the temperature {temperature!r}; it must be a number above 0.")
        return Scaling.of_temperature(float(temperature), classes)
    if method == "vector":
        weights = np.diag(_numbers(value, "slopes", (classes,)))
    else:
        weights = _numbers(value, "weights", (classes, classes))
    return Scaling(method, weights, _numbers(value, "offsets", (classes,)))


def _numbers(value: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        found = np.array(value.get(key), dtype=float)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != shape or not np.isfinite(found).all():
        wanted = " x ".join(map(str, shape))
        raise BundleError(f"decision.json: the calibration's {key} must be {wanted} numbers, a row for each class.")
    return found


def prior(value: Any, classes: int) -> tuple[float, ...] | None:
    """Return the shares by which first choices are weighed, or None: plain argmax."""
    if value is None:
        return None
    shares = value.get("prior") if isinstance(value, Mapping) else ()
    if shares is None:
        return None
    if not isinstance(shares, list) or len(shares) != classes or not all(is_number(x) and x > 0 for x in shares):
        raise BundleError(f"decision.json: the prior of the first choice must be {classes} numbers above 0, or null.")
    return tuple(float(share) for share in shares)


def names(points: Any) -> tuple[str, ...]:
    """Return the names of all operating points, the deployed one first."""
    if not isinstance(points, Mapping) or not set(points) <= set(RISKS):
        raise BundleError("decision.json has no operating_points for melanoma and malignant.")
    found: dict[str, None] = {}
    for group in RISKS:
        named = points.get(group)
        if named and not isinstance(named, Mapping):
            raise BundleError(f"decision.json: the operating points of {group} are not named.")
        found |= dict.fromkeys(map(str, named or ()))
    first = deployed(found)
    return tuple(sorted(found, key=lambda name: name != first))


def operating_points(
    points: Mapping[str, Any], tested: Any, wanted: str | None, unit: str = UNIT
) -> dict[str, OperatingPointUsed]:
    """Return each group's operating point: that which is wanted, else `screening`, else its first.

    Args:
        points: Group to name to point.
        tested: `groups` of the evaluation's test part, whose numbers go before those of `calibrate`.
        wanted: A name, or None for the deployed one.
        unit: What the thresholds were chosen on: `photographs` or `lesions`.
    """
    result = {}
    for group in RISKS:
        named = points.get(group)
        if not named:
            continue
        name = wanted if wanted is not None and wanted in named else str(deployed(named))
        point = named[name]
        threshold = point.get("threshold") if isinstance(point, Mapping) else None
        if not is_number(threshold) or not 0 <= threshold <= 1:
            raise BundleError(f"decision.json: the threshold for {group} is {threshold!r}; it must lie in 0 to 1.")
        aim = point.get("aim", "sensitivity")
        if aim not in get_args(Aim):
            raise BundleError(f"decision.json: the aim of {group}'s point {name} is {aim!r}, which is not known.")
        found = dig(tested, group, "operating_points", name)
        scored = found if measured(dig(found, "sensitivity")) else point
        target = point.get("target")
        result[group] = OperatingPointUsed(
            name=str(name),
            group=group,
            threshold=float(threshold),
            assured=point.get("assured") is True,
            sensitivity=measured(dig(scored, "sensitivity")),
            specificity=measured(dig(scored, "specificity")),
            measured_on="test" if scored is found else "calibrate",
            aim=aim,
            target=float(target) if is_number(target) else None,
            chosen_on=unit,
        )
    return result


def lesion_points(
    value: Any, photographs: Mapping[str, OperatingPointUsed], tested: Any, wanted: str | None
) -> tuple[dict[str, OperatingPointUsed], str | None]:
    """Return the operating points for lesions, and, where those of photographs stand in for them, why.

    Args:
        value: `lesion_operating_points`: `{"points": {...} or null, "reason": ... or null}`.
        photographs: The operating points of photographs.
        tested: `per_lesion` of the evaluation's test part.
        wanted: A name, or None for the deployed one.
    """
    points = value.get("points") if isinstance(value, Mapping) else None
    if value is not None and not isinstance(value, Mapping):
        raise BundleError("decision.json: lesion_operating_points must have points or a reason.")
    if not points:
        reason = value.get("reason") if isinstance(value, Mapping) else None
        told = str(reason) if reason else "The model was made without thresholds for lesions."
        stand_ins = {g: replace(p, chosen_on=UNIT) for g, p in photographs.items()}
        return stand_ins, f"{told} Those of single photographs are used."
    names(points)
    # What was measured with the photographs' thresholds says nothing about these.
    own = dig(tested, "groups") if dig(tested, "threshold_chosen_on") == "lesions" else None
    return operating_points(points, own, wanted, "lesions"), None


def prediction_set(value: Any, classes: int) -> tuple[tuple[float | None, ...] | None, float | None]:
    """Return the quantiles, None being always in the set, and the coverage; both None without a set."""
    if value is None:
        return None, None
    quantiles = value.get("quantiles") if isinstance(value, Mapping) else None
    coverage = value.get("coverage") if isinstance(value, Mapping) else None
    if not isinstance(quantiles, list) or len(quantiles) != classes:
        raise BundleError(f"decision.json: the prediction set needs {classes} quantiles, one for each class.")
    if not all(limit is None or is_number(limit) for limit in quantiles):
        raise BundleError("decision.json: a quantile of the prediction set is neither a number nor null.")
    if not is_number(coverage) or not 0 < coverage < 1:
        raise BundleError(f"decision.json: the coverage is {coverage!r}; it must lie between 0 and 1.")
    return tuple(None if limit is None else float(limit) for limit in quantiles), float(coverage)


def known_context(value: Any) -> dict[str, dict[str, int]]:
    """Return the training part's lesions per age band and per site, all and malignant; empty where nothing is known."""
    if value is None:
        return {}
    found: dict[str, dict[str, int]] = {}
    for column in ("age_band", "site", "malignant_age_band", "malignant_site"):
        counts = value.get(column) if isinstance(value, Mapping) else ()
        if counts is None:
            continue
        if not isinstance(counts, Mapping) or not all(is_number(n) and n >= 0 for n in counts.values()):
            raise BundleError(f"decision.json: known_context must count lesions by {column}.")
        found[column] = {str(name): int(n) for name, n in counts.items()}
    return found


def measured(value: Any) -> Measured | None:
    """Return a score with its interval, or None where there is none."""
    if not isinstance(value, Mapping) or not is_number(value.get("value")):
        return None
    low, high, n = value.get("low"), value.get("high"), value.get("n")
    return Measured(
        float(value["value"]),
        float(low) if is_number(low) else math.nan,
        float(high) if is_number(high) else math.nan,
        int(n) if is_number(n) else 0,
    )


def dig(value: Any, *keys: str) -> Any:
    """Return what lies under the keys, one within the other; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
