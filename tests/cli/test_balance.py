from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from melascope.cli.balance import balance
from melascope.errors import DataError
from melascope.images import synthetic


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    return synthetic.write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=40, seed=4, size=32)


def test_copies_a_table_and_a_count_for_each_diagnosis(photographs, tmp_path):
    out = tmp_path / "BALANCED"
    words = [str(photographs), "--out", str(out), "--per-class", "9", "--up-to", "--json"]
    found = CliRunner().invoke(balance, words, standalone_mode=False, catch_exceptions=False)
    assert found.return_value == 1  # two planted files cannot be read
    told = json.loads(found.stdout)
    assert all(row["photographs"] + row["copies"] >= 9 for row in told["diagnoses"])
    table = pd.read_csv(out / "table.csv")
    assert table["copy_of"].notna().sum() == told["copies"] == len(list((out / "Train").rglob("*.*")))
    shown = CliRunner().invoke(balance, words[:-1], standalone_mode=False, catch_exceptions=False)  # goes on: done
    assert "the very same pixels" in shown.stdout
    with pytest.raises(DataError, match="another way"):
        CliRunner().invoke(balance, [*words, "--seed", "1"], standalone_mode=False, catch_exceptions=False)


def test_copies_inside_the_data_are_refused(photographs):
    found = CliRunner().invoke(balance, [str(photographs), "--out", str(photographs / "copies")])
    assert found.exit_code == 2
    assert "would become a part of it" in found.output
    assert not (photographs / "copies").exists()
