"""Where the filed label and the authority's disagree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.audit.problems import problems, readable
from melascope.datasets.rows import filed
from melascope.diagnosis import agree, ordered


def disagrees(table: pd.DataFrame) -> np.ndarray:
    """Return which rows `(n,)` have a filed and an official label that disagree."""
    if "official_diagnosis" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    pairs = table[["diagnosis", "official_diagnosis"]]
    wrong = [pair for pair in pairs.dropna().drop_duplicates().itertuples(index=False, name=None) if not agree(*pair)]
    found = np.zeros(len(table), dtype=bool)
    for label, official in wrong:
        pair = (pairs["diagnosis"] == label) & (pairs["official_diagnosis"] == official)
        found |= pair.fillna(False).to_numpy(dtype=bool)
    return found


def find(table: pd.DataFrame) -> pd.DataFrame:
    """Return every photograph whose filed label the authority contradicts; a group per image id."""
    rows = readable(table)
    rows = rows[disagrees(rows)]
    if rows.empty:
        return problems("authority_conflict", rows, rows["image_id"].to_numpy(), "")
    evidence = "filed as " + rows["diagnosis"] + ", officially " + rows["official_diagnosis"]
    return problems("authority_conflict", rows, rows["image_id"].to_numpy(dtype=object), evidence)


def disagreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return counts of filed labels (rows) against official ones (columns), photographs with both."""
    if "official_diagnosis" not in table.columns:
        return pd.DataFrame(dtype="int64")
    rows = readable(table)
    rows = pd.DataFrame({"diagnosis": filed(rows), "official_diagnosis": rows["official_diagnosis"]}).dropna()
    if rows.empty:
        return pd.DataFrame(dtype="int64")
    counts = pd.crosstab(rows["diagnosis"], rows["official_diagnosis"])
    counts = counts.reindex(index=ordered(counts.index), columns=ordered(counts.columns))
    counts.index.name, counts.columns.name = "filed", "official"
    return counts
