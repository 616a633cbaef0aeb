"""The champion's table: each photograph once, the best copy of it, and what is locked stays locked."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from models.champion import gather


def rows(ids: list[str], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"image_id": ids, "path": [f"{name}.jpg" for name in ids]})
    for name, value in {"diagnosis": "NV", "lesion_id": None, "split": None, **columns}.items():
        frame[name] = value
    return frame


@pytest.fixture
def lesions() -> list[str]:
    return [f"HAM_{number:07d}" for number in range(400)]


def test_one_lesion_in_ten_is_locked_for_ever(lesions):
    found = [name for name in lesions if gather.locked(name)]
    assert 25 <= len(found) <= 60
    # Named, so that another hash would be noticed.
    assert found[:3] == ["HAM_0000002", "HAM_0000013", "HAM_0000075"]


def test_each_photograph_is_there_once_and_test_comes_first(lesions):
    free, closed = ([name for name in lesions if gather.locked(name) is wanted][:3] for wanted in (False, True))
    ham = rows(["A", "B", "C", "D", "E", "F"], lesion_id=[*free, *closed])
    isic2017 = rows(["C", "G", "T1"])
    nine = pd.concat(
        [rows(["T1", "T1", "B"], split="test"), rows(["A", "G", "H", "H"], split="train")], ignore_index=True
    )
    found = gather.gather(ham, isic2017, nine)
    where = found.groupby("image_id").agg(source=("source", "first"), split=("split", "first"), n=("path", "size"))
    assert where["n"].to_dict() == {"A": 1, "B": 1, "C": 1, "D": 1, "E": 1, "F": 1, "G": 1, "H": 2, "T1": 2}
    assert where.loc["A", "source"] == gather.HAM
    assert where.loc["G", "source"] == gather.ISIC2017
    assert where.loc[["T1", "H"], "source"].eq(gather.NINE).all()
    # Judged as it stands in Test, but HAM10000's: one name for both would let the source tell the class.
    assert where.loc["B", "source"] == gather.HAM
    assert where["split"].to_dict() == {
        "A": "train", "B": "test", "C": "train", "D": "test", "E": "test", "F": "test",
        "G": "train", "H": "train", "T1": "test",
    }  # fmt: skip
    assert (found["modality"] == "dermoscopic").all()


@pytest.mark.real_data
def test_the_real_sets_join(shared_data, tmp_path):
    ham, nine = shared_data / "ham10000", shared_data / "isic9"
    official = shared_data / "isic2019"
    gather.main(
        [
            "--ham10000", str(ham / "HAM10000_metadata.csv"), str(ham / "images"),
            "--isic2017", str(shared_data / "isic2017"), "--isic9", str(nine),
            "--authority", str(official / "ISIC_2019_Training_GroundTruth.csv"),
            "--authority", str(official / "ISIC_2019_Training_Metadata.csv"),
            "--out", str(tmp_path / "table.csv"),
        ]
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "table.csv")
    counts = found.groupby(["source", "split"]).size().to_dict()
    assert counts == {
        (gather.HAM, "train"): 8917, (gather.HAM, "test"): 1029 + 69, (gather.ISIC2017, "train"): 2119,
        (gather.NINE, "train"): 358, (gather.NINE, "test"): 118 - 69,
    }  # fmt: skip
    ham_rows = found[(found["source"] == gather.HAM) & ~found["path"].str.contains("isic9")]
    assert ham_rows["lesion_id"].map(gather.locked).eq(ham_rows["split"] == "test").all()
    assert not found.loc[found["source"] == gather.NINE, "lesion_id"].astype(str).str.startswith("HAM_").any()
    steps = json.loads((tmp_path / "gathered.json").read_text())
    assert [step["photographs"] for step in steps] == [10_015 + 2_150 + 2_357, len(found)]
    assert sum(steps[1]["excluded"].values()) == steps[0]["photographs"] - len(found)
