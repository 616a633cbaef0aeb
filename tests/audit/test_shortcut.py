from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from melascope.audit import shortcut


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(shortcut, "_TREES", 5)
    monkeypatch.setattr(shortcut, "DRAWS", 200)


def _table(n: int = 300, seed: int = 0, classes: tuple[str, ...] = ("MEL", "NV", "BCC")) -> pd.DataFrame:
    """Traits that tell nothing, two photographs of each lesion."""
    generator = np.random.default_rng(seed)
    lesion = np.arange(n) // 2
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{k:07d}" for k in generator.permutation(n)],
            "path": [f"{k}.jpg" for k in range(n)],
            "diagnosis": pd.array(np.array(classes)[generator.integers(0, len(classes), n // 2 + 1)[lesion]], "string"),
            "lesion_id": pd.array([f"L{k}" for k in lesion], "string"),
            "patient_id": pd.array([None] * n, "string"),
            "split": pd.NA,
            "error_kind": pd.NA,
            "format": pd.array(["JPEG"] * n, "string"),
            "source": pd.array([None] * n, "string"),
            "width": pd.array([600] * n, "Int64"),
            "height": pd.array([450] * n, "Int64"),
            "bytes": pd.array(generator.integers(20_000, 60_000, n), "Int64"),
            "trait_brightness": generator.normal(160, 20, n),
            "trait_vignette": generator.normal(0.1, 0.1, n),
            "trait_jpeg_quality": np.nan,
        }
    )


def _trait(details: dict, name: str) -> dict:
    return next(one for one in details["traits"] if one["name"] == name)


def test_traits_that_tell_nothing_stay_at_chance():
    found = shortcut.find(_table())
    assert found.problems.empty
    details = found.details
    assert details["chance"] == pytest.approx(1 / 3)
    assert details["groups"] == 150
    for one in details["traits"]:
        assert not one["strong"]
        assert one["accuracy"]["low"] < 1 / 3 + 0.03
        assert one["information"] < 0.05
    everything = details["together"]["everything"]["accuracy"]
    assert everything["low"] < 1 / 3 < everything["high"] + 0.03
    assert set(details["constant"]) == {"trait_jpeg_quality", "width", "height", "aspect", "format", "source"}
    json.dumps(details, allow_nan=False)


def test_a_trait_that_tells_is_found_with_its_interval_and_the_diagnosis_told_best():
    table = _table()
    table.loc[(table["diagnosis"] == "MEL").to_numpy(), "trait_vignette"] += 0.8
    found = shortcut.find(table)
    rows = found.problems.set_index("group")
    assert rows.loc["shortcut: trait_vignette", "evidence"].startswith(
        "darkness of the corners alone tells 3 diagnoses with balanced accuracy .6"
    )
    assert "chance .33); best MEL" in rows.loc["shortcut: trait_vignette", "evidence"]
    assert {"shortcut: everything", "shortcut: picture"} <= set(rows.index)
    assert rows[["image_id", "path", "diagnosis"]].isna().all().all()
    one = _trait(found.details, "trait_vignette")
    assert one["accuracy"]["low"] <= one["accuracy"]["value"] <= one["accuracy"]["high"]
    assert one["tells"][0] == "MEL"
    assert one is found.details["traits"][0]
    assert found.details["together"]["picture"]["sensitivity"]["MEL"] > 0.9
    assert "tells 3 diagnoses" in found.details["sentence"]


def test_a_source_that_is_the_class_is_all_of_the_information():
    table = _table()
    table["source"] = table["diagnosis"].map({"MEL": "A", "NV": "B"}).astype("string")  # missing is a value too
    found = shortcut.find(table)
    assert _trait(found.details, "source")["information"] == pytest.approx(1, abs=0.02)
    assert _trait(found.details, "source")["accuracy"]["value"] == 1
    assert "shortcut: source" in set(found.problems["group"])
    # No pixel shows it.
    assert not found.details["together"]["picture"]["strong"]


def test_the_number_in_the_name_tells_the_source():
    table = _table()
    table["image_id"] = [
        f"ISIC_{10_000 * (code == 'MEL') + place:07d}" for place, code in enumerate(table["diagnosis"])
    ]
    assert "shortcut: number" in set(shortcut.find(table).problems["group"])


def test_what_the_lesion_itself_shows_is_told_but_no_shortcut():
    table = _table()
    table.loc[(table["diagnosis"] == "MEL").to_numpy(), "trait_brightness"] -= 150
    found = shortcut.find(table)
    one = _trait(found.details, "trait_brightness")
    assert one["of_lesion"]
    assert one["accuracy"]["value"] > 0.6
    assert not one["strong"]
    assert found.problems.empty


def test_photographs_of_one_lesion_stand_in_one_fold():
    # A lesion's own number tells its diagnosis only to who has seen the lesion.
    table = _table(600)
    generator = np.random.default_rng(1)
    table["trait_vignette"] = generator.normal(size=300)[np.arange(600) // 2]
    assert _trait(shortcut.find(table).details, "trait_vignette")["accuracy"]["value"] < 0.42


def test_official_labels_decide_and_are_made_equally_coarse():
    table = _table(classes=("PBK", "SK", "MEL"))
    table["official_diagnosis"] = pd.array([None] * len(table), "string")
    table.loc[(table["diagnosis"] == "SK").to_numpy(), "official_diagnosis"] = "BKL"
    assert shortcut.find(table).details["classes"] == ["MEL", "BKL"]


def test_too_little_is_said_in_a_sentence():
    few = shortcut.find(_table(30))
    assert few.problems.empty
    assert few.details["sentence"] == "Too few to tell: 0 diagnoses have at least 20 independent photographs."
    one = shortcut.find(_table(classes=("NV",)))
    assert one.details["sentence"].startswith("Too few to tell: 1 diagnosis has")
    assert shortcut.find(_table().iloc[:0]).problems.empty
    unlabelled = _table()
    unlabelled["diagnosis"] = pd.array([None] * len(unlabelled), "string")
    assert shortcut.find(unlabelled).problems.empty
    rare = _table()
    rare.loc[:3, "diagnosis"] = "DF"
    assert shortcut.find(rare).details["left_out"] == ["DF"]


def test_a_large_set_is_drawn_by_groups(monkeypatch):
    monkeypatch.setattr(shortcut, "MOST_ROWS", 200)
    details = shortcut.find(_table(600)).details
    assert details["photographs"] == 200
    assert details["groups"] == 100
    assert details["sentence"].startswith("Tried on 200 of 600 photographs, drawn by groups.")


def test_a_table_with_nothing_but_names_is_no_error():
    table = _table()[["image_id", "path", "diagnosis", "lesion_id", "split", "error_kind"]]
    table["image_id"] = "X"
    table["image_id"] += pd.Series([chr(65 + k % 26) * (k // 26 + 1) for k in range(len(table))], dtype="string")
    found = shortcut.find(table)
    assert found.details["traits"] == []
    assert found.details["sentence"] == "No trait differs between the photographs."


def test_one_seed_gives_one_answer():
    assert shortcut.find(_table(), seed=3).details == shortcut.find(_table(), seed=3).details
