"""Predictions: one row per photograph, as the deployed predictor gave them.

Columns: `image_id, path, group, lesion_id, diagnosis, label_from, part, error,
error_kind, sha256, logit_<CODE>..., p_<CODE>...` (calibrated), and what the
table knows besides (`patient_id, age, sex, site, source, confirmed_by`). A
photograph that was refused keeps its row: its numbers are NaN, `error` says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.errors import DataError
from melascope.progress import Progress, silent
from melascope.statistics import softmax
from melascope.statistics.intervals import Array

if TYPE_CHECKING:
    from melascope.bundle.trained_on import TrainedOn

KEPT = (
    "image_id",
    "path",
    "group",
    "lesion_id",
    "diagnosis",
    "label_from",
    "part",
    "patient_id",
    "age",
    "sex",
    "site",
    "source",
    "confirmed_by",
)
"""The columns that predictions take over from the table, empty where it has none."""


class Streams(Protocol):
    """What `predict_table` needs of a predictor; `melascope.bundle.Predictor` is one."""

    @property
    def classes(self) -> Sequence[str]:
        """The codes of the logits' columns."""
        ...

    def stream(self, paths: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """Yield `(index, raw)` in order; raw has `logits (c,) | None`, `refusal` and `sha256`."""
        ...

    def probabilities(self, logits: Array) -> Array:
        """Return calibrated probabilities `(n, c)` of logits `(n, c)`."""
        ...


def predict_table(predictor: Streams, table: pd.DataFrame, progress: Progress | None = None) -> pd.DataFrame:
    """Return the predictions for every photograph of an image table, in its order.

    Args:
        predictor: The deployed predictor: what is evaluated is what is deployed.
        table: At least `image_id` and `path`.
        progress: Called with `predict`, photographs done and in all.
    """
    report = progress or silent
    classes, n = tuple(predictor.classes), len(table)
    logits = np.full((n, len(classes)), np.nan, dtype=np.float32)
    errors: list[Any] = [pd.NA] * n
    kinds: list[Any] = [pd.NA] * n
    digests: list[Any] = [pd.NA] * n
    report("predict", 0, n)
    for done, (row, raw) in enumerate(predictor.stream([str(path) for path in table["path"]]), start=1):
        if raw.refusal is None:
            logits[row] = raw.logits
        else:
            errors[row], kinds[row] = raw.refusal.message, raw.refusal.kind
        if raw.sha256 is not None:
            digests[row] = raw.sha256
        report("predict", done, n)
    result = pd.DataFrame({name: table[name] if name in table.columns else pd.NA for name in KEPT}, index=table.index)
    result = result.reset_index(drop=True)
    for name, values in (("error", errors), ("error_kind", kinds), ("sha256", digests)):
        result[name] = pd.array(values, dtype="string")
    scored = np.isfinite(logits).all(axis=1)
    # A network that yields NaN must not pass for one that was asked nothing.
    result.loc[~scored & result["error"].isna().to_numpy(), ["error", "error_kind"]] = (
        "The model gave a number that is not finite.",
        "not_finite",
    )
    p = np.full(logits.shape, np.nan)
    if scored.any():
        p[scored] = predictor.probabilities(logits[scored])
    numbers = {f"logit_{code}": logits[:, i] for i, code in enumerate(classes)}
    numbers |= {f"p_{code}": p[:, i] for i, code in enumerate(classes)}
    return pd.concat([result, pd.DataFrame(numbers)], axis=1)


def predictions_of(
    table: pd.DataFrame, logits: Array, classes: Sequence[str], temperature: float = 1.0
) -> pd.DataFrame:
    """Return predictions from logits `(n, c)` that are at hand, in the table's order; NaN rows count as refused."""
    z = np.asarray(logits, dtype=float)
    if z.shape != (len(table), len(classes)):
        raise DataError(f"Logits of shape {z.shape} do not fit {len(table)} photographs of {len(classes)} classes.")

    @dataclass(frozen=True)
    class Refused:
        kind: str = "not_finite"
        message: str = "There is no prediction for this photograph."

    @dataclass(frozen=True)
    class Raw:
        logits: Array
        refusal: Refused | None
        sha256: str | None = None

    class AtHand:
        def __init__(self) -> None:
            self.classes = tuple(classes)

        def stream(self, paths: Sequence[str]) -> Iterator[tuple[int, Raw]]:
            for row in range(len(paths)):
                yield row, Raw(z[row], None if np.isfinite(z[row]).all() else Refused())

        def probabilities(self, logits: Array) -> Array:
            return softmax(logits, temperature)

    return predict_table(AtHand(), table)


def mark_trained_on(
    predictions: pd.DataFrame, trained_on: TrainedOn, perceptual: Array | None = None, distance: int = 0
) -> pd.DataFrame:
    """Return the predictions with a column `trained_on`: whether the model knows the photograph.

    Args:
        predictions: With the column `sha256`.
        trained_on: The bundle's list.
        perceptual: `(n, 32)` uint8 perceptual hashes of the photographs, which also find re-encoded copies.
        distance: How many of their 256 bits may differ.
    """
    digests = [None if pd.isna(value) else str(value) for value in predictions["sha256"]]
    result = predictions.copy()
    result["trained_on"] = trained_on.contains(digests, perceptual, distance)
    return result


@dataclass(frozen=True)
class Vocabulary:
    """The classes in which labels and predictions can both be told.

    Attributes:
        classes: The codes.
        coarsened: Whether the model's classes had to be summed.
    """

    classes: tuple[str, ...]
    coarsened: bool


def vocabulary(labels: Sequence[str], classes: Sequence[str]) -> Vocabulary:
    """Return the finest vocabulary that holds the model's classes and as many of the labels as possible.

    Example:
        >>> vocabulary(["MEL", "AKIEC"], diagnosis.ISIC_2019).classes
        ('MEL', 'NV', 'BCC', 'AKIEC', 'BKL', 'DF', 'VASC')
    """
    own = tuple(classes)  # in the model's order, which is that of its prediction sets' limits
    best, held = Vocabulary(own, False), _held(labels, own)
    for known in (diagnosis.ISIC_2019, diagnosis.ISIC_2018):
        to = [diagnosis.coarsen_label(code, known) for code in own]
        if None in to:
            continue
        coarse = diagnosis.ordered(code for code in to if code is not None)
        count = _held(labels, coarse)
        if count > held:
            best, held = Vocabulary(coarse, set(coarse) != set(own)), count
    return best


def _held(labels: Sequence[str], classes: Sequence[str]) -> int:
    return sum(diagnosis.coarsen_label(code, classes) is not None for code in labels)


def common_classes(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...] | None:
    """Return the finest vocabulary into which two models' classes can both be coarsened, or None."""
    own = diagnosis.ordered(a)
    if own == diagnosis.ordered(b):
        return own
    for known in (own, diagnosis.ordered(b), diagnosis.ISIC_2019, diagnosis.ISIC_2018):
        to = [[diagnosis.coarsen_label(code, known) for code in codes] for codes in (a, b)]
        if all(None not in codes for codes in to) and set(to[0]) == set(to[1]):
            return diagnosis.ordered(code for code in to[0] if code is not None)
    return None


def probabilities_of(predictions: pd.DataFrame, classes: Sequence[str]) -> Array:
    """Return the calibrated probabilities `(n, c)`.

    Raises:
        DataError: When a class has no column.
    """
    lacking = [f"p_{code}" for code in classes if f"p_{code}" not in predictions.columns]
    if lacking:
        raise DataError(
            f"The predictions have no column {', '.join(lacking)}, which the decision's classes ask for. "
            "They come from another model; predict again with this one."
        )
    return predictions[[f"p_{code}" for code in classes]].to_numpy(dtype=float)
