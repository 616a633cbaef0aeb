"""The committed fold files against the public tables, by a check that uses nothing of the audit."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from melascope.datasets import fixed

pytestmark = pytest.mark.real_data


def _column(path: Path, key: str, value: str) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row[key].removesuffix("_downsampled"): row[value] for row in csv.DictReader(file)}


def test_no_lesion_of_ham10000_stands_in_two_folds(shared_data):
    lesion = _column(shared_data / "ham10000" / "HAM10000_metadata.csv", "image_id", "lesion_id")
    diagnosis = _column(shared_data / "ham10000" / "HAM10000_metadata.csv", "image_id", "dx")
    folds: dict[str, set[int]] = {}
    counts: dict[tuple[str, int], int] = {}
    told = fixed("ham10000-folds")
    for image_id, fold in zip(told["image_id"], told["fold"], strict=True):
        folds.setdefault(lesion[image_id], set()).add(fold)
        counts[diagnosis[image_id], fold] = counts.get((diagnosis[image_id], fold), 0) + 1
    assert {len(places) for places in folds.values()} == {1}
    assert len(folds) >= 7469  # of 7,470: one photograph is filed under two lesion ids
    for code in set(diagnosis.values()):
        sizes = [counts[code, fold] for fold in range(5)]
        assert max(sizes) - min(sizes) <= max(4, 0.02 * sum(sizes)), code


def test_no_lesion_of_isic9_stands_in_test_and_elsewhere(shared_data):
    lesion = _column(shared_data / "isic2019" / "ISIC_2019_Training_Metadata.csv", "image", "lesion_id")
    told = fixed("isic9-clean").set_index("image_id")["part"]
    by_lesion: dict[str, set[str]] = {}
    for image_id, part in told.items():
        if name := lesion.get(str(image_id)):
            by_lesion.setdefault(name, set()).add(str(part))
    assert {len(parts) for parts in by_lesion.values()} == {1}
    test = {path.stem for path in (shared_data / "isic9" / "Test").rglob("*.jpg")}
    assert set(told.index[told == "test"]) <= test
    assert not set(told.index[told != "test"]) & test
