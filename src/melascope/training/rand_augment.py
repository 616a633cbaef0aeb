"""RandAugment (Cubuk et al. 2020) with choices for each photograph and one resampling.

`keras.layers.RandAugment` chooses once for the whole batch and computes all
its changes to keep one of them. Here each photograph has its own
choice; what moves pixels (turn, shears, shifts) is composed into a single
bilinear resampling, and what changes colours acts in a fixed order.
Equalisation is left out: its histograms cost more than all the rest.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

CHANGES = (
    "rotate", "shear_x", "shear_y", "shift_x", "shift_y",
    "brightness", "colour", "contrast", "sharpness", "solarise", "posterise", "auto_contrast",
)  # fmt: skip
_STRONGEST = {"rotate": math.radians(30), "shear": 0.3, "shift": 0.45, "light": 0.9}
_GREY = (0.299, 0.587, 0.114)
"""Luminance of red, green and blue, ITU-R BT.601."""


class RandAugment(keras.layers.Layer):  # type: ignore[misc]
    """Change each photograph by a few of twelve changes, drawn without replacement.

    Input and output: `(n, h, w, 3)` float in [0, 255].

    Args:
        count: How many changes each photograph gets.
        magnitude: Their strength, as a share of the strongest; to either side where a change has two.
        fill: What stands outside the photograph, as in `keras.ops.image.affine_transform`.
    """

    def __init__(self, count: int = 2, magnitude: float = 0.3, fill: str = "reflect", **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.count, self.magnitude, self.fill = count, magnitude, fill
        self.seeds = keras.random.SeedGenerator(seed=0)

    def call(self, images: Any) -> Any:
        """Return the changed photographs."""
        n = ops.shape(images)[0]
        draw = keras.random.uniform((n, len(CHANGES)), seed=self.seeds)
        places = ops.top_k(draw, self.count)[1]
        chosen = ops.sum(ops.one_hot(places, len(CHANGES), dtype="float32"), axis=1)
        sign = ops.sign(keras.random.uniform((n, len(CHANGES)), -1.0, 1.0, seed=self.seeds))
        strength = chosen * sign * self.magnitude
        at = {name: place for place, name in enumerate(CHANGES)}
        pixels = self._moved(images, *(strength[:, at[name]] for name in CHANGES[:5]))
        pixels = self._lit(pixels, *(strength[:, at[name]] for name in CHANGES[5:9]))
        return self._mapped(pixels, *(chosen[:, at[name]] for name in CHANGES[9:]))

    def _moved(self, images: Any, turn: Any, shear_x: Any, shear_y: Any, shift_x: Any, shift_y: Any) -> Any:
        height, width = images.shape[1], images.shape[2]
        angle = turn * _STRONGEST["rotate"]
        p, q = shear_x * _STRONGEST["shear"], shear_y * _STRONGEST["shear"]
        cosine, sine = ops.cos(angle), ops.sin(angle)
        # Rows map output to input coordinates around the centre: the turn, then both shears.
        a, b = cosine - sine * q, cosine * p - sine
        d, e = sine + cosine * q, sine * p + cosine
        x, y = (width - 1) / 2, (height - 1) / 2
        c = x - a * x - b * y + shift_x * _STRONGEST["shift"] * width
        f = y - d * x - e * y + shift_y * _STRONGEST["shift"] * height
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, c, d, e, f, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode=self.fill, data_format="channels_last"
        )

    def _lit(self, pixels: Any, brightness: Any, colour: Any, contrast: Any, sharpness: Any) -> Any:
        def factor(strength: Any) -> Any:
            return 1.0 + _STRONGEST["light"] * ops.reshape(strength, (-1, 1, 1, 1))

        def grey(these: Any) -> Any:
            return ops.sum(these * np.asarray(_GREY, dtype=np.float32), axis=-1, keepdims=True)

        pixels = ops.clip(pixels * factor(brightness), 0.0, 255.0)
        pale = grey(pixels)
        pixels = pale + (pixels - pale) * factor(colour)
        mean = ops.mean(pale, axis=(1, 2), keepdims=True)
        pixels = ops.clip(mean + (pixels - mean) * factor(contrast), 0.0, 255.0)
        # The smoothing kernel of PIL's ImageEnhance.Sharpness: 5 in the middle, 1 around, over 13.
        padded = ops.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
        smooth = (9.0 * ops.average_pool(padded, 3, 1, "valid", "channels_last") + 4.0 * pixels) / 13.0
        return ops.clip(smooth + (pixels - smooth) * factor(sharpness), 0.0, 255.0)

    def _mapped(self, pixels: Any, solarise: Any, posterise: Any, auto_contrast: Any) -> Any:
        def where(chosen: Any, changed: Any, kept: Any) -> Any:
            return ops.where(ops.reshape(chosen, (-1, 1, 1, 1)) > 0.5, changed, kept)

        threshold = 255.0 * (1.0 - self.magnitude)
        pixels = where(solarise, ops.where(pixels > threshold, 255.0 - pixels, pixels), pixels)
        step = 2.0 ** round(4 * self.magnitude)
        pixels = where(posterise, ops.floor(pixels / step) * step, pixels)
        low, high = ops.min(pixels, axis=(1, 2), keepdims=True), ops.max(pixels, axis=(1, 2), keepdims=True)
        stretched = (pixels - low) * (255.0 / ops.maximum(high - low, 1.0))
        return ops.clip(where(auto_contrast, stretched, pixels), 0.0, 255.0)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return shape
