"""Batches from the packed array, in an order that depends on (seed, epoch) only.

Keras asks for batch after batch of one endless sequence, so that the first
batches of the next epoch are gathered while the last one's scores are taken.
A gather from the packed uint8 array costs about a hundredth of a step; no
shuffle buffer, no second copy of the data in memory.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from melascope.training import balancing, mixing


class TrainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """An endless sequence of training batches, epoch after epoch.

    Args:
        images: `(n, h, w, 3)` uint8, such as a packed memory map.
        labels: `(n,)` class indices.
        rows: The rows of `images` that are trained on.
        batch_size: Photographs in a batch; an epoch's last one may be smaller.
        seed: With the epoch it decides the order.
        start: The epoch to begin with, from 0.
        sampling: As in `balancing.order`.
        weights: `(c,)` loss weight of each class, or None.
        mixup: Alpha of mixup, 0 is off; see `mixing.mix`.
        cutmix: Alpha of CutMix, 0 is off.
        classes: Number of classes `c`; mixing needs it.
        targets: `(n, c)` shares of classes that are taught in place of the labels, or None.

    A batch is (images, labels) or (images, labels, weights). Under mixing and
    with targets labels are `(n, c)` shares, and a weight is the mean of the
    classes' by their shares; all of it depends on (seed, epoch, step) only.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.integer],
        rows: NDArray[np.integer],
        batch_size: int,
        seed: int,
        start: int = 0,
        sampling: balancing.Sampling = "none",
        weights: NDArray[np.float32] | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        classes: int = 0,
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(workers=0)
        self.images, self.labels, self.rows = images, np.asarray(labels, dtype=np.int32), np.asarray(rows)
        self.batch_size, self.seed, self.start = batch_size, seed, start
        self.sampling, self.class_weights = sampling, weights
        self.mixup, self.cutmix, self.classes, self.targets = mixup, cutmix, classes, targets
        self.steps = -(-len(self.rows) // batch_size)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    @property
    def num_batches(self) -> None:
        """None: the sequence has no end; `fit` is told the steps of an epoch."""
        return

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        epoch, step = self.start + index // self.steps, index % self.steps
        if self._order[0] != epoch:
            order = balancing.order(self.labels[self.rows], epoch, self.seed, self.sampling)
            self._order = (epoch, self.rows[order])
        chosen = self._order[1][step * self.batch_size : (step + 1) * self.batch_size]
        labels = self.labels[chosen]
        if self.targets is not None:
            return self._mixed(self.images[chosen], self.targets[chosen], epoch, step)
        if self.mixup or self.cutmix:
            return self._mixed(self.images[chosen], mixing.one_hot(labels, self.classes), epoch, step)
        if self.class_weights is None:
            return self.images[chosen], labels
        return self.images[chosen], labels, self.class_weights[labels]

    def _mixed(self, images: NDArray[np.uint8], targets: NDArray[np.float32], epoch: int, step: int) -> tuple[Any, ...]:
        rng = np.random.default_rng([self.seed, epoch, step, 2, 1])
        images, targets = mixing.mix(images, targets, self.mixup, self.cutmix, rng)
        if self.class_weights is None:
            return images, targets
        return images, targets, targets @ self.class_weights


class PlainBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """The photographs of some rows, once, in order, without labels."""

    def __init__(self, images: NDArray[np.uint8], rows: NDArray[np.integer], batch_size: int) -> None:
        super().__init__(workers=0)
        self.images, self.rows, self.batch_size = images, np.asarray(rows), batch_size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any]:
        return (self.images[self.rows[index * self.batch_size : (index + 1) * self.batch_size]],)
