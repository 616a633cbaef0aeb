from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.errors import DataError, RunError
from melascope.training import recipe as recipes
from melascope.training.cross_validation import CrossValidation, cross_validate

pytestmark = pytest.mark.train


def run(recipe: recipes.Recipe, photos: Any, out: Path, **options: Any) -> CrossValidation:
    groups = np.arange(len(photos.labels)) // 2
    labels = np.repeat(photos.labels[::2], 2)
    options = {"folds": 3, "seeds": (0, 1), **options}
    return cross_validate(
        recipe.replace(schedule={"epochs": 2}), photos.images, labels, groups, photos.classes, out=out, **options
    )


def test_every_photograph_is_scored_once_per_repeat_by_a_network_that_never_saw_its_group(
    tiny: recipes.Recipe, photos: Any, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    found = run(tiny, photos, tmp_path, progress=lambda *step: told.append(step))
    assert found.probabilities.shape == (2, 90, 3)
    np.testing.assert_allclose(found.probabilities.sum(axis=2), 1)
    np.testing.assert_array_equal(found.folds[:, ::2], found.folds[:, 1::2])
    assert not np.array_equal(found.folds[0], found.folds[1])
    assert list(found.scores.columns) == [
        "seed",
        "fold",
        "n",
        "accuracy",
        "balanced_accuracy",
        "melanoma_auc",
        "log_loss",
    ]
    assert found.scores.groupby("seed").n.sum().tolist() == [90, 90]
    assert found.by_fold("accuracy").shape == (2, 3)
    done = [step for _, step, _ in told]
    assert done == sorted(done)
    assert done[-1] == told[-1][2]


def test_it_goes_on_where_it_was_interrupted(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    whole = run(tiny, photos, tmp_path / "whole")

    def interrupt(row: dict[str, float]) -> None:
        if row["fold"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny, photos, tmp_path / "parts", on_fold=interrupt)
    trained: list[str] = []
    parts = run(tiny, photos, tmp_path / "parts", progress=lambda stage, *_: trained.append(stage))
    assert set(trained) == {f"fold {place} of 6" for place in (3, 4, 5, 6)}
    np.testing.assert_array_equal(whole.probabilities, parts.probabilities)
    pd.testing.assert_frame_equal(whole.scores, parts.scores)


def test_a_recipe_that_decides_by_its_tune_part_gets_one(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    found = run(tiny.replace(schedule={"keep": "best"}), photos, tmp_path, seeds=(0,))
    assert not np.isnan(found.probabilities).any()


def test_a_plateau_needs_a_fold_to_be_seen_on(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    stalls = tiny.replace(schedule={"kind": "plateau", "plateau_patience": 1, "warmup_epochs": 0})
    with pytest.raises(DataError, match="of two folds none is left"):
        run(stalls, photos, tmp_path, seeds=(0,), folds=2)


def test_bad_requests_are_refused(tiny: recipes.Recipe, photos: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="distinct seeds"):
        run(tiny, photos, tmp_path, seeds=(1, 1))
    with pytest.raises(DataError, match="folds"):
        run(tiny, photos, tmp_path, folds=1000)
    run(tiny, photos, tmp_path, seeds=(0,))
    with pytest.raises(RunError, match="another recipe"):
        run(tiny.replace(network={"dropout": 0.5}), photos, tmp_path, seeds=(0,))
