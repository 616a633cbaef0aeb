from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from melascope import datasets
from melascope.datasets import FIXED, fixed, folds, split, split_as_told
from melascope.datasets.fixed import keep_placed, refuse_torn, write
from melascope.errors import DataError


def _table(lesions: int, first: int = 0) -> pd.DataFrame:
    numbers = range(first, first + lesions)
    rows = [(f"ISIC_{2 * n + k:07d}", f"L{n}", ("MEL", "NV", "BCC")[n % 3]) for n in numbers for k in (0, 1)]
    frame = pd.DataFrame(rows, columns=["image_id", "lesion_id", "diagnosis"])
    return datasets.check(frame.assign(path="/data/" + frame["image_id"] + ".jpg", group=frame["lesion_id"]))


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", FIXED)
def test_the_files_that_come_with_the_package_hold_ids_only(name):
    told = fixed(name)
    assert list(told.columns) in (["image_id", "part"], ["image_id", "fold"])
    assert told["image_id"].str.fullmatch(r"ISIC_\d{7}").all()
    assert told["image_id"].is_unique


def test_a_fold_file_is_written_and_read_again(tmp_path):
    table = _table(30)
    table["part"] = split(table, seed=3).part
    told = fixed(write(table, tmp_path / "parts.csv"))
    assert len(told) == 60
    result = split_as_told(table, told)
    assert result.part.tolist() == table["part"].tolist()
    assert result.lesions_known == 30
    assert result.balance["photographs"].sum() == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,fold\nISIC_0000001,a\n", "a fold is a whole number"),
        ("image_id,part\nISIC_0000001,trian\n", '"trian" is no part'),
        ("image_id,part\nISIC_0000001,train\nisic_0000001.jpg,test\n", "puts ISIC_0000001 into two parts"),
        ("image_id,part\nISIC_0000001,\n", "has a row without image_id or part"),
        ("name,part\nx,train\n", "is no fold file"),
        ("image_id,part\nISIC_9999999,train\n", "names none of"),
    ],
)
def test_fold_files_that_cannot_be_used(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        split_as_told(_table(5), fixed(_csv(tmp_path, text)))


def test_a_fold_file_that_is_not_there():
    with pytest.raises(DataError, match="isic9-clean"):
        fixed("isic9")


def test_parts_that_tear_a_lesion_apart_are_refused_unless_wanted(tmp_path):
    table = _table(12)
    torn = table.assign(part=["train", "test"] * 12)
    told = fixed(write(torn, tmp_path / "torn.csv"))
    with pytest.raises(DataError, match="12 photographs, lesions or patients, such as that of L0, stand in several"):
        split_as_told(table, told)
    assert split_as_told(table, told, allow_torn=True).part.tolist() == torn["part"].tolist()
    refuse_torn(table["group"], pd.Series("train", index=table.index))


def test_a_part_for_every_photograph_or_none(tmp_path):
    table = _table(12)
    told = fixed(write(table.assign(part="train").head(20), tmp_path / "some.csv"))
    with pytest.raises(DataError, match="gives 4 of 24 photographs no part, such as ISIC_0000020"):
        split_as_told(table, told)
    told = fixed(write(table.assign(part=pd.NA, fold=1), tmp_path / "folds.csv"))
    with pytest.raises(DataError, match="gives folds"):
        split_as_told(table, told)


@pytest.mark.parametrize("column", ["part", "fold"])
def test_what_was_placed_stays_when_rows_are_added(column):
    def divide(rows: pd.DataFrame) -> pd.Series:
        return split(rows, seed=1).part if column == "part" else folds(rows, 4, seed=1)

    before = _table(60)
    before[column] = divide(before)
    after = _table(90)
    told = before[["image_id", column]]
    placed, kept = keep_placed(after, told, column, divide)
    assert kept == len(before)
    assert placed[: len(before)].tolist() == before[column].tolist()
    assert placed.notna().all()
    refuse_torn(after["group"], placed)
    assert set(placed[len(before) :]) == set(before[column])


def test_groups_that_grow_together_go_to_the_place_furthest_from_training():
    table = _table(4)
    told = table[["image_id"]].assign(part=["train"] * 4 + ["test"] * 4)
    joined = table.assign(group="all")
    placed, kept = keep_placed(joined, told, "part", lambda rows: pd.Series("train", index=rows.index))
    assert placed.tolist() == ["test"] * 8
    assert kept == 4


def test_the_other_of_part_and_fold_cannot_be_kept():
    table = _table(4)
    with pytest.raises(DataError, match="has no column fold"):
        keep_placed(table, table[["image_id"]].assign(part="train"), "fold", lambda rows: rows["fold"])


def test_names_that_the_data_do_not_have_are_told():
    from melascope.datasets.fixed import unknown_names

    table = pd.DataFrame({"image_id": ["A", "B"]})
    told = pd.DataFrame({"image_id": ["A", "C", "B"], "part": "train"})
    assert unknown_names(told, table, "p.csv") == ["p.csv names 1 photograph that is not among these data, such as C."]
    assert unknown_names(told.iloc[[0, 2]], table, "p.csv") == []
    with pytest.raises(DataError, match=r"p.csv names none of the photographs of these data; its first is C, theirs"):
        unknown_names(told.iloc[[1]], table, "p.csv")
