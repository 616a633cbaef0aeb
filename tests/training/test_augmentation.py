from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from melascope.training import recipe as recipes
from melascope.training.augmentation import augment, preview, reseed

pytestmark = pytest.mark.train


def recipe_with(**augmentation: object) -> recipes.Recipe:
    return recipes.parse({"data": {"size": 16}, "augmentation": augmentation})


def run(recipe: recipes.Recipe, images: np.ndarray, seed: int = 0) -> np.ndarray:
    import keras

    pixels = keras.Input((*images.shape[1:3], 3))
    model = keras.Model(pixels, augment(recipe, pixels))
    reseed(model, seed, 0)
    return np.asarray(model(images.astype(np.float32), training=True))


@pytest.fixture
def lesion() -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (4, 4, 3))
    return np.kron(small, np.ones((5, 6, 1))).astype(np.uint8)  # 20 x 24: not a square


def test_a_flip_is_exact(lesion: np.ndarray) -> None:
    found = run(recipe_with(flip="horizontal"), np.repeat(lesion[None], 32, axis=0))
    same = [np.allclose(image, lesion, atol=1e-2) for image in found]
    mirrored = [np.allclose(image, lesion[:, ::-1], atol=1e-2) for image in found]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 4 < sum(mirrored) < 28


def test_vertical_and_both_flips_reach_all_mirror_images(lesion: np.ndarray) -> None:
    found = run(recipe_with(flip="both"), np.repeat(lesion[None], 64, axis=0))
    for expected in (lesion, lesion[::-1], lesion[:, ::-1], lesion[::-1, ::-1]):
        assert any(np.allclose(image, expected, atol=1e-2) for image in found)
    upright = run(recipe_with(flip="vertical"), np.repeat(lesion[None], 32, axis=0))
    assert any(np.allclose(image, lesion[::-1], atol=1e-2) for image in upright)
    assert not any(np.allclose(image, lesion[:, ::-1], atol=1e-2) for image in upright)


def test_zoom_out_shows_more_and_zoom_in_less() -> None:
    disc = np.zeros((1, 33, 33, 3), dtype=np.uint8)
    y, x = np.mgrid[:33, :33] - 16
    disc[0, np.hypot(x, y) <= 8] = 255
    area = disc.mean()
    out = run(recipe_with(zoom=[0.3, 0.3], fill="constant"), disc).mean()
    into = run(recipe_with(zoom=[-0.3, -0.3], fill="constant"), disc).mean()
    assert out == pytest.approx(area / 1.3**2, rel=0.08)
    assert into == pytest.approx(area / 0.7**2, rel=0.08)


def test_rotation_turns_about_the_centre() -> None:
    bar = np.zeros((64, 33, 33, 3), dtype=np.uint8)
    bar[:, 16, :, :] = 255
    found = run(recipe_with(rotation=0.25, fill="constant"), bar)
    np.testing.assert_allclose(found[:, 16, 16, :], 255, atol=40)
    angles = {round(float(np.degrees(np.arctan2(*np.nonzero(image[:, :, 0] > 100))).std()), 1) for image in found}
    assert len(angles) > 20


def test_a_shift_moves_without_changing_the_size() -> None:
    dot = np.zeros((32, 33, 33, 3), dtype=np.uint8)
    dot[:, 14:19, 14:19] = 255
    found = run(recipe_with(shift=0.2, fill="constant"), dot)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), dot[0].mean(), rtol=0.02)
    assert found.std(axis=0).max() > 20


def test_light_stays_in_range_and_keeps_the_geometry(lesion: np.ndarray) -> None:
    found = run(recipe_with(brightness=0.3, contrast=0.5), np.repeat(lesion[None], 16, axis=0))
    assert found.min() >= 0
    assert found.max() <= 255
    grey = np.full((16, 8, 8, 3), 100, dtype=np.uint8)
    np.testing.assert_allclose(run(recipe_with(contrast=0.5), grey), 100, atol=1e-3)
    moved = run(recipe_with(brightness=0.2), grey)[:, 0, 0, 0] - 100
    assert np.abs(moved).max() <= 51
    assert moved.std() > 10


