"""What a reader of the results must know of the photographs that a protocol has left, in sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.audit.problems import distinct
from melascope.counted import plural
from melascope.datasets import lesion_counts
from melascope.datasets.groups import copies_of


def of_clean(rows: pd.DataFrame, authorised: bool) -> list[str]:
    """Return where the labels are from, and whether a lesion has several.

    Args:
        rows: The table of the protocol, with `label_from`.
        authorised: Whether there was an authority.
    """
    found = []
    filed = int((rows["label_from"] == "filed").sum())
    if not authorised:
        found.append("No authority was given: every label is the filed one, and nothing could check it.")
    elif filed:
        are = "is the filed one" if filed == 1 else "are the filed ones"
        found.append(f"{filed:,} of {plural(len(rows), 'label')} {are}; the authority does not know the photograph.")
    found += _of_merged(rows)
    shared = distinct(rows["diagnosis"], rows["lesion_id"].fillna("").to_numpy(dtype=object)) > 1
    lesions = rows.loc[shared & rows["lesion_id"].notna().to_numpy(), "lesion_id"].nunique()
    if lesions:
        have = plural(lesions, "lesion has", "lesions have")
        found.append(f"{have} photographs under different diagnoses.")
    return found


def _of_merged(rows: pd.DataFrame) -> list[str]:
    """Return which diagnoses of the folders have become one, a sentence for each."""
    filed, found = rows["filed_diagnosis"], []
    for code in diagnosis.ordered(rows["diagnosis"].dropna().unique()):
        finer = [
            one
            for one in diagnosis.ordered(filed.dropna().unique())
            if one != code and diagnosis.coarsen_label(one, (code,)) == code
        ]
        count = int((rows["diagnosis"] == code).sum())
        if len(finer) > 1 and count:
            names = " and ".join(f"{diagnosis.name(one)} ({one})" for one in finer)
            found.append(
                f"{names[0].upper()}{names[1:]} are one diagnosis here, {diagnosis.name(code)} ({code}, "
                f"{plural(count, 'photograph')}), as official labels have it; --protocol as-filed keeps them apart."
            )
    return found


def of_copies(table: pd.DataFrame, gone: np.ndarray) -> list[str]:
    """Return how many copies made to balance a protocol leaves out, and what balances instead; nothing where none.

    Args:
        table: All rows, as they were scanned.
        gone: Which of them `(n,)` the protocol leaves out.
    """
    copied = copies_of(table).notna().to_numpy(dtype=bool)
    count = int((copied & gone).sum())
    if not count:
        return []
    every = plural(int(copied.sum()), "copy", "copies")
    of = every if count == copied.sum() else f"{count:,} of {every}"
    return [
        f"{of} made to balance {'is' if count == 1 else 'are'} left out, since every photograph counts once here; the "
        "section [balance] of a recipe balances without copies."
    ]


def of_kept_copies(count: int) -> list[str]:
    """Return that copies made to balance go with their source, though all else is divided at random; nothing for 0."""
    if not count:
        return []
    return [
        f"{plural(count, 'copy', 'copies')} made to balance {'stays' if count == 1 else 'stay'} with the photograph "
        f"that {'it' if count == 1 else 'each'} was made of, in one part or fold."
    ]


def of_lesions(rows: pd.DataFrame) -> list[str]:
    """Return how many photographs are taken for lesions of their own; nothing where every lesion is known."""
    counts = lesion_counts(rows)
    if not counts["assumed"] or rows.empty:
        return []
    return [
        f"{plural(counts['known'], 'lesion is', 'lesions are')} known by id; "
        f"{plural(counts['assumed'], 'further photograph is', 'further photographs are each')} taken for a lesion of "
        "its own, so that parts are not proved to be lesion-disjoint."
    ]


def of_leak(leak: dict[str, int]) -> list[str]:
    """Return that labels as filed flatter, and what Test shares with Train, as `leaks.between` counts it."""
    opening = "Optimistic: labels are as filed and Train is divided at random, one lesion or photograph twice or not."
    if not leak:
        return [opening]
    return [
        opening,
        f"Of {plural(leak['test_photographs'], 'Test photograph')} {leak['share_photograph']:,} "
        f"{'is' if leak['share_photograph'] == 1 else 'are'} in Train too, and {leak['share_any']:,} "
        f"{'shares' if leak['share_any'] == 1 else 'share'} a photograph, a lesion or a patient with it.",
    ]
