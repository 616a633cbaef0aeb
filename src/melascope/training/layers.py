"""The layers of our own: colour constancy, a pooled head that explains itself, and augmentation in two passes.

Backend-agnostic: `keras.ops` only.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

_LEVELS = (190.0, 150.0, 155.0)
"""What each channel's norm becomes: near what dermoscopic skin has, so that most photographs hardly change."""
_DARKEST = 20.0
"""A norm below this is taken for this: what is nearly black is not made noise."""


class OneLight(keras.layers.Layer):  # type: ignore[misc]
    """Bring each photograph to one colour and strength of light, by itself.

    Each channel is divided by its Minkowski norm of order 6 over the photograph, which bright skin decides, and brought
    to a fixed level.

    Input and output: `(n, h, w, 3)`, 0 to 255.

    Source: shades of grey, Finlayson and Trezzi 2004, Color and Imaging Conference; there the strength stays.
    """

    def call(self, pixels: Any) -> Any:
        square = ops.square(pixels / 255.0)
        norm = 255.0 * ops.power(ops.mean(square * square * square, axis=(1, 2), keepdims=True), 1.0 / 6.0)
        return ops.minimum(
            pixels * ops.divide(ops.convert_to_tensor(_LEVELS, dtype=pixels.dtype), ops.maximum(norm, _DARKEST)), 255.0
        )

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class PooledHead(keras.layers.Layer):  # type: ignore[misc]
    """Global average pooling, dropout and a linear classifier, with its class-activation map.

    The map of a class is the features times the class's weights, so that its
    mean plus the class's bias is the class's logit (Zhou et al. 2016).

    Input: `(n, h', w', d)`. Output: a dict of `logits (n, c)`,
    `embedding (n, d)` and `heatmap (n, c, h', w')`.
    """

    def __init__(self, classes: int, dropout: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.l2 = l2
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, shape: tuple[int | None, ...]) -> None:
        penalty = keras.regularizers.L2(self.l2) if self.l2 else None
        self.kernel = self.add_weight(
            name="kernel", shape=(shape[-1], self.classes), initializer="glorot_uniform", regularizer=penalty
        )
        self.bias = self.add_weight(name="bias", shape=(self.classes,), initializer="zeros")

    def call(self, features: Any, training: bool | None = None) -> dict[str, Any]:
        embedding = ops.mean(features, axis=(1, 2))
        logits = ops.matmul(self.dropout(embedding, training=training), self.kernel) + self.bias
        heatmap = ops.transpose(ops.matmul(features, self.kernel), (0, 3, 1, 2))
        return {"logits": logits, "embedding": embedding, "heatmap": heatmap}

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> dict[str, tuple[int | None, ...]]:
        return {
            "logits": (shape[0], self.classes),
            "embedding": (shape[0], shape[3]),
            "heatmap": (shape[0], self.classes, shape[1], shape[2]),
        }


class ReverseChannels(keras.layers.Layer):  # type: ignore[misc]
    """Turn red, green and blue around, for networks that were trained on BGR.

    Input and output: `(n, h, w, 3)`.
    """

    def call(self, images: Any) -> Any:
        return ops.take(images, [2, 1, 0], axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class RandomAffine(keras.layers.Layer):  # type: ignore[misc]
    """Flip, turn, zoom and shift each photograph at random, in a single bilinear resampling.

    One resampling costs half of Keras's separate RandomRotation and
    RandomZoom, and blurs once instead of twice.

    Input and output: `(n, h, w, 3)` float.

    Args:
        horizontal: Whether to mirror left and right, with probability one half.
        vertical: Whether to mirror top and bottom.
        rotation: Largest turn to either side, as a share of a full turn.
        zoom: Lowest and highest change of the shown width; .2 shows a fifth more.
        shift: Largest shift, as a share of the side.
        aspect: Largest change of width against height, as a share; both change by its root.
        fill: As in `keras.ops.image.affine_transform`.
    """

    def __init__(
        self,
        horizontal: bool = False,
        vertical: bool = False,
        rotation: float = 0.0,
        zoom: tuple[float, float] = (0.0, 0.0),
        shift: float = 0.0,
        fill: str = "reflect",
        aspect: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(dtype="float32", **options)
        self.horizontal, self.vertical = horizontal, vertical
        self.rotation, self.zoom, self.shift, self.fill, self.aspect = rotation, zoom, shift, fill, aspect
        self.seeds = keras.random.SeedGenerator(seed=0)

    def call(self, images: Any) -> Any:
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]

        def uniform(low: float, high: float) -> Any:
            return keras.random.uniform((count,), low, high, seed=self.seeds)

        def sign(random: bool) -> Any:
            return ops.sign(uniform(-1.0, 1.0)) if random else ops.ones((count,))

        angle = uniform(-self.rotation, self.rotation) * (2 * math.pi)
        scale = 1.0 + uniform(*self.zoom)
        # Rows map output to input coordinates around the centre; the mirror acts on the output's axes.
        horizontal, vertical = sign(self.horizontal), sign(self.vertical)
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        a, b, d, e = horizontal * cosine, -vertical * sine, horizontal * sine, vertical * cosine
        if self.aspect:
            wider = ops.exp(uniform(-0.5, 0.5) * math.log1p(self.aspect))
            a, b, d, e = a * wider, b * wider, d / wider, e / wider
        x, y = (width - 1) / 2, (height - 1) / 2
        c = x - a * x - b * y + uniform(-self.shift, self.shift) * width
        f = y - d * x - e * y + uniform(-self.shift, self.shift) * height
        zero = ops.zeros((count,))
        transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode=self.fill, data_format="channels_last"
        )

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class RandomLight(keras.layers.Layer):  # type: ignore[misc]
    """Change each photograph's brightness and contrast at random, in one pass.

    Contrast is changed around the photograph's own mean of each channel.

    Input and output: `(n, h, w, 3)` float in [0, 255].

    Args:
        brightness: Largest change, as a share of 255.
        contrast: Largest change, as a share.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.brightness, self.contrast = brightness, contrast
        self.seeds = keras.random.SeedGenerator(seed=0)

    def call(self, images: Any) -> Any:
        shape = (ops.shape(images)[0], 1, 1, 1)
        offset = keras.random.uniform(shape, -255.0 * self.brightness, 255.0 * self.brightness, seed=self.seeds)
        if self.contrast:
            factor = keras.random.uniform(shape, 1.0 - self.contrast, 1.0 + self.contrast, seed=self.seeds)
            offset = offset + (1.0 - factor) * ops.mean(images, axis=(1, 2), keepdims=True)
            images = images * factor
        return ops.clip(images + offset, 0.0, 255.0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
