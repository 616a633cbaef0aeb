from __future__ import annotations

import numpy as np

from melascope.evaluation.support import support

CLASSES = ("DF", "MEL", "NV")


def test_a_diagnosis_that_some_folds_lack_is_named_and_chance_is_that_of_the_folds() -> None:
    labels = np.array([0, 0, *[1] * 12, *[2] * 12])
    folds = np.array([0, 0, *[0, 1, 2, 3] * 6])
    found = support(labels, np.arange(26), folds, CLASSES)
    assert found.absent == {"DF": {"groups": 2, "folds": 3}}
    assert found.chance == (1 / 3 + 3 * 1 / 2) / 4
    assert found.too_few == ()
    (note,) = found.notes()
    assert "DF (2 lesions; missing from 3 of 4 folds)" in note
    assert found.notes(["log_loss"]) == []


def test_melanomas_are_counted_by_lesion() -> None:
    labels = np.repeat([1, 2], [30, 40])
    groups = np.concatenate([np.arange(30) // 4, 100 + np.arange(40)])
    found = support(labels, groups, np.stack([np.arange(70) % 3, np.arange(70) % 2]), CLASSES)
    assert (found.groups, found.melanomas, found.others, found.folds) == (48, 8, 40, 5)
    assert found.too_few == ("melanoma_auc",)
    assert found.notes() == ["Melanoma AUC: 8 lesions with a melanoma are too few to judge (fewer than ten)."]
    assert found.to_json()["too_few"] == ["melanoma_auc"]
    other = support(3 - labels, groups, np.arange(70) % 2, CLASSES)
    assert other.few_words() == "8 lesions without a melanoma are too few to judge (fewer than ten)"


def test_where_all_is_well_nothing_is_said() -> None:
    labels = np.tile([0, 1, 2], 12)
    found = support(labels, np.arange(36), np.arange(36) // 18, CLASSES)
    assert (found.notes(), found.absent, found.chance) == ([], {}, 1 / 3)
