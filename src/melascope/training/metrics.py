"""The scores of an epoch while it runs: loss, accuracy, balanced accuracy, melanoma AUC.

The same metric is used for the training batches, as they come, and for the
whole tune part at the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from melascope import diagnosis
from melascope.training.losses import are_shares

_BINS = 2048
_REACH = 24.0
"""Log-odds of melanoma are binned over [-24, 24]: 2,048 bins keep the AUC within about .001 of the exact one."""


class Scores(keras.metrics.Metric):  # type: ignore[misc]
    """Cross-entropy, accuracy, balanced accuracy and melanoma AUC from logits.

    `result()` is a dict of those four; the AUC is NaN where the classes have
    no melanoma or only melanoma was seen. Ties within a bin count one half.
    A mixture of photographs counts as the class of its largest share.

    Args:
        classes: Codes of the logits' columns.
    """

    def __init__(self, classes: Sequence[str], name: str = "scores") -> None:
        super().__init__(name=name, dtype="float32")
        count = len(classes)
        members = [code in diagnosis.GROUPS["melanoma"] for code in classes]
        self._melanoma = np.asarray(members, dtype=np.float32)
        self.entropy = self.add_variable((), "zeros", name="entropy")
        self.confusion = self.add_variable((count, count), "zeros", name="confusion")
        self.histogram = self.add_variable((2, _BINS), "zeros", name="histogram")

    def update_state(self, labels: Any, logits: Any, sample_weight: Any = None) -> None:
        count = len(self._melanoma)
        logits = ops.cast(logits, "float32")
        if are_shares(labels, count):
            labels = ops.argmax(labels, axis=-1)
        truth = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), count, dtype="float32")
        log_p = ops.log_softmax(logits, axis=-1)
        self.entropy.assign_add(-ops.sum(truth * log_p))
        said = ops.one_hot(ops.argmax(logits, axis=-1), count, dtype="float32")
        self.confusion.assign_add(ops.matmul(ops.transpose(truth), said))
        if 0 < self._melanoma.sum() < count:
            hidden = np.where(self._melanoma > 0, 0.0, -np.inf).astype(np.float32)
            shown = np.where(self._melanoma > 0, -np.inf, 0.0).astype(np.float32)
            odds = ops.logsumexp(logits + hidden, axis=-1) - ops.logsumexp(logits + shown, axis=-1)
            place = ops.clip((odds + _REACH) / (2 * _REACH), 0.0, 1.0) * (_BINS - 1)
            bins = ops.one_hot(ops.cast(place, "int32"), _BINS, dtype="float32")
            melanoma = ops.matmul(truth, ops.convert_to_tensor(self._melanoma[:, None]))
            sides = ops.concatenate([1.0 - melanoma, melanoma], axis=1)
            self.histogram.assign_add(ops.matmul(ops.transpose(sides), bins))

    def result(self) -> dict[str, Any]:
        seen = ops.sum(self.confusion, axis=1)
        total = ops.maximum(ops.sum(seen), 1.0)
        right = ops.diagonal(self.confusion)
        present = ops.cast(seen > 0, "float32")
        others, melanomas = self.histogram[0], self.histogram[1]
        below = ops.cumsum(others) - others
        pairs = ops.sum(others) * ops.sum(melanomas)
        won = ops.sum(melanomas * (below + 0.5 * others))
        return {
            "cross_entropy": self.entropy / total,
            "accuracy": ops.sum(right) / total,
            "balanced_accuracy": ops.sum(right / ops.maximum(seen, 1.0)) / ops.maximum(ops.sum(present), 1.0),
            "melanoma_auc": ops.where(pairs > 0, won / ops.maximum(pairs, 1.0), float("nan")),
        }


def scores(labels: Any, logits: Any, classes: Sequence[str]) -> dict[str, float]:
    """Return the four scores of a whole part.

    Args:
        labels: `(n,)` class indices.
        logits: `(n, c)` floats.
        classes: Codes of the columns.
    """
    metric = Scores(classes)
    for start in range(0, len(labels), 1024):
        metric.update_state(labels[start : start + 1024], logits[start : start + 1024])
    return {name: float(value) for name, value in metric.result().items()}
