"""Which photographs of a table an earlier run had, and in which part: by id, bytes, lesion, patient and looks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.bundle import TrainedOn
from melascope.datasets import photographs
from melascope.datasets.groups import connected
from melascope.datasets.split import PARTS

SAME_PHOTOGRAPH = 30
"""Perceptual hashes of one photograph differ in at most so many of 256 bits; see `datasets.perceptual_hash`."""

TELLS = ("image_id", "sha256", "phash", "lesion_id", "patient_id", "group", "part")
"""The columns by which a photograph is known again."""


def known_parts(rows: pd.DataFrame, known: pd.DataFrame, grouped: bool = True) -> pd.Series:
    """Return the part that each row must stand in because of an earlier run, missing for what is new.

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
    found = _least(ranks, tied)
    strange = np.flatnonzero(np.isnan(found[: len(rows)]))
    if len(strange):
        # Other files, other ids, and yet the same photograph, resized or compressed again.
        ranks[strange] = _by_looks(now.iloc[strange], known, rank)
        found = _least(ranks, tied)
    return _named(found[: len(rows)], rows.index)


def _least(ranks: np.ndarray, tied: np.ndarray) -> np.ndarray:
    least: np.ndarray = pd.Series(ranks).groupby(tied).transform("min").to_numpy(dtype=float)
    return least


def _named(ranks: np.ndarray, index: pd.Index) -> pd.Series:
    names = [None if np.isnan(rank) else PARTS[int(rank)] for rank in ranks]
    return pd.Series(names, index=index, name="part", dtype="string")


def _by_looks(rows: pd.DataFrame, known: pd.DataFrame, rank: pd.Series) -> np.ndarray:
    result = np.full(len(rows), np.nan)
    hashes = perceptual(rows)
    for place in sorted(rank.unique(), reverse=True):
        those = known[rank == place]
        near = TrainedOn.of(those["sha256"].tolist(), perceptual(those)).nearest(hashes) <= SAME_PHOTOGRAPH
        result[near] = place
    return result


def perceptual(rows: pd.DataFrame) -> np.ndarray:
    """Return the perceptual hashes of a scanned table as `(n, 32)` uint8."""
    return np.frombuffer(bytes.fromhex("".join(rows["phash"])), np.uint8).reshape(-1, 32)
