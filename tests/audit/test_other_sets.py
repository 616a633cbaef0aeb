"""Photographs that stand in another set, the same photograph in other files, and lesions photographed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_bundle
from melascope import datasets
from melascope.audit import apply_protocol, audit, lesion_repeat, other_sets, same_photograph
from melascope.audit.policy import DEFAULTS, Policy
from melascope.bundle import TrainedOn
from melascope.datasets.identity import perceptual_hash, symmetric_hashes
from melascope.images import synthetic


@pytest.fixture
def scanned(tmp_path: Path) -> pd.DataFrame:
    for number in range(12):
        folder = tmp_path / "mine" / ("nevus" if number % 2 else "melanoma")
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(synthetic.lesion(number, "NV" if number % 2 else "MEL", size=64))
        picture.save(folder / f"ISIC_{number:07d}.jpg", quality=92)
    return datasets.scan(datasets.read(tmp_path / "mine"))


def _pairs(*rows: tuple[int, int, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["a", "b", "relation"])
    return frame.assign(evidence="turned by 90 degrees")


def test_the_hashes_of_the_eight_symmetries_are_those_of_the_turned_photographs():
    photograph = synthetic.lesion(3, "MEL", size=64)
    forms = symmetric_hashes(pd.Series([perceptual_hash(photograph).tobytes().hex()]))
    assert forms.shape == (8, 32)
    for turns in range(4):
        for flipped in (False, True):
            view = np.rot90(photograph, turns)
            hashed = perceptual_hash(np.ascontiguousarray(view[:, ::-1] if flipped else view))
            assert np.bitwise_count(forms ^ hashed).sum(axis=1).min() <= 4


def test_pairs_become_groups_that_every_later_step_knows(scanned):
    table = same_photograph.mark(
        scanned, _pairs((0, 1, "same_photograph"), (1, 2, "same_photograph"), (4, 5, "lesion_repeat"))
    )
    assert len(set(table["same"].iloc[:3])) == 1
    assert table["same"].notna().sum() == 3
    assert len(set(table["repeat"].iloc[[4, 5]])) == 1
    assert datasets.photographs(table)[0] == datasets.photographs(table)[2]
    assert datasets.photographs(table)[4] != datasets.photographs(table)[5]
    assert datasets.groups(table)[4] == datasets.groups(table)[5]
    found = same_photograph.find(table).problems
    assert len(found) == 3
    assert len(set(found["group"])) == 1
    assert found["evidence"].str.contains("turned by 90 degrees").all()
    repeats = lesion_repeat.find(table)
    assert set(repeats.problems["image_id"]) == set(table["image_id"].iloc[[4, 5]])
    assert repeats.details["seen_in_pixels_only"] == 2
    assert list(same_photograph.mark(table, _pairs())["same"].dropna()) == []


def test_of_the_same_photograph_one_is_kept_unless_the_policy_says_otherwise(scanned):
    # Rows 0 and 1 are of one class folder: sorted by path, melanomas come first.
    table = same_photograph.mark(scanned, _pairs((0, 1, "same_photograph")))
    prepared = apply_protocol(table, audit(table))
    assert len(prepared.table) == 11
    assert prepared.excluded["reason"].tolist() == ["the same photograph, resized or changed, is kept"]
    lenient = Policy({**DEFAULTS, "same_photograph": "warn"})
    kept = apply_protocol(table, audit(table, lenient)).table
    assert len(kept) == 12
    assert kept["group"].nunique() == 11


def test_the_same_photograph_under_two_diagnoses_is_left_out(scanned):
    table = same_photograph.mark(scanned, _pairs((0, 11, "same_photograph")))
    found = audit(table)
    assert (found.problems["kind"] == "id_conflict").sum() == 2
    prepared = apply_protocol(table, found)
    assert len(prepared.table) == 10
    assert set(prepared.excluded["reason"]) == {"filed under several diagnoses, no authority"}


def test_lesions_by_their_ids(scanned):
    table = scanned.assign(lesion_id=pd.array(["L1", "L1", "L1", *[None] * 9], dtype="string"))
    found = lesion_repeat.find(table)
    assert len(found.problems) == 3
    assert found.problems["evidence"].unique().tolist() == ["one of 3 photographs of the lesion"]
    assert found.details == {"lesions": 1, "beyond_one_each": 2, "seen_in_pixels_only": 0}
    one_each = Policy({**DEFAULTS, "lesion_repeat": "exclude"})
    prepared = apply_protocol(table, audit(table, one_each))
    assert len(prepared.table) == 10
    assert prepared.flow[-1].label == "one per lesion"


def test_a_policy_excludes_what_only_warns_by_default(scanned):
    found = audit(scanned, Policy({**DEFAULTS, "outlier": "exclude"}))
    marked = pd.DataFrame({"kind": ["outlier"], "group": "outlier: x", "path": scanned["path"].iloc[0]})
    chosen = type(found)(**{**vars(found), "problems": pd.concat([found.problems, marked], ignore_index=True)})
    prepared = apply_protocol(scanned, chosen)
    assert "far from the rest of the set" in set(prepared.excluded["reason"])


def test_another_set_and_its_changed_copies(scanned, tmp_path):
    other = tmp_path / "other" / "nevus"
    other.mkdir(parents=True)
    (tmp_path / "other" / "melanoma").mkdir()
    first = Path(scanned["path"].iloc[0])
    (other / "copy.jpg").write_bytes(first.read_bytes())
    changed = Image.open(scanned["path"].iloc[3]).transpose(Image.Transpose.ROTATE_90).resize((96, 80))
    changed.save(tmp_path / "other" / "melanoma" / "turned.png")
    Image.fromarray(synthetic.lesion(77, "NV", size=64)).save(other / f"{scanned['image_id'].iloc[5]}.jpg")
    Image.fromarray(synthetic.lesion(78, "NV", size=64)).save(other / "stranger.jpg")
    marked = other_sets.mark(scanned, [tmp_path / "other"], threads=1)
    assert marked.index[marked["also_in"].notna()].tolist() == [0, 3, 5]
    assert marked["also_in_evidence"].iloc[0] == "other: the same file"
    assert marked["also_in_evidence"].iloc[5] == "other: the same archive id"
    assert "TURNED" in marked["also_in_evidence"].iloc[3]
    found = audit(marked)
    assert found.details["other_set_leak"] == {"sets": {"other": 3}}
    prepared = apply_protocol(marked, found)
    assert len(prepared.table) == 9
    assert set(prepared.excluded["reason"]) == {"stands in another set too"}


def test_a_bundle_knows_what_it_was_trained_on(scanned, tmp_path):
    turned = perceptual_hash(np.ascontiguousarray(np.rot90(np.asarray(Image.open(scanned["path"].iloc[2])))))
    hashes = np.stack([np.frombuffer(bytes.fromhex(scanned["phash"].iloc[0]), np.uint8), turned])
    known = TrainedOn.of([scanned["sha256"].iloc[0], "0" * 64], hashes)
    bundle = tiny_bundle.bundle(tmp_path / "model.melascope", trained_on=known)
    path = bundle if isinstance(bundle, Path) else Path(bundle.path)
    marked = other_sets.mark(scanned, [path])
    assert marked.index[marked["also_in"].notna()].tolist() == [0, 2]
    assert marked["also_in_evidence"].iloc[0] == "model.melascope: trained on the same file"
    assert "of 256 bits" in marked["also_in_evidence"].iloc[2]
