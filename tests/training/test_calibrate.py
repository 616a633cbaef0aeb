"""What a run decides on `calibrate`, on generated photographs whose true probabilities are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope import diagnosis, statistics
from melascope.bundle.decision import Decider
from melascope.evaluation import evaluate, headline, predictions_of, remarks
from melascope.evaluation.card import model_card
from melascope.training.decision import calibrate
from melascope.training.recipe import Recipe

CODES = diagnosis.ISIC_2019
SHARES = np.array([0.14, 0.5, 0.08, 0.05, 0.12, 0.04, 0.04, 0.03])
AUDIT = {"protocol": "clean", "audited": True}
SITES = ("posterior torso", "head/neck", "leg")


def generated(lesions: int, seed: int, part: str, bent: float = 1.0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A table of lesions with one to three photographs, uncalibrated logits, and the true logits, of each."""
    generator = np.random.default_rng(seed)
    y = generator.choice(8, lesions, p=SHARES)
    photographs = generator.integers(1, 4, lesions)
    lesion = np.repeat(np.arange(lesions), photographs)
    y = y[lesion]
    # What the photographs of a lesion share, and what each has of its own.
    x = generator.normal(0, 0.8, (lesions, 8))[lesion] + generator.normal(0, 0.6, (len(lesion), 8))
    x[np.arange(len(y)), y] += 2.0
    true = 2.0 * x + np.log(SHARES)
    table = pd.DataFrame(
        {
            "image_id": [f"{part}_{i}" for i in range(len(y))],
            "path": [f"{part}/{i}.jpg" for i in range(len(y))],
            "group": [f"{part}{i}" for i in lesion],
            "lesion_id": [f"{part}{i}" for i in lesion],
            "diagnosis": np.array(CODES)[y],
            "part": part,
            "sex": generator.choice(["female", "male"], lesions)[lesion],
            "age": generator.integers(20, 85, lesions)[lesion].astype(float),
            "site": generator.choice(SITES, lesions)[lesion],
            "source": generator.choice(["here", "there"], lesions)[lesion],
        }
    )
    return table, true * np.linspace(1.0, 1.0 + bent, 8) + bent * np.linspace(-1, 1, 8), true


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    from melascope.training import recipe as recipes

    return recipes.parse({"name": "tiny", "data": {"size": 16}})


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return generated(300, 5, "train")[0]


@pytest.fixture(scope="module")
def decision(recipe: Recipe, train: pd.DataFrame) -> dict[str, Any]:
    table, logits, _ = generated(700, 1, "calibrate")
    labels = table["diagnosis"].map({code: i for i, code in enumerate(CODES)}).to_numpy()
    made = calibrate(recipe, CODES, AUDIT, predictions_of(table, logits, CODES), labels, train)
    found: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False, sort_keys=True))
    return found


@pytest.fixture(scope="module")
def judged(decision: dict[str, Any]) -> pd.DataFrame:
    """Fresh photographs, with the probabilities of the deployed calibration."""
    frames = []
    for lesions, seed, part in ((700, 1, "calibrate"), (1500, 2, "test")):
        table, logits, true = generated(lesions, seed, part)
        frame = predictions_of(table, logits, CODES)
        frame[[f"p_{code}" for code in CODES]] = Decider.of(decision).calibration.probabilities(logits)
        frame[[f"true_{code}" for code in CODES]] = statistics.softmax(true)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def metrics(judged: pd.DataFrame, decision: dict[str, Any]) -> dict[str, Any]:
    return evaluate(judged, decision, prevalence={"melanoma": 0.05, "malignant": 0.1}, draws=200)


def test_the_decision_is_whole_and_can_be_deployed(decision: dict[str, Any], train: pd.DataFrame) -> None:
    decider = Decider.of(decision)
    assert decision["calibration"]["method"] == "vector"
    assert decider.names == ("screening", "balanced", "rule-in")
    assert decider.prior == pytest.approx(SHARES, abs=0.03)
    assert decider.lesion_reason is None
    assert decision["known_context"]["site"].keys() == set(SITES)
    assert sum(decision["known_context"]["site"].values()) == 300
    assert decision["known_context"]["age_band"]["30 to 39"] > 20
    known = decision["known_context"]
    for column, every in (("malignant_site", known["site"]), ("malignant_age_band", known["age_band"])):
        assert known[column].keys() == every.keys()
        assert all(count <= every[name] for name, count in known[column].items())
    ill = train[train["diagnosis"].isin(["MEL", "BCC", "SCC"])]
    assert sum(known["malignant_site"].values()) == ill["lesion_id"].nunique()
    assert any("aged 80 and over" in reason for reason in decider.doubts(context={"age": 95, "site": "back"}))


