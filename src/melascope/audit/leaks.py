"""What stands in Test and outside it: photographs, lesions, patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.audit.problems import is_test, on_both_sides, problems, readable
from melascope.datasets import photographs


def find_photographs(table: pd.DataFrame) -> pd.DataFrame:
    """Return every photograph, by id or identical bytes, that stands in Test and outside it."""
    rows = readable(table)
    shown = pd.Series(photographs(rows), index=rows.index)
    both = on_both_sides(rows, shown)
    return problems("photograph_leak", rows[both], shown[both].to_numpy(), "photograph in Train and in Test")


def find_lesions(table: pd.DataFrame) -> pd.DataFrame:
    """Return every photograph of a lesion, or of a patient, that stands in Test and outside it."""
    rows = readable(table)
    found = []
    for column, what in (("lesion_id", "lesion"), ("patient_id", "patient"), ("repeat", "lesion, by its pixels,")):
        if column not in rows.columns:
            continue
        both = rows[on_both_sides(rows, rows[column])]
        keys = both[column].to_numpy(dtype=object)
        found.append(problems("lesion_leak", both, keys, f"{what} in Train and in Test"))
    # Where a patient's rows are also one lesion's, both are said: they are two problems.
    return pd.concat(found, ignore_index=True)


def between(table: pd.DataFrame, test: np.ndarray | None = None) -> dict[str, int]:
    """Count what a test shares with the rest.

    Args:
        table: A scanned table.
        test: Which rows `(n,)` are the test; None for the set's own Test.

    Returns:
        `test_photographs`, and how many of them `share_photograph`,
        `share_lesion`, `share_patient` with the rest, and `share_any`.
    """
    rows = readable(table)
    chosen = is_test(rows) if test is None else np.asarray(test)[table["error_kind"].isna().to_numpy()]
    sides = rows.assign(split=np.where(chosen, "test", "train"), photograph=photographs(rows))
    counts = {"test_photographs": int(chosen.sum())}
    shared = np.zeros(len(rows), dtype=bool)
    for column, name in (("photograph", "photograph"), ("lesion_id", "lesion"), ("patient_id", "patient")):
        both = on_both_sides(sides, sides[column]) & chosen
        counts[f"share_{name}"] = int(both.sum())
        shared |= both
    counts["share_any"] = int(shared.sum())
    return counts
