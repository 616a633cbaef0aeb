"""A table that an audit has written is audited again; tables that list a file twice; data that were moved."""

from __future__ import annotations

import itertools
import json
import shutil

import pandas as pd
import pytest

from melascope import audit, datasets
from melascope.audit import survey as look
from melascope.audit.protocol import CONTRADICTION, LISTED_AGAIN, apply_protocol
from melascope.audit.survey import Looking, audit_data
from melascope.errors import DataError

KNOWN = ["image_id", "path", "diagnosis", "filed_diagnosis", "official_diagnosis", "label_from", "group"]
AUTHORITY = "image_id,diagnosis,lesion_id\nISIC_0000200,NV,L1\nISIC_0000201,MEL,L1\nOTHER_9,MEL,\n"
QUICK = {"looking": Looking(search=False)}


@pytest.fixture(autouse=True)
def _short_page(monkeypatch):
    """Figures take most of an audit's time, and are not what is tested here."""
    monkeypatch.setattr(look, "_page", lambda target, *_args, **_options: target.write_text("page"))


@pytest.fixture
def audited(make_set, tmp_path):
    """A set that was audited with an authority, and the folder of that audit."""
    files = {f"nevus/ISIC_{n:07d}.jpg": n for n in range(100, 106)}
    files |= {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(200, 206)}
    files |= {"seborrheic keratosis/ISIC_0000300.jpg": 300}
    # The authority knows this photograph by the name of its other file, which is not the one that is kept.
    files |= {"nevus/ISIC_0000001.jpg": 1, "nevus/other_9.jpg": 1}
    make_set(files, AUTHORITY)
    folder = tmp_path / "first"
    audit_data(tmp_path / "set", out=folder, authority=[tmp_path / "authority.csv"])
    return folder


@pytest.mark.parametrize("name", ["clean.csv", "clean.parquet"])
def test_the_clean_table_of_an_audit_keeps_what_is_known_when_it_is_audited_again(audited, tmp_path, name):
    audit_data(audited / name, out=tmp_path / "again")
    first, again = (
        pd.read_csv(folder / "clean.csv", dtype="string").sort_values("path").reset_index(drop=True)
        for folder in (audited, tmp_path / "again")
    )
    same = [column for column in KNOWN if column != "official_diagnosis"]
    pd.testing.assert_frame_equal(again[same], first[same])
    labels = again.set_index("image_id")
    assert labels.loc["ISIC_0000001", ["diagnosis", "filed_diagnosis", "label_from"]].tolist() == [
        "MEL",
        "NV",
        "authority",
    ]
    assert labels.loc["ISIC_0000200", ["diagnosis", "filed_diagnosis"]].tolist() == ["NV", "MEL"]
    assert labels.loc["ISIC_0000300", ["diagnosis", "filed_diagnosis"]].tolist() == ["BKL", "SK"]
    told, before = (json.loads((folder / "audit.json").read_text()) for folder in (tmp_path / "again", audited))
    assert told["protocol"] == before["protocol"] == "clean"
    assert told["warnings"] == before["warnings"]
    assert told["disagreement"]["MEL"]["NV"] == 1  # filed as melanoma, whatever the table says now
    assert told["kinds"]["authority_conflict"]["images"] == 0


def test_as_filed_is_as_filed_also_from_a_clean_table(audited):
    found = look.survey(audited / "clean.csv", looking=Looking(search=False))
    table = apply_protocol(found.scanned, found.audit, "as-filed").table.set_index("image_id")
    assert table.loc["ISIC_0000200", ["diagnosis", "label_from"]].tolist() == ["MEL", "filed"]


def test_seven_diagnoses_stay_seven_when_the_row_that_made_them_so_is_gone(make_set, tmp_path):
    files = {"nevus/ISIC_0000100.jpg": 100, "akiec/ISIC_0000101.jpg": 101, "actinic keratosis/ISIC_0000102.jpg": 102}
    make_set(files)
    audit_data(tmp_path / "set", out=tmp_path / "first")
    clean = pd.read_csv(tmp_path / "first" / "clean.csv", dtype="string")
    assert clean["diagnosis"].tolist() == ["AKIEC", "AKIEC", "NV"] or set(clean["diagnosis"]) == {"AKIEC", "NV"}
    clean[clean["image_id"] != "ISIC_0000101"].to_csv(tmp_path / "fewer.csv", index=False)
    audit_data(tmp_path / "fewer.csv", out=tmp_path / "second")
    again = pd.read_csv(tmp_path / "second" / "clean.csv").set_index("image_id")
    assert again.loc["ISIC_0000102", ["diagnosis", "filed_diagnosis"]].tolist() == ["AKIEC", "AK"]


