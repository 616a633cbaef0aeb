"""Photographs with what the model said: melanomas missed and alerted, false alerts, right and wrong per class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.reports import wording
from melascope.reports.album import Album, describe, name_of, readable, records, spread
from melascope.reports.page import Details, Gallery, Picture, Text, jpeg
from melascope.reports.run_summary import headline_part, operating_point, risk
from melascope.statistics import first_choice

SHOWN_MISSED = 18
SHOWN_EXAMPLES = 6


def judged(metrics: Mapping[str, Any], predictions: pd.DataFrame | None) -> pd.DataFrame:
    """Return the scored rows of the headline's part with `melanoma_risk`, `malignancy_risk`, `said`, `alert`, ...

    `below` is true where the melanoma risk stayed below its threshold.
    """
    if predictions is None or not {"path", "diagnosis"} <= set(predictions.columns):
        return pd.DataFrame()
    name, part = headline_part(metrics)
    rows = readable(predictions)
    if "part" in rows:
        rows = rows[rows["part"] == name.split("_")[0]]
    columns = [column for column in rows.columns if str(column).startswith("p_")]
    codes = [str(column)[2:] for column in columns]
    if name == "test_unseen" and "trained_on" in rows:
        rows = rows[~rows["trained_on"].fillna(False).astype(bool)]
    rows = rows[rows["diagnosis"].notna()]
    if not columns or rows.empty:
        return pd.DataFrame()
    rows = rows[rows[columns].notna().all(axis=1)].copy()
    if rows.empty:
        return rows
    p = rows[columns].to_numpy(dtype=float)
    prior = (metrics.get("first_choice") or {}).get("prior")
    rows["said"] = [codes[i] for i in first_choice(p, prior)]
    rows["melanoma_risk"] = diagnosis.group_risk(p, codes, "melanoma")
    rows["malignancy_risk"] = diagnosis.group_risk(p, codes, "malignant")
    melanoma = wording.number(operating_point(part, "melanoma").get("threshold"))
    malignant = wording.number(operating_point(part, "malignant").get("threshold"))
    rows["below"] = ~(rows["melanoma_risk"] >= melanoma)
    rows["alert"] = ~rows["below"] | (rows["malignancy_risk"] >= malignant)
    rows["decided"] = not math.isnan(melanoma)
    return rows


def examples(
    rows: pd.DataFrame, album: Album, stamp: str, overlays: Sequence[tuple[str, np.ndarray]] = ()
) -> list[Any]:
    """Return the melanomas that were missed, some that were alerted, false alerts, and heat maps."""
    blocks: list[Any] = []
    if len(rows) and bool(rows["decided"].all()):
        melanomas = rows[rows["diagnosis"].isin(diagnosis.GROUPS["melanoma"])]
        others = rows[~rows["diagnosis"].isin(diagnosis.GROUPS["melanoma"])]
        # To alert on everything misses nothing, and is no success.
        blocks += _missed(melanomas, album, stamp, sparing=2 * int(others["below"].sum()) >= len(others))
        above = melanomas[~melanomas["below"]]
        alerted = spread(above, "melanoma_risk", SHOWN_EXAMPLES)
        if len(alerted):
            note = f"{len(alerted)} of {wording.count(len(above))}, from the highest risk to the lowest."
            blocks.append(Gallery(_shown(alerted, album), "Melanomas that it alerted", note, stamp))
        benign = rows[~rows["diagnosis"].isin(diagnosis.GROUPS["malignant"])]
        false = spread(benign[benign["alert"]], "melanoma_risk", SHOWN_EXAMPLES)
        if len(false):
            note = f"{len(false)} of {wording.count(benign['alert'].sum())}, from the highest risk to the lowest."
            blocks.append(Gallery(_shown(false, album), "Benign lesions that it alerted", note, stamp))
    if overlays:
        shown = [
            Picture(jpeg(picture, 300), f"Photograph with heat map. {caption}", str(caption))
            for caption, picture in overlays
        ]
        note = (
            "The brighter, the more that place spoke for melanoma in this model. A heat map shows what the model used; "
            "it does not show that the model is right, or why."
        )
        blocks.append(Gallery(shown, "Where it looked", note, stamp, large=True))
    return blocks


def _missed(melanomas: pd.DataFrame, album: Album, stamp: str, sparing: bool) -> list[Any]:
    if melanomas.empty:
        return [Text("There was no melanoma among the judged photographs.", "warning")]
    of = wording.plural(len(melanomas), "melanoma photograph")
    missed = melanomas[melanomas["below"]].sort_values("melanoma_risk", kind="stable")
    if missed.empty:
        told = f"None of the {of} stayed below the threshold of melanoma risk."
        return [Text(told, "good" if sparing and len(melanomas) >= wording.FEW else "note")]
    first = missed.head(SHOWN_MISSED)
    which = "All are shown" if len(first) == len(missed) else f"The {len(first)} with the lowest risk are shown"
    note = (
        f"{wording.count(len(missed))} of {of} stayed below the threshold of melanoma risk. {which}, lowest risk first."
    )
    other = int(missed["alert"].sum())
    if other:
        note += f" {wording.count(other)} of them still alerted on malignancy risk, and say so."
    return [Gallery(_shown(first, album), "Melanomas that it missed", note, stamp)]


def _shown(rows: pd.DataFrame, album: Album) -> list[Picture]:
    return [_example(row, album) for row in records(rows)]


def _example(row: dict[str, Any], album: Album) -> Picture:
    melanoma, malignant = (str(row["diagnosis"]) in diagnosis.GROUPS[group] for group in ("melanoma", "malignant"))
    if row["alert"]:
        tag = "alert" if not row["below"] else "alert: malignant"
    else:
        tag = "missed" if malignant else "no alert"
    wrong = bool(row["below"]) if melanoma else malignant != bool(row["alert"])
    caption = (
        f"{name_of(row)} · {wording.class_name(row['diagnosis'])} · melanoma risk {risk(float(row['melanoma_risk']))}"
        f" · first choice: {wording.class_name(row['said'])}"
    )
    alt = f"{describe(row)}, {'alerted' if row['alert'] else 'not alerted'}" + (
        ", below the threshold of melanoma risk" if melanoma and wrong else ""
    )
    return album.picture(row, caption, alt, tag, "warning" if wrong else "note")


def class_examples(rows: pd.DataFrame, album: Album, stamp: str, n: int = 4) -> list[Any]:
    """Return correct and wrong first choices of each class; all but the first class are folded."""
    blocks: list[Any] = []
    for code in diagnosis.ordered(c for c in rows.get("diagnosis", ()) if c in diagnosis.DIAGNOSES):
        own = rows[rows["diagnosis"] == code].copy()
        own["own_risk"] = own.get(f"p_{code}", 0.0)
        right, wrong = own[own["said"] == code], own[own["said"] != code]
        shown = [_choice(row, album, True) for row in records(spread(right, "own_risk", n))]
        shown += [_choice(row, album, False) for row in records(spread(wrong, "own_risk", n))]
        if shown:
            note = f"{wording.count(len(right))} right, {wording.count(len(wrong))} wrong first choices"
            name = wording.class_name(code)
            blocks.append(
                Details(f"{name[:1].upper()}{name[1:]}: {note}", [Gallery(shown, "", "", stamp)], opened=not blocks)
            )
    return blocks


def _choice(row: dict[str, Any], album: Album, right: bool) -> Picture:
    said = wording.class_name(row["said"])
    caption = f"{name_of(row)} · it said {said} ({wording.share(row['p_' + row['said']])})"
    alt = f"{describe(row)}; the model said {said}"
    return album.picture(row, caption, alt, "✓ right" if right else "✗ wrong", "note" if right else "warning")
