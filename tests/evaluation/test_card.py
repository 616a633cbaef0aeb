from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.evaluation import card_groups, evaluate
from melascope.evaluation.card import gathered, model_card
from melascope.evaluation.card_cells import cell
from melascope.evaluation.card_checklists import BESIDE, anchor
from melascope.evaluation.card_effort import duration, effort_of, energy_kwh

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "src" / "melascope" / "reports" / "run_report.py"
Judged = tuple[pd.DataFrame, dict[str, Any]]

RECIPE = """
name = "small"
[data]
size = 64
[network]
name = "backbone"
backbone = "mobilenetv2-onnx"
head = "pooled"
weights = "/home/somebody/private/mobilenetv2.npz"
[balance]
sampling = "sqrt"
[optimiser]
name = "adamw"
[schedule]
epochs = 3
keep = "best"
monitor = "tune_balanced_accuracy"
"""
MACHINE = {"python": "3.11.7", "processor": "a processor", "cores": 2, "packages": {"numpy": "2.4.6"}}
STEPS = {"data": {"seconds": 8.0}, "fit": {"seconds": 20.0}, "export": {"seconds": 9.4}, "evaluate": {"seconds": 40.0}}


@pytest.fixture(scope="module")
def whole(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what a run's has: photograph, licence, modality and size."""
    sources = np.where(table["source"] == "here", "HAM10000", "ISIC 2017")
    licences = np.where(table["source"] == "here", None, "CC-0")
    return table.assign(
        source=sources, license=licences, photograph=table["image_id"], modality="dermoscopic", width=180, height=180
    )


@pytest.fixture(scope="module")
def decision(judged: Judged) -> dict[str, Any]:
    context = {"age_band": {"under 10": 1, "10 to 19": 2, "50 to 59": 30}, "site": {"palms/soles": 4, "head/neck": 9}}
    geometry = {"height": 64, "width": 48, "mode": "crop"}
    return {**judged[1], "geometry": geometry, "known_context": context}


@pytest.fixture(scope="module")
def metrics(judged: Judged) -> dict[str, Any]:
    predictions, rule = judged
    return evaluate(predictions, rule, draws=50)


@pytest.fixture(scope="module")
def facts(judged: Judged, whole: pd.DataFrame, metrics: dict[str, Any]) -> dict[str, Any]:
    found = gathered(whole, judged[0].assign(sha256="ab" * 32), metrics, STEPS)
    assert json.loads(json.dumps(found)) == found
    return found


@pytest.fixture(scope="module")
def card(metrics: dict[str, Any], decision: dict[str, Any], facts: dict[str, Any]) -> str:
    return model_card(metrics, decision, RECIPE, MACHINE, **facts)


def section(card: str, heading: str) -> str:
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", card, re.M | re.S)
    assert found, heading
    return found[2]


def anchors(card: str) -> set[str]:
    """The anchors that GitHub gives, made in another way than the card's own."""
    headings = re.findall(r"^#{1,6} (.+)$", re.sub(r"```.*?```", "", card, flags=re.S), re.M)
    slugs = ["".join(c for c in h.lower().replace(" ", "-") if c.isalnum() or c in "-_") for h in headings]
    assert len(slugs) == len(set(slugs)), "two headings have one anchor"
    return set(slugs)


def test_every_place_that_is_pointed_to_exists(card: str, metrics: dict[str, Any], decision: dict[str, Any]) -> None:
    titles = set(re.findall(r'Section\(\s*"\w+",\s*"([^"]+)"', REPORT.read_text(encoding="utf-8")))
    # The card with least to say has every section too.
    for one in (card, model_card({**metrics, "baselines": {}}, decision)):
        named = set(re.findall(r"\]\(#([^)]+)\)", one))
        assert named
        assert named <= anchors(one)
        pages = set(re.findall(r"`(docs/[^`]+)`", one))
        assert pages
        assert all((ROOT / page).is_file() for page in pages)
        told = set(re.findall(r"\*([^*|]+)\*", " ".join(re.findall(r"`report.html` \(([^)]*)\)", one))))
        assert told
        assert told <= titles


def test_each_table_has_as_many_cells_in_every_row(card: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", card, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_it_says_for_whom_and_for_what_it_is_not(card: str) -> None:
    assert "Not a medical device" in card[:200]
    against = section(card, "Contraindications")
    for word in ("acral", "nails", "mucosa", "children", "tattooed", "treated"):
        assert word in against
    assert "3 lesions of people under 20" in against
    assert "4 lesions of palms" in against
    assert "dermatologist" in section(card, "Intended use")


def test_data_are_counted_per_source_and_part_with_licences(card: str, whole: pd.DataFrame) -> None:
    data, licences = section(card, "Data"), section(card, "Licences and citations")
    ham = whole[whole["source"] == "HAM10000"]
    counts = [f"{(ham['part'] == part).sum():,}" for part in ("train", "tune", "calibrate", "test")]
    assert f"| HAM10000 | {' | '.join(counts)} | {ham['lesion_id'].nunique()} |" in data
    assert "| HAM10000 | HAM10000: CC BY-NC 4.0 |" in licences
    assert f"CC-0 ({(whole['source'] == 'ISIC 2017').sum():,})" in licences
    assert "That holds for these weights" in licences
    assert "Tschandl" in licences
    assert "Codella" in licences
    assert "Combalia" not in licences
    assert "Files are 180 pixels wide" in data


def test_only_what_was_learnt_from_binds_the_weights(whole: pd.DataFrame, judged: Judged, metrics: Any) -> None:
    free = whole.assign(license="CC-0", lesion_id=None, source="own")
    free.loc[free["part"] == "test", "license"] = "CC BY-NC 4.0"
    assert gathered(free, judged[0], metrics, STEPS)["data"]["learnt"] == {"photographs": 440, "noncommercial": 0}
    named = free.assign(license="https://creativecommons.org/licenses/by-nc/4.0/")
    assert gathered(named, judged[0], metrics, STEPS)["data"]["learnt"]["noncommercial"] == 440


def test_a_lesion_id_tells_whose_photographs_they_are(whole: pd.DataFrame, judged: Judged, metrics: Any) -> None:
    unnamed = whole.drop(columns=["source", "license"])
    found = gathered(unnamed, judged[0], metrics, STEPS)
    text = model_card(metrics, judged[1], **found)
    known = int(unnamed["lesion_id"].notna().sum())
    assert f"not recorded; {known:,} are HAM10000's by the lesion id: CC BY-NC 4.0" in text
    assert "Tschandl" in text
    assert "sources were not recorded" in section(text, "Checklists")


def test_a_diagnosis_of_one_source_only_is_told(whole: pd.DataFrame, judged: Judged, metrics: Any) -> None:
    tied = whole.assign(source=np.where(whole["diagnosis"] == "DF", "HAM10000", whole["source"]))
    text = model_card(metrics, judged[1], **gathered(tied, judged[0], metrics, STEPS))
    assert "of one source (" in section(text, "Shift and prevalence")
    assert "dermatofibroma" in section(text, "Shift and prevalence")


def test_results_are_the_numbers_of_the_metrics(card: str, metrics: dict[str, Any]) -> None:
    part = metrics["parts"]["test"]
    results = section(card, "Results")
    for one in (part, part["per_lesion"]):
        point = one["groups"]["melanoma"]["operating_points"]["screening"]
        assert cell(point["sensitivity"]) in results
        assert cell(point["specificity"]) in results
        assert cell(one["calibration"]["melanoma"]["brier"], 3, n=False) in results
    assert f"{cell(part['balanced_accuracy'])} | {cell(part['per_lesion']['balanced_accuracy'])}" in results
    assert cell(part["prediction_set"]["per_class"]["NV"]["coverage"]) in results
    female = part["subgroups"]["sex"]["female"]
    assert f"| sex: female | {female['n']} ({female['n_positive']}) | {cell(female['sensitivity'], n=False)}" in results
    assert cell({"value": 0.5, "low": 0.1, "high": 0.9, "n": 9}) == "too few to judge"
    assert cell({"value": None, "low": None, "high": None, "n": 20}) == "not measurable"


def test_predictive_values_follow_from_the_prevalence(card: str, metrics: dict[str, Any]) -> None:
    point = metrics["parts"]["test"]["groups"]["melanoma"]["operating_points"]["screening"]
    found, passed = point["sensitivity"]["value"], point["specificity"]["value"]
    ppv = found * 0.05 / (found * 0.05 + (1 - passed) * 0.95)
    assert f"| `screening` | 5% | {ppv:.1%} (" in section(card, "Results")


def test_the_decision_curve_is_told_at_some_risks(card: str, metrics: dict[str, Any]) -> None:
    told = section(card, "Decision curve")
    curve = metrics["parts"]["test"]["groups"]["melanoma"]["decision_curve"]
    at = curve["threshold"].index(0.1)
    own, low, high, everybody = (1000 * curve[key][at] for key in ("model", "low", "high", "everybody"))
    assert f"| 10% | {own:.0f} ({low:.0f} to {high:.0f}) | {everybody:.0f} |" in told
    assert ("as asked for" in told) == curve["stated"]


def test_unknown_ids_and_rare_values_are_told(metrics: dict[str, Any]) -> None:
    part = copy.deepcopy(metrics["parts"]["test"])
    part["missing"]["patient_id"] = {"missing": part["n_images"], "of": part["n_images"]}
    (rarest, *_) = part["subgroups"]["source"]
    gone = part["subgroups"]["source"].pop(rarest)["n"]
    text = "\n".join(card_groups.subgroups(part))
    assert f"patient id {part['n_images']:,}" in text
    assert f"Of rarer values, which have no row above: source {gone}" in text


def test_predictive_values_need_ten_melanomas(judged: Judged) -> None:
    predictions, decision = judged
    melanomas = (predictions["part"] == "test") & (predictions["diagnosis"] == "MEL")
    few = evaluate(predictions[~melanomas | (melanomas.cumsum() <= 4)], decision, draws=20)
    text = model_card(few, decision)
    assert "Too few melanomas (4)" in text
    assert "| `screening` | 5% |" not in text


def test_gaps_and_the_told_source_are_said_where_they_were_measured(metrics: Any, decision: Any) -> None:
    gap = {"value": 0.3, "low": 0.1, "high": 0.5, "n": 40, "higher": "male", "lower": "female"}
    part = {**metrics["parts"]["test"], "gaps": {"sex": {"auc": gap, "sensitivity": {**gap, "low": -0.1}, "x": None}}}
    more = {**metrics, "parts": {**metrics["parts"], "test": part}, "source_told": {"text": "Sources are told."}}
    text = model_card(more, decision)
    assert "- AUC by sex: 0.30 (0.10 to 0.50), male above female\n" in text
    assert "- sensitivity by sex: 0.30 (-0.10 to 0.50), male above female; not shown to be a difference" in text
    assert "- Sources are told." in section(text, "Shift and prevalence")


def test_failures_are_the_worst_ones_by_id(card: str, facts: dict[str, Any], judged: Judged) -> None:
    predictions, decision = judged
    threshold = decision["operating_points"]["melanoma"]["screening"]["threshold"]
    test = predictions[(predictions["part"] == "test") & (predictions["diagnosis"] == "MEL")]
    missed = test[test["p_MEL"] < threshold].sort_values("p_MEL", kind="stable")
    failures = facts["failures"]
    assert failures["missed"]["n"] == len(missed)
    assert [one["id"] for one in failures["missed"]["shown"]] == list(missed["image_id"])
    risks = [one["melanoma"] for one in failures["false_alerts"]["shown"]]
    assert risks == sorted(risks, reverse=True)
    assert len(risks) == 10
    assert all(one["alert"] for one in failures["false_alerts"]["shown"])
    for one in failures["missed"]["shown"]:
        assert f"| {one['id']} | melanoma |" in section(card, "Known failures")
    assert "never trained is not found" in section(card, "Known failures")


def test_file_names_of_a_clinic_do_not_travel_with_the_card(judged: Judged, metrics: dict[str, Any]) -> None:
    predictions = judged[0].assign(sha256="ab" * 32)
    predictions["image_id"] = "MUELLER_ANNA_1951"
    text = model_card(metrics, judged[1], RECIPE, **gathered(predictions, predictions, metrics, STEPS))
    assert "MUELLER" not in text
    assert "| sha256 abababababab |" in text
    assert "/home" not in text
    assert 'weights = "mobilenetv2.npz"' in text


def test_time_and_energy_with_the_assumption(card: str, tmp_path: Path) -> None:
    told = section(card, "Time and energy")
    assert "| training | 20.0 s |" in told
    assert "| together | 37.4 s |" in told
    assert f"{1000 * energy_kwh(37.4, 2):.2g} Wh" in told
    assert "10 W for each of 2 cores" in told
    assert "not measured" in told
    history = tmp_path / "history.csv"
    history.write_text("epoch,seconds\n1,40.0\n2,50.0\n")
    # A resumed training has fewer seconds in its last step than in all of its epochs.
    assert effort_of(STEPS, history) == {"seconds": {"data": 8.0, "fit": 90.0, "export": 9.4}, "epochs": 2}
    assert (duration(157.1), duration(5400), duration(8.0)) == ("2 min 37 s", "1 h 30 min", "8.0 s")
    assert energy_kwh(3600, 2) == pytest.approx(0.02)


def test_what_is_not_known_is_said(metrics: dict[str, Any], decision: dict[str, Any]) -> None:
    bare = model_card(metrics, {key: decision[key] for key in decision if key not in ("geometry", "known_context")})
    assert "is not known" in section(bare, "Time and energy")
    assert "not recorded with this card" in section(bare, "Data")
    assert "Not recorded" in section(bare, "Recipe")
    assert "no predictions" in section(bare, "Known failures")


def test_a_run_that_went_on_does_not_claim_random_weights(metrics: dict[str, Any], decision: dict[str, Any]) -> None:
    recipe = '[network]\nname = "cnn"\n'
    assert "started from random weights" in model_card(metrics, decision, recipe)
    later = {**metrics, "continued_from": {"words": "It went on from another run."}}
    text = model_card(later, decision, recipe)
    assert "started from the weights of another run" in text
    assert "It went on from another run." in section(text, "Data")


def test_a_card_tells_what_its_maker_measured_beside_the_run(metrics: dict[str, Any], decision: dict[str, Any]) -> None:
    plain = model_card(metrics, decision, RECIPE)
    assert "## Beside the run" not in plain
    assert "how many recipes were tried before is not in a run" in plain
    told = model_card(metrics, decision, RECIPE, beside={name: [f"Told of {name}."] for name in BESIDE})
    for name, heading in BESIDE.items():
        assert f"### {heading}\n\nTold of {name}.\n" in told
        assert name == "shuffles" or f"(#{anchor(heading)})" in told
    answers = {
        number: line for number in (26, 30, 31) for line in told.splitlines() if line.startswith(f"| {number} |")
    }
    assert not any("**" in line for line in answers.values())
    assert "| 33 | test on external data | **partly:** the same recipe, trained without one of its sources" in told
    assert "other networks of ours" not in told
    assert "a run cannot know" not in told
    with pytest.raises(ValueError, match=r"designs, left_out, .*; not hopes"):
        model_card(metrics, decision, RECIPE, beside={"hopes": []})


def test_a_training_that_chooses_nothing_shares_nothing_with_calibration(
    metrics: dict[str, Any], decision: dict[str, Any]
) -> None:
    shared = {**metrics, "cross_fitted": True}
    assert "early stopping and calibration share their photographs" in model_card(shared, decision, RECIPE)
    fixed = model_card(shared, decision, RECIPE.replace('keep = "best"', 'keep = "last"'))
    assert "share their photographs" not in fixed
    assert "There is no part `tune`: epochs were fixed beforehand" in fixed
    stopped = RECIPE.replace('keep = "best"', 'keep = "last"\nearly_stopping_patience = 3')
    assert "share their photographs" in model_card(shared, decision, stopped)


def test_shuffled_labels_that_are_off_one_half_are_told(metrics: dict[str, Any], decision: dict[str, Any]) -> None:
    def score(value: float, low: float, high: float) -> dict[str, Any]:
        return {"value": value, "low": low, "high": high, "n": 200}

    found = {
        "balanced_accuracy": score(0.12, 0.1, 0.14),
        "melanoma_auc": score(0.65, 0.57, 0.72),
        "explained": score(0.014, 0.011, 0.018),
        "at_chance": True,
    }
    text = section(model_card({**metrics, "baselines": {"shuffled_labels": found}}, decision), "Results")
    assert "its balanced accuracy is not above chance" in text
    assert "explains 0.014 of the diagnoses' entropy (0.011 to 0.018), within the limit of 0.02" in text
    assert "Its melanoma AUC is off one half" in text
    found |= {"melanoma_auc": score(0.55, 0.45, 0.6), "explained": score(0.0, -0.01, 0.01)}
    text = section(model_card({**metrics, "baselines": {"shuffled_labels": found}}, decision), "Results")
    assert "off one half" not in text
    assert "entropy" not in text
    above = {**metrics, "baselines": {"shuffled_labels": {**found, "at_chance": False}}}
    assert "**above** chance" in model_card(above, decision)
