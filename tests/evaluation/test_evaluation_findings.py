from __future__ import annotations

import copy
from typing import Any

import pandas as pd
import pytest

from melascope.evaluation import Remark, evaluate, headline, remarks
from melascope.evaluation.card import model_card

DECISION = {"name": "guess", "version": "1", "geometry": {"height": 8, "width": 8}}
Judged = tuple[pd.DataFrame, dict[str, Any]]


@pytest.fixture(scope="module")
def made(judged: Judged) -> dict[str, Any]:
    return evaluate(*judged, draws=200)


@pytest.fixture
def metrics(made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(made)


def texts(found: list[Remark], level: str) -> str:
    return " | ".join(remark.text for remark in found if remark.level == level)


def test_warnings_come_first_and_good_news_last(metrics: dict[str, Any]) -> None:
    levels = [remark.level for remark in remarks(metrics)]
    assert levels == sorted(levels, key=("warning", "note", "good").index)
    found = remarks(metrics)
    assert "target of 0.95 is not assured" in texts(found, "note") + texts(found, "warning")
    assert "Melanomas rank above other lesions" in texts(found, "good")


def test_an_unaudited_optimistic_leaking_run_is_warned_of(metrics: dict[str, Any]) -> None:
    metrics |= {"audited": False, "optimistic": True, "protocol": "as-filed", "cross_fitted": True}
    metrics["leaks"] = {"test_photographs": 160, "share_photograph": 41, "share_lesion": 0, "share_any": 41}
    metrics["trained_on"] = {"images": 41, "of": 160}
    told = texts(remarks(metrics), "warning")
    for part in (
        "not audited",
        '"as-filed" is optimistic',
        "Of 160 test photographs 41 share a photograph with training.",
        "41 of 160 test photographs were trained on",
    ):
        assert part in told
    assert "share a lesion" not in told
    assert "too small for four parts" in texts(remarks(metrics), "note")


def test_audit_verdict(metrics: dict[str, Any]) -> None:
    audit = {"verdict": "usable with exclusions", "reasons": ["41 photographs stood in Train and in Test."]}
    assert "41 photographs stood in Train" in texts(remarks(metrics, audit=audit), "note")
    assert "Audit: usable." in texts(remarks(metrics, audit={"verdict": "usable", "reasons": []}), "good")
    assert "Audit: not usable" in texts(remarks(metrics, audit={"verdict": "not usable", "reasons": []}), "warning")


@pytest.mark.parametrize(
    ("train", "tune", "level", "text"),
    [
        (0.95, 0.5, "warning", "Over-fitting"),
        (0.2, 0.2, "warning", "Under-fitting"),
        (0.7, 0.65, "good", "Neither over"),
    ],
)
def test_fit(metrics: dict[str, Any], train: float, tune: float, level: str, text: str) -> None:
    metrics["parts"]["train"]["balanced_accuracy"]["value"] = train
    metrics["parts"]["tune"]["balanced_accuracy"]["value"] = tune
    assert text in texts(remarks(metrics), level)


def test_history(metrics: dict[str, Any]) -> None:
    falling = pd.DataFrame({"epoch": range(1, 6), "tune_loss": [5.0, 4, 3, 2, 1]})
    assert "still falling in the last epoch (5)" in texts(remarks(metrics, falling), "note")
    rising = pd.DataFrame({"epoch": range(1, 6), "tune_loss": [5.0, 1, 3, 4, 5]})
    assert "lowest in epoch 2 of 5" in texts(remarks(metrics, rising), "note")
    assert remarks(metrics, pd.DataFrame({"epoch": [1, 2]})) == remarks(metrics)


def test_baselines(metrics: dict[str, Any]) -> None:
    def estimate(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 160}

    weak = {"balanced_accuracy": estimate(0.1), "melanoma_auc": estimate(0.5)}
    metrics["baselines"] = {"colour_histogram": weak, "shuffled_labels": {**weak, "at_chance": True}}
    good = texts(remarks(metrics), "good")
    assert "beats colour alone" in good
    assert "no better than chance" in good
    # Paired on the same photographs: a difference whose interval holds zero is none, whatever the two values.
    for low, level in ((0.01, "good"), (-0.01, "warning")):
        paired = {"balanced_accuracy": {"value": 0.3, "low": low, "high": 0.5, "n": 160}}
        metrics["baselines"] = {"colour_histogram": {**weak, "difference": paired}}
        assert "difference, paired, 0.30" in texts(remarks(metrics), level)
    off = {"melanoma_auc": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 160}, "at_chance": True}
    metrics["baselines"] = {"shuffled_labels": {**weak, **off}}
    assert "off one half all the same" in texts(remarks(metrics), "note")
    strong = {"balanced_accuracy": estimate(0.9), "melanoma_auc": estimate(0.9)}
    metrics["baselines"] = {"colour_histogram": strong, "shuffled_labels": {**strong, "at_chance": False}}
    bad = texts(remarks(metrics), "warning")
    assert "not shown to beat colour alone" in bad
    assert "labels leak" in bad
    # Under as-published copies are divided, and nothing is learnt from it of the photographs.
    copied = remarks({**metrics, "protocol": "as-published"})
    assert "copies of one photograph stand on both sides" in texts(copied, "note")
    assert "labels leak" not in texts(copied, "warning")


