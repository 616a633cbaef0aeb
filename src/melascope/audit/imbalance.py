"""How unevenly the diagnoses are represented, and which are too few to judge."""

from __future__ import annotations

import pandas as pd

from melascope import diagnosis
from melascope.audit.problems import PROBLEM_COLUMNS, none, readable

FEWEST_TO_JUDGE = 10
"""With fewer photographs a diagnosis is "too few to judge" (STATISTICS, rule 3)."""
LARGEST_RATIO = 3.0
"""Most to least frequent diagnosis; above it balancing is worth a thought."""


def find(table: pd.DataFrame) -> pd.DataFrame:
    """Return each diagnosis that is rare; such a row stands for a diagnosis and names no photograph."""
    counts = readable(table)["diagnosis"].value_counts()
    if counts.empty:
        return none()
    found = []
    for code in diagnosis.ordered(counts.index):
        count, ratio = int(counts[code]), float(counts.max() / counts[code])
        if count < FEWEST_TO_JUDGE:
            evidence = f"{count} photographs: too few to judge"
        elif ratio > LARGEST_RATIO:
            evidence = f"{count} photographs, one for {ratio:.1f} of {counts.index[0]}"
        else:
            continue
        found.append({"kind": "imbalance", "group": f"imbalance: {code}", "diagnosis": code, "evidence": evidence})
    return pd.DataFrame(found, columns=list(PROBLEM_COLUMNS), dtype="string") if found else none()
