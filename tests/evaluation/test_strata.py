from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope import diagnosis
from melascope.evaluation import all_of, evaluate
from melascope.evaluation.card_cells import cell
from melascope.evaluation.card_groups import baselines, subgroups, within_source
from melascope.evaluation.findings import remarks
from melascope.reports import wording
from melascope.statistics import auc, auc_within

Judged = tuple[pd.DataFrame, dict[str, Any]]


@pytest.fixture(scope="module")
def metrics(judged: Judged) -> dict[str, Any]:
    return evaluate(judged[0], judged[1], draws=100)


def test_the_auc_within_a_source_counts_only_pairs_of_one_source(judged: Judged, metrics: dict[str, Any]) -> None:
    part = metrics["parts"]["test"]
    rows = judged[0][judged[0]["part"] == "test"]
    melanoma = (rows["diagnosis"] == "MEL").to_numpy()
    pairs = won = 0
    for _, own in rows.assign(melanoma=melanoma).groupby("source"):
        high, low = own.loc[own["melanoma"], "p_MEL"], own.loc[~own["melanoma"], "p_MEL"]
        won += sum((a > b) + (a == b) / 2 for a in high for b in low)
        pairs += len(high) * len(low)
    found = part["within_source"]["melanoma"]
    assert found["auc"]["value"] == pytest.approx(won / pairs)
    assert found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"]
    assert set(found["sources"]) == set(rows["source"].dropna().unique())
    assert "AUC over pairs of one source" in within_source(part)[1]


def test_lesions_too_are_ranked_within_their_source(judged: Judged) -> None:
    told, decision = judged
    frame = told.assign(lesion_id=[f"L{row // 2}" for row in range(len(told))])
    # Both photographs of a lesion are of one source and one diagnosis.
    for column in ("source", "diagnosis", "part"):
        frame[column] = frame.groupby("lesion_id")[column].transform("first")
    part = evaluate(frame, decision, draws=50)["parts"]["test"]
    mean = frame[frame["part"] == "test"].groupby("lesion_id").agg(
        p=("p_MEL", "mean"), source=("source", "first"), diagnosis=("diagnosis", "first")
    )  # fmt: skip
    found = part["per_lesion"]["within_source"]["melanoma"]
    kept = mean[mean["source"].isin(found["sources"])]
    wanted = auc_within(kept["p"], kept["diagnosis"] == "MEL", kept["source"])
    assert found["auc"]["n"] == len(kept)
    assert found["auc"]["value"] == pytest.approx(float(wanted))
    assert "Per lesion: melanoma" in within_source(part)[1]


def test_few_lesions_are_not_judged_however_many_photographs_they_have() -> None:
    estimate = {"value": 0.25, "low": 0.06, "high": 0.64, "n": 12}
    assert cell(estimate).startswith("0.25")
    assert cell({**estimate, "groups": 6}) == "too few to judge"
    assert wording.too_few({**estimate, "groups": 6})
    assert not wording.too_few({**estimate, "groups": 10})


def test_a_source_that_tells_the_class_raises_no_auc_within() -> None:
    generator = np.random.default_rng(0)
    melanoma = generator.random(600) < 0.3
    source = np.where(generator.random(600) < 0.9, melanoma, ~melanoma).astype(int)
    risk = source + 0.01 * generator.random(600)
    assert auc(risk, melanoma) > 0.85
    assert auc_within(risk, melanoma, source) == pytest.approx(0.5, abs=0.12)
    weights = generator.poisson(1, (600, 3)).astype(float)
    each = [auc_within(risk, melanoma, source, weights[:, i]) for i in range(3)]
    assert auc_within(risk, melanoma, source, weights) == pytest.approx(each)
    assert np.isnan(auc_within(risk, melanoma, melanoma.astype(int)))


