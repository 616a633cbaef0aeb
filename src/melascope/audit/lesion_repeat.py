"""Several photographs of one lesion: no mistake, but they must never be parted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.audit.problems import Found, distinct, problems, readable
from melascope.datasets import connected, photographs


def find(table: pd.DataFrame) -> Found:
    """Return every photograph whose lesion has others: by its lesion id, or by what the pixels show.

    Copies of one photograph are not repeats; they are `byte_identical` or `same_photograph`.
    """
    rows = readable(table)
    shown = pd.Series(photographs(rows), index=rows.index)
    found = []
    known = rows[rows["lesion_id"].notna()]
    several = distinct(shown[known.index], known["lesion_id"].to_numpy(dtype=object)) > 1
    repeated = known[several]
    keys = repeated["lesion_id"].to_numpy(dtype=object)
    counts = repeated.groupby("lesion_id")["lesion_id"].transform("size").astype("string")
    found.append(problems("lesion_repeat", repeated, keys, "one of " + counts + " photographs of the lesion"))
    seen = rows[rows["repeat"].notna() & ~rows.index.isin(repeated.index)] if "repeat" in rows else rows.iloc[:0]
    if len(seen):
        evidence = "seems to show the lesion of " + seen["repeat_evidence"]
        found.append(problems("lesion_repeat", seen, seen["repeat"].to_numpy(dtype=object), evidence))
    lesions = repeated["lesion_id"].nunique()
    superfluous = int(len(repeated) - lesions) if len(repeated) else 0
    details = {"lesions": int(lesions), "beyond_one_each": superfluous, "seen_in_pixels_only": len(seen)}
    return Found(pd.concat(found, ignore_index=True), details)


def beyond_first(rows: pd.DataFrame) -> np.ndarray:
    """Return which rows `(n,)` are not the first, by path, of their lesion, known by its id or by its pixels."""
    order = np.argsort(pd.factorize(rows["path"], sort=True)[0], kind="stable")
    again = pd.Series(connected(rows, ["lesion_id", "repeat"])[order]).duplicated().to_numpy()
    result = np.zeros(len(rows), dtype=bool)
    result[order[again]] = True
    return result
