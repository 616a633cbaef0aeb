"""Files that a table lists twice, tables that an audit has written, and names that a spreadsheet takes for formulas."""

from __future__ import annotations

import pandas as pd
import pytest

from melascope import datasets
from melascope.datasets.rows import filed, once_each, remembered
from melascope.errors import DataError

TWICE = """path,diagnosis,lesion_id,age
a.jpg,NV,L1,
a.jpg,nevus,,40
a.jpg,NV,L1,
b.jpg,MEL,L2,
c.jpg,MEL,L3,
c.jpg,NV,L3,
c.jpg,MEL,L3,
"""


@pytest.fixture
def table(tmp_path, write_image):
    for seed, name in enumerate("abc"):
        write_image(tmp_path / f"{name}.jpg", seed=seed)

    def write(text):
        (tmp_path / "labels.csv").write_text(text)
        return datasets.read(tmp_path / "labels.csv")

    return write


def test_a_file_listed_twice_has_one_row_unless_its_rows_contradict_each_other(table):
    found = table(TWICE)
    rows = list(zip(found["image_id"], found["diagnosis"], found["lesion_id"], strict=True))
    assert rows == [("A", "NV", "L1"), ("B", "MEL", "L2"), ("C", "MEL", "L3"), ("C", "NV", "L3")]
    assert found["age"].iloc[0] == 40  # what only the second row knew
    listed, contradicts = found.attrs["notes"]
    assert listed.endswith("labels.csv lists 2 files more than once; rows that say the same count once.")
    assert "lists 1 file, such as" in contradicts
    assert contradicts.endswith("c.jpg, more than once and contradicts itself (diagnosis).")


def test_a_table_that_lists_each_file_once_has_no_note(table):
    assert table("path,diagnosis\na.jpg,NV\nb.jpg,MEL\n").attrs["notes"] == []


def test_several_tables_of_one_file_are_joined_by_what_they_say():
    frames = [pd.DataFrame({"image_id": ["A"], "path": ["/a"], "diagnosis": [code]}) for code in ("NV", "MEL", "NV")]
    joined, notes = once_each(datasets.check(pd.concat(frames, ignore_index=True)), "DATA")
    assert joined["diagnosis"].tolist() == ["NV", "MEL"]
    assert len(notes) == 2


AUDITED = """image_id,path,diagnosis,filed_diagnosis,official_diagnosis,label_from
A,a.jpg,BKL,pigmented benign keratosis,,filed
B,b.jpg,MEL,NV,MEL,authority
C,c.jpg,MEL,NV,,authority
"""


def test_what_an_audit_said_of_labels_is_read_again(table):
    found = table(AUDITED)
    assert found["diagnosis"].tolist() == ["BKL", "MEL", "MEL"]
    assert found["filed_diagnosis"].tolist() == ["PBK", "NV", "NV"]
    # The authority knew C under another name; what it said of the photograph stays its word.
    assert found["official_diagnosis"].fillna("").tolist() == ["", "MEL", "MEL"]
    assert found["label_from"].tolist() == ["filed", "authority", "authority"]
    assert filed(found).tolist() == ["PBK", "NV", "NV"]


def test_a_label_that_was_changed_by_hand_after_the_audit_is_the_filed_one(table):
    found = table(AUDITED.replace("A,a.jpg,BKL", "A,a.jpg,DF").replace("B,b.jpg,MEL", "B,b.jpg,"))
    assert filed(found).fillna("").tolist() == ["DF", "", "NV"]


def test_columns_of_ones_own_with_those_names_do_no_harm():
    frame = datasets.check(pd.DataFrame({"image_id": ["A", "B"], "path": ["a", "b"], "diagnosis": ["NV", "MEL"]}))
    assert remembered(frame, "t") is frame
    own = frame.assign(filed_diagnosis=["NV", None], label_from=["me", None])
    assert filed(remembered(own, "t")).tolist() == ["NV", "MEL"]
    with pytest.raises(DataError, match='t: "freckle" is not a diagnosis'):
        remembered(frame.assign(official_diagnosis="freckle"), "t")


NAMES = ["=1+1", "+A", "-A", "@SUM", "'=1", "''-A", "'TIS", "-5", "1.5", "PLAIN", "\uff1dA"]


def test_names_like_formulas_are_written_so_that_no_spreadsheet_runs_them_and_read_as_they_were(tmp_path):
    frame = datasets.check(pd.DataFrame({"image_id": NAMES, "path": "/x.jpg", "age": -1.5, "note": "-3"}))
    path = datasets.save(frame, tmp_path / "table.csv")
    cells = pd.read_csv(path, dtype="string")
    written = cells["image_id"].tolist()
    assert written[:6] == ["'=1+1", "'+A", "'-A", "'@SUM", "''=1", "'''-A"]
    assert written[6:] == ["'TIS", "-5", "1.5", "PLAIN", "'\uff1dA"]
    assert set(cells["note"]) == {"-3"}
    pd.testing.assert_frame_equal(datasets.load(path), frame.assign(note=pd.array(["-3"] * len(frame), "string")))
    parquet = datasets.save(frame, tmp_path / "table.parquet")
    assert pd.read_parquet(parquet)["image_id"].tolist() == NAMES


def test_a_file_named_like_a_formula_keeps_its_id_through_our_own_tables(tmp_path, write_image):
    for seed, name in enumerate(("nevus/=1+1.jpg", "melanoma/-a.jpg")):
        write_image(tmp_path / "set" / name, seed=seed)
    first = datasets.read(tmp_path / "set")
    again = datasets.read(datasets.save(first, tmp_path / "table.csv"))
    assert again["image_id"].tolist() == first["image_id"].tolist() == ["-A", "=1+1"]
    datasets.save(first.assign(part="train")[["image_id", "part"]], tmp_path / "parts.csv")
    assert datasets.fixed(tmp_path / "parts.csv")["image_id"].tolist() == ["-A", "=1+1"]
