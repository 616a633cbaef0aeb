from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from melascope import datasets
from melascope.datasets.origins import OTHER


def _brute_force(frame: pd.DataFrame, columns: list[str]) -> set[frozenset[int]]:
    """Merge rows pairwise until nothing changes: slow and plain."""
    sets = [{row} for row in range(len(frame))]
    for column in columns:
        for value in frame[column].dropna().unique():
            if value == "":
                continue
            members = set(np.flatnonzero((frame[column] == value).fillna(False)))
            touched = [each for each in sets if each & members]
            sets = [each for each in sets if not each & members] + [set().union(*touched)]
    return {frozenset(map(int, each)) for each in sets}


def _as_sets(names: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(names == name).tolist()) for name in set(names)}


@pytest.mark.parametrize("seed", range(8))
def test_connected_equals_merging_by_hand(seed):
    rng = np.random.default_rng(seed)
    n = 60
    frame = pd.DataFrame(
        {
            "image_id": [f"I{i:03d}" for i in rng.permutation(n)],
            "lesion_id": pd.array([f"L{i}" if i < 25 else None for i in rng.integers(0, 40, n)], dtype="string"),
            "patient_id": pd.array([f"P{i}" if i < 12 else "" for i in rng.integers(0, 40, n)], dtype="string"),
        }
    )
    names = datasets.connected(frame, ["lesion_id", "patient_id"])
    assert _as_sets(names) == _brute_force(frame, ["lesion_id", "patient_id"])
    for members in _as_sets(names):
        rows = sorted(members)
        assert names[rows[0]] == frame["image_id"].iloc[rows].min()


def test_groups_do_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"image_id": [f"I{i:04d}" for i in range(500)]})
    frame["lesion_id"] = [f"L{i}" for i in rng.integers(0, 300, 500)]
    frame["patient_id"] = [f"P{i}" for i in rng.integers(0, 700, 500)]
    before = pd.Series(datasets.connected(frame, ["lesion_id", "patient_id"]), index=frame["image_id"])
    shuffled = frame.sample(frac=1, random_state=3)
    after = pd.Series(datasets.connected(shuffled, ["lesion_id", "patient_id"]), index=shuffled["image_id"])
    assert after.sort_index().equals(before.sort_index())


def test_a_long_chain_in_random_order_is_one_group():
    n = 100_000
    places = np.random.default_rng(0).permutation(n)
    frame = pd.DataFrame({"a": places // 2, "b": (places + 1) // 2})
    assert len(set(datasets.connected(frame, ["a", "b"]))) == 1


def test_nothing_shared_and_nothing_at_all():
    frame = pd.DataFrame({"image_id": ["A", "B"], "lesion_id": pd.array([pd.NA, pd.NA], dtype="string")})
    assert datasets.connected(frame, ["lesion_id", "patient_id"]).tolist() == ["A", "B"]
    assert datasets.connected(frame.iloc[:0], ["lesion_id"]).tolist() == []


def _scanned(tmp_path, write_image, files: dict[str, int]) -> pd.DataFrame:
    for name, seed in files.items():
        write_image(tmp_path / name, seed=seed)
    return datasets.scan(datasets.read(tmp_path)).set_index("path", drop=False)


def test_a_photograph_is_one_by_its_id_or_by_its_bytes(tmp_path, write_image):
    table = _scanned(
        tmp_path,
        write_image,
        {
            "nevus/ISIC_0000001.jpg": 1,
            "melanoma/ISIC_0000001.jpg": 2,  # an archive's id is believed, whatever the pixels
            "nevus/other.jpg": 1,
            "nevus/ISIC_0000003.jpg": 3,
        },
    )
    shown = datasets.photographs(table)
    assert len(set(shown)) == 2
    assert set(shown[table["image_id"].isin(["ISIC_0000001", "OTHER"])]) == {"ISIC_0000001"}
    assert datasets.ambiguous_names(table) == []


def test_a_plain_name_given_twice_is_two_photographs_when_they_look_different(tmp_path, write_image):
    table = _scanned(
        tmp_path,
        write_image,
        {"nevus/1.jpg": 1, "melanoma/1.jpg": 2, "nevus/2.jpg": 3, "melanoma/2.jpg": 3, "nevus/3.png": 4, "df/3.jpg": 4},
    )
    shown = pd.Series(datasets.photographs(table), index=table["image_id"])
    assert datasets.ambiguous_names(table) == ["1"]
    assert sorted(shown["1"]) == ["1", "1#2"]
    assert len(set(shown["2"])) == 1  # the same bytes
    assert len(set(shown["3"])) == 1  # the same picture in two encodings
    unscanned = table[["image_id", "path"]]
    assert len(set(datasets.photographs(unscanned))) == 3


def test_groups_join_photographs_lesions_and_patients(tmp_path, write_image):
    table = _scanned(tmp_path, write_image, {f"nevus/ISIC_000000{n}.jpg": n for n in range(6)})
    table["lesion_id"] = pd.array(["L1", "L1", None, None, None, None], dtype="string")
    table["patient_id"] = pd.array([None, "P1", "P1", None, None, None], dtype="string")
    assert len(set(datasets.groups(table))) == 4
    assert len(set(datasets.groups(table)[:3])) == 1


def test_lesions_are_known_or_assumed():
    frame = pd.DataFrame(
        {"image_id": ["A", "B", "C", "D", "D", "A"], "lesion_id": ["L1", "L1", None, None, None, None]}
    )
    assert datasets.lesion_counts(frame) == {"known": 1, "assumed": 2}
    assert datasets.lesion_counts(frame[["image_id"]]) == {"known": 0, "assumed": 4}


def test_origins_are_the_table_s_own_or_else_told_by_lesion_ids():
    lesions = ["HAM_0001", "BCN_7", "MSK4_0011", None, "L5"]
    told = datasets.origins(pd.DataFrame({"lesion_id": lesions, "source": ["", " ", None, None, None]}))
    assert told.tolist() == ["HAM10000", "BCN20000", "MSK", OTHER, OTHER]
    named = datasets.origins(pd.DataFrame({"lesion_id": lesions, "source": ["A", None, "B ", "", "A"]}))
    assert named.fillna("?").tolist() == ["A", "?", "B", "?", "A"]
    # Where neither tells anything, nothing is made up.
    assert datasets.origins(pd.DataFrame({"lesion_id": ["L1", None]})).isna().all()
    assert datasets.origins(pd.DataFrame({"image_id": ["a"]})).isna().all()
