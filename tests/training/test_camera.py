"""Augmentation for other cameras: each change does what it says, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from melascope.training import backend

keras = backend.load()

from melascope.training import augmentation, recipe  # noqa: E402
from melascope.training.camera import RandomCamera  # noqa: E402
from melascope.training.layers import RandomAffine  # noqa: E402

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    low = rng.uniform(60, 190, (8, 6, 8, 3)).astype(np.float32)
    return np.asarray(keras.ops.image.resize(low, (24, 32), interpolation="bilinear"))


def shown(images: np.ndarray, **strengths: float) -> np.ndarray:
    layer = RandomCamera(**strengths)
    augmentation.reseed(layer, 3, 1)
    return np.asarray(keras.ops.convert_to_numpy(layer(images)))


def test_no_strength_changes_nothing(images):
    np.testing.assert_array_equal(shown(images), images)
    for name in ("white_balance", "saturation", "hue", "gamma", "blur", "noise"):
        np.testing.assert_allclose(shown(images, **{name: 1e-7}), images, atol=0.01)


def test_white_balance_multiplies_each_channel(images):
    factors = shown(images, white_balance=0.2) / images
    assert np.ptp(factors, axis=(1, 2)).max() < 1e-4
    assert (factors > 1 / 1.21).all() and (factors < 1.21).all()  # noqa: PT018
    assert factors[:, 0, 0].std(axis=0).min() > 0.02  # another one for each photograph and channel


def test_saturation_and_hue_keep_the_grey_level(images):
    for name, bound in (("saturation", 0.4), ("hue", 0.08)):
        found = shown(images, **{name: bound})
        np.testing.assert_allclose(found @ GREY, images @ GREY, atol=0.3)
        assert np.abs(found - images).max() > 3
    spread, before = (np.std(one, axis=-1).mean(axis=(1, 2)) for one in (shown(images, saturation=0.4), images))
    ratio = spread / before
    assert 0.59 < ratio.min() < 0.95 < 1.05 < ratio.max() < 1.41


def test_gamma_keeps_black_and_white(images):
    ends = np.concatenate([np.zeros_like(images[:4]), np.full_like(images[:4], 255.0)])
    np.testing.assert_allclose(shown(ends, gamma=0.3), ends, atol=0.02)
    change = (shown(images, gamma=0.3) - images).mean(axis=(1, 2, 3))
    assert change.min() < -3 < 3 < change.max()


def test_blur_takes_detail_away_and_adds_it(images):
    def detail(one: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(one, axis=1)).mean(axis=(1, 2, 3))

    ratio = detail(shown(images, blur=1.0)) / detail(images)
    assert ratio.min() < 0.95 < 1.02 < ratio.max()
    flat = np.full_like(images, 90.0)
    np.testing.assert_allclose(shown(flat, blur=1.0), flat, atol=1e-3)


def test_noise_is_no_stronger_than_asked_for(images):
    deviation = (shown(images, noise=0.04) - images).std(axis=(1, 2, 3))
    assert 0 < deviation.min() < deviation.max() < 0.04 * 255 * 1.1


def test_the_aspect_changes_by_no_more_than_asked_for():
    ramp = np.repeat(np.linspace(0, 200, 64, dtype=np.float32)[None, None, :, None], 48, axis=1)
    ramps = np.repeat(np.repeat(ramp, 3, axis=3), 16, axis=0)
    layer = RandomAffine(aspect=0.3, fill="nearest")
    augmentation.reseed(layer, 3, 1)
    slopes = np.diff(np.asarray(layer(ramps))[:, 24, 24:40, 0], axis=1).mean(axis=1) / (200 / 63)
    # Width changes by the root of the aspect.
    assert 1 / np.sqrt(1.3) - 0.01 < slopes.min() < 0.97 < 1.03 < slopes.max() < np.sqrt(1.3) + 0.01


def test_a_recipe_asks_for_it_and_its_preview_shows_each(images):
    asked = recipe.load("small-cnn").replace(
        data={"size": [24, 32]}, augmentation={"white_balance": 0.2, "noise": 0.02}
    )
    found = augmentation.preview(asked, images[0].astype(np.uint8), count=2)
    assert {"white_balance", "noise", "all"} <= set(found)
    assert "gamma" not in found