def test_calibration_finds_the_truth_again(judged: pd.DataFrame, metrics: dict[str, Any]) -> None:
    test = judged[judged["part"] == "test"]
    p, true = (test[[f"{kind}_{code}" for code in CODES]].to_numpy() for kind in ("p", "true"))
    assert np.abs(p - true).mean() < 0.02
    slope = metrics["parts"]["test"]["calibration"]["melanoma"]["slope"]
    assert slope["low"] < 1 < slope["high"]


def test_operating_points_do_on_test_what_they_were_chosen_for(
    metrics: dict[str, Any], decision: dict[str, Any]
) -> None:
    for group in ("melanoma", "malignant"):
        points = metrics["parts"]["test"]["groups"][group]["operating_points"]
        assert list(points) == ["screening", "balanced", "rule-in"]
        screening, balanced, ruled_in = points.values()
        assert screening["sensitivity"]["value"] == pytest.approx(0.95, abs=0.04)
        assert ruled_in["specificity"]["value"] == pytest.approx(0.95, abs=0.03)
        assert screening["threshold"] < balanced["threshold"] < ruled_in["threshold"]
        youden = [p["sensitivity"]["value"] + p["specificity"]["value"] for p in points.values()]
        assert youden[1] >= max(youden) - 0.02
        assert (screening["aim"], balanced["aim"], ruled_in["aim"]) == ("sensitivity", "youden", "specificity")
        for point in points.values():
            assert point["prevalence"] == {"melanoma": 0.05, "malignant": 0.1}[group]
            assert 0 < point["ppv"]["value"] < 1
            assert point["threshold_chosen_again"]["sensitivity"]["low"] is not None
        assert ruled_in["ppv"]["value"] > screening["ppv"]["value"]
        assert decision["operating_points"][group]["balanced"]["assured"] is False
    assert metrics["parts"]["test"]["alerts"]["melanoma_sensitivity"]["value"] > 0.9


def test_prediction_sets_cover_as_they_were_made_to(metrics: dict[str, Any]) -> None:
    part = metrics["parts"]["test"]
    found = part["prediction_set"]
    assert found["coverage"]["value"] == pytest.approx(0.9, abs=0.04)
    for code, own in found["per_class"].items():
        # The spread of a quantile of few calibration lesions, and of a share of few test lesions.
        assert own["coverage"]["value"] == pytest.approx(0.9, abs=0.16 if SHARES[CODES.index(code)] < 0.1 else 0.08)
    assert set(part["subgroups"]) == {"site", "sex", "age_band", "source"}
    for values in part["subgroups"].values():
        for own in values.values():
            assert own["coverage"]["value"] == pytest.approx(0.9, abs=0.07)
            assert own["coverage"]["low"] < own["coverage"]["value"] < own["coverage"]["high"]
            assert own["set_size"]["low"] < own["set_size"]["value"] < own["set_size"]["high"]


def test_coverage_falls_where_photographs_are_not_exchangeable(judged: pd.DataFrame, decision: dict[str, Any]) -> None:
    shifted = judged.copy()
    there = (shifted["source"] == "there").to_numpy() & (shifted["part"] == "test").to_numpy()
    columns = [f"p_{code}" for code in CODES]
    p = shifted.loc[there, columns].to_numpy()
    shifted.loc[there, columns] = statistics.softmax(np.random.default_rng(0).normal(0, 2.5, p.shape) + np.log(p))
    part = evaluate(shifted, decision, draws=200)
    here, elsewhere = (part["parts"]["test"]["subgroups"]["source"][name]["coverage"] for name in ("here", "there"))
    assert elsewhere["high"] < 0.9 < here["high"]
    told = [remark.text for remark in remarks(part) if "subgroups" in remark.text]
    assert "source there" in told[0]


