from __future__ import annotations

import pandas as pd
import pytest

from melascope import audit, datasets
from melascope.audit import protocol as rules
from melascope.errors import DataError

BASE = {f"Train/nevus/ISIC_{n:07d}.jpg": n for n in range(100, 110)}
BASE |= {f"Train/melanoma/ISIC_{n:07d}.jpg": n for n in range(200, 210)}
BASE |= {f"Test/melanoma/ISIC_{n:07d}.jpg": n for n in range(300, 303)}
BASE |= {f"Test/nevus/ISIC_{n:07d}.jpg": n for n in range(400, 403)}


def _apply(table: pd.DataFrame, protocol: str = "clean") -> audit.Prepared:
    prepared = audit.apply_protocol(table, audit.audit(table), protocol)
    _assert_adds_up(table, prepared)
    return prepared


def _assert_adds_up(table: pd.DataFrame, prepared: audit.Prepared) -> None:
    assert prepared.flow[0] == audit.FlowStep("found", len(table))
    for before, after in zip(prepared.flow, prepared.flow[1:], strict=False):
        assert after.photographs == before.photographs - sum(after.excluded.values())
    assert prepared.flow[-1].photographs == len(prepared.table)
    assert len(prepared.table) + len(prepared.excluded) == len(table)
    assert sorted([*prepared.table["path"], *prepared.excluded["path"]]) == sorted(table["path"])
    told: dict[str, int] = {}
    for step in prepared.flow:
        for reason, count in step.excluded.items():
            told[reason] = told.get(reason, 0) + count
    assert told == prepared.excluded["reason"].value_counts().to_dict()


def _reasons(prepared: audit.Prepared) -> dict[str, str]:
    """Reason by the part of the path that tells the rows of this test apart."""
    return {
        "/".join(path.split("/")[-3:]): reason
        for path, reason in zip(prepared.excluded["path"], prepared.excluded["reason"], strict=True)
    }


def _labels(prepared: audit.Prepared) -> dict[str, tuple[str, str]]:
    table = prepared.table
    return {i: (d, f) for i, d, f in zip(table["image_id"], table["diagnosis"], table["label_from"], strict=True)}


def test_nothing_is_left_out_of_a_good_set(make_set):
    prepared = _apply(make_set(BASE))
    assert prepared.name == "clean-unauthorised"
    assert len(prepared.table) == len(BASE)
    assert prepared.classes == ("MEL", "NV")
    assert not prepared.optimistic
    assert prepared.split_group == "group"
    assert any("No authority was given" in warning for warning in prepared.warnings)


def test_the_authority_decides_and_contradictions_without_one_go(make_set):
    files = BASE | {
        "Train/melanoma/ISIC_0000100.jpg": 100,  # two labels, the authority says MEL
        "Train/melanoma/ISIC_0000101.jpg": 101,  # two labels, nobody knows
        "Test/melanoma/ISIC_0000102.jpg": 102,  # in Train and Test under two labels, nobody knows
        "Test/melanoma/ISIC_0000103.jpg": 103,  # in Train and Test under two labels, the authority says NV
    }
    authority = "image_id,diagnosis\nISIC_0000100_downsampled,MEL\nISIC_0000103,NV\nISIC_0000200,NV\n"
    prepared = _apply(make_set(files, authority))
    assert prepared.name == "clean"
    labels = _labels(prepared)
    assert labels["ISIC_0000100"] == ("MEL", "authority")
    assert labels["ISIC_0000103"] == ("NV", "authority")
    assert labels["ISIC_0000200"] == ("NV", "authority")
    assert labels["ISIC_0000201"] == ("MEL", "filed")
    assert _reasons(prepared) == {
        "Train/nevus/ISIC_0000100.jpg": rules.COPY,
        "Train/melanoma/ISIC_0000101.jpg": rules.CONTRADICTION,
        "Train/nevus/ISIC_0000101.jpg": rules.CONTRADICTION,
        "Train/nevus/ISIC_0000102.jpg": rules.CONTRADICTION,
        "Test/melanoma/ISIC_0000102.jpg": rules.CONTRADICTION,
        "Train/nevus/ISIC_0000103.jpg": rules.PHOTOGRAPH_IN_TEST,
    }
    row = prepared.table.set_index("image_id").loc["ISIC_0000200"]
    assert (row["filed_diagnosis"], row["official_diagnosis"], row["diagnosis"]) == ("MEL", "NV", "NV")
    assert any("21 of 24 labels are the filed ones" in warning for warning in prepared.warnings)


