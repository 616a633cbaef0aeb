"""One photograph in several files that differ: resized, re-compressed, cropped, brightened, flipped, turned.

The search is `datasets.find_same`, which compares pixels; here its pairs become
columns of the table, so that every later step (groups, protocols, leaks) knows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.audit.problems import Found, problems, readable
from melascope.datasets import connected
from melascope.datasets.same_index import reach_of

COLUMNS = {"same_photograph": "same", "lesion_repeat": "repeat"}
"""The relation that a pair of photographs was found to have, and the column that tells of it."""


def mark(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a scanned table with what a search found, as columns.

    Args:
        table: A scanned table.
        pairs: As `datasets.find_same` returns them for it: row positions `a` and `b`, `relation`, `evidence`.

    Returns:
        The table with `same` (rows that show one photograph have one value), `repeat` (the same for two shots of one
        lesion), `same_evidence` and `repeat_evidence`; missing where there is nothing.
    """
    if "identical_bytes" in pairs.columns:
        # Copies byte for byte are a kind of problem of their own, and tied by their hash.
        pairs = pairs[~pairs["identical_bytes"].to_numpy(dtype=bool)]
    columns = {}
    for relation, column in COLUMNS.items():
        chosen = pairs[pairs["relation"] == relation]
        name, evidence = np.full(len(table), None, dtype=object), np.full(len(table), None, dtype=object)
        ends = chosen[["a", "b"]].to_numpy(dtype=np.int64)
        # Two entries for each pair; those of one pair, and those of one row, belong together.
        entries = pd.DataFrame({"row": ends.ravel(), "pair": np.repeat(np.arange(len(ends)), 2)})
        name[entries["row"]] = connected(entries, ["row", "pair"])
        for row, other, told in zip(entries["row"], ends[:, ::-1].ravel(), chosen["evidence"].repeat(2), strict=True):
            if evidence[row] is None:
                evidence[row] = f"{table['image_id'].iloc[other]}: {told}"
        columns[column] = pd.array(name, dtype="string")
        columns[f"{column}_evidence"] = pd.array(evidence, dtype="string")
    kept = table.drop(columns=[column for column in columns if column in table.columns])
    return pd.concat([kept, pd.DataFrame(columns, index=table.index)], axis=1)


def find(table: pd.DataFrame) -> Found:
    """Return every photograph that stands in several files which are not byte-identical; a group per photograph.

    Returns:
        Problems, and details: `contents` (different files searched) and `reach` (which crops were searched; see
        `datasets.find_same`).
    """
    rows = readable(table)
    if "same" not in rows.columns:
        return Found(problems("same_photograph", rows.iloc[:0], np.empty(0), ""))
    contents = int(rows["sha256"].nunique())
    details = {"contents": contents, "reach": reach_of(contents)}
    rows = rows[rows["same"].notna()]
    keys = connected(rows, ["same"])
    return Found(problems("same_photograph", rows, keys, "the same as " + rows["same_evidence"]), details)