def test_a_test_part_unlike_the_calibration_part_is_warned_of(metrics: dict[str, Any]) -> None:
    assert "The two are not alike" not in texts(remarks(metrics), "warning")
    for part, value in (("calibrate", 0.95), ("test", 0.7)):
        found = {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 160}
        metrics["parts"][part]["groups"]["melanoma"]["auc"] = found
    metrics["headline"] = "test"
    told = texts(remarks(metrics), "warning")
    assert "AUC 0.70 (95 % interval 0.65 to 0.75, n = 160) against 0.95" in told


def test_prediction_sets_that_cover_too_little_are_warned_of(metrics: dict[str, Any]) -> None:
    sets = metrics["parts"][metrics["headline"]]["prediction_set"]
    sets["coverage"] = {"value": 0.8, "low": 0.7, "high": 0.86, "n": 160}
    sets["per_class"]["VASC"]["coverage"] = {"value": 0.1, "low": 0.0, "high": 0.3, "n": 3}
    told = texts(remarks(metrics), "warning")
    assert "less often than the 0.9 they were made for: all 0.80 (95 % interval 0.70 to 0.86, n = 160)" in told
    assert "vascular" not in told


def test_fewer_than_ten_get_no_number(judged: Judged) -> None:
    predictions, decision = judged
    melanomas = (predictions["part"] == "test") & (predictions["diagnosis"] == "MEL")
    few = predictions[~melanomas | (melanomas.cumsum() <= 4)]
    made = evaluate(few, decision, draws=50)
    lines = headline(made)
    assert lines[1].endswith("too few to judge (n = 4)")
    assert "Melanoma AUC: too few to judge (4 melanomas, " in "\n".join(lines)
    card = model_card(made, {**DECISION, **decision})
    assert "| melanoma AUC | too few to judge |" in card
    # Nor does any other remark rest on them.
    inverted = {"value": -1.0, "low": -2.0, "high": -0.2, "n": 4}
    for metrics in (made, evaluate(predictions, decision, draws=50)):
        metrics["parts"][metrics["headline"]]["calibration"]["melanoma"]["slope"] = inverted
        high = {"value": 0.9, "low": 0.85, "high": 0.95, "n": 160}
        ranked = {"balanced_accuracy": high, "melanoma_auc": high, "at_chance": True}
        metrics["baselines"] = {"shuffled_labels": ranked}
        told = " ".join(remark.text for remark in remarks(metrics))
        assert "no better than chance" in told
        for words in ("run the wrong way", "melanoma AUC 0.90", "off one half"):
            assert (words in told) == (metrics is not made)


def test_the_card_does_not_call_leaking_photographs_unseen(judged: Judged) -> None:
    predictions, decision = judged
    clean, filed = (evaluate(predictions, decision, protocol=name, draws=50) for name in ("clean", "as-filed"))
    assert "Measured on photographs that were in no part of training" in model_card(clean, {**DECISION, **decision})
    assert "were trained on: optimistic" in model_card(filed, {**DECISION, **decision})
    assert "| no alert at all: of benign lesions |" in model_card(clean, {**DECISION, **decision})
    assert any("it brings no list of them" in note for note in clean["notes"])


def test_to_alert_on_everything_is_warned_of(metrics: dict[str, Any]) -> None:
    point = metrics["parts"][metrics["headline"]]["groups"]["melanoma"]["operating_points"]["screening"]
    point["specificity"] = {"value": 0.01, "low": 0.0, "high": 0.02, "n": 120}
    assert "alerts on nearly every photograph" in texts(remarks(metrics), "warning")


def test_the_card_says_what_prediction_sets_promise(judged: Judged) -> None:
    predictions, decision = judged
    quantiles = [None, *decision["prediction_set"]["quantiles"][1:]]
    rule = {**decision, "prediction_set": {**decision["prediction_set"], "quantiles": quantiles}}
    card = model_card(evaluate(predictions, rule, draws=50), {**DECISION, **rule})
    assert "exchangeable with the calibration ones" in card
    assert "Measured: " in card
    assert "Too few lesions calibrated MEL" in card


def test_imbalance_and_classes_too_small(metrics: dict[str, Any]) -> None:
    metrics["parts"]["train"]["class_counts"] = {"NV": 400, "MEL": 90, "DF": 5, "SCC": 0}
    told = texts(remarks(metrics), "note")
    assert "400 training photographs of nevus, 5 of dermatofibroma (80 to 1)" in told
    assert "Too few to judge in the test part" in told


def test_no_threshold_and_no_melanoma(judged: Judged) -> None:
    predictions, decision = judged
    without = evaluate(predictions, {**decision, "operating_points": {}}, draws=20)
    assert "No operating point" in texts(remarks(without), "warning")
    benign = predictions[(predictions["part"] == "test") & (predictions["diagnosis"] == "NV")]
    told = remarks(evaluate(benign, decision, draws=20))
    assert "Too few melanomas" in texts(told, "warning")
    assert "cannot tell whether melanomas rank" in texts(told, "warning")
    assert "not measurable" in texts(told, "note")


def test_headline_leads_with_the_operating_point(metrics: dict[str, Any]) -> None:
    lines = headline(metrics)
    assert "160 photographs" in lines[0]
    assert "audited, protocol clean" in lines[0]
    assert lines[1].startswith("Melanoma sensitivity at the screening threshold (target 0.95, not assured): ")
    assert lines[-1].startswith("Accuracy: ")
    assert all("95 % interval" in line and "n = " in line for line in lines[1:])
