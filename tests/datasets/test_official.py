"""With an authority photographs stand under its diagnoses; labels that agree stay as filed."""

from __future__ import annotations

import pandas as pd

from melascope import datasets
from melascope.datasets.official import Official, by_authority


def _by_authority(*rows: tuple[object, ...]) -> Official:
    """Each row: number of the photograph, diagnosis as filed, official diagnosis, and bytes where another has them."""
    frame = pd.DataFrame(
        [
            (f"ISIC_{row[0]:07d}", f"/{n}.jpg", row[1], row[2], row[3] if row[3:] else str(n))
            for n, row in enumerate(rows)
        ],
        columns=["image_id", "path", "diagnosis", "official_diagnosis", "sha256"],
    )
    return by_authority(datasets.check(frame).assign(phash="0" * 64))


def test_the_official_diagnosis_counts_where_the_filed_one_does_not_agree():
    found = _by_authority((1, "MEL", "NV"), (2, "MEL", None), (3, "NV", "NV"), (4, None, "MEL"))
    assert found.table["diagnosis"].tolist() == ["NV", "MEL", "NV", "MEL"]
    assert found.table["filed_diagnosis"].fillna("").tolist() == ["MEL", "MEL", "NV", ""]
    assert found.table["label_from"].tolist() == ["authority", "filed", "filed", "authority"]
    assert found.otherwise.tolist() == [True, False, False, False]
    assert found.settled.all()


def test_of_nine_filed_classes_and_eight_official_ones_those_that_agree_stay_as_filed():
    found = _by_authority((1, "PBK", "BKL"), (2, "SK", "BKL"), (3, "NV", "BKL"), (4, "AK", "AKIEC"), (5, "NV", "SCC"))
    assert found.table["diagnosis"].tolist() == ["PBK", "SK", "BKL", "AK", "SCC"]
    assert found.too_coarse.tolist() == [False, False, True, False, False]  # of PBK and SK none can be told
    assert found.otherwise.tolist() == [False, False, True, False, True]
    coarse = _by_authority((1, "NV", "PBK"), (2, "BKL", None))
    assert coarse.table["diagnosis"].tolist() == ["BKL", "BKL"]
    assert coarse.settled.all()


def test_labels_that_contradict_each_other_wait_for_an_authority():
    found = _by_authority(
        (1, "MEL", None), (1, "NV", None), (2, "MEL", "NV"), (2, "NV", "NV"), (3, "PBK", "BKL"), (3, "SK", "BKL"),
        (4, "MEL", "NV", "same"), (5, "MEL", None, "same"), (6, "NV", "NV", "two"), (7, "NV", "MEL", "two"),
    )  # fmt: skip
    assert found.contradicted.tolist() == [True, True, False, False, True, True, False, False, True, True]
    assert found.table["diagnosis"].tolist() == ["MEL", "NV", "NV", "NV", "PBK", "SK", "NV", "NV", "NV", "NV"]
    assert found.table["label_from"].tolist()[7] == "authority"  # of another file with the same bytes
    assert found.otherwise.tolist() == [False, False, True, False, False, False, True, True, False, False]


def test_an_authority_that_knows_no_diagnosis_changes_none():
    frame = datasets.check(pd.DataFrame({"image_id": ["a", "b"], "path": ["/a", "/b"], "diagnosis": ["NV", "MEL"]}))
    found = by_authority(frame)
    assert found.table["diagnosis"].tolist() == ["NV", "MEL"]
    assert not found.otherwise.any()
