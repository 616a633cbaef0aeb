"""Personal data in the files, writing burned into the pictures, and under which licence each photograph stands."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from melascope.audit.problems import Found, problems, readable
from melascope.counted import plural
from melascope.images.burned_text import SUSPECTED
from melascope.images.embedded import KINDS, licence_name

BURNED_IN = "writing suspected"
"""What burned-in text is called in the counts."""


def find(table: pd.DataFrame) -> Found:
    """Return every photograph whose file carries personal data, or whose border seems to bear writing.

    The evidence names the kinds of personal data and never their values.

    Args:
        table: A scanned table; of the columns `personal`, `attribution`, `trait_text` and `license` it may lack any.

    Returns:
        Problems, and details: `photographs`, `kinds` (photographs per kind of personal data, `writing suspected` among
        them), `licences` (photographs per licence, of the table or else of the file), `licence_unknown`,
        `attributed` (photographs whose file states a copyright, a licence or an artist), `licence_disagrees`
        (photographs whose file names another licence than the table) and `sentence`.
    """
    rows = readable(table)
    carried = _texts(rows, "personal")
    writing = _numbers(rows, "trait_text") >= SUSPECTED
    counts: Counter[str] = Counter(kind for text in carried for kind in text.split("; ") if kind)
    if writing.any():
        counts[BURNED_IN] = int(writing.sum())
    evidence = [_evidence(text, bool(burned)) for text, burned in zip(carried, writing, strict=True)]
    places = [place for place, text in enumerate(evidence) if text]
    chosen = rows.iloc[places]
    said = pd.Series([evidence[place] for place in places], dtype="string")
    details: dict[str, Any] = {
        "photographs": len(rows),
        "kinds": {kind: counts[kind] for kind in dict.fromkeys((*KINDS, *counts)) if counts[kind]},
        **_licences(rows),
    }
    details["sentence"] = _sentence(details, len(places))
    return Found(problems("personal_data", chosen, chosen["path"].to_numpy(dtype=object), said), details)


def _evidence(carried: str, burned: bool) -> str:
    parts = [f"the file states: {carried.replace('; ', ', ')}"] if carried else []
    if burned:
        parts.append("writing is suspected near the upper or lower border (it may be a ruler)")
    return "; ".join(parts)


def _licences(rows: pd.DataFrame) -> dict[str, Any]:
    stated, of_file = _texts(rows, "license"), _texts(rows, "attribution")
    counts: Counter[str] = Counter()
    unknown = disagrees = 0
    for filed, attribution in zip(stated, of_file, strict=True):
        embedded = licence_name(attribution)
        # The table's own words stay as they are: its versions matter to whom they bind.
        licence = filed or embedded
        if licence:
            counts[licence] += 1
        else:
            unknown += 1
        known = licence_name(filed)
        disagrees += bool(known and embedded and known != embedded)
    return {
        "licences": dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))),
        "licence_unknown": unknown,
        "attributed": sum(bool(text) for text in of_file),
        "licence_disagrees": disagrees,
    }


def _sentence(details: dict[str, Any], found: int) -> str:
    carried = (
        f"{found:,} of {plural(details['photographs'], 'photograph')} "
        f"{'carries' if found == 1 else 'carry'} personal data, or {'seems' if found == 1 else 'seem'} to bear writing."
        if found
        else f"None of {plural(details['photographs'], 'photograph')} carries personal data that could be seen."
    )
    unknown = details["licence_unknown"]
    licence = f" Of {unknown:,} no licence is known." if unknown else " Each has a known licence."
    return carried + (licence if details["photographs"] else "")


def _texts(rows: pd.DataFrame, column: str) -> list[str]:
    if column not in rows.columns:
        return [""] * len(rows)
    return rows[column].astype("string").fillna("").str.strip().tolist()


def _numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    if column not in rows.columns:
        return np.full(len(rows), -np.inf)
    values: np.ndarray = rows[column].to_numpy(dtype=float, na_value=-np.inf)
    return np.where(np.isnan(values), -np.inf, values)