def test_copies_under_another_name_are_one_photograph(make_set):
    files = BASE | {"Train/nevus/copy.jpg": 100, "Train/melanoma/other.jpg": 200, "Test/nevus/again.jpg": 400}
    prepared = _apply(make_set(files))
    assert prepared.excluded["reason"].tolist() == [rules.COPY] * 3
    assert len(prepared.table) == len(BASE)
    assert len(set(prepared.table["photograph"])) == len(BASE)


def test_the_row_that_is_kept_is_one_filed_as_it_is_labelled(make_set):
    table = make_set(BASE | {"Train/melanoma/ISIC_0000100.jpg": 100}, "image_id,diagnosis\nISIC_0000100,NV\n")
    prepared = _apply(table)
    kept = prepared.table.set_index("image_id").loc["ISIC_0000100", "path"]
    assert "/nevus/" in kept


def test_test_stays_and_what_shares_anything_with_it_goes_from_train(make_set):
    files = BASE | {"Test/nevus/ISIC_0000100 (1).jpg": 900, "Test/melanoma/renamed.jpg": 200}
    authority = (
        "image_id,lesion_id,patient_id\n"
        "ISIC_0000101,L1,\nISIC_0000300,L1,\n"
        "ISIC_0000102,,P1\nISIC_0000301,,P1\n"
        "ISIC_0000103,L2,P1\nISIC_0000104,L2,\n"  # 103 is of the patient; 104 only of 103's lesion
        "ISIC_0000400,L9,\nISIC_0000401,L9,\n"  # two of one lesion in Test
    )
    prepared = _apply(make_set(files, authority))
    assert prepared.name == "clean-unauthorised"  # lesion ids only
    assert _reasons(prepared) == {
        "Train/nevus/ISIC_0000100.jpg": rules.PHOTOGRAPH_IN_TEST,
        "Train/melanoma/ISIC_0000200.jpg": rules.PHOTOGRAPH_IN_TEST,
        "Train/nevus/ISIC_0000101.jpg": rules.LESION_IN_TEST,
        "Train/nevus/ISIC_0000102.jpg": rules.PATIENT_IN_TEST,
        "Train/nevus/ISIC_0000103.jpg": rules.PATIENT_IN_TEST,
        "Train/nevus/ISIC_0000104.jpg": rules.TIED_TO_TEST,
    }
    assert (prepared.table["split"] == "test").sum() == 8
    assert prepared.leak["share_any"] == 0
    groups = prepared.table.set_index("image_id")["group"]
    assert groups["ISIC_0000400"] == groups["ISIC_0000401"]
    result = datasets.split(prepared.table, seed=1)
    assert (result.part[prepared.table["split"] == "test"] == "test").all()


def test_clean_is_coarsened_to_isic_2019_and_as_filed_is_not(make_set):
    files = BASE | {"Train/seborrheic keratosis/ISIC_0000001.jpg": 1, "Train/pigmented benign keratosis/a.jpg": 2}
    # One photograph as PBK and as SK is no contradiction: both are BKL.
    files |= {"Train/seborrheic keratosis/ISIC_0000003.jpg": 3, "Train/pigmented benign keratosis/ISIC_0000003.jpg": 3}
    table = make_set(files)
    clean, filed = _apply(table), _apply(table, "as-filed")
    assert clean.classes == ("MEL", "NV", "BKL")
    assert (clean.table["diagnosis"] == "BKL").sum() == 3
    (told,) = (warning for warning in clean.warnings if "one diagnosis here" in warning)
    assert "(PBK) and seborrheic keratosis (SK) are one diagnosis here" in told
    assert "(BKL, 3 photographs)" in told
    assert not any("one diagnosis here" in warning for warning in filed.warnings)
    assert filed.classes == ("MEL", "NV", "PBK", "SK")
    assert len(filed.table) == len(files)


def test_akiec_keeps_the_seven_of_isic_2018_unless_an_authority_tells_it_apart(make_set):
    files = BASE | {"Train/akiec/ISIC_0000001.jpg": 1, "Train/actinic keratosis/ISIC_0000002.jpg": 2}
    assert _apply(make_set(files)).classes == ("MEL", "NV", "AKIEC")
    told = _apply(make_set(files, "image_id,diagnosis\nISIC_0000001,SCC\n"))
    assert told.classes == ("MEL", "NV", "AK", "SCC")


def test_an_authority_that_contradicts_itself_on_one_photograph_leaves_it_out(make_set):
    files = BASE | {"Train/nevus/ISIC_0000001.jpg": 100}
    prepared = _apply(make_set(files, "image_id,diagnosis\nISIC_0000001,NV\nISIC_0000100,MEL\n"))
    assert prepared.excluded["reason"].tolist() == [rules.OFFICIAL_CONTRADICTION] * 2


