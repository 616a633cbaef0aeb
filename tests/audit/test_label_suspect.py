from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from tests import tiny_bundle

from melascope import datasets
from melascope.audit import label_agreement, label_suspect
from melascope.errors import DataError


def _set(sizes: dict[str, int], wrong: int = 0, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A scanned table, embeddings that tell the diagnosis, and which rows are filed under another one."""
    rng = np.random.default_rng(seed)
    codes = list(sizes)
    true = np.repeat(np.arange(len(codes)), list(sizes.values()))
    n = len(true)
    vectors = (rng.normal(0, 1, (len(codes), 12)) * 2)[true] + rng.normal(0, 1, (n, 12))
    bad = np.zeros(n, dtype=bool)
    bad[rng.choice(n, wrong, replace=False)] = True
    filed = np.where(bad, (true + rng.integers(1, max(2, len(codes)), n)) % len(codes), true)
    table = pd.DataFrame(
        {
            "image_id": [f"ISIC_{i:07d}" for i in range(n)],
            "path": [f"set/ISIC_{i:07d}.jpg" for i in range(n)],
            "diagnosis": np.array(codes, dtype=object)[filed],
            "official_diagnosis": np.array(codes, dtype=object)[true],
            "split": None,
            "lesion_id": [f"L{i}" for i in range(n)],
            "patient_id": None,
            "error_kind": None,
        },
        dtype="string",
    )
    return table, vectors.astype(np.float32), bad


def test_planted_errors_come_first():
    table, vectors, bad = _set({"MEL": 60, "NV": 150, "BKL": 60}, wrong=12)
    found = label_suspect.find(table, vectors, threads=1)
    wrong = set(table["image_id"][bad])
    assert set(found.problems["image_id"][:10]) <= wrong
    assert found.problems["kind"].eq("label_suspect").all()
    assert found.problems["group"].is_unique
    details = found.details
    assert details["judged"] == 270
    assert details["flagged"] == len(found.problems)
    agreement = details["agreement"]
    assert (agreement["known"], agreement["corrections"]) == (270, 12)
    assert agreement["auroc"]["value"] > 0.97
    assert agreement["auroc"]["low"] < agreement["auroc"]["value"] <= agreement["auroc"]["high"]
    at = {step["k"]: step for step in agreement["at"]}
    assert at[12]["precision"]["value"] == at[12]["recall"]["value"] == at[12]["hits"] / 12
    assert at[12]["enrichment"]["value"] == pytest.approx(at[12]["precision"]["value"] / (12 / 270))
    assert details["balanced_accuracy"]["value"] > 0.85
    assert details["balanced_accuracy"]["n"] == 270
    assert sum(sum(row.values()) for row in details["matrix"].values()) == details["flagged"]
    assert [suspect["rank"] for suspect in details["suspects"]] == list(range(1, len(details["suspects"]) + 1))
    json.dumps(details, allow_nan=False)


def test_the_evidence_is_a_sentence_with_both_probabilities():
    table, vectors, _ = _set({"MEL": 40, "NV": 100}, wrong=6)
    table["diagnosis"] = table["diagnosis"].mask(table["diagnosis"] == "NV", "SK")
    found = label_suspect.find(table, vectors, threads=1)
    first = found.problems.iloc[0]
    name = {"MEL": "melanoma", "SK": "seborrheic keratosis"}[first["diagnosis"]]
    other = {"MEL": "benign keratosis", "SK": "melanoma"}[first["diagnosis"]]
    expected = rf"filed as {name}; looks like {other} \((1\.00|\.\d\d) against \.\d\d\), rank 1 of 140"
    assert re.fullmatch(expected, first["evidence"])


def test_the_same_input_gives_the_same_answer_and_labels_of_the_authority_change_nothing():
    table, vectors, _ = _set({"MEL": 40, "NV": 60}, wrong=5)
    first = label_suspect.find(table, vectors, threads=1).problems
    again = label_suspect.find(table.drop(columns="official_diagnosis"), vectors, threads=2)
    pd.testing.assert_frame_equal(first, again.problems)
    assert again.details["agreement"] is None


def test_the_rule_is_the_confident_joint():
    labels = np.array([0, 0, 0, 1, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.45, 0.55]])
    # Thresholds: (.9 + .8 + .1) / 3 = .6 and (.8 + .7 + .55) / 3.
    other, flagged, limits = label_suspect.confident(p, labels)
    assert limits == pytest.approx([0.6, 2.05 / 3])
    assert flagged.tolist() == [False, False, True, False, False, False]
    assert other.tolist() == [1, 1, 1, 0, 0, 0]
    # Above its threshold, and still less probable than the filed one: no suspect.
    p3 = np.array([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert not label_suspect.confident(p3, np.array([0, 0, 1, 2, 2]))[1][0]


def test_copies_under_two_labels_are_judged_by_models_that_saw_neither(monkeypatch):
    table, vectors, _ = _set({"MEL": 40, "NV": 60})
    vectors[0] = vectors[1:40].mean(axis=0)
    both = pd.concat([table, table.iloc[[0]].assign(path="set/copy.jpg", diagnosis="NV")], ignore_index=True)
    folds = []
    learn = label_suspect.out_of_fold.probabilities
    monkeypatch.setattr(
        label_suspect.out_of_fold,
        "probabilities",
        lambda v, y, fold, *rest: folds.append(fold) or learn(v, y, fold, *rest),
    )
    found = label_suspect.find(both, np.concatenate([vectors, vectors[:1]]), threads=1)
    assert folds[0][0] == folds[0][-1]
    assert found.problems["path"].tolist() == ["set/copy.jpg"]
    assert found.details["agreement"]["contradictions"]["n"] == 1
    assert found.details["agreement"]["contradictions"]["found"]["value"] == 1.0


def test_rare_diagnoses_and_unlabelled_rows_are_left_out_and_counted():
    table, vectors, _ = _set({"MEL": 30, "NV": 40, "DF": 9})
    table.loc[:2, "diagnosis"] = pd.NA
    details = label_suspect.find(table, vectors, threads=1).details
    assert details["judged"] == 67
    assert details["left_out"] == {"no diagnosis": 3, "a diagnosis with fewer than 10 lesions": 9}
    assert set(details["thresholds"]) == {"MEL", "NV"}


@pytest.mark.parametrize("sizes", [{"MEL": 30}, {"MEL": 4, "NV": 5}, {"MEL": 9, "NV": 50}])
def test_too_little_to_learn_from_is_a_sentence(sizes):
    table, vectors, _ = _set(sizes)
    found = label_suspect.find(table, vectors)
    assert found.problems.empty
    assert found.details["flagged"] == 0
    (note,) = found.details["notes"]
    assert re.search(r"not looked for: (no|1) diagnosis has 10 lesions or more; two diagnoses are needed", note)
    json.dumps(found.details, allow_nan=False)
    assert label_suspect.find(table.iloc[:0], vectors[:0]).problems.empty


def test_embeddings_must_fit_the_table():
    table, vectors, _ = _set({"MEL": 20, "NV": 20})
    with pytest.raises(DataError, match="39 embeddings were given for 40 readable"):
        label_suspect.find(table, vectors[1:])
    vectors[3] = np.nan
    assert label_suspect.find(table, vectors, threads=1).details["left_out"] == {"embedding not finite": 1}


def _predicted(table: pd.DataFrame, **columns) -> pd.DataFrame:
    """Predictions that are nearly sure of the official diagnosis."""
    official = table["official_diagnosis"].to_numpy()
    frame = pd.DataFrame({"image_id": table["image_id"], "path": table["path"]})
    jitter = np.random.default_rng(0).uniform(0, 0.1, len(table))
    for code in ("MEL", "NV", "SK"):
        frame[f"p_{code}"] = np.where(official == code, 0.9 - jitter, (0.1 + jitter) / 2)
    return frame.assign(**columns)


def test_predictions_of_a_run_take_the_place_of_the_quick_model():
    table, _, bad = _set({"MEL": 40, "NV": 60}, wrong=5)
    found = label_suspect.find(table, predictions=_predicted(table))
    assert set(found.problems["image_id"]) == set(table["image_id"][bad])
    assert found.details["agreement"]["flagged"]["precision"]["value"] == 1.0
    assert "do not say what the model was trained on" in found.details["notes"][0]
    by_id = label_suspect.find(table, predictions=_predicted(table).drop(columns="path"))
    pd.testing.assert_frame_equal(found.problems, by_id.problems)


def test_what_the_model_was_trained_on_is_left_out_with_its_lesion():
    table, _, bad = _set({"MEL": 40, "NV": 60}, wrong=5)
    part = np.where(np.arange(100) % 2, "test", "train")
    table.loc[1, "lesion_id"] = table.loc[0, "lesion_id"]
    found = label_suspect.find(table, predictions=_predicted(table, part=part))
    judged = (np.arange(100) % 2 == 1) & (np.arange(100) != 1)
    assert found.details["judged"] == 49
    assert found.details["left_out"] == {"the model has trained on the photograph or its lesion": 51}
    assert set(found.problems["image_id"]) == set(table["image_id"][bad & judged])
    assert found.details["notes"] == []


def test_predictions_that_fit_nothing_say_so():
    table, _, _ = _set({"MEL": 20, "NV": 20})
    with pytest.raises(DataError, match="Predictions need p_<CODE>"):
        label_suspect.find(table, predictions=pd.DataFrame({"image_id": ["a"]}))
    others = _predicted(table).assign(image_id="ISIC_9999999", path="elsewhere.jpg")
    found = label_suspect.find(table, predictions=others)
    assert found.details["left_out"] == {"not predicted": 40}
    assert "no diagnosis has honest predictions" in found.details["notes"][1]


def test_photographs_are_described_where_no_embeddings_are_given(tmp_path):
    paths = []
    for n in range(24):
        image = tiny_bundle.photograph(n % 3) // 4 + (120 if n % 2 else 0)
        from PIL import Image

        folder = tmp_path / ("nevus" if n % 2 else "melanoma")
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(n).integers(0, 9, image.shape, dtype=np.uint8)
        Image.fromarray((image + noise).astype(np.uint8)).save(folder / f"ISIC_{n:07d}.png")
        paths.append(folder)
    stages = set()
    table = datasets.scan(datasets.read(tmp_path))
    found = label_suspect.find(table, threads=1, progress=lambda stage, done, total: stages.add(stage))
    assert found.details["judged"] == 24
    assert found.details["balanced_accuracy"]["value"] == 1.0
    assert stages == {"describing photographs", "looking for label errors"}


def test_an_authority_that_corrects_nothing_measures_nothing():
    table, vectors, _ = _set({"MEL": 20, "NV": 20})
    assert label_suspect.find(table, vectors, threads=1).details["agreement"] is None


def test_agreement_counts_only_what_the_authority_knows():
    table, _, _ = _set({"MEL": 3, "NV": 5})
    table["official_diagnosis"] = pd.array(["NV", "MEL", None, "NV", "NV", "SCC", None, "NV"], dtype="string")
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    score = np.array([0.9, -0.9, 1.0, -0.5, -0.6, 0.8, 1.0, -0.4])
    flagged = score > 0
    group = np.arange(8).astype(str).astype(object)
    told = label_agreement.measure(table, ("MEL", "NV"), labels, score, flagged, group)
    assert told is not None
    assert (told["known"], told["corrections"]) == (6, 2)
    assert told["auroc"]["value"] == 1.0
    assert (told["flagged"]["k"], told["flagged"]["hits"]) == (2, 2)
    assert told["contradictions"] is None


@pytest.mark.real_data
def test_suspects_of_the_nine_class_set_agree_with_the_authority(shared_data):
    tables = [shared_data / "isic2019" / f"ISIC_2019_Training_{name}.csv" for name in ("GroundTruth", "Metadata")]
    table = datasets.scan(datasets.read(shared_data / "isic9", authority=tables))
    details = label_suspect.find(table).details
    agreement = details["agreement"]
    assert (agreement["known"], agreement["corrections"]) == (2014, 102)
    assert agreement["auroc"]["value"] > 0.8
    assert agreement["contradictions"]["n"] == 99
    assert agreement["contradictions"]["found"]["value"] > 0.7
    assert details["balanced_accuracy"]["value"] > 0.55
