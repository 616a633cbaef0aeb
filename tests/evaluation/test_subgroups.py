from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judged_example import decide, example_table, logits_for
from PIL import Image

from melascope.evaluation import evaluate
from melascope.evaluation.skin_tones import with_skin_tone
from melascope.images.skin_tone import BANDS
from melascope.images.synthetic import lesion

Judged = tuple[pd.DataFrame, dict[str, Any]]


def part_of(judged: Judged, **columns: Any) -> dict[str, Any]:
    found: dict[str, Any] = evaluate(judged[0].assign(**columns), judged[1], draws=100)["parts"]["test"]
    return found


def larger(predictions: pd.DataFrame) -> pd.DataFrame:
    """All but `calibrate` as test, for enough melanomas to compare."""
    return predictions.assign(part=predictions["part"].where(predictions["part"] == "calibrate", "test"))


def test_gaps_stand_beside_the_subgroups(judged: Judged) -> None:
    part = part_of(judged)
    assert set(part["gaps"]) == set(part["subgroups"])
    groups, gap = part["subgroups"]["sex"], part["gaps"]["sex"]["specificity"]
    expected = groups[gap["higher"]]["specificity"]["value"] - groups[gap["lower"]]["specificity"]["value"]
    assert gap["value"] == pytest.approx(expected)
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert gap["n"] == sum(groups[name]["specificity"]["n"] for name in ("female", "male"))
    assert (gap["groups"], gap["pairs"]) == (2, 1)


def test_groups_too_small_to_judge_open_no_gap(judged: Judged) -> None:
    part = part_of(judged)
    bands, gaps = part["subgroups"]["age_band"], part["gaps"]["age_band"]
    judged_bands = [name for name, found in bands.items() if not found["too_few"]]
    assert len(judged_bands) < len(bands)
    if gaps["auc"] is not None:
        assert {gaps["auc"]["higher"], gaps["auc"]["lower"]} <= set(judged_bands)
    alone = part_of(judged, sex="female")
    assert alone["gaps"]["sex"] == {"auc": None, "sensitivity": None, "specificity": None}


def test_without_a_threshold_only_ranking_is_compared(judged: Judged) -> None:
    part = part_of((larger(judged[0]), {**judged[1], "operating_points": {}}))
    assert part["gaps"]["sex"]["sensitivity"] is None
    assert part["gaps"]["sex"]["auc"] is not None


def test_a_group_that_is_read_worse_is_shown() -> None:
    table = example_table()
    logits = logits_for(table, skill=2.5)
    there = (table["source"] == "there").to_numpy()
    logits[there] = np.random.default_rng(5).normal(size=(int(there.sum()), 8))
    predictions, decision = decide(table, logits)
    gap = evaluate(larger(predictions), decision, draws=200)["parts"]["test"]["gaps"]["source"]["auc"]
    assert (gap["higher"], gap["lower"]) == ("here", "there")
    assert gap["low"] > 0
    assert gap["shown"] == [{key: gap[key] for key in ("value", "low", "high", "n", "higher", "lower")}]


def test_skin_tones_come_in_their_order_and_are_counted_as_missing(judged: Judged) -> None:
    names = np.array([name for _, name in BANDS[:3]] + [None], dtype=object)
    part = part_of(judged, skin_tone=names[np.arange(len(judged[0])) % 4])
    assert list(part["subgroups"]["skin_tone"]) == ["very light", "light", "intermediate"]
    assert part["missing"]["skin_tone"] == {"missing": 40, "of": 160}
    assert next(iter(part["subgroups"]["age_band"])) == "under 30"
    assert "skin_tone" not in part_of(judged)["missing"]


def test_skin_tone_is_estimated_on_the_judged_photographs(tmp_path: Path) -> None:
    for name, tone in (("a", 1), ("b", 6), ("train", 1)):
        Image.fromarray(lesion(3, "NV", skin_tone=tone)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    names = ["a", "train", "b", "broken", "refused"]
    table = pd.DataFrame(
        {
            "path": [str(tmp_path / f"{name}.png") for name in names],
            "part": ["test", "train", None, "test", "test"],
            "error": [None, None, None, None, "refused"],
        },
        index=[7, 3, 5, 1, 9],
    )
    told: list[tuple[str, int, int]] = []
    found = with_skin_tone(table, lambda *stage: told.append(stage), threads=2)
    bands = [name for _, name in BANDS]
    first, second = found["skin_tone"].iloc[0], found["skin_tone"].iloc[2]
    assert bands.index(first) < bands.index(second)
    assert found["skin_tone"].isna().tolist() == [False, True, False, True, True]
    assert told[-1] == ("skin tone", 3, 3)
    assert "skin_tone" not in table
    assert with_skin_tone(table[["path"]].iloc[:2], threads=1)["skin_tone"].notna().all()
