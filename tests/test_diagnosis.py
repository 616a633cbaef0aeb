from __future__ import annotations

import numpy as np
import pytest

from melascope import diagnosis
from melascope.errors import DataError


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("melanoma", "MEL"), ("MEL", "MEL"), ("Nevus", "NV"), ("melanocytic-nevi", "NV"), ("nv", "NV"),
        ("basal cell carcinoma", "BCC"), ("Actinic_Keratosis", "AK"), ("akiec", "AKIEC"), ("bkl", "BKL"),
        ("pigmented benign keratosis", "PBK"), ("seborrheic keratosis", "SK"), ("dermatofibroma", "DF"),
        ("vascular lesion", "VASC"), ("squamous cell carcinoma", "SCC"), ("  Squamous  Cell Carcinoma ", "SCC"),
    ],
)  # fmt: skip
def test_every_spelling_of_the_data_sets_is_known(text, code):
    assert diagnosis.parse(text) == code


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(DataError, match="melanoma"):
        diagnosis.parse("melanomma")
    with pytest.raises(DataError, match="--spelling"):
        diagnosis.parse("wart")
    assert diagnosis.parse("wart", {"Wart": "BKL"}) == "BKL"
    with pytest.raises(DataError, match="XXX"):
        diagnosis.parse("wart", {"wart": "XXX"})


def test_vocabularies_and_groups():
    assert len(diagnosis.ISIC_FOLDERS) == 9
    assert len(diagnosis.ISIC_2019) == 8
    assert len(diagnosis.ISIC_2018) == 7
    assert set(diagnosis.ORDER) == set(diagnosis.DIAGNOSES)
    assert diagnosis.GROUPS["melanoma"] == {"MEL"}
    assert diagnosis.GROUPS["malignant"] == {"MEL", "BCC", "SCC", "AKIEC"}
    assert diagnosis.ordered(["SCC", "MEL", "SCC"]) == ("MEL", "SCC")


def test_labels_are_coarsened():
    assert diagnosis.coarsen_label("PBK", diagnosis.ISIC_2019) == "BKL"
    assert diagnosis.coarsen_label("SK", diagnosis.ISIC_2018) == "BKL"
    assert diagnosis.coarsen_label("SCC", diagnosis.ISIC_2018) == "AKIEC"
    assert diagnosis.coarsen_label("SCC", diagnosis.ISIC_2019) == "SCC"
    assert diagnosis.coarsen_label("AKIEC", diagnosis.ISIC_2019) is None


def test_probabilities_are_summed():
    p = np.full((2, 9), 1 / 9)
    coarse = diagnosis.coarsen_probabilities(p, diagnosis.ISIC_FOLDERS, diagnosis.ISIC_2018)
    assert coarse.shape == (2, 7)
    assert coarse.sum(axis=1) == pytest.approx(1)
    assert coarse[0, diagnosis.ISIC_2018.index("BKL")] == pytest.approx(2 / 9)
    assert diagnosis.group_risk(p, diagnosis.ISIC_FOLDERS, "malignant") == pytest.approx([3 / 9, 3 / 9])
