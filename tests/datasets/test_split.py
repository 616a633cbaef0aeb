from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melascope import datasets
from melascope.errors import DataError

SHARES = {"MEL": 0.12, "NV": 0.6, "BCC": 0.2, "DF": 0.06, "VASC": 0.02}


def make_table(lesions: int = 4000, seed: int = 0, test: int = 0) -> pd.DataFrame:
    """Lesions of one to six photographs each; the first `test` lesions stand in Test."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([1, 1, 1, 2, 3, 6], lesions)
    lesion = np.repeat(np.arange(lesions), counts)
    codes = rng.choice(list(SHARES), p=list(SHARES.values()), size=lesions)
    n = len(lesion)
    table = pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(n)],
            "path": [f"/data/ISIC_{i:07d}.jpg" for i in range(n)],
            "diagnosis": codes[lesion],
            "lesion_id": [f"L{i}" for i in lesion],
            "group": [f"L{i}" for i in lesion],
            "split": np.where(lesion < test, "test", "train") if test else None,
        }
    )
    return datasets.check(table)


def _assert_whole(groups: pd.Series, part: pd.Series) -> None:
    assert len(pd.DataFrame({"group": groups, "part": part}).drop_duplicates()) == len(set(groups))


@pytest.mark.parametrize("seed", range(5))
def test_parts_keep_groups_whole_and_every_diagnosis_in_proportion(seed):
    table = make_table()
    result = datasets.split(table, seed=seed)
    _assert_whole(table["group"], result.part)
    assert not result.cross_fitted
    assert result.lesions_known == 4000
    assert result.lesions_assumed == 0
    wanted = {"train": 0.6, "tune": 0.1, "calibrate": 0.15, "test": 0.15}
    counts = pd.crosstab(table["diagnosis"], result.part)
    for code, row in counts.iterrows():
        for part, share in wanted.items():
            # A cut is off by at most half a group of six at each end.
            assert abs(row[part] - share * row.sum()) <= 6, (code, part)
    balance = result.balance.set_index(["diagnosis", "part"])
    assert balance["photographs"].sum() == len(table)
    assert balance["groups"].sum() == 4000
    assert np.allclose(balance.groupby("diagnosis")["share"].sum(), 1)


def test_the_seed_decides_and_the_order_of_rows_does_not():
    table = make_table()
    first = datasets.split(table, seed=7).part
    assert datasets.split(table, seed=7).part.equals(first)
    assert (datasets.split(table, seed=8).part != first).mean() > 0.3
    shuffled = table.sample(frac=1, random_state=1)
    assert datasets.split(shuffled, seed=7).part.sort_index().equals(first)


def test_a_split_is_the_same_on_every_machine():
    table = make_table(40)
    part = datasets.split(table, {"train": 0.5, "test": 0.5}, seed=3).part
    assert table["lesion_id"][part == "test"].unique().tolist()[:8] == FIRST_EIGHT_IN_TEST
    assert datasets.folds(table, 5, seed=3).head(12).tolist() == FIRST_TWELVE_FOLDS


FIRST_EIGHT_IN_TEST = ["L0", "L1", "L3", "L4", "L5", "L6", "L8", "L11"]
FIRST_TWELVE_FOLDS = [2, 2, 2, 2, 2, 2, 0, 0, 2, 2, 0, 3]


def test_added_rows_move_few_others():
    table = make_table()
    before = datasets.split(table, seed=1).part
    added = make_table(30, seed=9)
    added[["image_id", "path", "lesion_id", "group"]] = "NEW" + added[["image_id", "path", "lesion_id", "group"]]
    after = datasets.split(pd.concat([table, added], ignore_index=True), seed=1).part[: len(table)]
    assert (after.to_numpy() != before.to_numpy()).mean() < 0.02


def test_the_test_of_the_set_stays_whole():
    table = make_table(test=200)
    result = datasets.split(table)
    assert ((result.part == "test") == (table["split"] == "test")).all()
    rest = result.part[table["split"] == "train"].value_counts(normalize=True)
    assert abs(rest["train"] - 0.7) < 0.02
    assert abs(rest["tune"] - 0.15) < 0.02
    with pytest.raises(DataError, match="test of its own"):
        datasets.split(table, {"train": 0.8, "test": 0.2})


def test_a_group_in_test_and_outside_is_refused_but_rows_may_be_divided_singly():
    table = make_table(test=200)
    table.loc[0, "group"] = table["group"].iloc[-1]
    with pytest.raises(DataError, match="stands both in Test and outside"):
        datasets.split(table)
    singly = datasets.split(table, group=None).part
    assert (singly[table["split"] == "test"] == "test").all()
    assert len(pd.DataFrame({"lesion": table["lesion_id"], "part": singly}).drop_duplicates()) > 4000


def test_a_table_without_groups_is_grouped_by_photograph_lesion_and_patient():
    table = make_table()
    table["patient_id"] = ("P" + table["lesion_id"].str[1:-1]).astype("string")
    result = datasets.split(table.drop(columns="group"))
    _assert_whole(table["patient_id"], result.part)
    with pytest.raises(DataError, match='no column "clinic"'):
        datasets.split(table, group="clinic")


def test_a_diagnosis_with_few_groups_goes_to_train_first():
    table = make_table(400)
    for count, parts in ((1, {"train"}), (2, {"train", "test"}), (3, {"train", "test", "calibrate"})):
        rare = make_table(count, seed=5)
        rare[["image_id", "path", "lesion_id", "group"]] = "R" + rare[["image_id", "path", "lesion_id", "group"]]
        both = pd.concat([table, rare.assign(diagnosis="SCC")], ignore_index=True)
        part = datasets.split(both, group="group").part
        assert set(part[both["diagnosis"] == "SCC"]) == parts


def test_a_diagnosis_with_as_many_groups_as_parts_is_in_each():
    table = pd.DataFrame({"image_id": [f"I{i}" for i in range(200)], "diagnosis": ["MEL"] * 4 + ["NV"] * 196})
    table = datasets.check(table.assign(path=table["image_id"], group=table["image_id"]))
    fractions = {"train": 0.85, "tune": 0.05, "calibrate": 0.05, "test": 0.05}
    from melascope.datasets.split import _Strata

    part = _Strata(table["diagnosis"].to_numpy(dtype=object), table["group"].to_numpy(dtype=object), 0).cut(fractions)
    assert sorted(part[:4]) == ["calibrate", "test", "train", "tune"]


def test_small_sets_share_tune_and_calibrate():
    few = datasets.split(make_table(150))
    assert few.cross_fitted
    assert set(few.part) == {"train", "calibrate", "test"}
    many = datasets.split(make_table(4000))
    assert not many.cross_fitted
    # A diagnosis so rare that sharing would not help it does not force the others to share.
    rare = make_table(2, seed=5).assign(diagnosis="SCC", group=["a"] * len(make_table(2, seed=5)))
    both = pd.concat([make_table(4000), rare], ignore_index=True)
    assert not datasets.split(both).cross_fitted
    without = datasets.split(make_table(150), {"train": 0.7, "calibrate": 0.15, "test": 0.15})
    assert not without.cross_fitted


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "validation": 0.5}, 'no part "validation"'),
        ({"tune": 1}, "train must be among them"),
        ({"train": 1, "test": -1}, "share above 0"),
        ({"train": 1, "test": float("nan")}, "share above 0"),
    ],
)
def test_fractions_that_make_no_sense_are_refused(fractions, message):
    with pytest.raises(DataError, match=message):
        datasets.split(make_table(50), fractions)


def test_rows_without_a_diagnosis_are_refused():
    table = make_table(50)
    table.loc[3, "diagnosis"] = pd.NA
    with pytest.raises(DataError, match="1 photograph has no diagnosis"):
        datasets.split(table)
    with pytest.raises(DataError, match="no rows"):
        datasets.folds(table.iloc[:0], 5)


@pytest.mark.parametrize("k", [2, 5, 10])
def test_folds_keep_groups_whole_and_every_diagnosis_in_proportion(k):
    table = make_table()
    fold = datasets.folds(table, k, seed=2)
    _assert_whole(table["group"], fold)
    assert set(fold) == set(range(k))
    counts = pd.crosstab(table["diagnosis"], fold)
    for _, row in counts.iterrows():
        assert row.max() - row.min() <= 12
    sizes = fold.value_counts()
    assert sizes.max() - sizes.min() <= 20
    assert not datasets.folds(table, k, seed=3).equals(fold)
    shuffled = table.sample(frac=1, random_state=1)
    assert datasets.folds(shuffled, k, seed=2).sort_index().equals(fold)


def test_single_groups_of_rare_diagnoses_spread_over_folds():
    codes = ["NV"] * 95 + ["MEL", "BCC", "DF", "VASC", "SCC"]
    table = pd.DataFrame({"image_id": [f"I{i}" for i in range(100)], "diagnosis": codes})
    table = datasets.check(table.assign(path=table["image_id"], group=table["image_id"]))
    fold = datasets.folds(table, 5)
    assert fold[95:].value_counts().max() <= 2
    assert fold.value_counts().max() - fold.value_counts().min() <= 2


def test_added_rows_move_few_to_another_fold():
    table = make_table()
    before = datasets.folds(table, 5, seed=1)
    more = make_table(4040).iloc[len(table) :]
    assert len(more) > 30
    after = datasets.folds(pd.concat([table, more], ignore_index=True), 5, seed=1)
    assert (before.to_numpy() != after[: len(table)].to_numpy()).mean() < 0.02


def test_folds_that_cannot_be_made_are_refused():
    table = make_table(10)
    for k in (1, 11):
        with pytest.raises(DataError, match=f"{k} folds? cannot be made of 10 groups"):
            datasets.folds(table, k)
