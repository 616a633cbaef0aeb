from __future__ import annotations

import json

import pandas as pd
import pytest

from melascope.audit import imbalance
from melascope.statistics import prediction_set


def _table(counts: dict[str, int], per_lesion: int = 1, unreadable: int = 0) -> pd.DataFrame:
    rows = [
        (f"{code}{n}", code, f"{code}-{n // per_lesion}", None) for code, count in counts.items() for n in range(count)
    ]
    rows += [(f"BAD{n}", "DF", None, "empty") for n in range(unreadable)]
    return pd.DataFrame(rows, columns=["image_id", "diagnosis", "lesion_id", "error_kind"], dtype="string")


def test_rare_and_uneven_diagnoses_are_rows_without_a_photograph():
    found = imbalance.find(_table({"NV": 60, "MEL": 30, "BCC": 12, "DF": 4}, unreadable=9))
    assert found.problems["diagnosis"].tolist() == ["BCC", "DF"]
    assert found.problems["evidence"].tolist() == [
        "12 photographs, one for 5.0 of NV",
        "4 photographs: too few to judge",
    ]
    assert found.problems["image_id"].isna().all()
    details = found.details
    assert (details["photographs"], details["lesions"], details["ratio"]) == (106, 106, 15.0)
    assert (details["largest"], details["smallest"]) == ("NV", "DF")
    assert list(details["by_class"]) == ["MEL", "NV", "BCC", "DF"]
    assert details["by_class"]["NV"]["share"] == pytest.approx(60 / 106)
    json.dumps(details, allow_nan=False)


def test_lesions_are_judged_not_photographs():
    found = imbalance.find(_table({"NV": 30, "MEL": 27}, per_lesion=3))
    assert found.problems["evidence"].tolist() == ["27 photographs of 9 lesions: too few to judge"]
    assert found.details["by_class"]["MEL"]["lesions"] == 9
    assert found.details["by_class"]["NV"]["too_few_to_judge"] is False
    assert found.details["lesions_assumed"] == 0


def test_the_interval_is_that_of_a_sensitivity_of_95_percent():
    by_class = imbalance.find(_table({"MEL": 20, "NV": 400})).details["by_class"]
    # Wilson 1927 for 19 of 20 and 380 of 400.
    told = by_class["MEL"]["interval"]
    assert (told["low"], told["high"]) == (pytest.approx(0.7639, abs=1e-4), pytest.approx(0.9911, abs=1e-4))
    assert told["width"] == pytest.approx(told["high"] - told["low"])
    assert by_class["NV"]["interval"]["width"] < 0.05


def test_prediction_sets_need_9_and_19_calibration_lesions():
    by_class = imbalance.find(_table({"MEL": 9, "NV": 18, "BCC": 19, "BKL": 60, "SCC": 127})).details["by_class"]

    def possible(code: str) -> tuple[bool, ...]:
        sets = by_class[code]["sets"]
        return tuple(sets[level][key] for level in ("0.9", "0.95") for key in ("possible", "possible_with_all"))

    assert possible("MEL") == (False, True, False, False)
    assert possible("NV") == (False, True, False, False)
    assert possible("BCC") == (False, True, False, True)
    assert by_class["BKL"]["calibration_lesions"] == 9
    assert possible("BKL") == (True, True, False, True)
    assert possible("SCC") == (True, True, True, True)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_fewest_lesions_are_those_that_prediction_sets_ask_for(coverage):
    import numpy as np

    fewest = imbalance.fewest_for_sets(coverage)
    for n, finite in ((fewest, True), (fewest - 1, False)):
        limits = prediction_set.quantiles(np.full((n, 1), 0.7), np.zeros(n, dtype=int), 1, coverage)
        assert bool(np.isfinite(limits[0])) is finite
    with pytest.raises(ValueError, match="impossible"):
        imbalance.fewest_for_sets(1.0)


def test_a_set_without_a_label_has_no_imbalance():
    found = imbalance.find(_table({"NV": 3}).assign(diagnosis=pd.array([pd.NA] * 3, dtype="string")))
    assert found.problems.empty
    assert found.details == {"photographs": 0, "lesions": 0, "by_class": {}}
