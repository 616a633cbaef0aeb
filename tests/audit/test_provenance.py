from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from melascope import datasets
from melascope.audit import provenance
from melascope.audit.survey import Looking, audit_data, survey
from melascope.errors import DataError
from melascope.images import synthetic


@pytest.fixture
def photographs(tmp_path):
    return synthetic.write_dataset(tmp_path / "set", photographs=40, seed=1, size=32)


def test_an_audit_is_used_again_for_the_same_data(photographs, tmp_path):
    first = audit_data(photographs, out=tmp_path / "audit")
    again = survey(photographs, looking=Looking(audit=tmp_path / "audit"))
    assert again.audit.verdict == first.audit.verdict
    assert list(again.scanned["sha256"].fillna("")) == list(first.scanned["sha256"].fillna(""))
    kinds, before = again.audit.summary()["kinds"], first.audit.summary()["kinds"]
    assert {kind: found["images"] for kind, found in kinds.items()} == {
        kind: found["images"] for kind, found in before.items()
    }


def test_an_audit_that_is_missing_unfinished_or_older_than_the_data_is_refused(photographs, tmp_path):
    frame = datasets.read(photographs)
    with pytest.raises(DataError, match="holds no finished audit"):
        provenance.reuse(tmp_path / "nowhere", frame)
    folder = tmp_path / "audit"
    audit_data(photographs, out=folder)
    provenance.reuse(folder, frame)
    touched = frame["path"].iloc[0]
    os.utime(touched, (1, 1))
    with pytest.raises(DataError, match="is not of these photographs and labels as they are now"):
        provenance.reuse(folder, frame)
    with pytest.raises(DataError, match=rf"\({len(frame)} then, {len(frame) - 1} now\)"):
        provenance.reuse(folder, frame.iloc[1:])
    (folder / "audit.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as an audit"):
        provenance.reuse(folder, frame)


def test_another_label_is_another_state(photographs):
    frame = datasets.read(photographs)
    other = frame.assign(diagnosis=frame["diagnosis"].mask(frame.index == 0, "DF"))
    assert provenance.state(frame) == provenance.state(frame.sample(frac=1, random_state=0))
    assert provenance.state(frame)["digest"] != provenance.state(other)["digest"]


@pytest.mark.parametrize("column", ["part", "fold", "copy_of"])
def test_parts_folds_and_copies_are_part_of_the_state_where_a_table_has_them(photographs, tmp_path, column):
    frame = datasets.read(photographs)
    plain = provenance.state(frame)
    empty = frame.assign(**{column: pd.array([pd.NA] * len(frame), dtype="Int64" if column == "fold" else "string")})
    assert provenance.state(empty) == plain  # as audits have it that were made before these columns counted
    values = {"part": "train", "fold": 1, "copy_of": "ISIC_0000001"}
    told = empty.assign(**{column: empty[column].fillna(values[column])})
    assert provenance.state(told)["digest"] != plain["digest"]
    other = told.assign(**{column: told[column].mask(told.index == 0)})
    assert provenance.state(other)["digest"] not in (plain["digest"], provenance.state(told)["digest"])


def test_parts_that_changed_or_went_since_the_audit_make_it_one_of_other_data(photographs, tmp_path):
    frame = datasets.read(photographs)
    names = np.where(np.arange(len(frame)) % 2 == 0, "train", "test")
    told = tmp_path / "told.csv"
    datasets.table.save(frame.assign(part=names), told)
    audit_data(told, out=tmp_path / "audit")
    kept = survey(told, looking=Looking(audit=tmp_path / "audit")).scanned
    assert kept["part"].tolist() == names.tolist()
    for changed in (frame.assign(part=np.roll(names, 3)), frame):
        datasets.table.save(changed, told)
        with pytest.raises(DataError, match="is not of these photographs and labels as they are now"):
            survey(told, looking=Looking(audit=tmp_path / "audit"))


def test_what_the_table_says_is_that_of_the_table_just_read(photographs, tmp_path):
    frame = datasets.read(photographs)
    told = tmp_path / "told.csv"
    datasets.table.save(frame.assign(age=40, hospital="A"), told)
    audit_data(told, out=tmp_path / "audit")
    # Neither decides what the audit found, so it stays valid; the rows stand in another order.
    datasets.table.save(frame.assign(age=range(len(frame)), hospital="B").iloc[::-1], told)
    again = survey(told, looking=Looking(audit=tmp_path / "audit")).scanned.set_index("path")
    expected = pd.Series(range(len(frame)), index=frame["path"])
    assert again["age"].astype(int).to_dict() == expected.to_dict()
    assert set(again["hospital"]) == {"B"}
    assert again["sha256"].notna().any()
    limited = survey(told, limit=9, looking=Looking(audit=tmp_path / "audit")).scanned
    assert limited.set_index("path")["age"].astype(int).to_dict().items() <= expected.to_dict().items()


def test_a_table_of_photographs_that_does_not_go_with_its_audit_is_refused(photographs, tmp_path):
    audit_data(photographs, out=tmp_path / "audit")
    found = pd.read_parquet(tmp_path / "audit" / provenance.AUDITED)
    found.assign(diagnosis="DF").to_parquet(tmp_path / "audit" / provenance.AUDITED)
    with pytest.raises(DataError, match="names other photographs than"):
        survey(photographs, looking=Looking(audit=tmp_path / "audit"))


def test_what_is_not_usable_is_not_trained_on():
    with pytest.raises(DataError, match="--unaudited"):
        provenance.refuse_unusable("not usable", ["Not usable: 3 of 4 files cannot be read."])
    provenance.refuse_unusable("usable with exclusions", [])


def test_every_reason_for_which_a_set_is_not_usable_is_told():
    told = [
        "Not usable: 3 of 4 files cannot be read.",
        "Not usable: 1 diagnosis is left that does not contradict itself; two are needed.",
        "3 files cannot be read.",
    ]
    with pytest.raises(DataError) as caught:
        provenance.refuse_unusable("not usable", told)
    assert str(caught.value).startswith(
        "Not usable: 3 of 4 files cannot be read. 1 diagnosis is left that does not contradict itself; two are needed. "
        "Mend the data set;"
    )


def test_what_an_audit_left_out_is_counted_where_its_table_is_used(photographs, tmp_path):
    first = audit_data(photographs, out=tmp_path / "audit")
    told = json.loads((tmp_path / "audit" / "audit.json").read_text())
    used = told["used"]
    assert used < len(first.scanned)
    for name in provenance.CLEAN:
        assert provenance.flow_before(tmp_path / "audit" / name, used) == told["flow"]
    assert told["flow"][0] == {"label": "found", "photographs": len(first.scanned), "excluded": {}}
    # Another table, another number of rows, no audit beside it, a broken one: no flow.
    assert provenance.flow_before(photographs, used) == []
    assert provenance.flow_before(tmp_path / "audit" / "clean.csv", used - 1) == []
    (tmp_path / "clean.csv").write_text("image_id\n")
    assert provenance.flow_before(tmp_path / "clean.csv", used) == []
    (tmp_path / "audit.json").write_text("{")
    assert provenance.flow_before(tmp_path / "clean.csv", used) == []
