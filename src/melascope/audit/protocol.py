"""The protocols: which photographs count, and under which label.

`clean` is the honest one. `as-filed` is what is usually published, kept so
that published numbers can be compared with; it says how much it leaks.
Every photograph that is left out has one reason, and the flow adds up from the
photographs found to those used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.audit import caveats
from melascope.audit.leaks import between
from melascope.audit.lesion_repeat import beyond_first
from melascope.audit.problems import distinct, is_test
from melascope.audit.verdict import Audit
from melascope.counted import plural
from melascope.datasets import groups, photographs
from melascope.datasets.groups import copies_of, with_copies
from melascope.datasets.rows import filed
from melascope.errors import DataError

PROTOCOLS = ("clean", "as-filed")
CLEAN_UNAUTHORISED = "clean-unauthorised"

WITH_COPIES = "with_copies"
"""The column that names what as-filed divides: a photograph, and the copies made of it to balance."""
LISTED_AGAIN = "a further row of a file that is counted"
"""The one reason that leaves a row out and no photograph; `excluded` does not list it."""
UNREADABLE = "unreadable"
NO_DIAGNOSIS = "no diagnosis"
CONTRADICTION = "filed under several diagnoses, no authority"
OFFICIAL_CONTRADICTION = "official diagnoses contradict each other"
PHOTOGRAPH_IN_TEST = "the photograph is in Test"
LESION_IN_TEST = "the lesion is in Test"
PATIENT_IN_TEST = "the patient is in Test"
TIED_TO_TEST = "tied to Test through other photographs"
COPY = "copy of a photograph that is kept"
SAME = "the same photograph, resized or changed, is kept"
REPEAT = "further photograph of a lesion that is kept"
OTHER_SET = "stands in another set too"
BY_POLICY = {
    "outlier": "far from the rest of the set",
    "label_suspect": "the diagnosis may be wrong",
    "personal_data": "carries personal data",
    "authority_conflict": "the authority contradicts the diagnosis",
}
"""Why a photograph goes that a policy of the user's own excludes."""


