from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melascope import diagnosis
from melascope.errors import DataError
from melascope.evaluation import (
    all_of,
    colour_histogram,
    largest_class,
    predictions_of,
    shuffle_labels,
    shuffled_labels,
)
from melascope.evaluation.baselines import colours

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def coloured() -> tuple[pd.DataFrame, np.ndarray]:
    """Melanomas are dark, nevi brown: colour alone tells most."""
    generator = np.random.default_rng(0)
    n = 160
    melanoma = generator.random(n) < 0.3
    shade = np.where(melanoma, 60, 110) + generator.normal(0, 18, n)
    images = np.clip(shade[:, None, None, None] + generator.normal(0, 20, (n, 16, 16, 3)), 0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "part": ["train"] * 100 + ["test"] * 60,
            "diagnosis": np.where(melanoma, "MEL", "NV"),
            "group": [f"g{i // 2}" for i in range(n)],
        }
    )
    return table, images


def test_largest_class(coloured: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, _ = coloured
    found = largest_class(table, draws=100)
    test = table[table["part"] == "test"]
    assert found["accuracy"]["value"] == pytest.approx((test["diagnosis"] == "NV").mean())
    assert (found["balanced_accuracy"]["value"], found["melanoma_auc"]["value"]) == (0.5, 0.5)
    assert "(NV)" in found["text"]


def test_colour_histogram_learns_colours(coloured: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, images = coloured
    found = colour_histogram(images, table, draws=100)
    assert found["melanoma_auc"]["value"] > 0.9
    assert found["melanoma_auc"]["low"] > 0.5
    with pytest.raises(DataError, match="two classes"):
        colour_histogram(images, table.assign(diagnosis="NV"))
    with pytest.raises(DataError, match='in the part "test"'):
        colour_histogram(images, table.assign(part="train"))


def test_colours_are_shares_whatever_the_size() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    features = colours(image)
    assert features.shape == (1, 112)
    assert (features**2).sum() == pytest.approx(4)
    assert colours(np.repeat(np.repeat(image, 2, axis=1), 2, axis=2)) == pytest.approx(features)


def test_shuffled_labels_stay_whole_within_groups_and_parts(table: pd.DataFrame) -> None:
    shuffled = shuffle_labels(table, seed=3)
    test = (table["part"] == "test").to_numpy()
    assert (shuffled[test] == table["diagnosis"][test]).all()
    assert (shuffled[~test] != table["diagnosis"][~test]).mean() > 0.5
    for _, labels in shuffled.groupby(table["group"]):
        assert len(set(labels)) == 1
    for part in ("train", "tune", "calibrate"):
        rows = table["part"] == part
        assert shuffled[rows].value_counts().to_dict() == table["diagnosis"][rows].value_counts().to_dict()
    assert shuffle_labels(table, seed=3).equals(shuffled)


def test_shuffled_network_must_be_at_chance(table: pd.DataFrame) -> None:
    generator = np.random.default_rng(1)
    blind = predictions_of(table, generator.normal(0, 1, (len(table), 8)), diagnosis.ISIC_2019)
    assert shuffled_labels(blind, diagnosis.ISIC_2019, draws=200)["at_chance"] is True
    y = table["diagnosis"].map({code: i for i, code in enumerate(diagnosis.ISIC_2019)}).to_numpy()
    leaking = predictions_of(table, 2 * np.eye(8)[y] + generator.normal(0, 1, (len(table), 8)), diagnosis.ISIC_2019)
    assert shuffled_labels(leaking, diagnosis.ISIC_2019, draws=200)["at_chance"] is False


def test_a_network_that_tells_nothing_may_rank_by_what_goes_with_the_diagnosis(table: pd.DataFrame) -> None:
    generator = np.random.default_rng(2)
    y = table["diagnosis"].map({code: i for i, code in enumerate(diagnosis.ISIC_2019)}).to_numpy()
    dark = (y == 0) + generator.normal(0, 1, len(table))
    logits = np.tile([0.0, 1.0, 0, 0, 0, 0, 0, 0], (len(table), 1)) + 0.02 * dark[:, None] * (np.arange(8) == 0)
    found = shuffled_labels(predictions_of(table, logits, diagnosis.ISIC_2019), diagnosis.ISIC_2019, draws=200)
    assert found["melanoma_auc"]["low"] > 0.5
    assert found["explained"]["high"] < 0.02
    assert found["at_chance"] is True


def test_all_baselines_of_a_run(coloured: tuple[pd.DataFrame, np.ndarray]) -> None:
    table, images = coloured
    rows = {part: np.flatnonzero(table["part"] == part) for part in ("train", "test")}
    labels = (table["diagnosis"] == "NV").to_numpy().astype(int)
    logits = np.random.default_rng(2).normal(0, 1, (60, 2))
    found = all_of(table, labels, rows, ("MEL", "NV"), images, logits, draws=50)
    assert list(found) == ["largest_class", "colour_histogram", "shuffled_labels"]
    assert found["colour_histogram"] == colour_histogram(images, table, draws=50)
    # A model that is always right leads by what the baseline lacks; the same choices lead by nothing.
    truth = table.loc[rows["test"], "diagnosis"].tolist()
    ahead = all_of(table, labels, rows, ("MEL", "NV"), images, said=truth, draws=50)["largest_class"]
    assert ahead["difference"]["balanced_accuracy"]["value"] == 1 - ahead["balanced_accuracy"]["value"] == 0.5
    always = [ahead["text"].split("(")[1][:-2]] * len(truth)
    level = all_of(table, labels, rows, ("MEL", "NV"), images, said=[None, *always[1:]], draws=50)["largest_class"]
    assert level["difference"]["balanced_accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": len(truth) - 1}
    assert "shuffled_labels" not in all_of(table, labels, rows, ("MEL", "NV"), images, draws=50)