def test_where_each_source_has_one_kind_nothing_is_measured_within(judged: Judged) -> None:
    told = judged[0].assign(source=np.where(judged[0]["diagnosis"] == "MEL", "here", "there"))
    part = evaluate(told, judged[1], draws=20)["parts"]["test"]
    assert part["within_source"]["melanoma"]["auc"] is None
    assert "not measurable: no source has lesions of both kinds" in within_source(part)[1]
    assert evaluate(judged[0].assign(source="here"), judged[1], draws=20)["parts"]["test"]["within_source"] is None


def test_benign_lesions_that_were_excised_have_a_row_of_their_own(judged: Judged) -> None:
    benign = ~judged[0]["diagnosis"].isin(list(diagnosis.GROUPS["malignant"]))
    kinds = np.where(np.arange(len(judged[0])) % 2 == 0, "histology", "follow-up")
    told = judged[0].assign(confirmed_by=kinds)
    part = evaluate(told, judged[1], draws=50)["parts"]["test"]
    rows = told[(told["part"] == "test") & benign & (told["confirmed_by"] == "histology")]
    found = part["benign"]["histology"]
    threshold = judged[1]["operating_points"]["melanoma"]["screening"]["threshold"]
    assert found["n"] == len(rows)
    assert found["melanoma_specificity"]["value"] == pytest.approx((rows["p_MEL"] < threshold).mean())
    assert found["specificity"]["value"] <= found["melanoma_specificity"]["value"]
    assert any("benign, confirmed by" in line for line in subgroups(part))
    assert evaluate(told.drop(columns="confirmed_by"), judged[1], draws=20)["parts"]["test"]["benign"] is None


def test_what_only_ranks_by_source_is_not_shown_to_beat_colour(metrics: dict[str, Any]) -> None:
    """Colours tell the source, and the source tells melanomas; so does the model, and nothing more."""
    generator = np.random.default_rng(1)
    n = 240
    source = generator.random(n) < 0.5
    melanoma = generator.random(n) < np.where(source, 0.6, 0.1)
    images = np.where(source, 60, 160)[:, None, None, None] + generator.integers(-20, 20, (n, 8, 8, 3))
    table = pd.DataFrame(
        {
            "part": ["train"] * 120 + ["test"] * 120,
            "diagnosis": np.where(melanoma, "MEL", "NV"),
            "source": np.where(source, "A", "B"),
            "lesion_id": [f"l{i}" for i in range(n)],
        }
    )
    rows = {part: np.flatnonzero(table["part"] == part) for part in ("train", "test")}
    labels = (~melanoma).astype(int)
    said = list(np.where(source[120:], "MEL", "NV"))
    risk = source[120:] + 0.01 * generator.random(120)
    made = all_of(table, labels, rows, ("MEL", "NV"), images.astype(np.uint8), None, said, risk, draws=100)
    colour = made["colour_histogram"]
    assert colour["melanoma_auc"]["value"] > 0.7
    assert colour["melanoma_auc_within"]["value"] == pytest.approx(0.5, abs=0.2)
    for name in ("melanoma_auc", "melanoma_auc_within"):
        assert colour["difference"][name]["low"] <= 0
    lead = {"balanced_accuracy": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 120}}
    beaten = {**metrics, "baselines": {"colour_histogram": {**colour, "difference": {**colour["difference"], **lead}}}}
    told = [remark.text for remark in remarks(beaten)]
    assert any(text.startswith("It beats colour alone") for text in told)
    assert any(text.startswith("At ranking melanomas it is not shown to beat colour alone") for text in told)
    lines = baselines(beaten, metrics["parts"]["test"])
    assert "within a source" in lines[2]
    assert any("colour alone" in line and "+0.20 (+0.10 to +0.30)" in line for line in lines)
    # A model that ranks by the lesion leads by what colour lacks, within sources too.
    right = all_of(table, labels, rows, ("MEL", "NV"), images.astype(np.uint8), None, said, melanoma[120:], draws=50)
    less = right["colour_histogram"]["difference"]["melanoma_auc_within"]
    assert less["value"] == pytest.approx(1 - right["colour_histogram"]["melanoma_auc_within"]["value"])
