"""Batch normalisation in TensorFlow's single operation, where Keras spends a dozen passes over memory.

Keras writes it as casts, means, squares and products, each over all features; on a CPU that cost as much as the
convolutions (`python -m benchmarks.training` measures it). The fused operation is the same function (Ioffe and
Szegedy 2015): equal to rounding, forth and back.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import keras

_LANES = 16
"""In bfloat16 the operation is fast on multiples of so many channels; on others float32 is three times as fast."""


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """As `keras.layers.BatchNormalization`, in one operation: on a CPU a step of MobileNetV2 takes half the time.

    Input and output: `(n, h, w, channels)`. Other shapes, other axes, masks, prediction, and other machines than a CPU
    under TensorFlow take Keras's own way.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise features by their batch, or by what was stored; the arguments are those of Keras."""
        plain = mask is None and self.axis in (3, -1) and self.scale and self.center
        if not (training and plain and len(inputs.shape) == 4 and _possible()):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        if inputs.shape[-1] % _LANES:
            inputs = tf.cast(inputs, tf.float32)
        operation = partial(
            tf.compat.v1.nn.fused_batch_norm,
            inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta), epsilon=self.epsilon,
        )  # fmt: skip
        stored = [tf.convert_to_tensor(weight) for weight in (self.moving_mean, self.moving_variance)]
        if not self.trainable:
            return tf.cast(operation(mean=stored[0], variance=stored[1], is_training=False)[0], self.compute_dtype)
        features, mean, variance = operation()[:3]
        # The operation gives the unbiased variance; Keras keeps the biased one.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        seen = [mean, variance * (count - 1.0) / count]
        for weight, old, new in zip((self.moving_mean, self.moving_variance), stored, seen, strict=True):
            weight.assign(old * self.momentum + new * (1.0 - self.momentum))
        return tf.cast(features, self.compute_dtype)


def rebuilt(model: Any) -> Any:
    """Return a Keras model built anew, freshly initialised, with this batch normalisation in place of Keras's."""

    def ours(layer: Any) -> Any:
        kind = BatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=ours)


@cache
def _possible() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
