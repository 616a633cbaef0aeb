from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from melascope.training import recipe as recipes

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"size": 16, "batch_size": 16},
    "network": {"widths": [8, 8], "batch_norm": True, "batch_norm_momentum": 0.5, "dropout": 0.2},
    "augmentation": {"flip": "both", "rotation": 0.1, "zoom": 0.1, "brightness": 0.1, "contrast": 0.1},
    "balance": {"sampling": "sqrt"},
    "optimiser": {"learning_rate": 0.02},
    "schedule": {"epochs": 4},
}


@dataclass(frozen=True)
class Photographs:
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    train: np.ndarray
    tune: np.ndarray

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.images, self.labels, self.train, self.tune, self.classes


def photographs(size: int = 16, count: int = 90, seed: int = 0) -> Photographs:
    """Blobs whose colour tells the class, most of them nevi."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.25, 0.55, 0.2])
    images = rng.integers(90, 166, (count, size, size, 3), dtype=np.int16)
    for code in range(3):
        images[labels == code, size // 4 : -size // 4, size // 4 : -size // 4, code] += 70
    order = rng.permutation(count)
    return Photographs(
        images.astype(np.uint8),
        labels,
        ("MEL", "NV", "BCC"),
        np.sort(order[: count * 2 // 3]),
        np.sort(order[count * 2 // 3 :]),
    )


@pytest.fixture(scope="session")
def photos() -> Photographs:
    return photographs()


@pytest.fixture
def tiny() -> recipes.Recipe:
    return recipes.parse(TINY)
