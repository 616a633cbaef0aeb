"""What the rows of a table mean: one for each file, and what an audit has said of them before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.counted import plural
from melascope.datasets.labels import codes
from melascope.diagnosis import agree

AUDITED_COLUMNS = (
    "photograph",
    "group",
    "same",
    "same_evidence",
    "repeat",
    "repeat_evidence",
    "also_in",
    "also_in_evidence",
)
"""What an audit finds out by comparing photographs; true of the photographs that it compared, and of no others."""

_LABELS = ("filed_diagnosis", "official_diagnosis")
_SAID = ("image_id", "diagnosis", *_LABELS, "lesion_id", "patient_id", "split", "part", "fold")


def once_each(frame: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Return a table in which a file that is listed again, and not contradicted, has one row.

    Gaps of the row that stays are filled from the others. Rows that say different things of one file (another
    diagnosis, lesion, part ...) all stay: which of them is right, the audit has to tell.

    Args:
        frame: With `path`.
        where: What to call the table in the notes.

    Returns:
        The table, and a sentence for each thing that was found.
    """
    again = frame["path"].duplicated(keep=False).to_numpy(dtype=bool)
    if not again.any():
        return frame, []
    said = [column for column in _SAID if column in frame.columns]
    listed = frame[again]
    files = listed.groupby("path", sort=False)
    differs = files[said].transform("nunique") > 1
    contradicted = differs.any(axis=1).to_numpy(dtype=bool)
    result = frame.copy()
    agreeing = listed[~contradicted]
    first = agreeing.index[~agreeing["path"].duplicated().to_numpy()]
    for column in frame.columns.drop("path"):
        known = agreeing.groupby("path", sort=False)[column].first()
        result.loc[first, column] = result.loc[first, column].fillna(
            pd.Series(known.array, index=first, dtype=frame[column].dtype)
        )
    gone = agreeing.index.difference(first).union(listed.index[contradicted & listed.duplicated(["path", *said])])
    notes = []
    if len(gone):
        files_again = listed.loc[gone, "path"].nunique()
        notes.append(f"{where} lists {plural(files_again, 'file')} more than once; rows that say the same count once.")
    if contradicted.any():
        paths = listed["path"][contradicted]
        what = ", ".join(column.replace("_", " ") for column in said if differs[column].any())
        notes.append(
            f"{where} lists {plural(paths.nunique(), 'file')}, such as {paths.iloc[0]}, more than once and contradicts "
            f"itself ({what})."
        )
    return result.drop(index=gone).reset_index(drop=True), notes


def remembered(frame: pd.DataFrame, where: str, spellings: dict[str, str] | None = None) -> pd.DataFrame:
    """Return a table that an audit has written, such as `clean.csv`, with what it said of labels made fit for another.

    `filed_diagnosis` stays the label as filed, and `official_diagnosis` the authority's. Where the audit took an
    authority's label from another file of the photograph, that label becomes the row's `official_diagnosis`. A
    `diagnosis` that agrees with neither was changed since by hand: it is the filed one then.

    Args:
        frame: An image table; one without `filed_diagnosis` and `official_diagnosis` is returned as it is.
        where: What to call the table in an error.
        spellings: Further spellings of diagnoses, label to code.
    """
    present = [column for column in _LABELS if column in frame.columns]
    if not present:
        return frame
    result = frame.assign(**{column: codes(frame[column].astype("string"), where, spellings) for column in present})
    if "filed_diagnosis" not in present:
        return result
    label = result["diagnosis"]
    if "label_from" in result.columns:
        source = result["label_from"].astype("string").str.lower()
        result["label_from"] = source.where(source.isin(("authority", "filed")))
        if "official_diagnosis" not in present:
            result["official_diagnosis"] = pd.array([pd.NA] * len(result), dtype="string")
        decided = (result["label_from"] == "authority").fillna(False) & result["official_diagnosis"].isna()
        result["official_diagnosis"] = result["official_diagnosis"].mask(decided, label)
    official = result.get("official_diagnosis", pd.Series(pd.NA, index=result.index, dtype="string"))
    told = pd.DataFrame({"label": label, "filed": result["filed_diagnosis"], "official": official})
    told = told.astype(object).where(told.notna(), None)
    by_hand = {row: _changed(*row) for row in told.drop_duplicates().itertuples(index=False, name=None)}
    changed = np.array([by_hand[row] for row in told.itertuples(index=False, name=None)], dtype=bool)
    result["filed_diagnosis"] = result["filed_diagnosis"].mask(changed, label)
    return result


def _changed(label: str | None, filed: str | None, official: str | None) -> bool:
    """Whether a label cannot be what an audit made of the other two."""
    if label is None or filed is None:
        return label is None and filed is not None
    return not any(agree(label, other) for other in (filed, official) if other is not None)


def filed(frame: pd.DataFrame) -> pd.Series:
    """Return the label as filed of each row: what an earlier audit has kept of it, or else `diagnosis`."""
    labels: pd.Series = frame["diagnosis"]
    if "filed_diagnosis" not in frame.columns:
        return labels
    known = frame["filed_diagnosis"].notna()
    if "label_from" in frame.columns:
        # A photograph may have been labelled by another file of it, and not have been filed itself.
        known = known | frame["label_from"].isin(("authority", "filed"))
    return frame["filed_diagnosis"].astype("string").where(known, labels)
