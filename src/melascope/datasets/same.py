"""Find the same photograph twice, and two shots of one lesion, whatever the files are called.

Three steps, each on what the one before has left: every pair of fingerprints within a radius (`same_index`, exact);
registration of the two fingerprints (`same_register`), which costs microseconds; and registration of the pixels
(`same_verify`), which decides. Files with the same bytes need none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from melascope.datasets.fingerprint import coefficients_of
from melascope.datasets.identity import thread_count
from melascope.datasets.same_index import REACHES, SYMMETRIES, reach_of
from melascope.datasets.same_pairs import verified_pairs
from melascope.progress import Progress, silent

COLUMNS = (
    "a",
    "b",
    "symmetry",
    "relation",
    "evidence",
    "identical_bytes",
    "top",
    "bottom",
    "left",
    "right",
    "correlation",
    "remainder",
    "noise",
    "retouched",
)
"""What `find_same` returns."""

SAME_PHOTOGRAPH = "same_photograph"
LESION_REPEAT = "lesion_repeat"

_EDGES = ["top", "bottom", "left", "right"]
# Transposed and then one side reversed is a quarter turn, whose inverse is the other quarter turn.
_INVERSE = np.array([0, 1, 2, 3, 4, 6, 5, 7])


def find_same(
    table: pd.DataFrame,
    against: pd.DataFrame | None = None,
    threads: int | None = None,
    progress: Progress = silent,
    *,
    reach: str | None = None,
) -> pd.DataFrame:
    """Return the pairs of rows that show the same photograph, or one lesion photographed twice.

    Args:
        table: A scanned table: `path`, `fingerprint`, and `sha256` and `error_kind` if known.
        against: Another one; then pairs are of a row of `table` and one of this.
        threads: How many at a time; None for one per core.
        progress: Called with the stages `searching` and `comparing pixels`.
        reach: `full` for cropped copies (to 90 % of each side), `near` for slight crops, `whole` for whole photographs
            only (see `REACHES`); None for `full` up to 40,000 different files and `near` beyond.

    Returns:
        One row per pair: `a` and `b` (positions; `b` in `against` if given, else `a < b`), `symmetry` (what turns
        `b` as `a` lies), `relation` (`same_photograph` or `lesion_repeat`), `evidence` (a sentence), `identical_bytes`,
        `top`, `bottom`, `left`, `right` (the part of `a` that `b` shows, of 0 to 1; beyond that where `b` shows more),
        `correlation` of structures of 1/18 to 1/10 of a side, `remainder` of those of 1/10 to 1/4 (what differs, as
        the grey levels of a noise as strong), and
        `noise` (of the finest), `retouched` (the share of the pixels left out, such as hair that was removed).
        Files with identical bytes are compared as one: each further one has a pair with the first.
        `attrs["reach"]` tells which was searched.
    """
    from threadpoolctl import threadpool_limits

    workers = thread_count(threads)
    first = _Contents(table)
    second = first if against is None else _Contents(against)
    if reach is None:
        reach = reach_of(max(len(first.rows), len(second.rows)))
    # The blocks are worked on in threads of our own; those of the matrix products would only wait for each other.
    with threadpool_limits(1):
        found = _found(first, second, {"reach": REACHES[reach], "threads": workers, "progress": progress})
    found["a"], found["b"] = first.rows[found["a"]], second.rows[found["b"]]
    found["relation"] = np.where(found["same"], SAME_PHOTOGRAPH, LESION_REPEAT)
    records: list[dict[Any, Any]] = found.to_dict("records")
    found["evidence"] = [_evidence(record) for record in records]
    found["symmetry"] = np.array(SYMMETRIES, dtype=object)[found["symmetry"].to_numpy()]
    found["identical_bytes"] = False
    identical = _identical(first, second)
    pairs = pd.concat(
        [part for part in (found[list(COLUMNS)], identical) if len(part)] or [identical], ignore_index=True
    )
    if against is not None:
        pairs = first.with_copies(pairs)
    pairs = pairs.sort_values(["a", "b"], kind="stable", ignore_index=True)
    pairs.attrs["reach"] = reach
    return pairs


def _found(first: _Contents, second: _Contents, work: dict[str, Any]) -> pd.DataFrame:
    """Return the verified pairs of different contents: `a` and `b` count among the contents."""
    if first is second:
        return _ordered(verified_pairs(*first.searched, *first.searched, itself=True, **work))
    found = _named(verified_pairs(*second.searched, *first.searched, itself=False, **work), "cropped", "whole")
    if len(work["reach"].windows) > 1:
        crossed = verified_pairs(*first.searched, *second.searched, itself=False, **work)
        found = pd.concat([found, _reversed(_named(crossed, "cropped", "whole"))], ignore_index=True)
    # One that is identical has been told already; of both ways to see a pair, the one that fits better stays.
    content = first.content[first.rows][found["a"]] == second.content[second.rows][found["b"]]
    found = found[~content].sort_values("correlation", ascending=False, ignore_index=True)
    best: pd.DataFrame = found.drop_duplicates(["a", "b"], ignore_index=True)
    return best


class _Contents:
    """The rows of a table that can be compared: the first of each content, with its fingerprint."""

    def __init__(self, table: pd.DataFrame) -> None:
        readable = table["fingerprint"].notna().to_numpy(dtype=bool)
        if "error_kind" in table.columns:
            readable = readable & table["error_kind"].isna().to_numpy(dtype=bool)
        self.readable = np.flatnonzero(readable)
        hashes = table["sha256"].tolist() if "sha256" in table.columns else [None] * len(table)
        # A content that is not known is like no other; row numbers cannot be hashes.
        self.content = pd.Series(
            [name if isinstance(name, str) else row for row, name in enumerate(hashes)], dtype=object
        ).to_numpy()
        self.rows = self.readable[~pd.Series(self.content[self.readable]).duplicated().to_numpy()]
        paths = table["path"].iloc[self.rows].astype(str).to_numpy(dtype=object)
        self.searched = (coefficients_of(table["fingerprint"].iloc[self.rows]), paths)

    def copies(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (first row, further row) of each content that several rows have."""
        first = pd.Series(self.rows, index=self.content[self.rows])
        others = np.setdiff1d(self.readable, self.rows)
        return first.loc[self.content[others]].to_numpy(dtype=np.int64), others

    def with_copies(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Return pairs with those of every row that has the same content as `a`."""
        first, others = self.copies()
        more = pairs.merge(pd.DataFrame({"a": first, "other": others}), on="a")
        more["a"] = more["other"]
        return pd.concat([pairs, more[list(COLUMNS)]], ignore_index=True) if len(more) else pairs


def _identical(first: _Contents, second: _Contents) -> pd.DataFrame:
    """Return the pairs of identical bytes: of one table, first and further ones; of two, the first with the first."""
    if first is second:
        a, b = first.copies()
    else:
        known = pd.Series(second.rows, index=second.content[second.rows])
        known = known[[isinstance(name, str) for name in known.index]]
        shared = np.array([name in known.index for name in first.content[first.rows]], dtype=bool)
        a = first.rows[shared]
        b = known.loc[first.content[a]].to_numpy(dtype=np.int64)
    edges = {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0}
    return pd.DataFrame(
        {
            "a": np.minimum(a, b) if first is second else a,
            "b": np.maximum(a, b) if first is second else b,
            "symmetry": SYMMETRIES[0],
            "relation": SAME_PHOTOGRAPH,
            "evidence": "the files' bytes are identical",
            "identical_bytes": True,
            **edges,
            "correlation": 1.0,
            "remainder": 0.0,
            "noise": 0.0,
            "retouched": 0.0,
        },
        columns=list(COLUMNS),
    )


def _named(pairs: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    return pairs.rename(columns={a: "a", b: "b"})


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of one table with the earlier row as `a`."""
    named = _named(pairs, "cropped", "whole")
    later = named["a"] > named["b"]
    parts = [named[~later], _reversed(named[later])]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _reversed(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return pairs seen from the other photograph: the symmetry and the window are inverted."""
    result = pairs.rename(columns={"a": "b", "b": "a"})
    top, bottom, left, right = pairs[_EDGES].to_numpy(dtype=float).T
    # In the turned photograph the whole of the other one runs from here to there.
    rows = np.stack([-top, 1 - top]) / (bottom - top)
    columns = np.stack([-left, 1 - left]) / (right - left)
    number = pairs["symmetry"].to_numpy()
    # Undone in the order opposite to the doing: rows and columns reversed back, then transposed.
    rows = np.where(number & 2, 1 - rows[::-1], rows)
    columns = np.where(number & 1, 1 - columns[::-1], columns)
    transposed = number >= 4
    result["top"], result["bottom"] = np.where(transposed, columns, rows)
    result["left"], result["right"] = np.where(transposed, rows, columns)
    result["symmetry"] = _INVERSE[number]
    return result


def _evidence(pair: dict[Any, Any]) -> str:
    """Return the sentence that says how the two relate."""
    sides = [
        max(0.0, min(pair[end], 1.0) - max(pair[start], 0.0)) for start, end in (("top", "bottom"), ("left", "right"))
    ]
    where = SYMMETRIES[pair["symmetry"]]
    what = (
        f"{where}, {100 * sides[1]:.0f} % of the width and {100 * sides[0]:.0f} % of the height in common; registered, "
        f"their details correlate {pair['correlation']:.3f}, and what differs is as strong as noise of "
        f"{pair['remainder']:.1f} grey levels in coarse structures and of {pair['noise']:.1f} in the finest"
    )
    if pair["retouched"]:
        what += f", apart from {100 * pair['retouched']:.0f} % of the pixels that were retouched"
    return f"one photograph: {what}" if pair["same"] else f"two shots of one lesion: {what}"
