"""What stands behind the scores of folds: how many melanomas, and which diagnoses are missing from some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from melascope import diagnosis
from melascope.counted import plural
from melascope.statistics.intervals import FEW, Array


@dataclass(frozen=True)
class Support:
    """What stands behind the scores of a set of folds.

    Attributes:
        groups: Independent units of all photographs: lesions or patients.
        melanomas: Those with a melanoma.
        others: Those with anything else.
        chance: The balanced accuracy of a guess, on average over the folds: one over the diagnoses that a fold has.
        absent: Of each diagnosis that some fold does not have: `groups` of it, `folds` without it.
        folds: How many there are, over all repeats.
    """

    groups: int
    melanomas: int
    others: int
    chance: float
    absent: Mapping[str, Mapping[str, int]]
    folds: int

    @property
    def too_few(self) -> tuple[str, ...]:
        """The scores of which fewer than ten groups tell one side: too few to judge."""
        return ("melanoma_auc",) if min(self.melanomas, self.others) < FEW else ()

    def few_words(self) -> str:
        """Return why a melanoma AUC cannot be judged."""
        n, which = (self.melanomas, "with") if self.melanomas <= self.others else (self.others, "without")
        told = plural(n, f"lesion {which} a melanoma is", f"lesions {which} a melanoma are")
        return f"{told} too few to judge (fewer than ten)"

    def notes(self, scores: Collection[str] = ("melanoma_auc", "balanced_accuracy")) -> list[str]:
        """Return what a reader of some scores must know of it, a sentence each; nothing where all is well."""
        found = []
        if "melanoma_auc" in scores and self.too_few:
            found.append(f"Melanoma AUC: {self.few_words()}.")
        if "balanced_accuracy" in scores and self.absent:
            each = ", ".join(
                f"{name} ({plural(one['groups'], 'lesion')}; missing from {one['folds']} of {self.folds} folds)"
                for name, one in self.absent.items()
            )
            found.append(
                f"The balanced accuracy of a fold is the mean over the diagnoses that it has, and not all folds have "
                f"all of them: {each}. Its mean over folds is then not that of all diagnoses: see them one by one, or "
                "take fewer folds, or more photographs of these."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return all of it; `too_few` names scores."""
        return {
            "groups": self.groups,
            "melanomas": self.melanomas,
            "others": self.others,
            "too_few": list(self.too_few),
            "chance": self.chance,
            "absent": {name: dict(one) for name, one in self.absent.items()},
        }


def support(labels: Array, groups: Sequence[Any] | Array, folds: Array, classes: Sequence[str]) -> Support:
    """Count what stands behind the scores of folds.

    Args:
        labels: `(n,)` indices into `classes`.
        groups: `(n,)` lesions or patients.
        folds: `(repeats, n)`, or `(n,)` for one.
        classes: Codes.
    """
    names = np.array([str(name) for name in groups], dtype=object)
    melanoma = np.isin(np.asarray(classes)[labels], list(diagnosis.GROUPS["melanoma"]))
    present: list[set[int]] = [
        set(np.unique(labels[repeat == fold]).tolist()) for repeat in np.atleast_2d(folds) for fold in np.unique(repeat)
    ]
    absent = {}
    for place in np.unique(labels).tolist():
        without = sum(place not in here for here in present)
        if without:
            absent[classes[place]] = {"groups": len(set(names[labels == place])), "folds": without}
    return Support(
        groups=len(set(names)),
        melanomas=len(set(names[melanoma])),
        others=len(set(names[~melanoma])),
        chance=float(np.mean([1 / len(here) for here in present])),
        absent=absent,
        folds=len(present),
    )
