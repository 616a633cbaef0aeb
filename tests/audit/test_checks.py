from __future__ import annotations

import json

import pandas as pd
import pytest

from melascope import audit, datasets
from melascope.errors import DataError


def _found(result: audit.Audit, kind: str) -> list[set[str]]:
    """The image ids of each problem of a kind."""
    rows = result.problems[result.problems["kind"] == kind]
    return sorted(set(part["image_id"]) for _, part in rows.groupby("group"))


GOOD = {f"nevus/ISIC_{n:07d}.jpg": n for n in range(100, 112)} | {
    f"melanoma/ISIC_{n:07d}.jpg": n for n in range(200, 212)
}


def test_a_good_set_is_clean(make_set):
    result = audit.audit(make_set(GOOD))
    assert result.verdict == "clean"
    assert result.reasons == []
    assert result.problems.empty
    assert list(result.problems.columns) == ["kind", "group", "image_id", "path", "diagnosis", "split", "evidence"]
    assert result.disagreement.empty


def test_unreadable_files_are_listed_with_their_reason(make_set):
    table = make_set(GOOD | {"nevus/ISIC_0000001.jpg": b"", "nevus/ISIC_0000002.jpg": b"plain text, no pixels here"})
    result = audit.audit(table)
    rows = result.problems[result.problems["kind"] == "unreadable"].set_index("image_id")
    assert set(rows.index) == {"ISIC_0000001", "ISIC_0000002"}
    assert rows.loc["ISIC_0000001", "evidence"].startswith("empty: ")
    assert rows.loc["ISIC_0000002", "evidence"].startswith("not_an_image: ")
    assert result.verdict == "usable with exclusions"
    assert "2 files cannot be read." in result.reasons


def test_byte_identical_files_are_grouped(make_set):
    result = audit.audit(make_set(GOOD | {"nevus/a.jpg": 100, "nevus/b.jpg": 100, "melanoma/c.jpg": 200}))
    assert _found(result, "byte_identical") == sorted([{"ISIC_0000100", "A", "B"}, {"ISIC_0000200", "C"}])
    assert _found(result, "id_conflict") == []


def test_one_photograph_under_two_diagnoses_is_found_by_id_and_by_bytes(make_set):
    extra = {
        "melanoma/ISIC_0000100 (1).jpg": 900,  # one id, other pixels
        "melanoma/renamed.jpg": 101,  # one content, another id
        "nevus/ISIC_0000102_downsampled.jpg": 102,  # the same diagnosis twice
    }
    result = audit.audit(make_set(GOOD | extra))
    assert _found(result, "id_conflict") == [{"ISIC_0000100"}, {"ISIC_0000101", "RENAMED"}]
    evidence = result.problems.loc[result.problems["kind"] == "id_conflict", "evidence"]
    assert set(evidence) == {"filed as MEL and NV"}


def test_plain_names_that_stand_twice_are_no_contradiction(make_set):
    files = {f"{name}/{n}.jpg": 10 * n + len(name) for n in range(1, 20) for name in ("nevus", "melanoma")}
    result = audit.audit(make_set(files))
    assert result.problems.empty
    assert result.verdict == "clean"
    assert result.reasons == [
        "19 file names, such as 1, stand for photographs that look different; "
        "each is taken for a photograph of its own."
    ]


def test_an_authority_is_compared_as_coarsely_as_it_speaks(make_set):
    files = GOOD | {
        "pigmented benign keratosis/ISIC_0000001.jpg": 1,
        "seborrheic keratosis/ISIC_0000002.jpg": 2,
        "actinic keratosis/ISIC_0000003.jpg": 3,
    }
    authority = "image_id,diagnosis\nISIC_0000001,BKL\nISIC_0000002,MEL\nISIC_0000003,AKIEC\nISIC_0000100,NV\n"
    result = audit.audit(make_set(files, authority))
    assert _found(result, "authority_conflict") == [{"ISIC_0000002"}]
    assert result.problems["evidence"].tolist()[0] == "filed as SK, officially MEL"
    assert result.disagreement.loc["SK", "MEL"] == 1
    assert result.disagreement.loc["PBK", "BKL"] == 1
    assert result.disagreement.to_numpy().sum() == 4


