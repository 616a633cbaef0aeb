from __future__ import annotations

import copy
from typing import Any

import pandas as pd
import pytest

from melascope.evaluation import Remark, evaluate, headline, remarks

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
    assert "41 photographs stood in Train" in texts(remarks(metrics, audit=audit), "good")
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
    strong = {"balanced_accuracy": estimate(0.9), "melanoma_auc": estimate(0.9)}
    metrics["baselines"] = {"colour_histogram": strong, "shuffled_labels": {**strong, "at_chance": False}}
    bad = texts(remarks(metrics), "warning")
    assert "not shown to beat colour alone" in bad
    assert "labels leak" in bad


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
