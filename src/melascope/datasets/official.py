"""Under which diagnosis each photograph stands where an authority has a say: the official one, or else as filed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.datasets.groups import photographs
from melascope.datasets.rows import filed


@dataclass(frozen=True)
class Official:
    """A table as an authority has it.

    Attributes:
        table: `diagnosis` is the official one where the filed one does not agree with it, `filed_diagnosis` as filed,
            `label_from` says which (`authority` or `filed`).
        otherwise: Which rows `(n,)` stand under another diagnosis than they are filed under.
        contradicted: Which rows `(n,)` show a photograph whose labels contradict each other, and none decides; they
            stand as filed.
        too_coarse: Which rows `(n,)` have an official diagnosis that is several of the set's, of which none can be
            told: BKL where the set has PBK and SK.
    """

    table: pd.DataFrame
    otherwise: np.ndarray
    contradicted: np.ndarray
    too_coarse: np.ndarray

    @property
    def settled(self) -> np.ndarray:
        """Which rows `(n,)` stand under one diagnosis of the set."""
        settled: np.ndarray = ~(self.contradicted | self.too_coarse)
        return settled


def by_authority(table: pd.DataFrame) -> Official:
    """Return a table in which every photograph stands under its official diagnosis, or as filed where it has none.

    As under the protocol `clean`, one row's official label counts for all rows of its photograph, and a filed label
    that agrees with it (PBK with BKL) says the same. Such a label stays, so that the set keeps its diagnoses; any other
    gives way to the official one, coarsened where the set has only the coarser one.

    Args:
        table: As `datasets.read` returns it with an authority, and scanned, so that identical files are known.
    """
    shown, labels, as_filed = photographs(table), table["diagnosis"].astype("string"), filed(table).astype("string")
    none = pd.Series(pd.NA, index=table.index, dtype="string")
    given = table.get("official_diagnosis", none).astype("string")
    official = given.fillna(given.groupby(shown).transform("first"))
    classes = diagnosis.ordered(labels.dropna())
    taken = ~(_agree(labels, official) | official.isna().to_numpy(dtype=bool))
    of_set = official.map({code: diagnosis.coarsen_label(code, classes) or code for code in official.dropna().unique()})
    decided = labels.mask(taken, of_set.astype("string"))
    contradicted = _contradicted(given, shown) | _contradicted(decided, shown)
    decided = decided.mask(contradicted, labels)
    taken &= ~contradicted
    several = [
        code for code in decided[taken].unique()
        if code not in classes and any(diagnosis.agree(code, finer) for finer in classes)
    ]  # fmt: skip
    known = as_filed.notna().to_numpy(dtype=bool) & decided.notna().to_numpy(dtype=bool)
    label_from = table.get("label_from", none).astype("string").fillna("filed").mask(taken, "authority")
    return Official(
        table.assign(diagnosis=decided, filed_diagnosis=as_filed, label_from=label_from),
        known & ~contradicted & ~_agree(as_filed, decided),
        contradicted,
        taken & decided.isin(several).to_numpy(dtype=bool),
    )


def _agree(first: pd.Series, second: pd.Series) -> np.ndarray:
    """Return of which rows `(n,)` both labels are known and say the same."""
    pairs = pd.DataFrame({"first": first.to_numpy(dtype=object), "second": second.to_numpy(dtype=object)})
    known = pairs.dropna().drop_duplicates()
    agreeing = {(a, b) for a, b in known.itertuples(index=False, name=None) if diagnosis.agree(a, b)}
    return np.array([pair in agreeing for pair in pairs.itertuples(index=False, name=None)], dtype=bool)


def _contradicted(labels: pd.Series, shown: np.ndarray) -> np.ndarray:
    """Return which rows `(n,)` show a photograph of which two labels do not agree."""
    pairs = pd.DataFrame({"shown": shown, "label": labels.to_numpy(dtype=object)}).dropna().drop_duplicates()
    several = pairs[pairs["shown"].duplicated(keep=False)].groupby("shown")["label"].agg(list)
    wrong = [
        name for name, codes in several.items() if not all(diagnosis.agree(*two) for two in combinations(codes, 2))
    ]
    found: np.ndarray = pd.Series(shown).isin(wrong).to_numpy(dtype=bool)
    return found
