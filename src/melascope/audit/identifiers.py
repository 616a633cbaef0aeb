"""One photograph, by its id or its bytes, under two diagnoses."""

from __future__ import annotations

import pandas as pd

from melascope.audit.problems import distinct, joined, problems, readable
from melascope.datasets import photographs


def find(table: pd.DataFrame) -> pd.DataFrame:
    """Return every photograph that is filed under more than one diagnosis; a group per photograph.

    Rows of one photograph are those of one id, or of identical bytes; see `datasets.photographs`.
    """
    rows = readable(table)
    shown = photographs(rows)
    conflict = distinct(rows["diagnosis"], shown) > 1
    rows, keys = rows[conflict], shown[conflict]
    return problems("id_conflict", rows, keys, "filed as " + joined(rows["diagnosis"], keys, " and "))
