"""Losses of a recipe, from logits and either class indices or shares of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe

Loss = Callable[[Any, Any], Any]


def loss(recipe: Recipe, n_classes: int, soft: bool = False) -> Loss:
    """Return the loss of a recipe: `(labels, logits (n, c)) -> (n,)`.

    The cross-entropy, or the focal loss (Lin et al. 2017), which multiplies
    it by (1 - p) to the power of `focal_gamma` and so turns training towards
    what is not yet learnt. Both heed `label_smoothing`. Labels are `(n,)`
    class indices, or `(n, c)` shares as mixing makes them; class weights
    arrive as sample weights and multiply the result.

    Args:
        recipe: Its section `optimiser` decides.
        n_classes: Number of classes `c`.
        soft: Whether labels are shares although nothing is mixed.
    """
    settings = recipe.optimiser
    smoothing, gamma = settings.label_smoothing, settings.focal_gamma
    if settings.loss == "cross_entropy" and not smoothing and not recipe.augmentation.mixes and not soft:
        plain: Loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return plain

    def cross_entropy(labels: Any, logits: Any) -> Any:
        truth = shares(labels, n_classes)
        return keras.losses.categorical_crossentropy(truth, logits, from_logits=True, label_smoothing=smoothing)

    def focal(labels: Any, logits: Any) -> Any:
        # keras.losses.CategoricalFocalCrossentropy clips p, and its slope is zero where p < 1e-7, which is where
        # a focal loss should pull hardest; the logarithm of the softmax has no such place.
        truth = shares(labels, n_classes) * (1.0 - smoothing) + smoothing / n_classes
        log_p = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        # The bound keeps the slope finite at p = 1 when gamma < 1.
        missing = ops.maximum(1.0 - ops.exp(log_p), 1e-7)
        return -ops.sum(truth * ops.power(missing, gamma) * log_p, axis=-1)

    return focal if settings.loss == "focal" else cross_entropy


def shares(labels: Any, n_classes: int) -> Any:
    """Return labels as shares of classes, `(n, c)` float32; class indices become ones and zeros."""
    labels = ops.convert_to_tensor(labels)
    if are_shares(labels, n_classes):
        return ops.cast(labels, "float32")
    return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), n_classes, dtype="float32")


def are_shares(labels: Any, n_classes: int) -> bool:
    """Return whether labels are `(n, c)` shares, not `(n,)` or `(n, 1)` indices."""
    return len(labels.shape) == 2 and labels.shape[-1] == n_classes and n_classes > 1
