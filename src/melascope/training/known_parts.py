"""Which photographs of a table an earlier run had, and in which part: by id, bytes, lesion, patient and looks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.bundle.trained_on import SAME_PHOTOGRAPH, TrainedOn
from melascope.datasets import photographs
from melascope.datasets.groups import connected
from melascope.datasets.identity import symmetric_hashes
from melascope.datasets.split import PARTS

TELLS = ("image_id", "sha256", "phash", "lesion_id", "patient_id", "group", "part")
"""The columns by which a photograph is known again."""


def known_parts(rows: pd.DataFrame, known: pd.DataFrame, grouped: bool = True) -> pd.Series:
    """Return the part that each row must stand in because of an earlier run, missing for what is new.

    A row that several photographs of that run stand for, by id, bytes, lesion, patient or looks, takes the part that
    is nearest to training. So does one that only looks like another lesion's: it is lost to the test, no more.

    Args:
        rows: `image_id, sha256, phash`, and `lesion_id`, `patient_id` and `group` where they are known.
        known: As in `Before`.
        grouped: Whether photographs, lesions and patients are followed, or the same bytes only.
    """
    order = {name: rank for rank, name in enumerate(PARTS)}
    rank = known["part"].map(order).astype(float)
    if not grouped:
        by_bytes = rank.groupby(known["sha256"]).min()
        return _named(rows["sha256"].map(by_bytes).to_numpy(dtype=float, na_value=np.nan), rows.index)
    now = rows.reindex(columns=list(TELLS[:-1])).astype("string")
    whole = pd.concat(
        [now.assign(group="now:" + now["group"]), known[list(TELLS[:-1])].assign(group="then:" + known["group"])],
        ignore_index=True,
    )
    whole["photograph"] = photographs(whole)
    ranks = np.concatenate([np.full(len(rows), np.nan), rank.to_numpy(dtype=float)])
    tied = connected(whole, ("photograph", "lesion_id", "patient_id", "group"))
    # Other files, other ids, and yet the same photograph, resized, turned or compressed again; also of a row that is
    # known already, for its name may be that of one photograph of the run, and its looks those of another.
    ranks[: len(rows)] = _by_looks(now["phash"], _least(ranks, tied)[: len(rows)], known, rank)
    return _named(_least(ranks, tied)[: len(rows)], rows.index)


def _least(ranks: np.ndarray, tied: np.ndarray) -> np.ndarray:
    least: np.ndarray = pd.Series(ranks).groupby(tied).transform("min").to_numpy(dtype=float)
    return least


def _named(ranks: np.ndarray, index: pd.Index) -> pd.Series:
    names = [None if np.isnan(rank) else PARTS[int(rank)] for rank in ranks]
    return pd.Series(names, index=index, name="part", dtype="string")


def _by_looks(hashes: pd.Series, found: np.ndarray, known: pd.DataFrame, rank: pd.Series) -> np.ndarray:
    """Return the rank of each row, lowered to that of the photographs which look the same; NaN where there is none."""
    result = found.copy()
    for place in sorted(rank.unique()):
        open_ = np.flatnonzero(~(result <= place))
        if not len(open_):
            break
        those = known[rank == place]
        forms = symmetric_hashes(hashes.iloc[open_])
        bits = TrainedOn.of(those["sha256"].tolist(), perceptual(those)).nearest(forms).reshape(len(open_), -1)
        result[open_[bits.min(axis=1) <= SAME_PHOTOGRAPH]] = place
    return result


def perceptual(rows: pd.DataFrame) -> np.ndarray:
    """Return the perceptual hashes of a scanned table as `(n, 32)` uint8."""
    return np.frombuffer(bytes.fromhex("".join(rows["phash"])), np.uint8).reshape(-1, 32)
