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


def points_of_three() -> dict[str, Any]:
    """Operating points as a run chooses them, for both groups."""
    screening = tiny.decision()["operating_points"]["melanoma"]["screening"]
    named = {
        "balanced": {**screening, "threshold": 0.5, "aim": "youden", "target": None},
        "rule-in": {**screening, "threshold": 0.7, "aim": "specificity"},
        "screening": {**screening, "aim": "sensitivity"},
    }
    return {"melanoma": named, "malignant": {name: {**p, "threshold": 0.9} for name, p in named.items()}}


def test_screening_decides_unless_another_point_is_asked_for() -> None:
    decision = tiny.decision(operating_points=points_of_three())
    p = np.array([0.55, 0.45, 0.0, 0.0])
    decider = Decider.of(decision)
    assert decider.names == ("screening", "balanced", "rule-in")
    assert decider.judge(p).operating_point.name == "screening"
    balanced = Decider.of(decision, operating_point="balanced").judge(p)
    assert (balanced.decision, balanced.operating_point.name) == ("alert", "balanced")
    assert balanced.operating_point.target is None
    assert balanced.reasons[-1] == ("This operating point balances sensitivity and specificity; neither is assured.")
    ruled_in = Decider.of(decision, operating_point="rule-in").judge(p)
    assert ruled_in.decision == "no_alert"
    assert any("rules nothing out" in reason for reason in ruled_in.reasons)
    assert any("chosen for a specificity of" in reason for reason in ruled_in.reasons)
    with pytest.raises(BundleError, match='no operating point "screen"; it has screening, balanced, rule-in'):
        Decider.of(decision, operating_point="screen")
    with pytest.raises(BundleError, match="nor any other"):
        Decider.of(tiny.decision(operating_points={}), operating_point="balanced")


def test_at_a_stated_prevalence_findings_say_what_an_alert_means() -> None:
    decider = Decider.of(tiny.decision(), prevalence=0.02)
    point, other = decider.points["melanoma"], decider.points["malignant"]
    found, passed = point.sensitivity, point.specificity
    # Bayes, of 10,000 lesions: 200 melanomas.
    true, false = 200 * found.value, 9800 * (1 - passed.value)
    missed, cleared = 200 * (1 - found.value), 9800 * passed.value
    assert point.prevalence == 0.02
    assert point.ppv.value == pytest.approx(true / (true + false))
    assert point.npv.value == pytest.approx(cleared / (cleared + missed))
    true, false = 200 * found.low, 9800 * (1 - passed.low)
    assert point.ppv.low == pytest.approx(true / (true + false))
    assert point.ppv.low < point.ppv.value < point.ppv.high
    assert point.ppv.n == found.n + passed.n
    # A stated prevalence is of melanoma.
    assert other.prevalence is other.ppv is other.npv is None
    assert Decider.of(tiny.decision()).points["melanoma"].ppv is None
    for impossible in (0.0, 1.0, 2.0):
        with pytest.raises(ValueError, match="lies between 0 and 1"):
            Decider.of(tiny.decision(), prevalence=impossible)


def test_what_too_few_calibrated_is_always_possible() -> None:
    rule = {"coverage": 0.9, "quantiles": [0.5, None, 0.5, 0.5]}
    assert Decider.of(tiny.decision(prediction_set=rule)).always_possible == (tiny.CLASSES[1],)
    assert Decider.of(tiny.decision(prediction_set=None)).always_possible == ()


def test_a_group_without_the_point_asked_for_keeps_its_own() -> None:
    points = points_of_three()
    del points["malignant"]["balanced"]
    found = Decider.of(tiny.decision(operating_points=points), operating_point="balanced").points
    assert {group: point.name for group, point in found.items()} == {"melanoma": "balanced", "malignant": "screening"}


def test_the_first_choice_weighs_the_prior_where_the_model_says_so() -> None:
    weighed = {"prior": [0.1, 0.8, 0.05, 0.05]}
    assert judged(0.2).diagnosis == "NV"
    verdict = judged(0.2, first_choice=weighed)
    assert verdict.diagnosis == "MEL"
    assert (verdict.melanoma_risk, verdict.decision) == (0.2, "no_alert")
    assert judged(0.2, first_choice={"prior": None, "reason": "Too few."}).diagnosis == "NV"


OUTSIDE = {"score": 0.004, "outside": True}
INSIDE = {"score": 0.4, "outside": False}
BLURRED = {"score": 0.2, "problems": [{"kind": "blur", "severity": 0.9, "sentence": "The photograph is blurred."}]}
HAIRY = {"score": 0.8, "problems": [{"kind": "hair", "severity": 0.3, "sentence": "Hair covers the skin."}]}
KNOWN = {"age_band": {"40 to 49": 300, "20 to 29": 3}, "site": {"back": 120}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"novelty": OUTSIDE}, "0.4 % of those look as unusual"),
        ({"novelty": {"score": None, "outside": True}}, "unlike the photographs that the model knows."),
        ({"quality": BLURRED}, "too poor to be judged. The photograph is blurred."),
        ({"modality": "clinical"}, "not look like a dermoscopic photograph but a clinical one"),
        ({"modality": {"modality": "neither", "probabilities": {}}}, "a photograph of a lesion at all"),
        ({"context": {"age": 27}}, "trained on 3 lesions of patients aged 20 to 29"),
        ({"context": {"age": 7}}, "not made for children and adolescents (age 7)"),
        ({"context": {"age": 95.0, "site": "Back"}}, "trained on no lesion of patients aged 80 and over"),
        ({"context": {"site": "scalp"}}, 'trained on no lesion at the site "head/neck"'),
        ({"context": {"site": "oral/genital"}}, "not made for mucosa and genitals"),
    ],
)
def test_what_the_model_was_not_made_for_is_referred(given: dict[str, Any], words: str) -> None:
    decider = Decider.of(tiny.decision(known_context=KNOWN))
    quiet, loud = np.array([0.01, 0.99, 0, 0]), np.array([0.6, 0.4, 0, 0])
    verdict = decider.judge(quiet, **given)
    assert verdict.decision == "refer"
    assert words in verdict.reasons[0]
    assert any("stays below" in reason for reason in verdict.reasons)
    # An alert stays an alert, and says both.
    alert = decider.judge(loud, **given)
    assert alert.decision == "alert"
    assert "reaches the threshold" in alert.reasons[0]
    assert any(words in reason for reason in alert.reasons)
    assert alert.melanoma_risk == 0.6


