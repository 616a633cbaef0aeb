from __future__ import annotations

import numpy as np
import pandas as pd

from melascope.audit import outlier


def _table(n: int = 200, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image_id": [f"ISIC_{k:07d}" for k in range(n)],
            "path": [f"nevus/ISIC_{k:07d}.jpg" for k in range(n)],
            "diagnosis": "NV",
            "split": pd.NA,
            "error_kind": pd.NA,
            "format": "JPEG",
            "width": 600,
            "height": 450,
            "trait_brightness": generator.normal(160, 20, n),
            "trait_contrast": np.exp(generator.normal(3.1, 0.4, n)),
            "trait_sharpness": np.exp(generator.normal(1.2, 0.4, n)),
        }
    ).astype({"width": "Int64", "height": "Int64", "format": "string", "split": "string"})


def _evidence(table: pd.DataFrame) -> dict[str, str]:
    rows = outlier.find(table).problems
    return dict(zip(rows["image_id"], rows["evidence"], strict=True))


def test_an_ordinary_set_has_none():
    found = outlier.find(_table())
    assert found.problems.empty
    assert set(found.details["measures"]) == {"size", "aspect", "brightness", "contrast", "sharpness"}
    assert set(found.details["counts"].values()) == {0}


def test_a_homogeneous_set_does_not_flag_trivia():
    table = _table()
    for name, value in (("brightness", 160.0), ("contrast", 20.0), ("sharpness", 3.0)):
        table[f"trait_{name}"] = value
    table.loc[3, ["width", "trait_brightness", "trait_sharpness"]] = [640, 170.0, 3.3]
    assert _evidence(table) == {}


def test_what_is_far_from_the_rest_is_named_with_its_number_and_the_usual_range():
    table = _table()
    table.loc[1, ["width", "height"]] = [2400, 1800]
    table.loc[2, "width"] = 1800
    table.loc[3, "trait_brightness"] = 40.0
    table.loc[4, "trait_sharpness"] = 0.1
    table.loc[5, ["width", "height"]] = [30, 40]
    found = _evidence(table)
    assert found["ISIC_0000001"] == ("large: 2078 pixels (root of width times height); usual are 520 to 520")
    assert "wide: an aspect of 4.00; usual are 1.33 to 1.33" in found["ISIC_0000002"]
    assert found["ISIC_0000003"].startswith("dark: a mean grey level of 40; usual are 1")
    assert found["ISIC_0000004"].startswith("blurred: a sharpness of 0.10; usual are")
    assert found["ISIC_0000005"].startswith("small: 35 pixels")
    assert "tall: an aspect of 0.75" in found["ISIC_0000005"]
    assert len(found) == 5


def test_blank_images_are_told_whatever_the_rest_is():
    table = _table(8)
    table.loc[0, ["trait_brightness", "trait_contrast"]] = [3.0, 1.0]
    table.loc[1, ["trait_brightness", "trait_contrast"]] = [252.0, 1.0]
    table.loc[2, ["trait_brightness", "trait_contrast"]] = [120.0, 0.4]
    assert _evidence(table) == {
        "ISIC_0000000": "near black: a mean grey level of 3 of 255",
        "ISIC_0000001": "near white: a mean grey level of 252 of 255",
        "ISIC_0000002": "uniform: its grey levels differ by 0.4 of 255 (standard deviation)",
    }


def test_a_second_camera_is_a_part_of_the_set():
    table = _table()
    table.loc[:19, ["width", "height"]] = [3000, 2000]
    found = outlier.find(table)
    assert found.problems.empty
    assert found.details["measures"]["size"]["apart_high"] == 20
    assert found.details["measures"]["size"]["flagged"] == 0


def test_wrongly_named_files_are_found():
    table = _table(40)
    table.loc[0, "format"] = "PNG"
    table.loc[1, "path"] = "nevus/x.JPEG"
    table.loc[2, ["path", "format"]] = ["nevus/x.tif", "TIFF"]
    table.loc[3, ["path", "format"]] = ["nevus/no ending", "PNG"]
    table.loc[4, ["path", "format"]] = ["nevus/x.png", pd.NA]
    table.loc[5, "path"] = "nevus/x.dcm"
    assert _evidence(table) == {"ISIC_0000000": "wrongly named: PNG content in a file that ends in .jpg"}


def test_one_row_for_a_photograph_with_several_reasons():
    table = _table()
    table.loc[0, ["format", "width", "trait_brightness"]] = ["PNG", 6000, 20.5]
    rows = outlier.find(table).problems
    assert len(rows) == 1
    assert rows["evidence"][0].count(";") >= 4
    assert rows["kind"][0] == "outlier"


def test_few_photographs_are_not_compared():
    table = _table(12)
    table.loc[0, "width"] = 5000
    found = outlier.find(table)
    assert found.problems.empty
    assert found.details["sentence"] == "12 readable photographs are too few to say what is usual."


def test_unreadable_rows_and_missing_columns_are_left_alone():
    table = _table()
    table.loc[0, ["error_kind", "width", "trait_brightness"]] = ["truncated", 9000, 1.0]
    table.loc[1, ["width", "height", "trait_brightness"]] = [pd.NA, pd.NA, np.nan]
    assert _evidence(table) == {}
    bare = table[["image_id", "path", "diagnosis", "split", "error_kind"]]
    assert outlier.find(bare).problems.empty
    assert outlier.find(bare.iloc[:0]).problems.empty