def test_leaks_of_photographs_lesions_and_patients_are_found(make_set):
    files = {f"Train/{name}": seed for name, seed in GOOD.items()}
    files |= {f"Test/nevus/ISIC_000030{n}.jpg": 300 + n for n in range(6)}
    files |= {"Test/nevus/ISIC_0000100.jpg": 900, "Test/melanoma/renamed.jpg": 200}
    authority = (
        "image_id,lesion_id,patient_id\n"
        "ISIC_0000101,L1,\nISIC_0000300,L1,\n"  # a lesion on both sides
        "ISIC_0000102,L2,P1\nISIC_0000301,L3,P1\n"  # a patient on both sides
        "ISIC_0000302,L4,P2\nISIC_0000303,L4,P2\n"  # both in Test
        "ISIC_0000103,L5,P3\nISIC_0000104,L5,P3\n"  # both in Train
    )
    table = make_set(files, authority)
    result = audit.audit(table)
    assert _found(result, "photograph_leak") == [{"ISIC_0000100"}, {"ISIC_0000200", "RENAMED"}]
    lesions = result.problems[result.problems["kind"] == "lesion_leak"]
    assert dict(zip(lesions["image_id"], lesions["evidence"], strict=True)) == {
        "ISIC_0000101": "lesion in Train and in Test",
        "ISIC_0000300": "lesion in Train and in Test",
        "ISIC_0000102": "patient in Train and in Test",
        "ISIC_0000301": "patient in Train and in Test",
    }


def test_rare_diagnoses_are_named(make_set):
    files = GOOD | {"dermatofibroma/ISIC_0000001.jpg": 1} | {f"nevus/ISIC_{n:07d}.jpg": n for n in range(300, 330)}
    result = audit.audit(make_set(files))
    rows = result.problems.set_index("diagnosis")
    assert rows.loc["DF", "evidence"] == "1 photograph: too few to judge"
    assert rows.loc["MEL", "evidence"] == "12 photographs, one for 3.5 of NV"
    assert rows["image_id"].isna().all()
    assert result.verdict == "clean"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"nevus/a.jpg": b"", "melanoma/b.jpg": 1}, "1 of 2 files cannot be read"),
        ({"nevus/ISIC_0000001.jpg": 1, "melanoma/ISIC_0000001.jpg": 1}, "no diagnosis is left"),
        ({"nevus/a.jpg": 1, "nevus/b.jpg": 2}, "1 diagnosis is left"),
    ],
)
def test_a_set_that_cannot_be_used_says_why(make_set, files, reason):
    result = audit.audit(make_set(files))
    assert result.verdict == "not usable"
    assert reason in result.reasons[0]


def test_the_summary_is_json_and_counts_groups_images_and_classes(make_set):
    table = make_set(GOOD | {"melanoma/copy.jpg": 100}, "image_id,diagnosis\nISIC_0000100,MEL\n")
    summary = json.loads(json.dumps(audit.audit(table).summary(), allow_nan=False))
    assert summary["images"] == 25
    assert summary["verdict"] == "usable with exclusions"
    assert set(summary["kinds"]) == {*audit.CHECKS, "label_suspect"}
    assert {kind for kind, found in summary["kinds"].items() if not found["looked_for"]} == {"label_suspect"}
    conflict, unreadable = summary["kinds"]["id_conflict"], summary["kinds"]["unreadable"]
    assert (conflict["groups"], conflict["images"], conflict["by_class"]) == (1, 2, {"MEL": 1, "NV": 1})
    assert (unreadable["groups"], unreadable["images"], unreadable["by_class"]) == (0, 0, {})
    assert conflict["action"] == "exclude"
    assert summary["disagreement"] == {"NV": {"MEL": 1}}
    assert summary["missing"]["diagnosis"] == 0
    assert summary["missing"]["patient_id"] == 25


def test_a_check_of_ones_own_is_run(make_set, monkeypatch):
    def find(table: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"kind": "tiny", "group": "tiny", "image_id": table["image_id"], "path": table["path"], "diagnosis": "NV"}
        ).reindex(columns=["kind", "group", "image_id", "path", "diagnosis", "split", "evidence"])

    monkeypatch.setitem(audit.CHECKS, "tiny", find)
    result = audit.audit(make_set(GOOD))
    assert result.summary()["kinds"]["tiny"]["images"] == 24
    assert "tiny: 1 problem (24 files)." in result.reasons


def test_an_audit_needs_a_scanned_table(make_set):
    table = make_set(GOOD)
    with pytest.raises(DataError, match="not scanned"):
        audit.audit(table[["image_id", "path"]])
    with pytest.raises(DataError, match="no photographs to audit"):
        audit.audit(table.iloc[:0])


def test_generated_sets_show_their_planted_problems(tmp_path):
    from melascope.images import synthetic

    root = synthetic.write_dataset(tmp_path / "demo", photographs=120, seed=0, size=48)
    result = audit.audit(datasets.scan(datasets.read(root, authority=[root / "metadata.csv"])))
    kinds = result.summary()["kinds"]
    assert kinds["unreadable"]["groups"] >= 1
    assert kinds["byte_identical"]["groups"] >= 1
    assert kinds["photograph_leak"]["groups"] >= 1
    assert kinds["id_conflict"]["groups"] >= 1
    assert result.verdict == "usable with exclusions"
