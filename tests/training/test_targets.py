"""What is taught in place of labels: the word of other networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melascope.errors import DataError, RunError
from melascope.training import networks
from melascope.training import recipe as recipes
from melascope.training.batches import TrainBatches
from melascope.training.fit import fit, predict_logits

pytestmark = pytest.mark.train


def hard(photos: Any) -> np.ndarray:
    return np.eye(len(photos.classes), dtype=np.float32)[photos.labels]


def said(recipe: recipes.Recipe, photos: Any, folder: Path) -> np.ndarray:
    network = networks.build(recipe, len(photos.classes))
    networks.load_weights(network, folder / "weights.npz")
    return predict_logits(network, photos.images, photos.train)


def test_labels_as_shares_teach_what_labels_teach(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    recipe = tiny.replace(schedule={"epochs": 2})
    plain = fit(recipe, *photos.arguments, tmp_path / "plain")
    shares = fit(recipe, *photos.arguments, tmp_path / "shares", targets=hard(photos))
    np.testing.assert_allclose(plain["loss"], shares["loss"], rtol=1e-3)


def test_it_learns_what_it_is_taught_and_not_the_labels(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    recipe = tiny.replace(schedule={"epochs": 6})
    others = np.roll(hard(photos), 1, axis=1)
    fit(recipe, *photos.arguments, tmp_path, targets=others)
    learnt = said(recipe, photos, tmp_path).argmax(axis=1)
    assert (learnt == others[photos.train].argmax(axis=1)).mean() > 0.6
    assert (learnt == photos.labels[photos.train]).mean() < 0.3


def test_targets_are_mixed_as_labels_are_and_draw_the_same_photographs(photos: Any) -> None:
    soft = 0.5 * hard(photos) + 0.5 / len(photos.classes)
    options: dict[str, Any] = {"classes": len(photos.classes), "sampling": "balanced"}
    plain = TrainBatches(photos.images, photos.labels, photos.train, 16, 7, **options)
    taught = TrainBatches(photos.images, photos.labels, photos.train, 16, 7, targets=soft, **options)
    np.testing.assert_array_equal(plain[1][0], taught[1][0])
    np.testing.assert_allclose(taught[1][1].argmax(axis=1), plain[1][1])
    mixed = TrainBatches(photos.images, photos.labels, photos.train, 16, 7, mixup=0.4, targets=soft, **options)
    np.testing.assert_allclose(mixed[1][1].sum(axis=1), 1.0, rtol=1e-5)


def test_other_targets_are_another_training(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    recipe = tiny.replace(schedule={"epochs": 1})
    fit(recipe, *photos.arguments, tmp_path, targets=hard(photos))
    with pytest.raises(RunError, match="another"):
        fit(recipe, *photos.arguments, tmp_path, resume=True)


def test_targets_that_are_no_shares_are_refused(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    for wrong, words in ((hard(photos)[:-1], "must be"), (2 * hard(photos), "shares of the classes")):
        with pytest.raises(DataError, match=words):
            fit(tiny, *photos.arguments, tmp_path, targets=wrong)