def test_the_same_seed_and_epoch_give_the_same_pictures(lesion: np.ndarray) -> None:
    recipe = recipe_with(flip="both", rotation=0.2, brightness=0.2)
    batch = np.repeat(lesion[None], 4, axis=0)
    np.testing.assert_array_equal(run(recipe, batch, 1), run(recipe, batch, 1))
    assert not np.array_equal(run(recipe, batch, 1), run(recipe, batch, 2))


def test_preview_shows_each_kind_alone_and_all_together(lesion: np.ndarray) -> None:
    settings: dict[str, Any] = {"flip": "both", "rotation": 0.1, "brightness": 0.2}
    found = preview(recipe_with(**settings), lesion, count=3)
    assert list(found) == ["flip", "rotation", "brightness", "all"]
    assert all(shown.shape == (3, 20, 24, 3) and shown.dtype == np.uint8 for shown in found.values())
    assert preview(recipe_with(), lesion) == {}


def test_randaugment_changes_each_photograph_in_its_own_way_and_stays_in_range(lesion: np.ndarray) -> None:
    batch = np.repeat(lesion[None], 24, axis=0)
    found = run(recipe_with(randaugment=2, randaugment_magnitude=0.8), batch)
    assert found.shape == batch.shape
    assert found.min() >= 0
    assert found.max() <= 255
    assert len({image.tobytes() for image in found}) > 12
    np.testing.assert_array_equal(found, run(recipe_with(randaugment=2, randaugment_magnitude=0.8), batch))


@pytest.mark.parametrize("place", range(12))
def test_every_change_of_randaugment_alone_is_what_its_name_says(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    from melascope.training.rand_augment import CHANGES, RandAugment

    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(30, 200, (5, 5, 3)), np.ones((5, 5, 1))).astype(np.float32)[None]
    draws = iter([np.eye(12, dtype=np.float32)[[place]], np.ones((1, 12), dtype=np.float32)])
    monkeypatch.setattr(keras.random, "uniform", lambda *_, **__: keras.ops.convert_to_tensor(next(draws)))
    found = np.asarray(RandAugment(1, 0.5, "constant")(image))
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    exact = {
        "brightness": np.clip(image * 1.45, 0, 255),
        "colour": np.clip(grey[..., None] + (image - grey[..., None]) * 1.45, 0, 255),
        "contrast": np.clip(grey.mean() + (image - grey.mean()) * 1.45, 0, 255),
        "solarise": np.where(image > 127.5, 255 - image, image),
        "posterise": np.floor(image / 4) * 4,
        "auto_contrast": (image - image.min((1, 2))) * 255 / np.ptp(image, axis=(1, 2)),
    }
    name = CHANGES[place]
    if name in exact:
        np.testing.assert_allclose(found, exact[name], atol=0.1)
        return
    assert np.abs(found - image).mean() > 1
    if name == "sharpness":  # what is flat stays as it is, and edges get steeper
        np.testing.assert_allclose(found[:, 2::5, 2::5], image[:, 2::5, 2::5], atol=0.1)
        assert found.std() > image.std()
    elif name.startswith("shift"):
        axis = 2 if name == "shift_x" else 1
        assert (found == 0).all(axis=3).sum() >= 5 * 25
        lines = found[0, :, 0] if axis == 1 else found[0, 0]
        np.testing.assert_allclose(lines[:3], image[0, 6:9, 0] if axis == 1 else image[0, 0, 6:9], atol=40)
    else:  # the centre of a turn and of a shear stays
        np.testing.assert_allclose(found[0, 12, 12], image[0, 12, 12], atol=0.1)


def test_preview_shows_mixing_with_the_photographs_that_are_given(lesion: np.ndarray) -> None:
    others = np.stack([np.full_like(lesion, 200), np.full_like(lesion, 20)])
    found = preview(recipe_with(mixup=1.0, cutmix=1.0, randaugment=1), lesion, count=4, others=others)
    assert list(found) == ["randaugment", "mixup", "cutmix", "all"]
    blend = found["mixup"].astype(float)
    for place, other in enumerate((200, 20, 200, 20)):
        share = (blend[place] - other).sum() / (lesion.astype(float) - other).sum()
        np.testing.assert_allclose(blend[place], share * lesion + (1 - share) * other, atol=1.5)
    pasted = (found["cutmix"] != lesion).all(axis=3)
    assert pasted.any()
    alone = preview(recipe_with(cutmix=1.0), lesion, count=2)["cutmix"]
    assert ((alone == lesion) | (alone == lesion[::-1])).all()
