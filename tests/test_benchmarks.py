"""What the benchmarks decide by themselves; their measurements take minutes and are not for a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import averaging, quality_table
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


def photographs() -> pd.DataFrame:
    """Two photographs of each of 20 nevi, and one of each of 7 melanomas."""
    nevi, melanomas = [f"n{i // 2}" for i in range(40)], [f"m{i}" for i in range(7)]
    return pd.DataFrame({"lesion_id": nevi + melanomas, "diagnosis": ["NV"] * 40 + ["MEL"] * 7})


def test_averages_are_judged_on_lesions_that_were_not_learnt() -> None:
    learnt, judges = averaging.drawn(photographs(), lesions=8, seed=0)
    assert not set(learnt["lesion_id"]) & set(judges["lesion_id"])
    # Half of the seven melanomas, and eight of the nevi with all their photographs; as many judge, one of each lesion.
    assert learnt["diagnosis"].value_counts().to_dict() == {"NV": 16, "MEL": 3}
    assert judges["diagnosis"].value_counts().to_dict() == {"NV": 8, "MEL": 3}
    assert judges["lesion_id"].is_unique
    again, other = (averaging.drawn(photographs(), lesions=8, seed=seed)[0] for seed in (0, 1))
    assert again.equals(learnt)
    assert not other.equals(learnt)


def test_an_average_keeps_of_the_beginning_what_its_name_says() -> None:
    average, steps = averaging._Average(0.1 ** (1 / 20)), 20
    average.take([np.ones(3, np.float32)])
    for _ in range(steps):
        average.take([np.zeros(3, np.float32)])
    assert average.weights[0] == pytest.approx(0.1, rel=1e-3)


def test_averages_are_told_in_pairs_with_the_recipes() -> None:
    labels = np.arange(40) % 2
    right = np.stack([1.0 - labels, labels], axis=1) * 4
    names = [averaging.NONE, averaging.LONG, *(f"a share of {share:g}" for share in averaging.SHARES)]
    said = dict.fromkeys(names, right) | {averaging.LONG: right[::-1]}
    said |= {"labels": labels, "lesions": np.arange(40).astype(str), "learnt": np.array(1200)}
    text = averaging.told([said | {"momenta": np.arange(6) / 10}], ["MEL", "NV"])
    assert "1,200 photographs learnt; 40 judge (MEL 20, NV 20)" in text
    assert f"| {averaging.LONG} | 0.1000 | 0.000 | - | 0.000 | - | 4.018 | - |" in text
    assert "| no average | 0.0000 | 1.000 | +1.000 (+1.000 to +1.000) | 1.000 | +1.000" in text
