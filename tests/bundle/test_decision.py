from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle.decision import Decider, percent
from melascope.errors import BundleError


def judged(mel: float, bcc: float = 0.0, **changes: Any) -> Any:
    p = np.array([mel, 1 - mel - bcc, bcc, 0.0])
    return Decider.of(tiny.decision(**changes)).judge(p)


def test_a_risk_at_the_threshold_alerts() -> None:
    verdict = judged(0.3)
    assert verdict.decision == "alert"
    assert verdict.reasons[0] == "Melanoma risk 30 % reaches the threshold of 30 %."
    assert verdict.operating_point.group == "melanoma"
    assert judged(0.2999).decision == "no_alert"


def test_a_carcinoma_alerts_on_malignancy() -> None:
    verdict = judged(0.1, 0.7)
    assert verdict.decision == "alert"
    assert verdict.reasons == ("Malignancy risk 80 % reaches the threshold of 60 %.",)
    assert verdict.operating_point.group == "malignant"
    assert verdict.operating_point.assured


def test_no_alert_names_both_risks_and_what_is_not_assured() -> None:
    verdict = judged(0.004, 0.05)
    assert verdict.decision == "no_alert"
    assert verdict.reasons[0] == "Melanoma risk 0.4 % stays below the threshold of 30 %."
    assert verdict.reasons[1] == "Malignancy risk 5.4 % stays below the threshold of 60 %."
    assert "not assured" in verdict.reasons[2]
    assert (verdict.melanoma_risk, verdict.diagnosis) == (0.004, "NV")


def test_rounding_never_makes_a_reason_contradict_itself() -> None:
    assert judged(0.2996).reasons[0] == "Melanoma risk 29.96 % stays below the threshold of 30 %."
    assert judged(0.29999999).reasons[0] == "Melanoma risk just under 30 % stays below the threshold of 30 %."


def test_without_a_threshold_it_refers() -> None:
    verdict = judged(0.9, operating_points={})
    assert verdict.decision == "refer"
    assert "no operating point" in verdict.reasons[0]
    assert verdict.operating_point is None


def test_a_point_for_one_group_only() -> None:
    points = tiny.decision()["operating_points"]
    verdict = judged(0.1, 0.8, operating_points={"melanoma": points["melanoma"], "malignant": {}})
    assert verdict.decision == "no_alert"
    assert verdict.malignancy_risk == pytest.approx(0.9)


def test_the_prediction_set_holds_what_cannot_be_ruled_out() -> None:
    assert judged(0.25).prediction_set == ("MEL", "NV", "BCC")
    assert judged(0.1).prediction_set == ("NV", "BCC")
    assert judged(0.1, prediction_set=None).prediction_set is None


def test_what_was_measured_on_test_goes_before_what_was_measured_on_calibrate() -> None:
    tested = {
        "sensitivity": {"value": 0.9, "low": 0.7, "high": 0.97, "n": 29},
        "specificity": {"value": 0.55, "low": None, "high": None, "n": 200},
    }
    evaluation = {"parts": {"test": {"groups": {"melanoma": {"operating_points": {"screening": tested}}}}}}
    points = Decider.of(tiny.decision(), evaluation).points
    assert points["melanoma"].measured_on == "test"
    assert points["melanoma"].sensitivity is not None
    assert points["melanoma"].sensitivity.n == 29
    assert points["malignant"].measured_on == "calibrate"
    tested["sensitivity"]["value"] = None
    assert Decider.of(tiny.decision(), evaluation).points["melanoma"].measured_on == "calibrate"


@pytest.mark.parametrize(
    ("risk", "words"),
    [
        (0.62, "62 %"),
        (0.041, "4.1 %"),
        (0.0001, "under 0.1 %"),
        (0.9999, "over 99.9 %"),
        (0.0996, "10 %"),
        (0.995, "99.5 %"),
    ],
)
def test_risks_in_words(risk: float, words: str) -> None:
    assert percent(risk) == words


def without(key: str) -> dict[str, Any]:
    decision = tiny.decision()
    del decision[key]
    return decision


def point(**changes: Any) -> dict[str, Any]:
    decision = copy.deepcopy(tiny.decision())
    decision["operating_points"]["melanoma"]["screening"].update(changes)
    return decision


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (without("schema"), "version None"),
        (without("name"), "no name"),
        (tiny.decision(version=""), "no version"),
        (without("protocol"), "no protocol"),
        (without("classes"), "list of two or more"),
        (tiny.decision(classes=["MEL"]), "list of two or more"),
        (tiny.decision(classes=["MEL", "MEL", "NV", "BCC"]), "different classes"),
        (tiny.decision(classes=["MEL", "NV", "BCC", "WART"]), "WART"),
        (tiny.decision(classes=["MEL", "NV", "BCC", ["AK"]]), "AK"),
        (without("geometry"), "geometry"),
        (tiny.decision(geometry={"height": 32, "width": 32, "mode": "twist"}), "twist"),
        (tiny.decision(geometry={"height": 32.5, "width": 32, "mode": "pad"}), "32.5"),
        (without("calibration"), "calibration"),
        (tiny.decision(calibration={"method": "temperature", "temperature": -1}), "-1"),
        (tiny.decision(calibration={"method": "temperature", "temperature": True}), "above 0"),
        (without("operating_points"), "operating_points"),
        (tiny.decision(operating_points={"moles": {}}), "melanoma and malignant"),
        (tiny.decision(operating_points={"melanoma": [1]}), "not named"),
        (point(threshold=None), "threshold for melanoma is None"),
        (point(threshold=1.5), "1.5"),
        (tiny.decision(prediction_set={"coverage": 0.9, "quantiles": [0.1]}), "4 quantiles"),
        (tiny.decision(prediction_set={"coverage": 1.0, "quantiles": [0.1] * 4}), "coverage"),
        (tiny.decision(prediction_set={"coverage": 0.9, "quantiles": [0.1, 0.1, 0.1, "x"]}), "quantile"),
        (tiny.decision(prediction_set=[1]), "quantiles"),
    ],
)
def test_a_decision_file_that_makes_no_sense_is_refused(decision: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        Decider.of(decision)
    assert words in str(caught.value)
    assert str(caught.value).startswith("decision.json")
