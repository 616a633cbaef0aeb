"""What is checked before a training begins: that the arrays fit the recipe and each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from melascope import diagnosis
from melascope.errors import DataError

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe


def check(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    rows_train: NDArray[np.integer],
    rows_tune: NDArray[np.integer],
    classes: Sequence[str],
) -> None:
    """Check that photographs, labels, parts and recipe fit each other.

    Raises:
        DataError: When they do not; `fit.fit` tells what each is.
    """
    shape = (*recipe.data.shape, 3)
    if images.ndim != 4 or images.shape[1:] != shape or images.dtype != np.uint8:
        raise DataError(
            f"The images are {images.shape} {images.dtype}; the recipe needs (n, {shape[0]}, {shape[1]}, 3) uint8."
        )
    if len(labels) != len(images):
        raise DataError(f"There are {len(images)} images but {len(labels)} labels.")
    rows = np.concatenate([np.asarray(rows_train), np.asarray(rows_tune)]).astype(np.int64)
    if len(rows_train) == 0:
        raise DataError("The training part is empty: no photograph is left to train on.")
    if rows.min() < 0 or rows.max() >= len(images):
        raise DataError(f"Row {int(rows.max())} is asked for, but there are {len(images)} images.")
    used = np.asarray(labels)[rows]
    if used.min() < 0 or used.max() >= len(classes):
        raise DataError(f"Labels run from {used.min()} to {used.max()}, but there are {len(classes)} classes.")
    if len(np.unique(np.asarray(labels)[np.asarray(rows_train)])) < 2:
        raise DataError("The training part holds one class only; a classifier needs at least two.")
    if np.intersect1d(rows_train, rows_tune).size:
        raise DataError("Some rows are in both the training and the tune part.")


def check_targets(targets: NDArray[np.float32] | None, rows_train: NDArray[np.integer], shape: tuple[int, int]) -> None:
    """Check that what is taught in place of labels is shares of classes.

    Raises:
        DataError: When it is not `(images, classes)` in shape, or a row that is trained on does not add up to 1.
    """
    if targets is None:
        return
    if targets.shape != shape:
        raise DataError(f"The targets are {targets.shape}; for these images and classes they must be {shape}.")
    taught = targets[np.asarray(rows_train)]
    if not ((taught >= 0).all() and np.allclose(taught.sum(axis=1), 1.0, atol=1e-3)):
        raise DataError("The targets of a photograph are shares of the classes: none below 0, 1 in all.")


def check_tune(recipe: Recipe, labels: NDArray[np.integer], classes: Sequence[str]) -> None:
    """Check that the tune part can decide what the recipe lets it decide.

    Args:
        recipe: Its schedule names the score.
        labels: Class indices of the tune part.
        classes: Codes of the diagnoses.

    Raises:
        DataError: When it cannot.
    """
    schedule = recipe.schedule
    if schedule.keep == "last" and not schedule.early_stopping_patience:
        return
    if len(labels) == 0:
        raise DataError(
            f'The recipe "{recipe.name}" decides by {schedule.monitor}, but the tune part is empty. Set '
            'schedule.keep = "last" and early_stopping_patience = 0, or give it photographs.'
        )
    melanoma = np.isin(np.asarray(classes)[labels], list(diagnosis.GROUPS["melanoma"]))
    if schedule.monitor == "tune_melanoma_auc" and melanoma.all() == melanoma.any():
        raise DataError(
            f'The recipe "{recipe.name}" decides by tune_melanoma_auc, but the tune part does not hold both melanomas '
            "and other diagnoses. Choose another schedule.monitor."
        )
