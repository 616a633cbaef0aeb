"""Where photographs come from: as their table says, or else as their lesion ids do."""

from __future__ import annotations

import pandas as pd

PREFIXES = {"HAM10000": "HAM_", "BCN20000": "BCN_", "MSK": "MSK"}
"""How the lesion ids of public sets begin, as the metadata of ISIC 2019 has them."""
OTHER = "not told by the lesion id"


def origins(table: pd.DataFrame) -> pd.Series:
    """Return the source of each photograph as text, missing where it is not known.

    A table that names sources is believed. Where it names none, a lesion id may tell the set; all that it does not
    tell are then one source, `OTHER`, so that a set in which a diagnosis comes from one source only is seen as such.

    Args:
        table: One row per photograph; `source` and `lesion_id` where they are known.
    """
    named = _text(table, "source")
    if named.notna().any():
        return named
    lesions = _text(table, "lesion_id").fillna("")
    found = pd.Series(OTHER, index=table.index, dtype="string")
    for name, prefix in PREFIXES.items():
        found[lesions.str.startswith(prefix).to_numpy(dtype=bool)] = name
    return found if (found != OTHER).any() else named


def _text(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        return pd.Series(pd.NA, index=table.index, dtype="string")
    text = table[name].astype("string").str.strip()
    return text.mask(text == "")
