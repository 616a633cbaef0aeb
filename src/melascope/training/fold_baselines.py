"""What recipes on grouped folds are measured against, on the same folds: no network, and a network that learnt nothing.

STATISTICS asks for three of each report: the largest class always, colours alone, and the same network on shuffled
labels, which must be at chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import environment
from melascope.evaluation import cross_validated as judged
from melascope.evaluation import shuffled_labels
from melascope.evaluation.support import support
from melascope.progress import Progress, silent
from melascope.statistics import softmax
from melascope.training.cross_validation import scores_of
from melascope.training.experiment import Material
from melascope.training.judge import train_on_shuffled
from melascope.training.recipe import Recipe


class Labelled(Protocol):
    """Photographs with their diagnoses; `Material` and the `Task` of a tuning are."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Indices `(n,)` into the classes."""

    @property
    def groups(self) -> NDArray[np.object_]:
        """Names `(n,)` of what stays in one fold."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Codes of the diagnoses."""


def of_folds(
    material: Labelled, images: NDArray[np.uint8], assigned: NDArray[np.integer], seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the largest class and colours alone, by name: `scores` and `by_fold`.

    Args:
        material: The photographs.
        images: `(n, h, w, 3)` uint8.
        assigned: `(repeats, n)` folds.
        seeds: One for each repeat.
    """
    labels, classes, found = material.labels, material.classes, {}
    behind = support(labels, material.groups, assigned, classes)
    for name, p in judged.baselines(labels, assigned, len(classes), images).items():
        rows = []
        for repeat, seed in enumerate(seeds):
            for fold in range(int(assigned.max()) + 1):
                held = assigned[repeat] == fold
                scores = scores_of(p[repeat, held], labels[held], classes)
                rows.append({"seed": seed, "fold": fold, "n": int(held.sum()), **scores})
        table = pd.DataFrame(rows)
        found[name] = {"scores": judged.fold_scores(table, behind.too_few, behind.groups), "by_fold": plain(table)}
    return found


def on_shuffled(
    recipe: Recipe,
    material: Material,
    images: NDArray[np.uint8],
    assigned: NDArray[np.integer],
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train a recipe on shuffled labels of all folds but the first, a quarter of its epochs, and score it on the first.

    Args:
        recipe: What to train.
        material: The photographs.
        images: `(n, h, w, 3)` uint8 at the recipe's size.
        assigned: `(n,)` folds.
        seed: Of the shuffling and the training.
        folder: For what is done so far; the same call goes on there.
        progress: Told after each batch.

    Returns:
        `recipe`, `n`, `epochs`, `balanced_accuracy` and `melanoma_auc` with intervals over groups, and `at_chance`.
    """
    held = assigned == 0
    rows = {"train": np.flatnonzero(~held), "test": np.flatnonzero(held)}
    table = material.table.assign(part=np.where(held, "test", "train"))
    logits = train_on_shuffled(
        folder, recipe, table, images, rows, material.classes, seed, progress, environment.threads()
    )
    p = pd.DataFrame(softmax(logits), columns=[f"p_{code}" for code in material.classes])
    found = shuffled_labels(
        pd.concat([table.iloc[rows["test"]].reset_index(drop=True), p], axis=1), material.classes, seed=seed
    )
    kept = ("balanced_accuracy", "melanoma_auc", "at_chance")
    epochs = max(1, recipe.schedule.epochs // 4)
    return {"recipe": recipe.name, "n": int(held.sum()), "epochs": epochs, **{name: found[name] for name in kept}}


def plain(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table of trainings for JSON: None where a score is undefined."""
    whole = ("seed", "fold", "n", "groups", "photographs")
    return [
        {str(key): int(v) if key in whole else None if v != v else float(v) for key, v in row.items()}
        for row in rows.to_dict("records")
    ]
