"""Parts and folds: whole groups only, stratified by diagnosis, fixed by a seed.

Within each diagnosis the groups are put into a random order, and that order is
cut where the wanted shares of photographs are reached. The order is that of a
hash of seed and group name, so it does not depend on the order of rows, and
rows that are added later move few others.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melascope.counted import plural
from melascope.datasets.groups import groups as connected_groups
from melascope.datasets.groups import lesion_counts, single
from melascope.diagnosis import ORDER
from melascope.errors import DataError

PARTS = ("train", "tune", "calibrate", "test")
DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.7, "tune": 0.15, "calibrate": 0.15}
"""Shares of what is not the test, for a set with a test of its own."""
DEFAULT_FRACTIONS_WITH_TEST: Mapping[str, float] = {"train": 0.6, "tune": 0.1, "calibrate": 0.15, "test": 0.15}
"""Shares for a set without one."""

# With fewer, tune and calibrate share a part (STATISTICS, rule 1): early stopping and thresholds
# chosen on a handful are noise. See `split`.
FEWEST_MELANOMAS = 20
FEWEST_GROUPS = 5

# A diagnosis with fewer groups than parts fills them in this order.
_FIRST_SERVED = ("train", "test", "calibrate", "tune")


@dataclass(frozen=True)
class SplitResult:
    """The parts of a table.

    Attributes:
        part: The part of each row, on the table's index.
        cross_fitted: Whether tune and calibrate share the part `calibrate`.
        lesions_known: Distinct lesion ids.
        lesions_assumed: Photographs without a lesion id, each taken for a lesion of its own.
        balance: Per diagnosis and part: `photographs`, `groups`, and the `share` of the diagnosis' photographs.
    """

    part: pd.Series
    cross_fitted: bool
    lesions_known: int
    lesions_assumed: int
    balance: pd.DataFrame


def split(
    table: pd.DataFrame,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    group: str | None = "group",
) -> SplitResult:
    """Divide a table into `train`, `tune`, `calibrate` and `test`.

    Rows whose `split` is `test` are the test, whole. Where either tune or
    calibrate would have fewer than 20 melanomas, or fewer than 5 groups of any
    diagnosis that has 5 in both together, the two share the part `calibrate`.

    Args:
        table: With `diagnosis` in every row.
        fractions: Part to share; rescaled to 1. None for .7, .15, .15 of what is not the test, or .6, .1,
            .15, .15 (test last) where the set has no test.
        seed: Another seed, another split; the same seed, the same.
        group: The column whose values stay whole; made by `groups` where the
            table lacks it. None divides single photographs, as the protocol as-filed does.

    Raises:
        DataError: When fractions make no sense, a row has no diagnosis, or a group stands in the test and outside.
    """
    _refuse_unlabelled(table)
    given_test = (table["split"] == "test").fillna(False).to_numpy(dtype=bool)
    shares = _shares(fractions, bool(given_test.any()))
    names = _group_names(table, group)
    if group is not None:
        straddling = set(names[given_test]) & set(names[~given_test])
        if straddling:
            raise DataError(
                f"{plural(len(straddling), 'group')}, such as {min(straddling)}, "
                f"{'stands' if len(straddling) == 1 else 'stand'} both in Test and outside it; "
                "the protocol clean takes them out of Train, the protocol as-filed divides without groups."
            )
    rows = np.flatnonzero(~given_test)
    part = np.full(len(table), "test", dtype=object)
    strata = _Strata(table["diagnosis"].to_numpy(dtype=object)[rows], names[rows], seed)
    part[rows] = strata.cut(shares)
    cross_fitted = {"tune", "calibrate"} <= set(shares) and _too_few_for_two(table, part, names)
    if cross_fitted:
        part[part == "tune"] = "calibrate"
    counts = lesion_counts(table)
    series = pd.Series(part, index=table.index, name="part", dtype="string")
    return SplitResult(series, cross_fitted, counts["known"], counts["assumed"], balance(table, part, names))


def folds(table: pd.DataFrame, k: int, seed: int = 0, group: str | None = "group") -> pd.Series:
    """Return a fold, 0 to k - 1, for each row: whole groups, stratified by diagnosis; another seed, other folds.

    Raises:
        DataError: When k is below 2 or above the number of groups, or a row has no diagnosis.
    """
    _refuse_unlabelled(table)
    names = _group_names(table, group)
    count = len(set(names))
    if not 2 <= k <= count:
        raise DataError(
            f"{plural(k, 'fold')} cannot be made of {plural(count, 'group')}; at least 2 folds, at most one per group."
        )
    strata = _Strata(table["diagnosis"].to_numpy(dtype=object), names, seed)
    return pd.Series(strata.deal(k), index=table.index, name="fold", dtype="int64")


def _refuse_unlabelled(table: pd.DataFrame) -> None:
    missing = int(table["diagnosis"].isna().sum())
    if table.empty or missing:
        what = (
            f"{plural(missing, 'photograph has', 'photographs have')} no diagnosis"
            if missing
            else "The table has no rows"
        )
        raise DataError(f"{what}; a protocol leaves out what cannot be used before a split is made.")


def _shares(fractions: Mapping[str, float] | None, has_test: bool) -> dict[str, float]:
    given = dict(fractions or (DEFAULT_FRACTIONS if has_test else DEFAULT_FRACTIONS_WITH_TEST))
    unknown = set(given) - set(PARTS)
    if unknown:
        raise DataError(f'There is no part "{sorted(unknown)[0]}"; parts are {", ".join(PARTS)}.')
    if "train" not in given or not all(np.isfinite(value) and value > 0 for value in given.values()):
        raise DataError("Every part of a split needs a share above 0, and train must be among them.")
    if has_test and "test" in given:
        raise DataError("The set has a test of its own, which stays whole; give no share for test.")
    total = sum(given.values())
    return {part: given[part] / total for part in PARTS if part in given}


def _group_names(table: pd.DataFrame, group: str | None) -> np.ndarray:
    if group is None:
        return single(table)
    if group in table.columns:
        return table[group].to_numpy(dtype=object)
    if group != "group":
        raise DataError(f'The table has no column "{group}" to group by.')
    return connected_groups(table)


class _Strata:
    """The groups of each diagnosis in the order that the seed gives.

    A group with several diagnoses (a lesion filed twice) counts for the one
    that most of its photographs have, the rarer one where that is equal.
    """

    def __init__(self, diagnoses: np.ndarray, names: np.ndarray, seed: int) -> None:
        self._row_group, unique = pd.factorize(names)
        self._classes, self.codes = np.unique(diagnoses.astype(str), return_inverse=True)
        self._sizes = np.bincount(self._row_group, minlength=len(unique))
        self._class_of = self._majority(self.codes)
        key = f"{seed & (2**64 - 1):016x}"
        # Hashing object arrays is seeded SipHash: the same on every machine and in every version.
        order = pd.util.hash_array(np.asarray(unique, dtype=object).astype(object), hash_key=key, categorize=False)
        self._order = np.lexsort((np.asarray(unique, dtype=str), order))

    def _majority(self, codes: np.ndarray) -> np.ndarray:
        frequency = np.bincount(codes, minlength=len(self._classes))
        pairs, counts = np.unique(self._row_group * len(self._classes) + codes, return_counts=True)
        group, code = np.divmod(pairs, len(self._classes))
        best = np.lexsort((frequency[code], -counts, group))
        first = best[np.flatnonzero(np.diff(group[best], prepend=-1))]
        chosen: np.ndarray = code[first]
        return chosen

    def _by_class(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, per class, its groups in order and the middle of each in [0, 1) of the class' photographs."""
        result = []
        for code in range(len(self._classes)):
            members = self._order[self._class_of[self._order] == code]
            sizes = self._sizes[members]
            result.append((members, (np.cumsum(sizes) - sizes / 2) / max(sizes.sum(), 1)))
        return result

    def cut(self, shares: Mapping[str, float]) -> np.ndarray:
        """Return the part of each row."""
        parts = np.array(list(shares), dtype=object)
        edges = np.cumsum(list(shares.values()))[:-1]
        of_group = np.empty(len(self._sizes), dtype=object)
        for members, middles in self._by_class():
            chosen = np.searchsorted(edges, middles, side="right")
            if len(members) < len(parts):
                served = [part for part in _FIRST_SERVED if part in shares][: len(members)]
                of_group[members] = np.array(served, dtype=object)
                continue
            for empty in np.setdiff1d(np.arange(len(parts)), chosen):
                fullest = np.bincount(chosen, minlength=len(parts)).argmax()
                chosen[np.flatnonzero(chosen == fullest)[-1]] = empty
            of_group[members] = parts[chosen]
        rows: np.ndarray = of_group[self._row_group]
        return rows

    def deal(self, k: int) -> np.ndarray:
        """Return the fold of each row."""
        of_group = np.zeros(len(self._sizes), dtype=np.int64)
        for name, (members, middles) in zip(self._classes, self._by_class(), strict=True):
            chosen = np.minimum((middles * k).astype(np.int64), k - 1)
            # Each diagnosis begins at a fold of its own, so that the odd groups of all do not meet in one; its name
            # decides, not its size, or a row more would send every group to another fold.
            of_group[members] = (chosen + _first_fold(str(name))) % k
        rows: np.ndarray = of_group[self._row_group]
        return rows


