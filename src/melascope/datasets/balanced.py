"""Copies of photographs for rare diagnoses, written to disk: for those who want files.

Melascope itself balances while it trains, by sampling and weights, and needs no copies. A copy is the same photograph:
its name ends in `_copy` and a number and its row names its source in `copy_of`, so that `photographs` and `groups` tie
the two, no split parts them (but that of `as-published`, on purpose) and the protocol `clean` counts them once. Only
photographs that are trained on get copies.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.datasets.fixed import own_parts, parts_told
from melascope.datasets.groups import ambiguous_names, copies_of, photographs
from melascope.errors import DataError

Mode = Literal["add", "up-to", "in-proportion"]


@dataclass(frozen=True)
class Balancing:
    """How many copies are made, and how they differ from their sources.

    The defaults are those of the course projects: 500 copies more of each diagnosis, whatever it has, each turned with
    probability .7 by up to 10 degrees. Nearly a third of the copies are therefore the very same photograph.

    Attributes:
        per_class: Copies of each diagnosis, or photographs that each is to have.
        mode: `add` gives each diagnosis `per_class` copies; `up-to` fills each up to `per_class`; `in-proportion` draws
            as many in all as `add`, but from all photographs alike, which changes no ratio between diagnoses.
        turn: Largest turn to either side, in degrees.
        probability: That a copy is turned at all.
        seed: Of the draw.
    """

    per_class: int = 500
    mode: Mode = "add"
    turn: float = 10.0
    probability: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise DataError(f"{self.per_class} copies for each diagnosis cannot be made; give 1 or more.")
        if not 0 <= self.turn <= 45 or not 0 <= self.probability <= 1:
            raise DataError("A copy is turned by 0 to 45 degrees, with a probability of 0 to 1.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data."""
        return asdict(self)


def quotas(diagnoses: pd.Series, how: Balancing) -> dict[str, int]:
    """Return how many copies each diagnosis gets, in the house's order."""
    counts = diagnoses.value_counts()
    codes = diagnosis.ordered(counts.index)
    if how.mode == "add":
        return dict.fromkeys(codes, how.per_class)
    if how.mode == "up-to":
        return {code: max(0, how.per_class - int(counts[code])) for code in codes}
    exact = {code: how.per_class * len(codes) * int(counts[code]) / int(counts.sum()) for code in codes}
    found = {code: int(share) for code, share in exact.items()}
    left = how.per_class * len(codes) - sum(found.values())
    for code in sorted(codes, key=lambda code: found[code] - exact[code])[:left]:
        found[code] += 1
    return found


def may_be_copied(table: pd.DataFrame) -> np.ndarray:
    """Return which rows `(n,)` are trained on, have a diagnosis, can be read, and are no copies themselves."""
    may = table["diagnosis"].notna() & (table["split"].fillna("train") == "train")
    part = parts_told(table)
    if part is not None:
        may &= (part == "train").fillna(False)
    if "error_kind" in table.columns:
        may &= table["error_kind"].isna()
    chosen: np.ndarray = may.to_numpy(dtype=bool) & copies_of(table).isna().to_numpy(dtype=bool)
    return chosen


def draw(table: pd.DataFrame, how: Balancing) -> pd.DataFrame:
    """Draw the sources of the copies and their turns; the same table and settings give the same copies.

    Sources are drawn with replacement within each diagnosis, as Augmentor's `sample` does.

    Args:
        table: With `image_id`, `path`, `diagnosis` and `split`; rows that may not be copied are passed over.
        how: How many, and how turned.

    Returns:
        A row for each copy: `row` (position of the source in `table`), `image_id`, `copy_of`, `diagnosis` and
        `degrees` (0 for a copy that is not turned).

    Raises:
        DataError: When nothing may be copied, or one name stands for different photographs.
    """
    rows = np.flatnonzero(may_be_copied(table))
    if not len(rows):
        own_parts(table, "to have all outside Test copied")  # says so where its words name no parts
        raise DataError("None of the photographs can be copied: none is outside Test, readable and has a diagnosis.")
    names = ambiguous_names(table)
    if names:
        raise DataError(
            f"{plural(len(names), 'name stands', 'names stand')} for photographs that look different, such as "
            f"{names[0]}; a copy could not say which it is of. Give every photograph a name of its own."
        )
    # The order of the table is not to matter, and a photograph that is listed twice is one source.
    found = table.iloc[rows].assign(row=rows).sort_values(["image_id", "path"], kind="stable")
    drawn = []
    for code, wanted in quotas(found["diagnosis"], how).items():
        random = np.random.default_rng([how.seed, *code.encode()])
        members = found[found["diagnosis"] == code]
        chosen = members.iloc[random.integers(0, len(members), wanted)]
        degrees = np.where(random.random(wanted) < how.probability, random.uniform(-how.turn, how.turn, wanted), 0.0)
        drawn.append(
            pd.DataFrame({"row": chosen["row"], "copy_of": chosen["image_id"], "diagnosis": code, "degrees": degrees})
        )
    result = pd.concat(drawn, ignore_index=True)
    number = result.groupby("copy_of").cumcount() + 1
    result["image_id"] = result["copy_of"] + "_COPY" + number.map("{:04d}".format)
    return result.astype(dict.fromkeys(("image_id", "copy_of", "diagnosis"), "string"))


def listed_copies(table: pd.DataFrame, where: str) -> list[str]:
    """Return a sentence about the copies that a table lists beside their sources; nothing where there are none.

    Args:
        table: With `image_id`; a copy is known by `copy_of`, or by its name.
        where: What to call the table.
    """
    source = copies_of(table)
    count = int(source.isin(set(table["image_id"].dropna())).sum())
    if not count:
        return []
    return [
        f"{where} lists {plural(count, 'copy', 'copies')} made to balance, beside the photographs they were made of."
    ]


def shared_photographs(table: pd.DataFrame, trained: np.ndarray, judged: np.ndarray) -> int:
    """Return how many of the rows that judge show a photograph that is trained on too, itself or as a copy.

    Args:
        table: Originals and copies.
        trained: Which rows `(n,)` are trained on.
        judged: Which rows `(n,)` judge.
    """
    shown = table["photograph"].to_numpy(dtype=object) if "photograph" in table.columns else photographs(table)
    return int(np.isin(shown[judged], list(set(shown[trained]))).sum())
