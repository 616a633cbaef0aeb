"""Which rows belong together: photographs, lesions and patients as connected components.

Two rows that share a photograph, a lesion or a patient must stand in one part
of a split, and so must everything that either of them shares with a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from melascope.datasets.identity import hash_distances
from melascope.image_id import copy_source

LINKS = ("photograph", "lesion_id", "patient_id", "repeat")
"""The columns that tie rows into one group; `repeat` ties what the pixels show to be two shots of one lesion."""

# An archive gives each number once. Any other name, such as 1.jpg, may stand for several photographs.
_ARCHIVE_ID = r"ISIC_\d{7}"
# Of 256 bits. Copies of one photograph, resized or squashed, differ in 31 at most over the ISIC sets;
# of 20,000 pairs of different photographs none differs in fewer than 83.
_SAME_PHOTOGRAPH = 64


def connected(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return the connected component of each row `(n,)`, over values shared in any of the columns.

    Missing and empty values tie nothing. A component is named after the
    smallest `image_id` in it (where the frame has none: after its first row),
    so that its name does not depend on the order of rows.

    The components are found by label propagation with hooking and pointer
    jumping (FastSV; Zhang, Azad and Hu 2020), a handful of vectorised passes.

    Example:
        >>> connected(pd.DataFrame({"lesion_id": ["a", "a", None], "patient_id": [None, "p", "p"]}),
        ...           ["lesion_id", "patient_id"]).tolist()
        ['row 1', 'row 1', 'row 1']
    """
    parent = np.arange(len(frame))
    ties = [_Tie.of(frame[column]) for column in columns if column in frame.columns]
    ties = [tie for tie in ties if len(tie.rows)]
    changed = bool(ties)
    while changed:
        before = parent.copy()
        for tie in ties:
            least = tie.least(parent)
            np.minimum.at(parent, parent[tie.rows], least)
            parent[tie.rows] = np.minimum(parent[tie.rows], least)
        parent = parent[parent]
        changed = not np.array_equal(parent, before)
    return _names(frame, parent)


