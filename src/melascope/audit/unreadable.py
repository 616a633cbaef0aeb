"""Files that are missing, empty, truncated, too large, or no images."""

from __future__ import annotations

import pandas as pd

from melascope.audit.problems import problems


def find(table: pd.DataFrame) -> pd.DataFrame:
    """Return every photograph that could not be read, with the reason as evidence."""
    rows = table[table["error_kind"].notna()]
    return problems("unreadable", rows, rows["path"].to_numpy(), rows["error_kind"] + ": " + rows["error"])