@dataclass(frozen=True)
class FlowStep:
    """One box of the flow diagram (STARD).

    Attributes:
        label: What the photographs have come through, or the part they are used for.
        photographs: How many there are.
        excluded: How many were left out on the way here, by reason.
        part: The part, for the boxes at the end; None before. The parts add up to the box before them.
    """

    label: str
    photographs: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    part: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON-ready data."""
        return {
            "label": self.label,
            "photographs": self.photographs,
            "excluded": dict(self.excluded),
            "part": self.part,
        }


@dataclass(frozen=True)
class Prepared:
    """A table as a protocol has it.

    Attributes:
        table: The rows that count. `diagnosis` is the label to train on; also `filed_diagnosis`,
            `official_diagnosis`, `label_from` (`authority` or `filed`), `photograph` and `group` (the connected
            component of photograph, lesion and patient).
        excluded: `image_id, path, diagnosis, split, reason` of every photograph left out.
        flow: From photographs found to photographs used.
        classes: The diagnoses present, in the house's order.
        name: `clean`, `clean-unauthorised`, `as-filed` or `as-published` (see `audit.published`).
        warnings: What a reader of the results must know, a sentence each.
        optimistic: Whether results under this protocol flatter.
        leak: What Test shares with the rest, as `leakage` counts it; empty where the set has no Test.
        split_group: What `datasets.split` is to group by: `group`; None for single photographs; `WITH_COPIES` for
            single photographs where some are copies made to balance, which stay with their source.
    """

    table: pd.DataFrame
    excluded: pd.DataFrame
    flow: list[FlowStep]
    classes: tuple[str, ...]
    name: str
    warnings: list[str]
    optimistic: bool
    leak: dict[str, int]
    split_group: str | None

    def flow_with_parts(self, part: pd.Series) -> list[FlowStep]:
        """Return the flow down to the parts of a split; they add up to the last box before them.

        Args:
            part: The part of each row of `table`, as `datasets.split` returns it.
        """
        counts = part.value_counts()
        order = [name for name in ("train", "tune", "calibrate", "test") if name in counts.index]
        return [*self.flow, *(FlowStep(name, int(counts[name]), part=name) for name in order)]


def apply_protocol(table: pd.DataFrame, audit: Audit, protocol: str = "clean") -> Prepared:
    """Apply a protocol to a scanned and audited table.

    `clean`: one row per photograph (one id, or identical bytes); the authority's label where there is one for any of
    its rows; left out where the labels contradict each other and no authority decides; the filed label otherwise.
    The diagnoses are coarsened to the eight of ISIC 2019; to the seven of ISIC 2018 where a photograph is known only
    as AKIEC, which cannot be told apart into AK and SCC. The set's Test stays: rows outside it that share a
    photograph, lesion or patient with it go. Without official labels it is called `clean-unauthorised`.

    `as-filed`: the filed labels as they are, copies and leaks included. Copies made to balance go with their source.

    Args:
        table: As `datasets.scan` returns it.
        audit: The audit of that table.
        protocol: `clean` or `as-filed`.

    Raises:
        DataError: When the protocol is unknown, the audit is of another table, or nothing is left.
    """
    if protocol not in PROTOCOLS:
        raise DataError(f'There is no protocol "{protocol}"; there are: {", ".join(PROTOCOLS)}.')
    if audit.images != len(table):
        raise DataError(
            f"The audit is of {plural(audit.images, 'photograph')}, the table has {len(table):,}; audit it again."
        )
    tally = _Tally(table)
    unreadable = table["error_kind"].notna().to_numpy(dtype=bool)
    tally.leave_out(unreadable & table["path"].duplicated().to_numpy(dtype=bool), LISTED_AGAIN)
    tally.leave_out(unreadable, UNREADABLE)
    tally.step("readable")
    rows = table[tally.kept].assign(split=table["split"].fillna("train") if is_test(table).any() else table["split"])
    rows = rows.assign(photograph=photographs(rows), group=groups(rows), filed_diagnosis=filed(rows))
    if "official_diagnosis" not in rows.columns:
        rows["official_diagnosis"] = pd.array([pd.NA] * len(rows), dtype="string")
    prepared = _clean(rows, tally, audit) if protocol == "clean" else _as_filed(rows, tally)
    if prepared.table.empty:
        raise DataError(
            f"The protocol {protocol} leaves none of {plural(len(table), 'photograph')}: "
            + "; ".join(f"{reason}: {count:,}" for reason, count in prepared.excluded["reason"].value_counts().items())
            + "."
        )
    return prepared


class _Tally:
    """Why each row is left out, and the flow that follows from it."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._reasons = np.full(len(table), None, dtype=object)
        self._told = self._reasons.copy()
        self.flow = [FlowStep("found", len(table))]

    @property
    def kept(self) -> np.ndarray:
        """Which rows of the whole table `(n,)` are still in."""
        kept: np.ndarray = self._reasons == None  # noqa: E711 - compares each element
        return kept

    def leave_out(self, mask: np.ndarray, reason: str) -> None:
        """Leave out rows that are still in."""
        self._reasons[self.kept & mask] = reason

    def leave_out_among(self, rows: pd.DataFrame, mask: np.ndarray, reason: str) -> None:
        """Leave out rows, given as a mask over a part of the table with its index."""
        self.leave_out(self._table.index.isin(rows.index[mask]), reason)

    def among(self, rows: pd.DataFrame) -> np.ndarray:
        """Return which rows `(n,)` of a part of the table are still in."""
        still: np.ndarray = rows.index.isin(self._table.index[self.kept])
        return still

    def step(self, label: str) -> None:
        """Close a step of the flow."""
        new = pd.Series(self._reasons[self._reasons != self._told]).value_counts(sort=False)
        self._told = self._reasons.copy()
        excluded = {str(reason): int(count) for reason, count in new.items()}
        self.flow.append(FlowStep(label, int(self.kept.sum()), excluded))

    def excluded(self) -> pd.DataFrame:
        """Return every photograph left out, with its reason."""
        listed = ~self.kept & (self._reasons != LISTED_AGAIN)
        gone: pd.DataFrame = self._table.loc[listed, ["image_id", "path", "diagnosis", "split"]]
        return gone.assign(reason=pd.array(self._reasons[listed], dtype="string")).reset_index(drop=True)


