"""The audit: every check run on a scanned table, and the verdict on it.

A package of one's own adds a check with `CHECKS["kind"] = function`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from melascope.audit import (
    authority,
    identical,
    identifiers,
    imbalance,
    leaks,
    lesion_repeat,
    other_sets,
    outlier,
    personal_data,
    same_photograph,
    shortcut,
    unreadable,
)
from melascope.audit.policy import Policy
from melascope.audit.problems import Found, none
from melascope.audit.reasons import judge
from melascope.datasets.table import COLUMNS
from melascope.errors import DataError
from melascope.progress import Progress, silent

SCHEMA = 1

CHECKS: dict[str, Callable[[pd.DataFrame], pd.DataFrame | Found]] = {
    "unreadable": unreadable.find,
    "byte_identical": identical.find,
    "same_photograph": same_photograph.find,
    "id_conflict": identifiers.find,
    "authority_conflict": authority.find,
    "photograph_leak": leaks.find_photographs,
    "lesion_leak": leaks.find_lesions,
    "lesion_repeat": lesion_repeat.find,
    "other_set_leak": other_sets.find,
    "shortcut": shortcut.find,
    "outlier": outlier.find,
    "imbalance": imbalance.find,
    "personal_data": personal_data.find,
}
"""The checks by kind of problem: a scanned table in, rows as `problems.problems` makes them out, or a `Found`."""

KINDS = (*CHECKS, "label_suspect")
"""The kinds of problem. Label suspects need a model, so `survey` looks for them, not `audit`."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        problems: `kind, group, image_id, path, diagnosis, split, evidence`; one row per photograph and problem.
        verdict: `clean`, `usable with exclusions` or `not usable`.
        reasons: Why, a sentence each.
        disagreement: Counts of filed diagnoses (rows) against the authority's (columns); empty without an authority.
        images: Photographs audited.
        by_class: Photographs per filed diagnosis.
        missing: Photographs without a value, per column of the schema.
        kinds: The kinds of problem that were looked for.
        details: What else the checks found, by kind, JSON-ready.
        policy: What each kind of problem leads to.
    """

    problems: pd.DataFrame
    verdict: str
    reasons: list[str]
    disagreement: pd.DataFrame
    images: int
    by_class: dict[str, int]
    missing: dict[str, int]
    kinds: tuple[str, ...]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)

    def summary(self) -> dict[str, Any]:
        """Return the content of `audit.json`; every kind is there, with zeros where nothing was found."""
        return {
            "schema": SCHEMA,
            "images": self.images,
            "by_class": self.by_class,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "kinds": {kind: self._kind(kind) for kind in dict.fromkeys((*KINDS, *self.kinds))},
            "policy": self.policy.to_json(),
            "disagreement": {
                str(filed): {str(official): int(count) for official, count in row.items() if count}
                for filed, row in self.disagreement.iterrows()
            },
            "missing": self.missing,
        }

    def _kind(self, kind: str) -> dict[str, Any]:
        return {
            **_counts(self.problems[self.problems["kind"] == kind]),
            "looked_for": kind in self.kinds,
            "action": self.policy.problems.get(kind, "warn"),
            "details": self.details.get(kind, {}),
        }


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    # A photograph with two problems of one kind (its lesion leaks, and its patient) counts once.
    photographs = rows[rows["image_id"].notna()].drop_duplicates("path")
    by_class = photographs["diagnosis"].value_counts()
    return {
        "groups": int(rows["group"].nunique()),
        "images": len(photographs),
        "by_class": {str(code): int(by_class[code]) for code in sorted(by_class.index)},
    }


def audit(
    table: pd.DataFrame,
    policy: Policy | None = None,
    also: Mapping[str, Found] | None = None,
    progress: Progress = silent,
) -> Audit:
    """Look for everything that would make a score on this data set wrong.

    Args:
        table: A scanned table, as `datasets.scan` returns it.
        policy: What each kind of problem leads to.
        also: What was found by checks that need more than the table, by kind.
        progress: Called with the stage `auditing`, once per check.

    Raises:
        DataError: When the table was not scanned or has no rows.
    """
    if "error_kind" not in table.columns or "sha256" not in table.columns:
        raise DataError("The table was not scanned; datasets.scan finds out what each file holds.")
    if table.empty:
        raise DataError("There are no photographs to audit.")
    policy = policy or Policy()
    found: dict[str, Found] = {}
    for done, (kind, find) in enumerate(CHECKS.items()):
        progress("auditing", done, len(CHECKS))
        result = find(table)
        found[kind] = result if isinstance(result, Found) else Found(result)
    progress("auditing", len(CHECKS), len(CHECKS))
    found |= also or {}
    rows = [one.problems for one in found.values() if len(one.problems)]
    problems = pd.concat(rows, ignore_index=True) if rows else none()
    verdict, reasons = judge(table, problems, policy)
    by_class = table["diagnosis"].value_counts()
    return Audit(
        problems=problems,
        verdict=verdict,
        reasons=reasons,
        disagreement=authority.disagreement(table),
        images=len(table),
        by_class={str(code): int(count) for code, count in by_class.items()},
        missing={column: int(table[column].isna().sum()) for column in COLUMNS if column in table.columns},
        kinds=tuple(found),
        details={kind: one.details for kind, one in found.items() if one.details},
        policy=policy,
    )
