from __future__ import annotations

import os

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
