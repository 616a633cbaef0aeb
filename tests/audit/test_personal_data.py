from __future__ import annotations

import pandas as pd

from melascope.audit import personal_data


def _table(**columns: list[object]) -> pd.DataFrame:
    n = max((len(values) for values in columns.values()), default=3)
    table = pd.DataFrame(
        {
            "image_id": [f"A{k}" for k in range(n)],
            "path": [f"a/{k}.jpg" for k in range(n)],
            "diagnosis": "NV",
            "split": pd.NA,
            "error_kind": pd.NA,
        }
    )
    for name, values in columns.items():
        table[name] = pd.array(values, dtype="Float64" if name == "trait_text" else "string")
    return table


def test_a_set_without_personal_data_is_said_to_have_none():
    found = personal_data.find(_table())
    assert found.problems.empty
    assert found.details["kinds"] == {}
    assert found.details["licence_unknown"] == 3
    assert found.details["sentence"] == (
        "None of 3 photographs carries personal data that could be seen. Of 3 no licence is known."
    )


def test_each_photograph_with_personal_data_is_a_problem_and_kinds_are_counted():
    found = personal_data.find(_table(personal=["GPS position; date taken", pd.NA, "date taken", ""]))
    assert found.problems["image_id"].tolist() == ["A0", "A2"]
    assert found.problems["evidence"].tolist() == [
        "the file states: GPS position, date taken",
        "the file states: date taken",
    ]
    assert found.problems["group"].nunique() == 2
    assert found.details["kinds"] == {"GPS position": 1, "date taken": 2}
    assert found.details["sentence"].startswith("2 of 4 photographs carry personal data")


def test_suspected_writing_is_a_problem():
    found = personal_data.find(_table(trait_text=[0.1, 9.0, pd.NA], personal=[pd.NA, "artist's name", pd.NA]))
    assert found.problems["evidence"].tolist() == [
        "the file states: artist's name; writing is suspected near the upper or lower border (it may be a ruler)"
    ]
    assert found.details["kinds"] == {"artist's name": 1, "writing suspected": 1}


def test_licences_are_counted_of_the_table_or_else_of_the_file_and_names_are_not_repeated():
    found = personal_data.find(
        _table(
            license=["CC-BY-NC", "CC-BY-NC", pd.NA, pd.NA, "CC-0"],
            attribution=["CC-0; by Jane Roe", pd.NA, "CC BY; (c) Clinic", "by Jane Roe", "CC-0"],
        )
    )
    details = found.details
    assert details["licences"] == {"CC-BY-NC": 2, "CC BY": 1, "CC-0": 1}
    assert (details["licence_unknown"], details["attributed"], details["licence_disagrees"]) == (1, 4, 1)
    assert "Roe" not in str(details)


def test_unreadable_rows_do_not_count():
    table = _table(personal=["GPS position", "GPS position"])
    table.loc[0, "error_kind"] = "truncated"
    found = personal_data.find(table)
    assert found.details["photographs"] == 1
    assert found.problems["image_id"].tolist() == ["A1"]
    assert personal_data.find(table.iloc[:0]).details["sentence"].startswith("None of 0 photographs")