def test_a_label_known_for_one_copy_holds_for_all(make_set):
    files = BASE | {"Train/melanoma/renamed.jpg": 100}
    prepared = _apply(make_set(files, "image_id,diagnosis\nRENAMED,MEL\n"))
    photograph = prepared.table[prepared.table["photograph"] == "ISIC_0000100"]
    assert photograph["diagnosis"].tolist() == ["MEL"]
    assert photograph["label_from"].tolist() == ["authority"]


def test_unreadable_and_unlabelled_photographs_go_under_both_protocols(make_set):
    table = make_set(BASE | {"Train/nevus/ISIC_0000001.jpg": b"", "Train/nevus/ISIC_0000002.jpg": 2})
    table.loc[table["image_id"] == "ISIC_0000002", "diagnosis"] = pd.NA
    for protocol in audit.PROTOCOLS:
        reasons = _apply(table, protocol).excluded["reason"].tolist()
        assert sorted(reasons) == sorted([rules.UNREADABLE, rules.NO_DIAGNOSIS])


def test_as_filed_keeps_everything_and_says_how_much_it_leaks(make_set):
    files = BASE | {"Test/melanoma/ISIC_0000100.jpg": 100, "Train/melanoma/ISIC_0000101.jpg": 101}
    authority = "image_id,diagnosis,lesion_id\nISIC_0000102,MEL,L1\nISIC_0000400,NV,L1\n"
    prepared = _apply(make_set(files, authority), "as-filed")
    assert len(prepared.table) == len(files)
    assert prepared.name == "as-filed"
    assert prepared.optimistic
    assert prepared.split_group is None
    assert set(prepared.table["label_from"]) == {"filed"}
    assert (prepared.table["diagnosis"] == prepared.table["filed_diagnosis"]).all()
    assert prepared.leak == {
        "test_photographs": 7,
        "share_photograph": 1,
        "share_lesion": 1,
        "share_patient": 0,
        "share_any": 2,
    }
    assert "Of 7 Test photographs 1 is in Train too, and 2 share" in prepared.warnings[1]
    part = datasets.split(prepared.table, group=prepared.split_group).part
    assert audit.leakage(prepared.table, part) == prepared.leak


def test_the_leak_of_a_random_split_is_counted_after_it(make_set):
    files = {f"{name}/{n}{copy}.jpg": n for n in range(1, 31) for name, copy in (("nevus", "a"), ("nevus", "b"))}
    files |= {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(100, 130)}
    filed = _apply(make_set(files), "as-filed")
    assert filed.leak == {}
    part = datasets.split(filed.table, group=filed.split_group).part
    leak = audit.leakage(filed.table, part)
    photograph = filed.table["photograph"]
    shared = set(photograph[part == "test"]) & set(photograph[part != "test"])
    assert leak["share_photograph"] == photograph[part == "test"].isin(shared).sum() > 0
    clean = _apply(make_set(files))
    assert audit.leakage(clean.table, datasets.split(clean.table).part)["share_any"] == 0


def test_the_flow_ends_in_the_parts(make_set):
    files = {f"{name}/ISIC_{n:07d}.jpg": n for n in range(60) for name in (("nevus", "melanoma")[n % 2],)}
    prepared = _apply(make_set(files))
    result = datasets.split(prepared.table)
    ends = [step for step in prepared.flow_with_parts(result.part) if step.part]
    assert [step.part for step in ends] == ["train", "calibrate", "test"]
    assert sum(step.photographs for step in ends) == prepared.flow[-1].photographs
    assert ends[0].to_json() == {"label": "train", "photographs": ends[0].photographs, "excluded": {}, "part": "train"}


def test_what_cannot_be_prepared_says_why(make_set):
    table = make_set(BASE)
    found = audit.audit(table)
    with pytest.raises(DataError, match='no protocol "dirty"; there are: clean, as-filed'):
        audit.apply_protocol(table, found, "dirty")
    with pytest.raises(DataError, match="audit is of 26 photographs, the table has 25"):
        audit.apply_protocol(table.iloc[1:], found)
    contradictory = make_set({"nevus/ISIC_0000001.jpg": 1, "melanoma/ISIC_0000001.jpg": 1}).query(
        "image_id < 'ISIC_00001'"
    )
    contradictory = contradictory.reset_index(drop=True)
    with pytest.raises(DataError, match="leaves none of 2 photographs: filed under several"):
        audit.apply_protocol(contradictory, audit.audit(contradictory))
