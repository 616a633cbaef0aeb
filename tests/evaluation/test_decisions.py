"""What is done with each photograph as deployed, counted from the findings that a user would get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.evaluation import evaluate
from melascope.evaluation.decisions import with_decisions
from melascope.reports.run_summary import summary

CLASSES = ("MEL", "NV", "BCC")


@dataclass
class Said:
    decision: str | None
    novelty: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None
    modality: str | None = None
    status: str = "ok"
    doubts: tuple[str, ...] = ()


class Judge:
    """Alerts on what is called melanoma, refers what is called poor."""

    def __init__(self) -> None:
        self.about: Any = None

    def predict(self, paths, *, about=None):
        self.about = about
        for path in paths:
            if "poor" in path:
                yield Said("refer", {"outside": False}, {"score": 0.0}, "dermoscopic", doubts=("It is too poor.",))
            elif "old" in path:
                decision = "alert" if "hot" in path else "refer"
                yield Said(decision, {"outside": False}, {"score": 1.0}, "dermoscopic", doubts=("Too young.",))
            else:
                odd = "odd" in path
                yield Said(
                    "alert" if "hot" in path else "no_alert", {"outside": odd}, {"score": 1.0},
                    doubts=("It looks unlike.",) * odd,
                )  # fmt: skip


def predictions() -> pd.DataFrame:
    rows = []
    for i in range(60):
        code = CLASSES[i % 3]
        name = "hot" if code == "MEL" and i % 2 else "poor" if i % 5 == 0 else "odd-hot" if i == 7 else "plain"
        name = {11: "old", 13: "old-hot"}.get(i, name)
        p = {"MEL": [0.8, 0.1, 0.1], "NV": [0.1, 0.8, 0.1], "BCC": [0.1, 0.1, 0.8]}[code]
        rows.append({"image_id": f"ISIC_{i:07d}", "path": f"/x/{name}-{i}.jpg", "group": f"g{i}", "lesion_id": f"g{i}",
                     "diagnosis": code, "part": "test" if i < 50 else "calibrate", "age": 40.0, "site": pd.NA,
                     "error": pd.NA, "label_from": "filed",
                     **{f"p_{c}": v for c, v in zip(CLASSES, p, strict=True)},
                     **{f"logit_{c}": np.log(v) for c, v in zip(CLASSES, p, strict=True)}})  # fmt: skip
    return pd.DataFrame(rows)


def test_decisions_stand_beside_the_predictions_of_the_test_part_only() -> None:
    judge = Judge()
    found = with_decisions(judge, predictions())
    assert found["decision"].notna().sum() == 50
    assert found["decision"][50:].isna().all()
    assert found.loc[0, "decision"] == "refer"
    assert found.loc[0, "doubts"] == "quality"
    assert found.loc[7, "decision"] == "alert"
    assert found.loc[7, "doubts"] == "novelty"
    assert found.loc[[11, 13], "decision"].tolist() == ["refer", "alert"]
    assert found.loc[[11, 13], "doubts"].tolist() == ["age or site"] * 2
    assert set(next(iter(judge.about.values()))) == {"age"}  # an empty site is not told


def test_shares_are_of_each_kind_of_lesion_with_intervals() -> None:
    table = with_decisions(Judge(), predictions())
    metrics = evaluate(table, {"classes": list(CLASSES), "operating_points": {}}, draws=200)
    found = metrics["parts"]["test"]["decisions"]
    tested = table[table["part"] == "test"]
    for group, code in (("melanoma", "MEL"), ("benign", "NV"), ("other_malignant", "BCC")):
        rows = tested[tested["diagnosis"] == code]
        told = found["groups"][group]
        assert told["n"] == len(rows)
        for name in ("alert", "refer", "no_alert"):
            assert told[name]["value"] == pytest.approx((rows["decision"] == name).mean())
            assert told[name]["low"] <= told[name]["value"] <= told[name]["high"]
    assert found["doubts"]["quality"]["referred"] == (tested["doubts"] == "quality").sum()
    assert found["doubts"]["novelty"] == {"n": 1, "referred": 0}
    assert found["doubts"]["age or site"] == {"n": 2, "referred": 1}
    assert metrics["parts"]["calibrate"]["decisions"] is None
    page = str(summary(metrics))
    assert "As used" in page
    assert f"too poor {found['doubts']['quality']['n']}" in page


def test_without_decisions_nothing_is_said_of_them() -> None:
    metrics = evaluate(predictions(), {"classes": list(CLASSES), "operating_points": {}}, draws=50)
    assert metrics["parts"]["test"]["decisions"] is None
    assert "As used" not in str(summary(metrics))
