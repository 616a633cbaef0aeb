"""What the benchmarks decide by themselves; their measurements take minutes and are not for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from benchmarks import quality_table
from benchmarks.novelty import with_tune
from benchmarks.quality_damage import DAMAGES


def table(parts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"part": parts, "unit": [f"lesion {i // 2}" for i in range(len(parts))]})


def test_half_of_the_lesions_of_calibrate_stand_in_for_tune(capsys: pytest.CaptureFixture[str]) -> None:
    found = with_tune(table(["train"] * 8 + ["calibrate"] * 40 + ["test"] * 4))
    assert found["part"].value_counts().to_dict() == {"train": 8, "calibrate": 20, "tune": 20, "test": 4}
    # No lesion stands in two parts.
    assert found.groupby("unit")["part"].nunique().max() == 1
    assert "20 photographs of calibrate take its place" in capsys.readouterr().err


def test_a_tune_part_of_its_own_is_left_alone() -> None:
    given = table(["train", "train", "tune", "tune", "calibrate", "calibrate"])
    assert with_tune(given)["part"].tolist() == given["part"].tolist()


def test_the_table_of_damage_tells_before_and_after(tmp_path: Path) -> None:
    def told(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 20}

    def scores(value: float) -> dict[str, dict[str, float]]:
        return {key: told(value) for key in ("balanced_accuracy", "auc")}

    def alerts(value: float) -> dict[str, dict[str, float]]:
        return {key: told(value) for key in ("sensitivity", "specificity")}

    row = {"before": scores(0.8), "after": scores(0.5), "same_answer": 0.75}
    row |= {"alerts_before": alerts(0.9), "alerts_after": alerts(0.4), "strength": 0.015}
    error = {"thirds": {"lowest third": scores(0.6) | {"scores": [0.1, 1.0]}}, "damage": {"blur": [row]}}
    found, page = tmp_path / "quality.json", tmp_path / "quality.md"
    found.write_text(json.dumps({"error": error}), encoding="utf-8")
    marks = [f"<!-- {name}: written by python -m benchmarks.quality_table -->\nold\n<!-- end -->\n" for name in
             ("thirds", "damage")]  # fmt: skip
    page.write_text("before\n" + "between\n".join(marks) + "after\n", encoding="utf-8")
    quality_table.main([str(found), "--write", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "| lowest third | 0.10 to 1.00 | 20 | .60 [.50, .70] | .60 [.50, .70] |" in text
    moved = [".80 → .50 [.40, .60]"] * 2 + [".75"] + [".90 → .40 [.30, .50]"] * 2
    assert f"| blur | 1.5 % of the short side, sigma | 20 | {' | '.join(moved)} |" in text
    assert "old" not in text
    assert [text.startswith("before"), "between" in text, text.endswith("after\n")] == [True] * 3
    assert set(quality_table.WORDS) == set(DAMAGES) - {"bare skin"}
