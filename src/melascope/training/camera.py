"""Augmentation for other cameras and clinics: white balance, saturation, hue, gamma, sharpness and noise, in one pass.

What differs between hospitals is rarely the lesion: it is the camera, its light, its compression and its focus. A
network that learnt from one clinic takes them for the diagnosis.

Backend-agnostic: `keras.ops` only.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Luma and the two colour axes of NTSC, around which a hue is turned (SMPTE 170M).
_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], dtype=np.float32
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ).astype(np.float32)
_BLUR = np.outer([1.0, 4.0, 6.0, 4.0, 1.0], [1.0, 4.0, 6.0, 4.0, 1.0]).astype(np.float32) / 256.0


class RandomCamera(keras.layers.Layer):  # type: ignore[misc]
    """Show each photograph as another camera might have taken it.

    Colours are changed by one matrix for each photograph (gain of each channel, saturation, hue), then by a gamma;
    then the photograph is blurred or sharpened, and grain is added.

    Input and output: `(n, h, w, 3)` float in [0, 255].

    Args:
        white_balance: Largest change of each channel's gain, as a share (in logarithms).
        saturation: Largest change, as a share.
        hue: Largest turn to either side, as a share of a full turn.
        gamma: Largest change of the exponent, as a share (in logarithms).
        blur: How far a photograph may be taken to its blurred version; as far again the other way sharpens it.
        noise: Largest standard deviation of the grain, as a share of 255.
    """

    def __init__(
        self,
        white_balance: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        gamma: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(dtype="float32", **options)
        self.white_balance, self.saturation, self.hue = white_balance, saturation, hue
        self.gamma, self.blur, self.noise = gamma, blur, noise
        self.seeds = keras.random.SeedGenerator(seed=0)

    def call(self, images: Any) -> Any:
        count = ops.shape(images)[0]

        def uniform(bound: float, *shape: int) -> Any:
            return keras.random.uniform((count, *shape), -bound, bound, seed=self.seeds)

        if self.white_balance or self.saturation or self.hue:
            images = ops.einsum("nhwc,ncd->nhwd", images, self._colours(uniform))
            images = ops.clip(images, 0.0, 255.0)
        if self.gamma:
            exponent = ops.exp(uniform(float(np.log1p(self.gamma)), 1, 1, 1))
            # Not `power`, which is ten times as slow: it is no vector operation on a CPU.
            images = 255.0 * ops.exp(exponent * ops.log(ops.maximum(images, 1e-3) / 255.0))
        if self.blur:
            kernel = ops.convert_to_tensor(np.repeat(_BLUR[:, :, None, None], 3, axis=2))
            padded = ops.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
            blurred = ops.depthwise_conv(padded, kernel, padding="valid")
            images = images + uniform(self.blur, 1, 1, 1) * (blurred - images)
        if self.noise:
            # One grain for the batch, in another strength and sign for each photograph: drawing it costs the most.
            grain = keras.random.normal((1, *images.shape[1:]), seed=self.seeds)
            images = images + uniform(255.0 * self.noise, 1, 1, 1) * grain
        return ops.clip(images, 0.0, 255.0)

    def _colours(self, uniform: Any) -> Any:
        """Return a matrix `(n, 3, 3)` for each photograph: pixels (a row) times it are the pixels shown."""
        matrix = ops.diag(ops.ones(3))[None]
        if self.hue:
            angle = uniform(self.hue * 2 * float(np.pi), 1)
            cosine, sine = ops.cos(angle), ops.sin(angle)
            one, zero = ops.ones_like(cosine), ops.zeros_like(cosine)
            rows = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
            turn = ops.stack([ops.concatenate(row, axis=-1) for row in rows], axis=1)
            matrix = ops.matmul(ops.matmul(_TO_YIQ.T, ops.transpose(turn, (0, 2, 1))), _FROM_YIQ.T)
        if self.saturation:
            kept = 1.0 + uniform(self.saturation, 1, 1)
            grey = ops.convert_to_tensor(np.repeat(_GREY[:, None], 3, axis=1))[None]
            matrix = ops.matmul(matrix, kept * ops.diag(ops.ones(3))[None] + (1.0 - kept) * grey)
        if self.white_balance:
            matrix = matrix * ops.exp(uniform(float(np.log1p(self.white_balance)), 1, 3))
        return matrix

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape
