from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pixels(seed: int, size: tuple[int, int] = (40, 32)) -> np.ndarray:
    """A random image `(h, w, 3)`; another seed looks different."""
    small = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


@pytest.fixture
def write_image() -> Callable[..., Path]:
    def write(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32), **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        Image.fromarray(pixels(seed, size)).save(path, kind, **options)
        return path

    return write


@pytest.fixture
def make_pixels() -> Callable[..., np.ndarray]:
    return pixels


@pytest.fixture
def class_folders(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Ten photographs: Train and Test, melanoma and nevus."""
    root = tmp_path / "set"
    for number in range(10):
        split, name = ("Test" if number % 5 == 0 else "Train"), ("melanoma" if number % 2 else "nevus")
        write_image(root / split / name / f"ISIC_{number:07d}.jpg", seed=number)
    return root
