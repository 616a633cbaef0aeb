"""The rows of one part as plain arrays: what was true, what was predicted, what belongs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.evaluation.predictions import Vocabulary, probabilities_of
from melascope.statistics.intervals import Array, units


@dataclass(frozen=True)
class Sample:
    """Scored rows (photographs or lesions) in one vocabulary.

    Attributes:
        classes: The vocabulary.
        p: `(n, c)` calibrated probabilities.
        y: `(n,)` class numbers.
        risk: Per group of diagnoses the risk `(n,)` on which findings alert:
            that of the model's own classes, also where `p` is coarsened.
        truth: Per group of diagnoses whether the label is of it, `(n,)` bool.
        groups: `(n,)` numbers of what is resampled together.
        weighed: `(n, c)` what a first choice is the largest of: the probabilities of the model's own classes, divided
            by the prior where the deployed decision does so, then summed into the vocabulary.
    """

    classes: tuple[str, ...]
    p: Array
    y: Array
    risk: Mapping[str, Array]
    truth: Mapping[str, Array]
    groups: Array
    weighed: Array

    @property
    def choice(self) -> Array:
        """The first choice of the deployed decision, `(n,)` class numbers."""
        return np.asarray(self.weighed.argmax(axis=1))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Array) -> Sample:
        """Return the rows chosen by numbers or a mask."""
        return Sample(
            self.classes,
            self.p[rows],
            self.y[rows],
            {name: values[rows] for name, values in self.risk.items()},
            {name: values[rows] for name, values in self.truth.items()},
            self.groups[rows],
            self.weighed[rows],
        )


def group_names(frame: pd.DataFrame) -> Array:
    """Return what each row is resampled with: its group, else its patient, its lesion, or itself."""
    names = pd.Series(pd.NA, index=frame.index, dtype="string")
    for column in ("group", "patient_id", "lesion_id"):
        if column in frame.columns:
            values = frame[column].astype("string")
            names = names.fillna(column + ":" + values.mask(values.str.strip() == ""))
    return np.array(names.fillna(""), dtype=object)  # `units` takes an empty name for a group of one's own


def known_lesions(frame: pd.DataFrame) -> Array:
    """Return which rows have a lesion id, `(n,)` bool."""
    if "lesion_id" not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    return (frame["lesion_id"].astype("string").fillna("").str.strip() != "").to_numpy(dtype=bool)


def labels_in(frame: pd.DataFrame, classes: Sequence[str]) -> list[str | None]:
    """Return each row's label in a vocabulary, None where it has none there."""
    known = {
        code: diagnosis.coarsen_label(code, classes) if code in diagnosis.DIAGNOSES else None
        for code in frame["diagnosis"].dropna().astype(str).unique()
    }
    return [None if pd.isna(label) else known[str(label)] for label in frame["diagnosis"]]


def photographs(
    frame: pd.DataFrame, classes: Sequence[str], words: Vocabulary, prior: Sequence[float] | None = None
) -> tuple[Sample, Array, dict[str, int]]:
    """Return the scored photographs of a part, which rows they are, and why others are not scored.

    Args:
        frame: Predictions of one part.
        classes: The model's classes.
        words: The vocabulary to score in.
        prior: Shares of the model's classes that its first choice weighs away; None for plain argmax.

    Returns:
        The sample; a mask `(len(frame),)` of its rows; and counts of `refused`,
        `no_label` and `outside_classes` (a label that the vocabulary lacks).
    """
    p = probabilities_of(frame, classes)
    refused = ~np.isfinite(p).all(axis=1)
    labels = np.array(labels_in(frame, words.classes), dtype=object)
    unlabelled = frame["diagnosis"].isna().to_numpy(dtype=bool)
    named = np.array([label is not None for label in labels], dtype=bool)
    kept = ~refused & named
    why = {
        "refused": int(refused.sum()),
        "no_label": int((~refused & unlabelled).sum()),
        "outside_classes": int((~refused & ~unlabelled & ~named).sum()),
    }
    number = {code: i for i, code in enumerate(words.classes)}
    codes = labels[kept]
    sample = Sample(
        words.classes,
        diagnosis.coarsen_probabilities(p[kept], classes, words.classes),
        np.array([number[code] for code in codes], dtype=np.intp),
        {group: diagnosis.group_risk(p[kept], classes, group) for group in diagnosis.GROUPS},
        {group: np.array([code in members for code in codes], bool) for group, members in diagnosis.GROUPS.items()},
        units(group_names(frame)[kept], int(kept.sum())),
        diagnosis.coarsen_probabilities(
            p[kept] / (1.0 if prior is None else np.asarray(prior)), classes, words.classes
        ),
    )
    return sample, kept, why


def lesions(sample: Sample, frame: pd.DataFrame) -> tuple[Sample, dict[str, Any]]:
    """Return one row per lesion: the mean probability of its photographs.

    A photograph without a lesion id is assumed to be a lesion (with the copies
    that share its group). A lesion whose photographs bear several diagnoses is
    left out and counted.

    Args:
        sample: The photographs.
        frame: Their predictions, in the same order.
    """
    known = known_lesions(frame)
    first, lesion, same = _by_lesion(sample, frame)
    size = np.bincount(lesion)
    one = sample.take(first)

    def mean(values: Array) -> Array:
        total = np.zeros((len(size), *values.shape[1:]))
        np.add.at(total, lesion, values)
        return total / size.reshape(-1, *[1] * (values.ndim - 1))

    averaged = Sample(
        one.classes,
        mean(sample.p),
        one.y,
        {group: mean(values) for group, values in sample.risk.items()},
        one.truth,
        one.groups,
        mean(sample.weighed),
    )
    counts = {"known": int(known[first][same].sum()), "assumed": int((~known[first][same]).sum())}
    return averaged.take(same), {"n_lesions": counts, "conflicting_lesions": int((~same).sum())}


def lesion_rows(sample: Sample, frame: pd.DataFrame) -> Array:
    """Return one photograph of each of the lesions of `lesions`, `(m,)` row numbers in their order."""
    first, _, same = _by_lesion(sample, frame)
    return np.asarray(first[same])


def _by_lesion(sample: Sample, frame: pd.DataFrame) -> tuple[Array, Array, Array]:
    """Return each lesion's first photograph, each photograph's lesion, and whether a lesion bears one diagnosis."""
    known = known_lesions(frame)
    ids = frame["lesion_id"].astype("string").fillna("").to_numpy(dtype=object) if known.any() else np.array([])
    names = [f"id:{ids[row]}" if known[row] else f"group:{sample.groups[row]}" for row in range(len(sample))]
    first, lesion = np.unique(np.array(names, dtype=object).astype(str), return_index=True, return_inverse=True)[1:]
    return first, lesion, np.bincount(lesion, sample.y == sample.y[first][lesion]) == np.bincount(lesion)


def lesion_numbers(frame: pd.DataFrame, groups: Array) -> dict[str, int]:
    """Return how many lesions are known by id, and how many are assumed (one photograph, one lesion)."""
    known = known_lesions(frame)
    return {
        "known": int(frame.loc[known, "lesion_id"].nunique()) if known.any() else 0,
        "assumed": len(np.unique(groups[~known])),
    }
