"""How unevenly the diagnoses are represented, and which are too few to judge or to calibrate."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from melascope import diagnosis
from melascope.audit.problems import PROBLEM_COLUMNS, Found, none, readable
from melascope.counted import plural
from melascope.datasets import lesion_counts, photographs
from melascope.datasets.split import DEFAULT_FRACTIONS
from melascope.statistics import wilson

FEWEST_TO_JUDGE = 10
"""With fewer lesions a diagnosis is "too few to judge" (STATISTICS, rule 3)."""
LARGEST_RATIO = 3.0
"""Most to least frequent diagnosis; above it balancing is worth a thought."""
SENSITIVITY = 0.95
"""The sensitivity whose interval shows how much a diagnosis' number of lesions can tell."""
COVERAGES = (0.9, 0.95)
"""Of prediction sets (STATISTICS, rule 7)."""
CALIBRATE = DEFAULT_FRACTIONS["calibrate"]
"""The share of lesions that the default split calibrates on."""


def fewest_for_sets(coverage: float) -> int:
    """Return how many calibration lesions of a class a prediction set of this coverage needs: 9 for .9, 19 for .95.

    Raises:
        ValueError: When the coverage is not in (0, 1).
    """
    if not 0 < coverage < 1:
        raise ValueError(f"A coverage of {coverage} is impossible; it lies in (0, 1).")
    # ceil((n + 1) * coverage) <= n; the small term as in statistics.prediction_set.
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def find(table: pd.DataFrame) -> Found:
    """Return each diagnosis that is rare; such a row stands for a diagnosis and names no photograph.

    Returns:
        Problems, and details: `photographs`, `lesions`, `ratio` (largest to smallest diagnosis, in photographs),
        `largest`, `smallest`, `lesions_assumed` (photographs without a lesion id, each taken for a lesion),
        `sensitivity` and `calibrate_share` (what the figures below assume), `needed` (calibration lesions per
        coverage), and `by_class`: per diagnosis `photographs`, `lesions`, `share`, `ratio`, `too_few_to_judge`,
        `interval` (Wilson's, that a sensitivity of `sensitivity` would have on all lesions: `low`, `high`, `width`),
        `calibration_lesions` (expected with the default split), and per coverage (`0.9`, `0.95`) under `sets`
        `possible` (with that split) and `possible_with_all` (were every lesion used to calibrate).
    """
    rows = readable(table)
    rows = rows[rows["diagnosis"].notna()]
    rows = rows.assign(photograph=photographs(rows))
    counts = rows["diagnosis"].value_counts()
    if counts.empty:
        return Found(none(), {"photographs": 0, "lesions": 0, "by_class": {}})
    codes = diagnosis.ordered(counts.index)
    by_class: dict[str, Any] = {}
    found = []
    for code in codes:
        told = lesion_counts(rows[(rows["diagnosis"] == code).to_numpy(dtype=bool)])
        count, lesions = int(counts[code]), told["known"] + told["assumed"]
        ratio = float(counts.max() / count)
        by_class[code] = _of_class(count, lesions, count / len(rows), ratio)
        if evidence := _evidence(count, lesions, ratio, str(counts.index[0])):
            found.append({"kind": "imbalance", "group": f"imbalance: {code}", "diagnosis": code, "evidence": evidence})
    total = lesion_counts(rows)
    details = {
        "photographs": len(rows),
        "lesions": total["known"] + total["assumed"],
        "lesions_assumed": total["assumed"],
        "largest": str(counts.index[0]),
        "smallest": str(counts.index[-1]),
        "ratio": float(counts.max() / counts.min()),
        "sensitivity": SENSITIVITY,
        "calibrate_share": CALIBRATE,
        "needed": {str(coverage): fewest_for_sets(coverage) for coverage in COVERAGES},
        "by_class": by_class,
    }
    problems = pd.DataFrame(found, columns=list(PROBLEM_COLUMNS), dtype="string") if found else none()
    return Found(problems, details)


def _evidence(count: int, lesions: int, ratio: float, largest: str) -> str | None:
    if lesions < FEWEST_TO_JUDGE:
        what = plural(count, "photograph") + (f" of {plural(lesions, 'lesion')}" if lesions < count else "")
        return f"{what}: too few to judge"
    if ratio > LARGEST_RATIO:
        return f"{plural(count, 'photograph')}, one for {ratio:.1f} of {largest}"
    return None


def _of_class(count: int, lesions: int, share: float, ratio: float) -> dict[str, Any]:
    around = wilson(SENSITIVITY * lesions, lesions)
    calibration = round(CALIBRATE * lesions)
    return {
        "photographs": count,
        "lesions": lesions,
        "share": float(share),
        "ratio": ratio,
        "too_few_to_judge": lesions < FEWEST_TO_JUDGE,
        "interval": {"low": around.low, "high": around.high, "width": around.high - around.low},
        "calibration_lesions": calibration,
        "sets": {
            str(coverage): {
                "possible": calibration >= fewest_for_sets(coverage),
                "possible_with_all": lesions >= fewest_for_sets(coverage),
            }
            for coverage in COVERAGES
        },
    }