def test_scores_use_the_first_choice_of_the_deployed_decision(
    judged: pd.DataFrame, metrics: dict[str, Any], decision: dict[str, Any]
) -> None:
    part = metrics["parts"]["test"]
    test = judged[judged["part"] == "test"]
    p = test[[f"p_{code}" for code in CODES]].to_numpy()
    y = test["diagnosis"].map({code: i for i, code in enumerate(CODES)}).to_numpy()
    said = statistics.first_choice(p, decision["first_choice"]["prior"])
    assert part["balanced_accuracy"]["value"] == pytest.approx(float(statistics.balanced_accuracy(y, said)))
    assert part["accuracy"]["value"] == pytest.approx((y == said).mean())
    assert part["per_class"]["DF"]["sensitivity"]["value"] == pytest.approx((said[y == 5] == 5).mean())
    assert [Decider.of(decision).judge(row).diagnosis for row in p[:50]] == [CODES[i] for i in said[:50]]
    plain = evaluate(judged, {**decision, "first_choice": None}, draws=20)
    assert plain["parts"]["test"]["balanced_accuracy"]["value"] < part["balanced_accuracy"]["value"]
    assert plain["first_choice"] == {"prior": None, "text": "The first choice is the most probable diagnosis."}
    # Probabilities, and what is made of them alone, stay those of the set's own mix.
    assert plain["parts"]["test"]["log_loss"]["value"] == part["log_loss"]["value"]
    assert "divided by its share of the calibration part" in metrics["first_choice"]["text"]
    assert metrics["first_choice"]["text"] in metrics["notes"]
    card = model_card(metrics, decision)
    assert metrics["first_choice"]["text"] in card
    assert "melanoma specificity at `rule-in` (target 95%, " in card
    assert "at `balanced` (largest sum of both on calibration)" in card
    assert sum("threshold" in line for line in headline(metrics)) == 2


def test_coarser_first_choices_are_weighed_then_summed(judged: pd.DataFrame, decision: dict[str, Any]) -> None:
    coarse = judged[judged["part"] == "test"].copy()
    coarse["diagnosis"] = [diagnosis.coarsen_label(code, diagnosis.ISIC_2018) for code in coarse["diagnosis"]]
    found = evaluate(coarse, decision, draws=20)
    ratio = coarse[[f"p_{code}" for code in CODES]].to_numpy() / decision["first_choice"]["prior"]
    said = diagnosis.coarsen_probabilities(ratio, CODES, diagnosis.ISIC_2018).argmax(axis=1)
    truth = coarse["diagnosis"].map({code: i for i, code in enumerate(diagnosis.ISIC_2018)}).to_numpy()
    expected = float(statistics.balanced_accuracy(truth, said))
    assert found["parts"]["test"]["balanced_accuracy"]["value"] == pytest.approx(expected)
    assert "then summed into the labels' classes" in found["first_choice"]["text"]


def test_lesions_are_judged_at_thresholds_of_their_own(
    judged: pd.DataFrame, metrics: dict[str, Any], decision: dict[str, Any]
) -> None:
    lesion = metrics["parts"]["test"]["per_lesion"]
    own = decision["lesion_operating_points"]["points"]["melanoma"]
    assert lesion["threshold_chosen_on"] == "lesions"
    for name, point in lesion["groups"]["melanoma"]["operating_points"].items():
        assert point["threshold"] == own[name]["threshold"]
        assert point["threshold_chosen_again"] is not None
    assert own["screening"]["n_positive"] < decision["operating_points"]["melanoma"]["screening"]["n_positive"]
    screening = lesion["groups"]["melanoma"]["operating_points"]["screening"]
    assert screening["sensitivity"]["value"] == pytest.approx(0.95, abs=0.05)
    # The mean of several photographs spares more than one of them does.
    single = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    assert screening["specificity"]["value"] > single["specificity"]["value"]
    deployed = Decider.of(decision, {"parts": metrics["parts"]}).lesion_points["melanoma"]
    assert (deployed.measured_on, deployed.chosen_on) == ("test", "lesions")
    assert deployed.sensitivity is not None
    assert deployed.sensitivity.value == screening["sensitivity"]["value"]


def test_a_small_part_falls_back_and_says_why(recipe: Recipe) -> None:
    table, logits, _ = generated(60, 3, "calibrate")
    table = table[~table["lesion_id"].duplicated()].assign(age=None)
    labels = table["diagnosis"].map({code: i for i, code in enumerate(CODES)}).to_numpy()
    found = calibrate(recipe, CODES, AUDIT, predictions_of(table, logits[table.index], CODES), labels, table)
    assert found["first_choice"]["prior"] is None
    assert found["first_choice"]["reason"].startswith("On the calibration part there are fewer than 10 lesions of MEL")
    assert found["lesion_operating_points"]["points"] is None
    assert found["known_context"]["age_band"] is None
    assert found["known_context"]["malignant_age_band"] is None
    decider = Decider.of(json.loads(json.dumps(found, allow_nan=False)))
    assert "no lesion has several photographs. Those of single photographs are used." in str(decider.lesion_reason)
    unknown = calibrate(recipe, CODES, AUDIT, predictions_of(table, logits[table.index], CODES), labels)
    assert unknown["known_context"] is None