def _clean(rows: pd.DataFrame, tally: _Tally, audit: Audit) -> Prepared:
    authorised = bool(rows["official_diagnosis"].notna().any())
    rows = _labelled(rows, tally)
    tally.step("with one diagnosis")
    rows = _allowed(rows, tally, audit)
    if is_test(rows).any():
        tied = _tied_to_test(rows, tally)
        tally.step("apart from Test")
        rows = rows[~tied]
    rows = _one_each(rows, tally, audit)
    prepared = _prepared(rows, tally, "clean" if authorised else CLEAN_UNAUTHORISED)
    told = [*caveats.of_clean(rows, authorised), *caveats.of_copies(tally._table, ~tally.kept)]
    return replace(prepared, warnings=[*told, *prepared.warnings])


def _allowed(rows: pd.DataFrame, tally: _Tally, audit: Audit) -> pd.DataFrame:
    """Leave out what other sets have, and what a policy of the user's own excludes."""
    gone = np.zeros(len(rows), dtype=bool)
    if "also_in" in rows.columns and audit.policy.excludes("other_set_leak"):
        gone |= rows["also_in"].notna().to_numpy(dtype=bool)
        tally.leave_out_among(rows, gone, OTHER_SET)
        tally.step("apart from other sets")
    found = audit.problems
    chosen = {kind: reason for kind, reason in BY_POLICY.items() if audit.policy.excludes(kind)}
    for kind, reason in chosen.items():
        has = rows["path"].isin(set(found["path"][found["kind"] == kind])).to_numpy(dtype=bool)
        tally.leave_out_among(rows, has, reason)
        gone |= has
    if chosen:
        tally.step("allowed by the policy")
    return rows[~gone]


def _one_each(rows: pd.DataFrame, tally: _Tally, audit: Audit) -> pd.DataFrame:
    """Keep one row of each photograph, and of each lesion where the policy says so."""
    step, policy = "one per photograph", audit.policy
    # Copies are those that share an id or bytes; what only the pixels tell goes by another line of the policy.
    first_of_copies = _first_of_each(rows, photographs(rows.drop(columns="same", errors="ignore")))
    first_of_all = _first_of_each(rows, rows["photograph"].to_numpy(dtype=object))
    gone = np.zeros(len(rows), dtype=bool)
    for kind, superfluous, reason in (
        ("byte_identical", ~first_of_copies, COPY),
        ("same_photograph", first_of_copies & ~first_of_all, SAME),
    ):
        if policy.excludes(kind):
            tally.leave_out_among(rows, superfluous, reason)
            gone |= superfluous
    rows = rows[~gone]
    if policy.excludes("lesion_repeat"):
        again = beyond_first(rows)
        tally.leave_out_among(rows, again, REPEAT)
        rows, step = rows[~again], "one per lesion"
    tally.step(step)
    return rows


def _labelled(rows: pd.DataFrame, tally: _Tally) -> pd.DataFrame:
    """Give each row the label of its photograph, missing where there is none or several; one row for each file."""
    as_filed = rows["filed_diagnosis"].fillna(rows["diagnosis"])
    best = rows["official_diagnosis"].fillna(as_filed)
    if "label_from" in rows.columns:
        # An earlier audit that could not tell AK from SCC has left its label; the row that made it so may be gone.
        best = best.mask((rows["diagnosis"] == "AKIEC") & rows["label_from"].notna(), "AKIEC")
    classes = diagnosis.ISIC_2018 if (best == "AKIEC").any() else diagnosis.ISIC_2019
    shown = rows["photograph"].to_numpy(dtype=object)
    official, labels = _coarse(rows["official_diagnosis"], classes), _coarse(as_filed, classes)
    n_official, n_filed = distinct(official, shown), distinct(labels, shown)
    by_authority = official.groupby(shown).transform("first")
    by_filing = labels.groupby(shown).transform("first").mask(n_filed != 1)
    label = by_authority.mask(n_official != 1).fillna(by_filing.mask(n_official != 0))
    label_from = np.where(n_official == 1, "authority", "filed")
    result = rows.assign(diagnosis=label.astype("string"), label_from=pd.array(label_from, dtype="string"))
    tally.leave_out_among(rows, ~_first_of_each(result, rows["path"].to_numpy(dtype=object)), LISTED_AGAIN)
    tally.leave_out_among(rows, n_official > 1, OFFICIAL_CONTRADICTION)
    tally.leave_out_among(rows, (n_official == 0) & (n_filed > 1), CONTRADICTION)
    tally.leave_out_among(rows, (n_official == 0) & (n_filed == 0), NO_DIAGNOSIS)
    still: pd.DataFrame = result[tally.among(result)]
    return still


