from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from melascope import datasets
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
    assert f"{out} holds the copies only; {told['originals']} originals stay elsewhere." in shown.stdout
    assert "The table lists both: give that, not the folder." in shown.stdout
    assert told["originals"] == table["copy_of"].isna().sum()
    with pytest.raises(DataError, match="another way"):
        CliRunner().invoke(balance, [*words, "--seed", "1"], standalone_mode=False, catch_exceptions=False)


def test_copies_stand_under_the_official_diagnosis_where_there_is_one(tmp_path):
    for folder, numbers in {"nevus": range(1, 9), "melanoma": range(11, 19)}.items():
        (tmp_path / "mis" / folder).mkdir(parents=True)
        for number in numbers:
            noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "mis" / folder / f"ISIC_{number:07d}.png")
    known = [(number, "nevus" if number < 16 else "melanoma") for number in (1, 2, 11, 12, 13, 16)]
    labels = pd.DataFrame([(f"ISIC_{n:07d}", name) for n, name in known], columns=["image_id", "diagnosis"])
    labels.to_csv(tmp_path / "official.csv", index=False)
    out = tmp_path / "BALANCED"
    words = [
        str(tmp_path / "mis"),
        "--authority",
        str(tmp_path / "official.csv"),
        "--out",
        str(out),
        "--per-class",
        "15",
    ]
    words.append("--up-to")
    shown = CliRunner().invoke(balance, words, standalone_mode=False, catch_exceptions=False)
    assert "3 photographs stand under another diagnosis than filed: the authority's" in shown.stdout
    told = json.loads(CliRunner().invoke(balance, [*words, "--json"], standalone_mode=False).stdout)
    counts = {row["code"]: (row["photographs"], row["copies"]) for row in told["diagnoses"]}
    assert counts == {"MEL": (5, 10), "NV": (11, 4)}
    assert told["authority"] == {"filed_otherwise": 3, "contradicted": 0, "too_coarse": 0}
    table = datasets.read(out / "table.csv")
    copies = table[table["copy_of"].notna()]
    assert (copies["diagnosis"] == copies["path"].str.split("/").str[-2].map({"nevus": "NV", "melanoma": "MEL"})).all()
    assert not (copies["official_diagnosis"].notna() & (copies["official_diagnosis"] != copies["diagnosis"])).any()
    moved = table["copy_of"].fillna(table["image_id"]).isin([f"ISIC_{n:07d}" for n in (11, 12, 13)])
    assert set(table.loc[moved, "diagnosis"]) == {"NV"}
    assert set(table.loc[moved, "filed_diagnosis"]) == {"MEL"}
    asked = [words[0], "--out", str(tmp_path / "as-filed"), "--per-class", "2"]
    plain = CliRunner().invoke(balance, asked, standalone_mode=False, catch_exceptions=False)
    assert "authority" not in plain.stdout
    assert "filed_diagnosis" not in pd.read_csv(tmp_path / "as-filed" / "table.csv")


def test_copies_of_an_earlier_balancing_are_no_originals(photographs, tmp_path):
    first = [str(photographs), "--out", str(tmp_path / "once"), "--per-class", "2", "--json"]
    once = json.loads(CliRunner().invoke(balance, first, standalone_mode=False, catch_exceptions=False).stdout)
    again = [str(tmp_path / "once" / "table.csv"), "--out", str(tmp_path / "twice"), "--per-class", "2"]
    shown = CliRunner().invoke(balance, again, standalone_mode=False, catch_exceptions=False)
    assert (
        f"{once['originals']} originals stay elsewhere, and {once['copies']} copies of an earlier balancing. "
        "The table lists all of them: give that, not the folder."
    ) in shown.stdout
    told = json.loads(CliRunner().invoke(balance, [*again, "--json"], standalone_mode=False).stdout)
    assert (told["originals"], told["earlier_copies"]) == (once["originals"], once["copies"])


def test_copies_inside_the_data_are_refused(photographs):
    found = CliRunner().invoke(balance, [str(photographs), "--out", str(photographs / "copies")])
    assert found.exit_code == 2
    assert "would become a part of it" in found.output
    assert not (photographs / "copies").exists()


@pytest.mark.parametrize("modes", [("--add", "--up-to"), ("--up-to", "--in-proportion"), ("--in-proportion", "--add")])
def test_two_ways_to_count_contradict_each_other(modes, photographs, tmp_path):
    found = CliRunner().invoke(balance, [str(photographs), "--out", str(tmp_path / "out"), *modes])
    assert found.exit_code == 2
    assert "contradict each other; give one." in found.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "mode"), [([], "add"), (["--add"], "add"), (["--in-proportion"], "in-proportion")])
def test_one_way_to_count_is_taken(words, mode, photographs, tmp_path):
    asked = [str(photographs), "--out", str(tmp_path / "out"), "--per-class", "2", "--json", *words]
    found = CliRunner().invoke(balance, asked, standalone_mode=False, catch_exceptions=False)
    assert json.loads(found.stdout)["settings"]["mode"] == mode


def test_help_says_that_the_folder_holds_no_originals():
    shown = " ".join(CliRunner().invoke(balance, ["--help"]).output.split())
    assert "OUT holds copies only" in shown
    assert "give that table, not the folder" in shown