def test_what_raises_no_doubt_changes_nothing() -> None:
    decider = Decider.of(tiny.decision(known_context=KNOWN))
    p = np.array([0.01, 0.99, 0, 0])
    context = {"age": 45, "site": " BACK "}
    plain = decider.judge(p)
    assert decider.judge(p, INSIDE, HAIRY, "dermoscopic", context) == plain
    assert decider.judge(p, None, {"score": None, "problems": []}, None, {"age": None, "site": float("nan")}) == plain
    # A model that was never told ages or sites does not know which it lacked.
    for unknown in (None, {}, {"age_band": None, "site": None}):
        told = Decider.of(tiny.decision(known_context=unknown)).judge(p, context={"age": 90, "site": "ear"})
        assert told.decision == "no_alert"


def test_thresholds_for_lesions_and_why_there_are_none() -> None:
    points = points_of_three()
    for named in points.values():
        for point in named.values():
            point["threshold"] = 0.2
    tested = {
        "per_lesion": {
            "threshold_chosen_on": "lesions",
            "groups": {
                "melanoma": {
                    "operating_points": {"screening": {"sensitivity": {"value": 0.9, "low": 0.7, "high": 1.0, "n": 30}}}
                }
            },
        }
    }
    evaluation: dict[str, Any] = {"parts": {"test": tested}}
    decision = tiny.decision(lesion_operating_points={"points": points, "reason": None})
    decider = Decider.of(decision, evaluation)
    melanoma = decider.lesion_points["melanoma"]
    assert (melanoma.threshold, melanoma.chosen_on, melanoma.measured_on) == (0.2, "lesions", "test")
    assert decider.points["melanoma"].threshold == 0.3
    assert decider.lesion_reason is None
    # What was measured with the thresholds of photographs is not theirs.
    tested["per_lesion"]["threshold_chosen_on"] = "photographs"
    assert Decider.of(decision, evaluation).lesion_points["melanoma"].measured_on == "calibrate"
    for given, words in ((None, "made without thresholds for lesions"), ({"points": None, "reason": "None."}, "None.")):
        fallen = Decider.of(tiny.decision(lesion_operating_points=given))
        assert fallen.lesion_points == fallen.points
        assert words in str(fallen.lesion_reason)
        assert "single photographs are used" in str(fallen.lesion_reason)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": {"method": "isotonic"}}, "temperature, vector, dirichlet"),
        ({"calibration": {"method": "vector", "slopes": [1, 1], "offsets": [0] * 4}}, "slopes must be 4 numbers"),
        ({"calibration": {"method": "vector", "slopes": [1] * 4}}, "offsets"),
        ({"calibration": {"method": "dirichlet", "weights": [1] * 4, "offsets": [0] * 4}}, "4 x 4"),
        ({"calibration": {"method": "dirichlet", "weights": [["a"] * 4] * 4, "offsets": [0] * 4}}, "4 x 4"),
        ({"first_choice": {"prior": [0.5, 0.5]}}, "prior of the first choice"),
        ({"first_choice": {"prior": [0.5, 0.5, 0.0, 0.0]}}, "above 0"),
        ({"first_choice": [1]}, "prior of the first choice"),
        ({"known_context": {"site": [1]}}, "known_context"),
        ({"known_context": 3}, "known_context"),
        ({"lesion_operating_points": [1]}, "lesion_operating_points"),
        ({"lesion_operating_points": {"points": {"moles": {}}}}, "melanoma and malignant"),
    ],
)
def test_new_parts_that_make_no_sense_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError) as caught:
        Decider.of(tiny.decision(**changes))
    assert words in str(caught.value)
    assert str(caught.value).startswith("decision.json")


def test_an_aim_that_is_not_known_is_refused() -> None:
    with pytest.raises(BundleError, match="aim of melanoma's point screening is 'luck'"):
        Decider.of(point(aim="luck"))


def test_sites_are_known_by_the_names_of_either_archive() -> None:
    from melascope.bundle.doubts import site_name

    assert site_name(" Back ") == site_name("posterior torso") == "posterior torso"
    assert site_name("scalp") == site_name("Face") == "head/neck"
    assert site_name("lower extremity") == "lower extremity"
    assert site_name("trunk") is site_name("unknown") is site_name("") is site_name(None) is None
    rule = Decider.of(tiny.decision(known_context={"site": {"posterior torso": 50, "head/neck": 3}}))
    p = np.array([0.0, 1.0, 0.0, 0.0])
    assert rule.judge(p, context={"site": "back"}).decision == "no_alert"
    assert rule.judge(p, context={"site": "ear"}).decision == "refer"
