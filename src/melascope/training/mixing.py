"""Mixing of training photographs: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

In numpy, before augmentation, so that the draws depend on (seed, epoch, step)
alone and images stay uint8; 32 photographs of 128 pixels take half a
millisecond.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mixed = tuple[NDArray[np.uint8], NDArray[np.float32]]


def mix(
    images: NDArray[np.uint8],
    targets: NDArray[np.float32],
    mixup: float,
    cutmix: float,
    rng: np.random.Generator,
) -> Mixed:
    """Mix each photograph of a batch with another one of it, and their targets by the same share.

    When both kinds are on, a batch gets either with probability one half.
    The share of a photograph's own pixels is drawn from Beta(alpha, alpha),
    for each photograph anew.

    Args:
        images: `(n, h, w, 3)` uint8.
        targets: `(n, c)` shares of classes, as `one_hot` makes them.
        mixup: Alpha of mixup; 0 is off.
        cutmix: Alpha of CutMix; 0 is off.
        rng: Draws partners, shares and rectangles.

    Returns:
        New images `(n, h, w, 3)` uint8 and targets `(n, c)` float32.
    """
    if not mixup and not cutmix:
        return images, targets
    partner = rng.permutation(len(images))
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    alpha = cutmix if cuts else mixup
    own = rng.beta(alpha, alpha, len(images))
    mixed, own = _cut(images, partner, own, rng) if cuts else _blend(images, partner, own)
    share = own[:, None].astype(np.float32)
    return mixed, share * targets + (1 - share) * targets[partner]


def one_hot(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float32]:
    """Return class indices `(n,)` as targets `(n, c)` float32."""
    targets: NDArray[np.float32] = np.eye(n_classes, dtype=np.float32)[labels]
    return targets


def _blend(
    images: NDArray[np.uint8], partner: NDArray[np.intp], own: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    # Fixed point with 8 bits after the point: a third of the time of floats, and the targets heed the rounding.
    share = np.rint(own * 256).astype(np.uint16)
    weight = share[:, None, None, None]
    mixed = (images * weight + images[partner] * (256 - weight) + 128) >> 8
    return mixed.astype(np.uint8), share / 256


def _cut(
    images: NDArray[np.uint8], partner: NDArray[np.intp], own: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    height, width = images.shape[1:3]
    half = np.sqrt(1.0 - own)[:, None] * (height, width) / 2
    centre = rng.uniform(size=(len(images), 2)) * (height, width)
    low = np.rint(np.clip(centre - half, 0, (height, width))).astype(int)
    high = np.rint(np.clip(centre + half, 0, (height, width))).astype(int)
    mixed = images.copy()
    for place, (other, (top, left), (bottom, right)) in enumerate(zip(partner, low, high, strict=True)):
        mixed[place, top:bottom, left:right] = images[other, top:bottom, left:right]
    # The rectangle may reach over the edge: what counts is the area that was really replaced.
    replaced: NDArray[np.float64] = np.prod(high - low, axis=1) / (height * width)
    return mixed, 1.0 - replaced
