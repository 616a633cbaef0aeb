from __future__ import annotations

import pandas as pd
import pytest

from melascope import datasets
from melascope.errors import DataError


def test_check_completes_and_types_a_frame():
    table = datasets.check(pd.DataFrame({"path": ["a.jpg"], "image_id": ["A"], "age": ["55"], "colour": ["red"]}))
    assert table.columns.tolist()[:3] == ["image_id", "path", "diagnosis"]
    assert table["age"].tolist() == [55.0]
    assert table["lesion_id"].isna().all()
    assert table["colour"].tolist() == ["red"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"path": ["a"]}), 'no column "image_id"'),
        (pd.DataFrame({"image_id": ["a"]}), 'no column "path"'),
        (pd.DataFrame({"image_id": ["a", " "], "path": ["a", "b"]}), '1 row with an empty "image_id", first in row 2'),
        (pd.DataFrame({"image_id": ["a"], "path": ["a"], "fold": ["x"]}), '"x" in column "fold", row 1'),
    ],
)
def test_a_frame_that_is_no_image_table_is_refused(frame, message):
    with pytest.raises(DataError, match=message):
        datasets.check(frame)


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_saved_is_loaded_and_nothing_else_is_left(tmp_path, name):
    table = datasets.check(
        pd.DataFrame({"image_id": ["A", "B"], "path": ["a, b.jpg", "é.jpg"], "age": [1, None], "fold": [None, 3]})
    )
    pd.testing.assert_frame_equal(datasets.load(datasets.save(table, tmp_path / name)), table)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_endings_and_files_are_refused(tmp_path):
    table = datasets.check(pd.DataFrame({"image_id": ["A"], "path": ["a"]}))
    with pytest.raises(DataError, match=r"saved as \.csv or \.parquet"):
        datasets.save(table, tmp_path / "table.xlsx")
    with pytest.raises(DataError, match="does not exist"):
        datasets.load(tmp_path / "gone.csv")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read as a table"):
        datasets.load(tmp_path / "bad.parquet")
