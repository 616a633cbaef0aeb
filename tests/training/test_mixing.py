from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.training import recipe as recipes
from melascope.training.mixing import mix, one_hot

RNG = np.random.default_rng(0)
IMAGES = np.stack([np.full((20, 24, 3), value, dtype=np.uint8) for value in range(0, 240, 24)])
TARGETS = one_hot(np.arange(10), 10)


def test_nothing_is_mixed_when_both_are_off() -> None:
    images, targets = mix(IMAGES, TARGETS, 0.0, 0.0, np.random.default_rng(0))
    assert images is IMAGES
    assert targets is TARGETS


def test_mixup_blends_photographs_by_the_shares_of_their_targets() -> None:
    images, targets = mix(IMAGES, TARGETS, 1.0, 0.0, np.random.default_rng(1))
    assert images.dtype == np.uint8
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    own = targets @ np.arange(0, 240, 24)
    np.testing.assert_allclose(images[:, 5, 5, 0], own, atol=0.51)
    assert (images == images[:, :1, :1]).all()
    assert len(np.unique(targets.max(1))) > 5


def test_cutmix_pastes_a_rectangle_whose_area_is_the_share() -> None:
    images, targets = mix(IMAGES, TARGETS, 0.0, 1.0, np.random.default_rng(2))
    changed = 0
    for place, image in enumerate(images):
        pasted = image[..., 0] != IMAGES[place, 0, 0, 0]
        assert targets[place, place] == pytest.approx(1 - pasted.mean(), abs=1e-6)
        if pasted.any():
            changed += 1
            rows, columns = np.nonzero(pasted)
            area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert area == pasted.sum()
            assert len(np.unique(image[pasted])) == 1
    assert changed > 4


def test_the_draws_follow_the_generator_and_the_data_stay_as_they_are() -> None:
    before = IMAGES.copy()
    first = mix(IMAGES, TARGETS, 0.4, 1.0, np.random.default_rng(5))
    second = mix(IMAGES, TARGETS, 0.4, 1.0, np.random.default_rng(5))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(IMAGES, before)


def test_with_both_on_either_comes() -> None:
    cut = [
        any(len(np.unique(image)) == 2 for image in mix(IMAGES, TARGETS, 1.0, 1.0, np.random.default_rng(seed))[0])
        for seed in range(30)
    ]
    assert 5 < sum(cut) < 25


@pytest.mark.train
def test_a_batch_depends_on_seed_epoch_and_step_only(photos: Any) -> None:
    from melascope.training.batches import TrainBatches

    def batches(start: int, **options: Any) -> TrainBatches:
        return TrainBatches(photos.images, photos.labels, photos.train, 16, 7, start, mixup=0.4, classes=3, **options)

    weights = np.array([3.0, 1.0, 0.5], dtype=np.float32)
    whole, later = batches(0), batches(2, weights=weights)
    images, targets = whole[2 * whole.steps + 1]
    again = later[1]
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(targets, again[1])
    np.testing.assert_allclose(again[2], targets @ weights)
    assert not np.array_equal(images, whole[1][0])


@pytest.mark.train
def test_resuming_a_mixed_training_equals_going_through(tiny: recipes.Recipe, photos: Any, tmp_path: Any) -> None:
    from melascope.training.fit import fit

    class StoppedError(Exception):
        pass

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise StoppedError

    recipe = tiny.replace(
        augmentation={"mixup": 0.3, "cutmix": 1.0, "randaugment": 2},
        optimiser={"loss": "focal", "label_smoothing": 0.05, "clip_norm": 1.0},
        balance={"class_weights": "balanced"},
        schedule={"epochs": 3},
    )
    whole = fit(recipe, *photos.arguments, tmp_path / "whole", seed=1)
    with pytest.raises(StoppedError):
        fit(recipe, *photos.arguments, tmp_path / "parts", seed=1, on_epoch=stop)
    parts = fit(recipe, *photos.arguments, tmp_path / "parts", seed=1, resume=True)
    pd.testing.assert_frame_equal(whole.drop(columns="seconds"), parts.drop(columns="seconds"))
    with np.load(tmp_path / "whole" / "weights.npz") as a, np.load(tmp_path / "parts" / "weights.npz") as b:
        assert a.files == b.files
        assert all(np.array_equal(a[name], b[name]) for name in a.files)