def _coarse(labels: pd.Series, classes: tuple[str, ...]) -> pd.Series:
    known = {code: diagnosis.coarsen_label(code, classes) for code in labels.dropna().unique()}
    return labels.map(known).astype("string")


def _tied_to_test(rows: pd.DataFrame, tally: _Tally) -> np.ndarray:
    """Leave out what shares anything with Test; return which rows `(n,)` that are."""
    test = is_test(rows)
    tied: np.ndarray = ~test & rows["group"].isin(set(rows["group"][test])).to_numpy(dtype=bool)
    reasons = {
        "photograph": PHOTOGRAPH_IN_TEST,
        "lesion_id": LESION_IN_TEST,
        "patient_id": PATIENT_IN_TEST,
        "repeat": LESION_IN_TEST,
    }
    for column, reason in reasons.items():
        if column not in rows.columns:
            continue
        shared = rows[column].isin(set(rows[column][test].dropna())).to_numpy(dtype=bool)
        tally.leave_out_among(rows, tied & shared, reason)
    tally.leave_out_among(rows, tied, TIED_TO_TEST)
    return tied


def _first_of_each(rows: pd.DataFrame, shown: np.ndarray) -> np.ndarray:
    """Choose the row of each photograph that is kept: no copy made to balance, filed as labelled, the first path."""
    agrees = (rows["filed_diagnosis"] == rows["diagnosis"]).fillna(False).to_numpy(dtype=bool)
    copied = copies_of(rows).notna().to_numpy(dtype=bool)
    order = np.lexsort((pd.factorize(rows["path"], sort=True)[0], ~agrees, copied))
    repeated = pd.Series(shown[order]).duplicated().to_numpy()
    first = np.zeros(len(rows), dtype=bool)
    first[order[~repeated]] = True
    return first


def _as_filed(rows: pd.DataFrame, tally: _Tally) -> Prepared:
    rows = rows.assign(diagnosis=rows["filed_diagnosis"], label_from=pd.array(["filed"] * len(rows), dtype="string"))
    labelled = rows["diagnosis"].notna().to_numpy()
    tally.leave_out_among(rows, ~labelled, NO_DIAGNOSIS)
    tally.step("with a diagnosis")
    rows = rows[labelled].drop(columns=WITH_COPIES, errors="ignore")
    copies = int(copies_of(rows).notna().sum())
    if copies:
        rows = rows.assign(**{WITH_COPIES: with_copies(rows)})
    prepared = _prepared(rows, tally, "as-filed")
    told = [*caveats.of_leak(prepared.leak), *caveats.of_kept_copies(copies), *prepared.warnings]
    return replace(prepared, optimistic=True, split_group=WITH_COPIES if copies else None, warnings=told)


def _prepared(rows: pd.DataFrame, tally: _Tally, name: str) -> Prepared:
    table = rows.reset_index(drop=True)
    return Prepared(
        table=table,
        excluded=tally.excluded(),
        flow=tally.flow,
        classes=diagnosis.ordered(table["diagnosis"]),
        name=name,
        warnings=caveats.of_lesions(table),
        optimistic=False,
        leak=between(table) if is_test(table).any() else {},
        split_group="group",
    )


def leakage(table: pd.DataFrame, part: pd.Series) -> dict[str, int]:
    """Count what the part `test` of a split shares with the other parts.

    Args:
        table: The table of a `Prepared`.
        part: The part of each row, as `datasets.split` returns it.

    Returns:
        `test_photographs`, and how many of them `share_photograph`,
        `share_lesion`, `share_patient` and `share_any` with the rest.
    """
    return between(table, (part == "test").to_numpy(dtype=bool))
