from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope import diagnosis, statistics
from melascope.errors import DataError
from melascope.evaluation import evaluate

metrics_of = pytest.importorskip("sklearn.metrics")
Judged = tuple[pd.DataFrame, dict[str, Any]]


@pytest.fixture(scope="module")
def metrics(judged: Judged) -> dict[str, Any]:
    return evaluate(*judged, prevalence=0.02, draws=300)


def estimates(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high", "n"}:
            yield value
        else:
            for item in value.values():
                yield from estimates(item)
    elif isinstance(value, list):
        for item in value:
            yield from estimates(item)


def test_it_is_json_and_every_score_has_an_interval(metrics: dict[str, Any]) -> None:
    json.dumps(metrics, allow_nan=False)
    found = list(estimates(metrics["parts"]["test"]))
    assert len(found) > 150
    for estimate in found:
        if estimate["value"] is not None and estimate["low"] is not None:
            assert estimate["low"] <= estimate["value"] + 1e-9
            assert estimate["value"] <= estimate["high"] + 1e-9


def test_scores_are_scikit_learns(metrics: dict[str, Any], judged: Judged) -> None:
    test = judged[0][judged[0]["part"] == "test"]
    p = test[[f"p_{code}" for code in diagnosis.ISIC_2019]].to_numpy()
    truth, predicted = test["diagnosis"], np.array(diagnosis.ISIC_2019)[p.argmax(axis=1)]
    part = metrics["parts"]["test"]
    assert part["n_images"] == 160
    assert part["accuracy"]["value"] == pytest.approx((truth == predicted).mean())
    assert part["balanced_accuracy"]["value"] == pytest.approx(metrics_of.balanced_accuracy_score(truth, predicted))
    matrix = metrics_of.confusion_matrix(truth, predicted, labels=diagnosis.ISIC_2019)
    assert part["confusion"] == matrix.tolist()
    for i, code in enumerate(diagnosis.ISIC_2019):
        assert part["per_class"][code]["auc"]["value"] == pytest.approx(
            metrics_of.roc_auc_score(truth == code, p[:, i])
        )
    malignant = truth.isin(diagnosis.GROUPS["malignant"])
    risk = diagnosis.group_risk(p, diagnosis.ISIC_2019, "malignant")
    assert part["groups"]["malignant"]["auc"]["value"] == pytest.approx(metrics_of.roc_auc_score(malignant, risk))
    melanoma = part["groups"]["melanoma"]
    assert melanoma["auc"] == part["per_class"]["MEL"]["auc"]
    brier = metrics_of.brier_score_loss(truth == "MEL", p[:, 0])
    assert part["calibration"]["melanoma"]["brier"]["value"] == pytest.approx(brier)


def test_the_threshold_comes_from_the_decision_and_is_measured_on_test(metrics: dict[str, Any], judged: Judged) -> None:
    predictions, decision = judged
    test = predictions[predictions["part"] == "test"]
    point = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    assert point["threshold"] == decision["operating_points"]["melanoma"]["screening"]["threshold"]
    melanoma = (test["diagnosis"] == "MEL").to_numpy()
    alert = (test["p_MEL"] >= point["threshold"]).to_numpy()
    assert point["sensitivity"]["value"] == pytest.approx(alert[melanoma].mean())
    assert point["specificity"]["value"] == pytest.approx((~alert[~melanoma]).mean())
    assert point["sensitivity"]["n"] == melanoma.sum()
    again = point["threshold_chosen_again"]
    assert again["sensitivity"]["value"] == point["sensitivity"]["value"]
    width = {key: again[key]["high"] - again[key]["low"] for key in again}
    assert width["specificity"] > point["specificity"]["high"] - point["specificity"]["low"]
    # The part on which a threshold was chosen is not a test of choosing it.
    chosen_on = metrics["parts"]["calibrate"]["groups"]["melanoma"]["operating_points"]["screening"]
    assert chosen_on["threshold_chosen_again"] is None
    assert chosen_on["sensitivity"]["value"] >= 0.95


def test_another_threshold_is_not_passed_off_as_the_procedures(judged: Judged) -> None:
    predictions, decision = judged
    other = json.loads(json.dumps(decision))
    other["operating_points"]["melanoma"]["screening"]["threshold"] = 0.5
    found = evaluate(predictions, other, draws=50)["parts"]["test"]["groups"]["melanoma"]
    assert found["operating_points"]["screening"]["threshold_chosen_again"] is None


def test_alerts_are_those_of_the_deployed_decision(metrics: dict[str, Any], judged: Judged) -> None:
    predictions, decision = judged
    test = predictions[predictions["part"] == "test"]
    p = test[[f"p_{code}" for code in diagnosis.ISIC_2019]].to_numpy()
    alert = np.zeros(len(test), bool)
    for group, points in decision["operating_points"].items():
        alert |= diagnosis.group_risk(p, diagnosis.ISIC_2019, group) >= points["screening"]["threshold"]
    assert metrics["parts"]["test"]["alerts"]["rate"]["value"] == pytest.approx(alert.mean())
    found = metrics["parts"]["test"]["alerts"]["melanoma_sensitivity"]["value"]
    assert found == pytest.approx(alert[(test["diagnosis"] == "MEL").to_numpy()].mean())


def test_predictive_values_only_with_a_prevalence(metrics: dict[str, Any], judged: Judged) -> None:
    point = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    expected = statistics.predictive_values(point["sensitivity"]["value"], point["specificity"]["value"], 0.02)
    assert (point["ppv"]["value"], point["npv"]["value"]) == pytest.approx([float(x) for x in expected])
    assert point["ppv"]["low"] < point["ppv"]["value"] < point["ppv"]["high"]
    assert metrics["parts"]["test"]["groups"]["malignant"]["operating_points"]["screening"]["ppv"] is None
    curve = metrics["parts"]["test"]["groups"]["melanoma"]["decision_curve"]
    assert (curve["prevalence"], curve["stated"]) == (0.02, True)
    without = evaluate(*judged, draws=20)["parts"]["test"]["groups"]["melanoma"]
    assert without["operating_points"]["screening"]["npv"] is None
    share = without["n_positive"] / (without["n_positive"] + without["n_negative"])
    assert (without["decision_curve"]["prevalence"], without["decision_curve"]["stated"]) == (share, False)
    with pytest.raises(DataError, match="prevalence"):
        evaluate(*judged, prevalence=1.5)


def test_lesions(metrics: dict[str, Any], judged: Judged) -> None:
    part = metrics["parts"]["test"]
    test = judged[0][judged[0]["part"] == "test"]
    assert part["n_groups"] == 80
    assert part["n_lesions"] == {"known": test["lesion_id"].nunique(), "assumed": 80 - test["lesion_id"].nunique()}
    lesion = part["per_lesion"]
    assert sum(lesion["n_lesions"].values()) == 80
    mean = test.groupby("group")["p_MEL"].mean()
    truth = test.groupby("group")["diagnosis"].first() == "MEL"
    expected = metrics_of.roc_auc_score(truth, mean)
    assert lesion["groups"]["melanoma"]["auc"]["value"] == pytest.approx(expected)
    assert lesion["groups"]["melanoma"]["auc"]["n"] == 80


def test_a_lesion_of_two_diagnoses_is_left_out_and_counted(judged: Judged) -> None:
    predictions = judged[0].copy()
    row = predictions.index[(predictions["part"] == "test") & predictions["lesion_id"].notna()][0]
    predictions.loc[row, "diagnosis"] = "DF" if predictions.loc[row, "diagnosis"] != "DF" else "NV"
    found = evaluate(predictions, judged[1], draws=20)["parts"]["test"]["per_lesion"]
    assert found["conflicting_lesions"] == 1
    assert sum(found["class_counts"].values()) == 79


def test_without_lesion_ids_nothing_is_claimed_per_lesion(judged: Judged) -> None:
    predictions = judged[0].assign(lesion_id=None, group=None)
    found = evaluate(predictions, judged[1], draws=20)
    assert found["parts"]["test"]["per_lesion"] is None
    assert found["parts"]["test"]["n_lesions"] == {"known": 0, "assumed": 160}
    assert found["unit"]["resampled"] == "photograph"
    assert "cannot be called lesion-disjoint" in found["notes"][0]


def test_refused_and_unlabelled_photographs_are_counted(judged: Judged) -> None:
    predictions = judged[0].copy()
    test = predictions.index[predictions["part"] == "test"]
    numbers = [column for column in predictions if column.startswith(("p_", "logit_"))]
    predictions.loc[test[:3], numbers] = np.nan
    predictions.loc[test[:3], ["error", "error_kind"]] = ("It ends early.", "truncated")
    predictions.loc[test[3], "diagnosis"] = None
    predictions.loc[test[4], "diagnosis"] = "XXX"
    found = evaluate(predictions, judged[1], draws=20)
    part = found["parts"]["test"]
    assert part["n_images"] == 155
    assert part["refused"]["n"] == 3
    assert part["refused"]["kinds"] == {"truncated": 3}
    assert sum(part["refused"]["by_class"].values()) == 3
    assert part["unscored"] == {"no_label": 1, "outside_classes": 1}
    last = found["flow"][-1]
    assert last["photographs"] == 155
    assert sum(last["excluded"].values()) == 5


def test_flow_is_continued_to_what_was_scored(judged: Judged) -> None:
    steps = [
        {"label": "found", "photographs": 700, "excluded": {}},
        {"label": "kept", "photographs": 600, "excluded": {"copies": 100}},
    ]
    flow = evaluate(*judged, draws=20, flow=steps)["flow"]
    assert flow[:2] == steps
    for before, after in pairwise(flow):
        assert before["photographs"] - sum(after["excluded"].values()) == after["photographs"]


def test_photographs_that_were_trained_on_leave_the_headline(judged: Judged) -> None:
    predictions = judged[0].copy()
    test = (predictions["part"] == "test").to_numpy()
    predictions["trained_on"] = (~test) | (np.arange(len(test)) % 4 == 0)
    found = evaluate(predictions, judged[1], draws=20)
    assert found["headline"] == "test_unseen"
    assert found["trained_on"] == {"images": 40, "of": 160}
    assert found["parts"]["test"]["n_images"] == 160
    assert found["parts"]["test_unseen"]["n_images"] == 120
    assert any("40 of 160 test photographs were trained on" in note for note in found["notes"])
    unmarked = evaluate(*judged, draws=20)
    assert unmarked["headline"] == "test"
    assert unmarked["trained_on"] is None


def test_authority_labels_have_a_part_of_their_own(metrics: dict[str, Any], judged: Judged) -> None:
    test = judged[0][judged[0]["part"] == "test"]
    found = metrics["parts"]["test_authority_only"]
    assert found["n_images"] == (test["label_from"] == "authority").sum()
    everything = evaluate(judged[0].assign(label_from="authority"), judged[1], draws=20)
    assert "test_authority_only" not in everything["parts"]


def test_coarser_labels_are_met_by_summed_probabilities(judged: Judged) -> None:
    predictions, decision = judged
    coarse = predictions[predictions["part"] == "test"].assign(part=None)
    coarse["diagnosis"] = [diagnosis.coarsen_label(code, diagnosis.ISIC_2018) for code in coarse["diagnosis"]]
    found = evaluate(coarse, decision, draws=50)
    part = found["parts"]["test"]
    assert set(found["parts"]) == {"test", "test_authority_only"}
    assert part["classes"] == list(diagnosis.ISIC_2018)
    assert part["coarsened"]
    assert part["prediction_set"] is None
    both = coarse["p_AK"] + coarse["p_SCC"]
    expected = metrics_of.roc_auc_score(coarse["diagnosis"] == "AKIEC", both)
    assert part["per_class"]["AKIEC"]["auc"]["value"] == pytest.approx(expected)
    same = evaluate(predictions, decision, draws=50)["parts"]["test"]["groups"]["melanoma"]["auc"]["value"]
    assert part["groups"]["melanoma"]["auc"]["value"] == pytest.approx(same)
    assert any("were summed" in note for note in found["notes"])


def test_prediction_sets_follow_the_models_order_of_classes(judged: Judged) -> None:
    predictions, decision = judged
    turned = {**decision, "classes": decision["classes"][::-1]}
    turned["prediction_set"] = {"coverage": 0.9, "quantiles": decision["prediction_set"]["quantiles"][::-1]}
    one, other = (evaluate(predictions, d, draws=20)["parts"]["test"]["prediction_set"] for d in (decision, turned))
    assert one["coverage"]["value"] == other["coverage"]["value"]
    assert one["size"]["value"] == pytest.approx(other["size"]["value"])
    assert one["per_class"]["MEL"]["n"] == other["per_class"]["MEL"]["n"]


def test_subgroups_sample_size_and_missing_data(metrics: dict[str, Any], judged: Judged) -> None:
    part = metrics["parts"]["test"]
    test = judged[0][judged[0]["part"] == "test"]
    assert set(part["subgroups"]) == {"source", "sex", "age_band"}
    here = test[test["source"] == "here"]
    expected = metrics_of.roc_auc_score(here["diagnosis"] == "MEL", here["p_MEL"])
    assert part["subgroups"]["source"]["here"]["auc"]["value"] == pytest.approx(expected)
    assert sum(group["n"] for group in part["subgroups"]["age_band"].values()) == 160
    size = part["sample_size"]["melanoma"]
    assert size["n"] == (test["diagnosis"] == "MEL").sum()
    assert size["n_groups"] == size["n"] // 2
    assert f"{size['n']} melanoma photographs in {size['n_groups']} independent groups" in size["text"]
    assert part["missing"]["lesion_id"] == {"missing": int(test["lesion_id"].isna().sum()), "of": 160}
    assert part["missing"]["site"] == {"missing": 160, "of": 160}
    assert part["missing"]["sex"]["missing"] == 0


def test_too_few_are_named_and_get_wilsons_interval(metrics: dict[str, Any]) -> None:
    part = metrics["parts"]["test"]
    named = {entry["name"] for entry in part["too_few"] if entry["kind"] == "class"}
    few = {code for code, scores in part["per_class"].items() if scores["too_few"]}
    assert named == few
    assert few
    code = next(code for code in few if part["per_class"][code]["n_groups"])
    scores = part["per_class"][code]
    value, groups = scores["sensitivity"]["value"], scores["n_groups"]
    assert scores["sensitivity"]["high"] == pytest.approx(statistics.wilson(value * groups, groups).high)


def test_a_model_of_one_threshold_or_none(judged: Judged) -> None:
    predictions, decision = judged
    none = evaluate(predictions, {**decision, "operating_points": {}, "prediction_set": None}, draws=20)
    assert none["parts"]["test"]["groups"]["melanoma"]["operating_points"] == {}
    assert none["parts"]["test"]["alerts"] is None
    only = {"melanoma": decision["operating_points"]["melanoma"]}
    one = evaluate(predictions, {**decision, "operating_points": only}, draws=20)["parts"]["test"]
    sensitivity = one["groups"]["melanoma"]["operating_points"]["screening"]["sensitivity"]["value"]
    assert one["alerts"]["melanoma_sensitivity"]["value"] == sensitivity


def test_without_any_melanoma_undefined_is_null(judged: Judged) -> None:
    predictions, decision = judged
    benign = predictions[(predictions["part"] == "test") & (predictions["diagnosis"] == "NV")]
    part = evaluate(benign, decision, draws=20)["parts"]["test"]
    assert part["groups"]["melanoma"]["auc"] == {"value": None, "low": None, "high": None, "n": len(benign)}
    assert part["groups"]["melanoma"]["operating_points"]["screening"]["sensitivity"]["value"] is None
    assert part["sample_size"]["melanoma"]["width"] == 1
    json.dumps(part, allow_nan=False)


def test_same_input_same_numbers(judged: Judged) -> None:
    assert evaluate(*judged, draws=40) == evaluate(*judged, draws=40)


def test_what_cannot_be_judged_says_why(judged: Judged) -> None:
    predictions, decision = judged
    with pytest.raises(DataError, match='no row of the predictions has the part "test"'):
        evaluate(predictions[predictions["part"] == "train"], decision)
    unlabelled = predictions[predictions["part"] == "test"].assign(diagnosis=pd.NA)
    with pytest.raises(DataError, match="None of 160 test photographs can be scored"):
        evaluate(unlabelled, decision)
    with pytest.raises(DataError, match="no column p_MEL"):
        evaluate(predictions.drop(columns="p_MEL"), decision)
