from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from judged_example import decide, logits_for

from melascope import diagnosis, statistics
from melascope.errors import RunError
from melascope.evaluation import RunResult, compare, evaluate, predictions_of
from melascope.reports.compare_report import paired, side_by_side


@pytest.fixture(scope="module")
def runs(table: pd.DataFrame) -> list[RunResult]:
    """A skilled model and one that adds noise to it."""
    skilled = logits_for(table, skill=2.0)
    noisy = skilled + np.random.default_rng(9).normal(0, 2, skilled.shape).astype(np.float32)
    results = []
    for name, logits in (("skilled", skilled), ("noisy", noisy)):
        predictions, decision = decide(table, logits)
        results.append(RunResult(name, predictions, evaluate(predictions, decision, draws=50)))
    return results


def of(frame: pd.DataFrame, score: str) -> pd.Series:
    return frame[frame["score"] == score].iloc[0]


def test_differences_are_paired(runs: list[RunResult]) -> None:
    found = compare(runs, draws=300)
    tests = [run.predictions[run.predictions["part"] == "test"] for run in runs]
    melanoma = (tests[0]["diagnosis"] == "MEL").to_numpy()
    expected = statistics.delong(*(test["p_MEL"].to_numpy() for test in tests), melanoma, tests[0]["group"].to_numpy())
    auc = of(found.differences, "melanoma AUC")
    assert auc["value"] == pytest.approx(expected.difference)
    assert (auc["low"], auc["high"], auc["p"]) == pytest.approx((expected.low, expected.high, expected.p_value))
    assert auc["name"] == "melanoma AUC: skilled − noisy"
    values = [run.metrics["parts"]["test"]["balanced_accuracy"]["value"] for run in runs]
    balanced = of(found.differences, "balanced accuracy")
    assert balanced["value"] == pytest.approx(values[0] - values[1])
    assert balanced["low"] > 0
    assert balanced["differs"]
    assert found.runs["run"].tolist() == ["skilled", "noisy"]
    assert found.notes == ()
    json.dumps(found.to_json(), allow_nan=False)


def test_runs_can_be_compared_before_the_test_part_is_looked_at(runs: list[RunResult]) -> None:
    # What a run was calibrated with is known to it, and is judged all the same.
    known = [RunResult(run.name, run.predictions.assign(trained_on=True), run.metrics) for run in runs]
    found = compare(known, part="calibrate", draws=50)
    parts = [run.predictions[run.predictions["part"] == "calibrate"] for run in runs]
    melanoma = (parts[0]["diagnosis"] == "MEL").to_numpy()
    expected = statistics.delong(*(part["p_MEL"].to_numpy() for part in parts), melanoma, parts[0]["group"].to_numpy())
    assert of(found.differences, "melanoma AUC")["value"] == pytest.approx(expected.difference)
    assert found.runs["test"].str.endswith("(calibrate)").all()
    assert "no result" in " ".join(found.notes)


def test_what_the_other_run_learnt_from_is_left_out(runs: list[RunResult]) -> None:
    other = runs[1].predictions.copy()
    moved = other.index[other["part"] == "calibrate"][:7]
    other.loc[moved, "part"] = "train"
    found = compare([runs[0], RunResult("noisy", other, runs[1].metrics)], part="calibrate", draws=50)
    mine = runs[0].predictions[runs[0].predictions["part"] == "calibrate"]
    apart = ~mine["group"].isin(other.loc[moved, "group"])
    assert of(found.differences, "melanoma AUC")["n"] == apart.sum() <= len(mine) - 7


def test_a_lesion_that_the_other_run_learnt_from_is_left_out_under_any_name(runs: list[RunResult]) -> None:
    other = runs[1].predictions.copy()
    row = other.index[other["part"] == "calibrate"][0]
    train = other.index[other["part"] == "train"][0]
    other.loc[train, "group"] = other.loc[row, "group"]  # another photograph of the same lesion
    same = int((other.loc[other["part"] == "calibrate", "group"] == other.loc[row, "group"]).sum())
    found = compare([runs[0], RunResult("noisy", other, runs[1].metrics)], part="calibrate", draws=50)
    assert of(found.differences, "melanoma AUC")["n"] == (runs[0].predictions["part"] == "calibrate").sum() - same
    with pytest.raises(ValueError, match="not on train"):
        compare(runs, part="train")


def test_a_part_that_is_not_there_is_told(runs: list[RunResult]) -> None:
    metrics = {**runs[1].metrics, "parts": {"test": runs[1].metrics["parts"]["test"]}}
    with pytest.raises(RunError, match="noisy has no part calibrate"):
        compare([runs[0], RunResult("noisy", runs[1].predictions, metrics)], part="calibrate")


def test_a_model_does_not_differ_from_itself(runs: list[RunResult]) -> None:
    found = compare([runs[0], runs[0]], draws=50)
    assert found.runs["run"].tolist() == ["skilled (1)", "skilled (2)"]
    assert not found.differences["differs"].any()
    assert (found.differences["value"] == 0).all()