def test_what_an_earlier_audit_found_by_comparing_does_not_survive(make_set, tmp_path):
    table = make_set({f"{name}/ISIC_{n:07d}.jpg": n for n in range(8) for name in (("nevus", "melanoma")[n % 2],)})
    stale = table[["image_id", "path", "diagnosis"]].assign(
        photograph="P", group="G", same="row 1", same_evidence="e", repeat="row 1", repeat_evidence="e", also_in="X",
        also_in_evidence="X: e",
    )  # fmt: skip
    stale.to_csv(tmp_path / "stale.csv", index=False)
    for looking in (Looking(search=False), Looking(), Looking(audited=False)):
        found = look.survey(tmp_path / "stale.csv", looking=looking)
        assert set(found.audit.problems["kind"]) <= {"imbalance", "outlier", "personal_data"}
        prepared = apply_protocol(found.scanned, found.audit)
        assert prepared.table["group"].nunique() == prepared.table["photograph"].nunique() == 8


def _twice(make_set, tmp_path, authority=None):
    files = {f"nevus/ISIC_{n:07d}.jpg": n for n in range(100, 104)}
    table = make_set(files | {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(200, 204)})
    rows = table[["image_id", "path", "diagnosis"]]
    first, other = rows.iloc[0], {"NV": "MEL", "MEL": "NV"}
    again = rows.iloc[[0, 5]].assign(diagnosis=[other[first["diagnosis"]], rows["diagnosis"].iloc[5]])
    pd.concat([rows, again]).to_csv(tmp_path / "twice.csv", index=False)
    paths = []
    if authority is not None:
        paths = [tmp_path / "authority.csv"]
        paths[0].write_text(f"image_id,diagnosis\n{first['image_id']},{authority}\n")
    audit_data(tmp_path / "twice.csv", out=tmp_path / "out", authority=paths, **QUICK)
    tables = [pd.read_csv(tmp_path / "out" / name, dtype="string") for name in ("clean.csv", "excluded.csv")]
    return first["image_id"], *tables, json.loads((tmp_path / "out" / "audit.json").read_text())


def _adds_up(told, clean, excluded):
    assert not set(clean["path"]) & set(excluded["path"])
    assert not clean["path"].duplicated().any()
    assert not excluded["path"].duplicated().any()
    flow = told["flow"]
    for before, after in itertools.pairwise(flow):
        assert after["photographs"] == before["photographs"] - sum(after["excluded"].values())
    assert flow[-1]["photographs"] == len(clean)
    assert sum(step["excluded"].get(LISTED_AGAIN, 0) for step in flow) == 1


def test_a_file_listed_under_two_diagnoses_is_a_conflict_and_stands_in_one_table(make_set, tmp_path):
    first, clean, excluded, told = _twice(make_set, tmp_path)
    assert told["kinds"]["id_conflict"]["images"] == 1
    assert "1 photograph is filed under more than one diagnosis (1 file)." in told["reasons"]
    assert any("more than once; rows that say the same count once" in reason for reason in told["reasons"])
    assert any("contradicts itself (diagnosis)" in reason for reason in told["reasons"])
    assert excluded[["image_id", "reason"]].to_numpy().tolist() == [[first, CONTRADICTION]]
    assert len(clean) == 7
    _adds_up(told, clean, excluded)


@pytest.mark.parametrize("code", ["NV", "MEL"])
def test_the_authority_decides_on_a_file_listed_under_two_diagnoses(make_set, tmp_path, code):
    first, clean, excluded, told = _twice(make_set, tmp_path, code)
    row = clean.set_index("image_id").loc[first]
    assert row[["diagnosis", "filed_diagnosis", "label_from"]].tolist() == [code, code, "authority"]
    assert excluded.empty
    _adds_up(told, clean, excluded)


def test_an_unreadable_file_listed_twice_is_left_out_once(make_set):
    table = make_set({"nevus/ISIC_0000001.jpg": b"", "nevus/ISIC_0000002.jpg": 2, "melanoma/ISIC_0000003.jpg": 3})
    table = pd.concat([table, table.iloc[[0, 1, 2]].assign(diagnosis="DF")], ignore_index=True)
    prepared = apply_protocol(table, audit.audit(table), "as-filed")
    assert prepared.excluded["path"].nunique() == len(prepared.excluded) == 1


