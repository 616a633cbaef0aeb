"""What a check yields: rows of one table, whatever the kind of problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

PROBLEM_COLUMNS = ("kind", "group", "image_id", "path", "diagnosis", "split", "evidence")
"""One row per photograph that has a problem; rows of one problem share a `group`."""


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes:
        problems: A row per photograph and problem, as `problems` makes them.
        details: What else the report shows of it, JSON-ready; stands in `audit.json` under the kind's `details`.
    """

    problems: pd.DataFrame
    details: dict[str, Any] = field(default_factory=dict)


def problems(kind: str, rows: pd.DataFrame, keys: np.ndarray, evidence: pd.Series | str) -> pd.DataFrame:
    """Return rows of a table as problems.

    Args:
        kind: The kind of problem.
        rows: The rows of the table that have it.
        keys: What rows of one problem have in common `(n,)`; becomes the group.
        evidence: What shows the problem, for each row or for all.
    """
    found = pd.DataFrame(
        {
            "kind": kind,
            "group": [f"{kind}: {key}" for key in keys],
            "image_id": rows["image_id"].to_numpy(),
            "path": rows["path"].to_numpy(),
            "diagnosis": rows["diagnosis"].to_numpy(),
            "split": rows["split"].to_numpy(),
            "evidence": evidence if isinstance(evidence, str) else evidence.to_numpy(),
        },
        columns=list(PROBLEM_COLUMNS),
        dtype="string",
    )
    return found.sort_values(["group", "path"], kind="stable").reset_index(drop=True)


def none() -> pd.DataFrame:
    """Return a table of problems without rows."""
    return pd.DataFrame({column: pd.Series(dtype="string") for column in PROBLEM_COLUMNS})


def joined(values: pd.Series, keys: np.ndarray, between: str) -> pd.Series:
    """Return for each row the distinct values of its key, sorted and joined in words."""
    pairs = pd.DataFrame({"key": keys, "value": values.astype("string").to_numpy()}).dropna().drop_duplicates()
    words = pairs.sort_values(["key", "value"]).groupby("key")["value"].agg(between.join)
    return pd.Series(keys).map(words).astype("string")


def distinct(values: pd.Series, keys: np.ndarray) -> np.ndarray:
    """Return for each row how many distinct values its key has `(n,)`; missing values do not count."""
    pairs = pd.DataFrame({"key": keys, "value": values.to_numpy()})
    counts: np.ndarray = pairs.groupby("key")["value"].transform("nunique").to_numpy(dtype=np.int64)
    return counts


def on_both_sides(table: pd.DataFrame, keys: pd.Series) -> np.ndarray:
    """Return which rows `(n,)` have a key that stands in Test and outside it; a missing key stands nowhere."""
    test = is_test(table)
    values = keys.to_numpy(dtype=object)
    known = keys.notna().to_numpy()
    both = set(values[known & test]) & set(values[known & ~test])
    found: np.ndarray = known & pd.Series(values).isin(both).to_numpy(dtype=bool)
    return found


def is_test(table: pd.DataFrame) -> np.ndarray:
    """Return which rows `(n,)` stand in the set's own Test."""
    test: np.ndarray = (table["split"] == "test").fillna(False).to_numpy(dtype=bool)
    return test


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose file could be read."""
    return table[table["error_kind"].isna()]