@dataclass(frozen=True)
class _Tie:
    """The rows that share a value of one column, sorted by value."""

    rows: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, column: pd.Series) -> _Tie:
        values = column.mask(column == "") if pd.api.types.is_string_dtype(column) else column
        codes, _ = pd.factorize(values)
        sizes = np.bincount(codes[codes >= 0], minlength=1)
        # A value that only one row has ties nothing.
        rows = np.flatnonzero((codes >= 0) & (sizes[codes] > 1))
        rows = rows[np.argsort(codes[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))
        return cls(rows, starts, np.diff(np.append(starts, len(rows))))

    def least(self, parent: np.ndarray) -> np.ndarray:
        """Return, for each of the rows, the least parent among those that share its value."""
        least: np.ndarray = np.repeat(np.minimum.reduceat(parent[self.rows], self.starts), self.sizes)
        return least


def _names(frame: pd.DataFrame, parent: np.ndarray) -> np.ndarray:
    if "image_id" not in frame.columns:
        return np.array([f"row {root + 1}" for root in parent], dtype=object)
    codes, ids = pd.factorize(frame["image_id"], sort=True)
    smallest = np.full(len(frame), len(ids))
    np.minimum.at(smallest, parent, np.where(codes < 0, len(ids), codes))
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    names = pd.Series(np.append(np.asarray(ids, dtype=object), "unnamed")[smallest[roots]], dtype=object)
    # One name may stand for different photographs, which then are different groups.
    again = names.groupby(names).cumcount()
    names = names.where(again == 0, names + "#" + (again + 1).astype(str))
    by_root = np.empty(len(frame), dtype=object)
    by_root[roots] = names.to_numpy()
    named: np.ndarray = by_root[parent]
    return named


def photographs(table: pd.DataFrame) -> np.ndarray:
    """Return which photograph each row shows `(n,)`: rows of one id, or of identical bytes, or found the `same`.

    A copy that was made to balance shows the photograph that it was made of; `copies_of` tells which.

    An id of the ISIC archive is trusted. Any other name may have been given
    twice (`benign/1.jpg` and `malignant/1.jpg`): where a scan has found that
    two files of one name look different, by their perceptual hashes, the name
    ties nothing; `ambiguous_names` tells which.
    """
    keys = pd.DataFrame({"image_id": table["image_id"], "id": table["image_id"]})
    columns = ["id"]
    if "sha256" in table.columns:
        keys["sha256"] = table["sha256"]
        keys["id"] = keys["id"].mask(_ambiguous(table))
        columns.append("sha256")
    if "same" in table.columns:
        keys["same"] = table["same"]
        columns.append("same")
    source = copies_of(table)
    if source.notna().any():
        # By a tie of its own, so that a name that ties nothing by itself is still tied to its copies.
        keys["copy"] = source.fillna(table["image_id"].where(table["image_id"].isin(source.dropna().unique())))
        columns.append("copy")
    return connected(keys, columns)


def copies_of(table: pd.DataFrame) -> pd.Series:
    """Return the id of the photograph that each row is a copy of, from `copy_of` or its name; missing for originals."""
    names = {name: copy_source(name) for name in table["image_id"].dropna().unique()}
    source = table["image_id"].map({name: of for name, of in names.items() if of is not None}).astype("string")
    if "copy_of" not in table.columns:
        return source
    told = table["copy_of"].astype("string").str.upper()
    return told.mask(told == "").fillna(source)


def single(table: pd.DataFrame) -> np.ndarray:
    """Return a name for each row `(n,)` that no other row has, whatever the order of rows: its path and a number."""
    again = table.groupby("path").cumcount().astype(str)
    names: np.ndarray = (table["path"].astype(str) + "#" + again).to_numpy(dtype=object)
    return names


def with_copies(table: pd.DataFrame) -> np.ndarray:
    """Return the names of `single`, a copy made to balance under that of the row which it was made of.

    Where its source has several rows, it goes with one on the same side of Test, best of the same diagnosis. Copies
    of a photograph that the table does not have stay together.
    """
    source, keys = copies_of(table), ["id", "test", "diagnosis"]
    rows = pd.DataFrame({"id": source.fillna(table["image_id"]), "path": table["path"], "name": single(table)})
    rows["test"] = (table["split"] == "test").fillna(False).to_numpy(dtype=bool)
    rows["diagnosis"] = table["diagnosis"].astype("string").fillna("")
    copied = source.notna().to_numpy(dtype=bool)
    originals = rows[~copied].sort_values("path", kind="stable")
    found = pd.Series(pd.NA, index=range(len(rows)), dtype="object")
    for by in (keys, keys[:2]):
        first = originals.drop_duplicates(by)[[*by, "name"]]
        found = found.fillna(rows[by].merge(first, how="left", on=by)["name"])
    orphaned = "copies of " + rows["id"].astype(str) + rows["test"].map({True: " in Test", False: ""})
    names: np.ndarray = np.where(copied, found.fillna(orphaned.reset_index(drop=True)), rows["name"])
    return names


def ambiguous_names(table: pd.DataFrame) -> list[str]:
    """Return the names, other than archive ids, that a scanned table gives to photographs which look different."""
    return sorted(table.loc[_ambiguous(table), "image_id"].unique()) if "sha256" in table.columns else []


def _ambiguous(table: pd.DataFrame) -> np.ndarray:
    if "phash" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    contents = table[["image_id", "sha256", "phash"]].dropna().drop_duplicates(["image_id", "sha256"])
    contents = contents[contents["image_id"].duplicated(keep=False)]
    contents = contents[~contents["image_id"].str.fullmatch(_ARCHIVE_ID).astype(bool)]
    if contents.empty:
        return np.zeros(len(table), dtype=bool)
    first = contents.groupby("image_id")["phash"].transform("first")
    apart = contents[hash_distances(contents["phash"], first) > _SAME_PHOTOGRAPH]
    return table["image_id"].isin(apart["image_id"].unique()).to_numpy(dtype=bool)


def groups(table: pd.DataFrame) -> np.ndarray:
    """Return the group of each row `(n,)`: connected over photograph, lesion and patient."""
    return connected(table.assign(photograph=photographs(table)), LINKS)


def lesion_counts(frame: pd.DataFrame) -> dict[str, int]:
    """Return how many lesions are `known` by id, and how many are `assumed`: one for each further photograph.

    Args:
        frame: With `image_id`, and `photograph` where it is known which rows show one.
    """
    shown = frame["photograph"].to_numpy(dtype=object) if "photograph" in frame.columns else photographs(frame)
    lesions = frame["lesion_id"] if "lesion_id" in frame.columns else pd.Series(pd.NA, index=frame.index)
    known = lesions.notna().to_numpy(dtype=bool)
    return {"known": int(lesions.nunique()), "assumed": len(set(shown[~known]) - set(shown[known]))}
