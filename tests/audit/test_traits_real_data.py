from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melascope import datasets
from melascope.audit import outlier, personal_data, shortcut

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def nine_classes(shared_data) -> pd.DataFrame:
    return datasets.scan(datasets.read(shared_data / "isic9"))


def test_the_source_tells_the_class_of_the_nine_class_set(nine_classes):
    found = shortcut.find(nine_classes)
    groups = set(found.problems["group"])
    assert {"shortcut: everything", "shortcut: picture", "shortcut: number"} <= groups
    # From the ids alone, straightforwardly: no id below 24306 is AK, BCC, DF, SCC or VASC, none above is melanoma.
    number = nine_classes["image_id"].str.extract(r"(\d+)")[0].astype(int)
    of_ham = nine_classes["diagnosis"].isin(["AK", "BCC", "DF", "SCC", "VASC"])
    train = nine_classes["split"] == "train"
    assert number[of_ham & train].min() >= 24306
    together = found.details["together"]
    assert together["everything"]["accuracy"]["low"] > 3 / 9
    assert together["picture"]["accuracy"]["low"] > 2 / 9
    assert together["everything"]["sensitivity"]["SK"] > 0.9


def test_shuffled_diagnoses_are_at_chance(nine_classes):
    shuffled = nine_classes.copy()
    # By groups, so that photographs of one lesion keep one diagnosis.
    group = pd.Series(datasets.groups(shuffled)).factorize()[0]
    codes = shuffled["diagnosis"].groupby(group).first().to_numpy()
    shuffled["diagnosis"] = pd.array(np.random.default_rng(0).permutation(codes)[group], "string")
    found = shortcut.find(shuffled)
    assert found.problems.empty
    assert found.details["together"]["everything"]["accuracy"]["low"] < 1 / 9 + 0.01


def test_few_photographs_are_outliers_or_seem_to_bear_writing(nine_classes):
    rows = outlier.find(nine_classes).problems
    assert 0 < len(rows) < 0.01 * len(nine_classes)
    assert len(personal_data.find(nine_classes).problems) < 0.01 * len(nine_classes)