def test_fewer_than_ten_melanomas_are_too_few_to_judge(runs: list[RunResult]) -> None:
    def three(run: RunResult) -> RunResult:
        test = run.predictions["part"] == "test"
        melanomas = run.predictions.index[test & (run.predictions["diagnosis"] == "MEL")]
        return RunResult(run.name, run.predictions.drop(melanomas[3:]), run.metrics)

    found = compare([three(run) for run in runs], draws=50).differences
    for score in ("melanoma AUC", "melanoma partial AUC", "melanoma sensitivity"):
        row = of(found, score)
        assert (row["too_few"], row["differs"]) == (True, False)
        assert np.isnan([row["low"], row["high"], row["p"]]).all()
    assert of(found, "melanoma sensitivity")["n"] == 3
    assert not of(found, "melanoma specificity")["too_few"]
    side = {row[0]: row[1:] for row in side_by_side(compare([three(run) for run in runs], draws=20).runs)}
    assert side["melanoma AUC"] != side["balanced accuracy"]
    columns, *told = paired(found)
    assert columns[-1] == "what it shows"
    assert {row[0].split(":")[0] for row in told if row[-1] == "too few to judge"} >= {"melanoma AUC"}


def test_with_three_runs_the_corrected_p_decides(runs: list[RunResult]) -> None:
    rng = np.random.default_rng(4)
    tried = [runs[0]]
    for i in range(4):
        frame = runs[0].predictions.copy()
        frame["p_MEL"] = np.clip(frame["p_MEL"] + rng.normal(0, 0.2, len(frame)), 0, 1)
        tried.append(RunResult(f"try {i}", frame, runs[0].metrics))
    found = compare(tried, draws=20)
    areas = found.differences[found.differences["score"] == "melanoma AUC"]
    assert len(areas) == 10
    assert (areas["differs"] == (areas["p_corrected"].astype(float) < 0.05)).all()
    assert (areas["p"] < 0.05).sum() > areas["differs"].sum()
    assert "10 pairs are compared by each score" in " ".join(found.notes)


def test_what_differs_between_the_runs_is_said(runs: list[RunResult]) -> None:
    fewer = runs[1].predictions.drop(runs[1].predictions.index[-30:]).copy()
    row = fewer.index[fewer["part"] == "test"][0]
    fewer.loc[row, "diagnosis"] = "DF" if fewer.loc[row, "diagnosis"] != "DF" else "NV"
    other = RunResult("noisy", fewer, {**runs[1].metrics, "protocol": "as-filed", "audited": False})
    found = compare([runs[0], other], draws=50)
    told = " ".join(found.notes)
    assert "protocols differ (skilled: clean, noisy: as-filed)" in told
    assert "Not audited: noisy." in told
    assert "test sets differ (skilled: 160, noisy: 130 photographs)" in told
    assert "1 shared test photograph bears different labels" in told
    assert of(found.differences, "melanoma AUC")["n"] == 129


def test_photographs_known_to_a_model_are_left_out(runs: list[RunResult]) -> None:
    knows = runs[0].predictions.assign(trained_on=np.arange(len(runs[0].predictions)) % 2 == 0)
    found = compare([RunResult("skilled", knows, runs[0].metrics), runs[1]], draws=50)
    assert of(found.differences, "melanoma AUC")["n"] == 80
    assert "80 photographs on which a run was trained are left out" in " ".join(found.notes)


def test_many_runs_are_corrected_for_their_number(runs: list[RunResult]) -> None:
    third = RunResult("third", runs[1].predictions, runs[1].metrics)
    found = compare([*runs, third], draws=50)
    auc = found.differences[found.differences["score"] == "melanoma AUC"]
    assert len(auc) == 3
    assert auc["p_corrected"].tolist() == pytest.approx(statistics.holm(auc["p"].tolist()))
    assert "3 runs were tried" in " ".join(found.notes)


def test_other_classes_are_met_in_common_ones(runs: list[RunResult], table: pd.DataFrame) -> None:
    coarse = table.assign(diagnosis=[diagnosis.coarsen_label(code, diagnosis.ISIC_2018) for code in table["diagnosis"]])
    logits = np.random.default_rng(0).normal(0, 1, (len(table), 7))
    predictions = predictions_of(coarse, logits, diagnosis.ISIC_2018)
    metrics = evaluate(predictions, {"classes": list(diagnosis.ISIC_2018)}, draws=20)
    found = compare([runs[0], RunResult("seven", predictions, metrics)], draws=50)
    assert of(found.differences, "balanced accuracy")["n"] == 160
    assert "melanoma sensitivity" not in set(found.differences["score"])  # the second run has no threshold


def test_nothing_shared(runs: list[RunResult]) -> None:
    renamed = runs[1].predictions.assign(image_id=[f"X{i}" for i in range(len(runs[1].predictions))])
    found = compare([runs[0], RunResult("elsewhere", renamed, runs[1].metrics)], draws=50)
    assert found.differences.empty
    assert "no test photograph is shared" in " ".join(found.notes)


def test_run_folders(runs: list[RunResult], tmp_path: Path) -> None:
    for run in runs:
        (tmp_path / run.name).mkdir()
        run.predictions.to_parquet(tmp_path / run.name / "predictions.parquet")
        (tmp_path / run.name / "metrics.json").write_text(json.dumps(run.metrics))
    found = compare([tmp_path / "skilled", str(tmp_path / "noisy")], draws=50)
    assert found.differences.equals(compare(runs, draws=50).differences)
    opened = SimpleNamespace(path=tmp_path / "noisy", predictions=runs[1].predictions, metrics=runs[1].metrics)
    assert compare([runs[0], opened], draws=50).runs["run"].tolist() == ["skilled", "noisy"]
    with pytest.raises(RunError, match="at least two runs; 1 was given"):
        compare([runs[0]])
    with pytest.raises(RunError, match=r"has no metrics\.json"):
        compare([tmp_path, tmp_path])
    (tmp_path / "noisy" / "metrics.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read as a run"):
        compare([tmp_path / "skilled", tmp_path / "noisy"])