def test_an_audit_of_data_that_were_moved_says_so(make_set, tmp_path):
    make_set({f"nevus/ISIC_{n:07d}.jpg": n for n in range(3)} | {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(3, 6)})
    audit_data(tmp_path / "set", out=tmp_path / "audit", **QUICK)
    shutil.copytree(tmp_path / "set", tmp_path / "moved" / "set")
    reuse = {"looking": Looking(audit=tmp_path / "audit")}
    with pytest.raises(DataError) as caught:
        look.survey(tmp_path / "moved" / "set", **reuse)
    said = str(caught.value)
    assert f"the same files, by names, sizes and labels, under another folder (it was {tmp_path / 'set'}" in said
    assert f"it is {tmp_path / 'moved' / 'set'})" in said
    assert "Move them back there, or make it again: melascope data audit" in said
    next((tmp_path / "moved" / "set").rglob("*.jpg")).write_bytes(b"another")
    with pytest.raises(DataError, match="not of these photographs and labels as they are now; the same DATA"):
        look.survey(tmp_path / "moved" / "set", **reuse)


def test_an_audit_that_knows_no_folder_is_still_used(make_set, tmp_path):
    make_set({f"nevus/ISIC_{n:07d}.jpg": n for n in range(3)} | {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(3, 6)})
    audit_data(tmp_path / "set", out=tmp_path / "audit", **QUICK)
    path = tmp_path / "audit" / "audit.json"
    told = json.loads(path.read_text())
    for key in ("folder", "moved_digest"):
        del told["data"][key]
    path.write_text(json.dumps(told))
    look.survey(tmp_path / "set", looking=Looking(audit=tmp_path / "audit"))
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    with pytest.raises(DataError, match="as they are now; the same DATA"):
        look.survey(tmp_path / "moved", looking=Looking(audit=tmp_path / "audit"))


def test_an_audit_that_is_stopped_leaves_the_old_one_whole(make_set, tmp_path, monkeypatch):
    make_set({f"nevus/ISIC_{n:07d}.jpg": n for n in range(3)} | {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(3, 6)})
    folder = tmp_path / "audit"
    audit_data(tmp_path / "set", out=folder, **QUICK)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "set" / "nevus" / "ISIC_0000009.jpg").write_bytes(b"")

    def stopped(*_args, **_options):
        raise KeyboardInterrupt

    for name in ("_page", "write_audit"):
        with monkeypatch.context() as moment:
            moment.setattr(look, name, stopped)
            with pytest.raises(KeyboardInterrupt):
                audit_data(tmp_path / "set", out=folder, **QUICK)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    audit_data(tmp_path / "set", out=folder, **QUICK)
    assert {path.name for path in folder.iterdir()} == set(before)
    assert json.loads((folder / "audit.json").read_text())["images"] == 7


def test_one_photograph_of_each_lesion_is_kept_where_the_policy_says_so(make_set, tmp_path):
    files = {f"nevus/ISIC_{n:07d}.jpg": n for n in range(4)} | {f"melanoma/ISIC_{n:07d}.jpg": n for n in range(4, 8)}
    table = make_set(files, "image_id,lesion_id\nISIC_0000000,L1\nISIC_0000001,L1\nISIC_0000002,L2\n")
    # The pixels show that 4 and 5 are two shots of one lesion, of which no id tells.
    seen = table["image_id"].isin(["ISIC_0000004", "ISIC_0000005"])
    table["repeat"] = pd.array(["row 1" if same else None for same in seen], dtype="string")
    table["repeat_evidence"] = pd.array(["x: e" if same else None for same in seen], dtype="string")
    (tmp_path / "policy.toml").write_text('[problems]\nlesion_repeat = "exclude"\n')
    for policy, left, so in (
        (audit.Policy(), 8, "which belong into one part."),
        (audit.load_policy(tmp_path / "policy.toml"), 6, "of which one each is kept."),
    ):
        found = audit.audit(table, policy)
        prepared = apply_protocol(table, found)
        assert len(prepared.table) == left
        assert f"2 lesions have several photographs (4 files), {so}" in found.reasons


def test_lesions_are_counted_by_photograph_where_one_name_stands_for_several(make_set):
    table = make_set({f"{name}/{n}.jpg": 10 * n + k for n in (1, 2) for k, name in enumerate(("nevus", "melanoma"))})
    assert datasets.ambiguous_names(table) == ["1", "2"]
    assert datasets.lesion_counts(table) == {"known": 0, "assumed": 4}
    prepared = apply_protocol(table, audit.audit(table))
    assert datasets.lesion_counts(prepared.table) == {"known": 0, "assumed": 4}
    assert any("4 further photographs are each taken for a lesion" in told for told in prepared.warnings)
    with_lesion = table.assign(lesion_id=pd.array(["L1", "L1", None, None], dtype="string"))
    assert datasets.lesion_counts(with_lesion) == {"known": 1, "assumed": 2}