def _first_fold(name: str) -> int:
    return ORDER.index(name) if name in ORDER else zlib.crc32(name.encode())


def _too_few_for_two(table: pd.DataFrame, part: np.ndarray, names: np.ndarray) -> bool:
    pool = pd.DataFrame({"diagnosis": table["diagnosis"].to_numpy(dtype=object), "part": part, "group": names})
    pool = pool[pool["part"].isin(("tune", "calibrate"))]
    counts = pool.pivot_table(index="diagnosis", columns="part", values="group", aggfunc="nunique", fill_value=0)
    counts = counts.reindex(columns=["tune", "calibrate"], fill_value=0)
    together = counts.sum(axis=1)
    helped = counts[together >= FEWEST_GROUPS]
    if bool((helped < FEWEST_GROUPS).to_numpy().any()):
        return True
    melanomas = pool[pool["diagnosis"] == "MEL"].groupby("part").size().reindex(["tune", "calibrate"], fill_value=0)
    return bool(melanomas.sum() > 0 and (melanomas < FEWEST_MELANOMAS).any())


def balance(table: pd.DataFrame, part: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    """Return per diagnosis and part: `photographs`, `groups`, and the `share` of the diagnosis' photographs."""
    rows = pd.DataFrame({"diagnosis": table["diagnosis"].to_numpy(dtype=object), "part": part, "group": names})
    counted = rows.groupby(["diagnosis", "part"])["group"].agg(photographs="size", groups="nunique").reset_index()
    counted["share"] = counted["photographs"] / counted.groupby("diagnosis")["photographs"].transform("sum")
    order = {name: place for place, name in enumerate(PARTS)}
    counted = counted.sort_values(["diagnosis", "part"], key=lambda c: c.map(order) if c.name == "part" else c)
    return counted.reset_index(drop=True)
