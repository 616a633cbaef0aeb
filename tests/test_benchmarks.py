"""What the benchmarks decide by themselves; their measurements take minutes and are not for a test."""

from __future__ import annotations

import pandas as pd
import pytest
from benchmarks.novelty import with_tune


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
