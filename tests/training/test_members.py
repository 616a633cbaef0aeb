"""What a run puts into its bundle: novelty, neighbours and modality, fitted through the exported network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests import tiny_bundle as tiny

from melascope.bundle import Predictor, load_bundle
from melascope.training import members as room


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(tiny.bundle(tmp_path_factory.mktemp("bundle") / "b.melascope"), threads=1)


def rows_of(folder, count, **columns):
    files = tiny.folder(folder, count)
    codes = [tiny.CLASSES[i % len(tiny.CLASSES)] for i in range(count)]
    names = [file.stem for file in files]
    table = pd.DataFrame({"image_id": names, "path": [str(f) for f in files], "diagnosis": codes, "group": names})
    return table.assign(**columns)


def labels_of(rows):
    return rows["diagnosis"].map({code: i for i, code in enumerate(tiny.CLASSES)}).to_numpy(np.int64)


def test_novelty_and_neighbours_know_the_training_photographs(predictor, tmp_path):
    train = rows_of(tmp_path / "train", 12, source="here", lesion_id=[f"L{i // 2}" for i in range(12)])
    told = []
    found = room.members(
        predictor, train, labels_of(train), rows_of(tmp_path / "held", 6), progress=lambda *seen: told.append(seen)
    )
    assert set(found) == {"novelty.npz", "neighbours.npz"}  # of these nobody said that they are dermoscopic
    assert told[-1] == ("embedding", 18, 18)
    bundle = tiny.bundle(tmp_path / "made.melascope", arrays=found)
    assert bundle.novelty.method == room.METHOD
    assert bundle.neighbours.images == 12
    (_, raw), *_ = predictor.stream([train["path"][0]])
    near = bundle.neighbours.nearest(raw.embedding, k=12, image_id=train["image_id"][0])
    assert len(near) == 5
    assert {one["source"] for one in near} == {"here"}
    assert {one["image_id"] for one in near}.isdisjoint(train["image_id"][:2])  # its own lesion
    again = load_bundle(bundle.path)
    assert dict(again.arrays) == found
    assert again.identity == bundle.identity


def test_modality_is_made_of_dermoscopic_photographs_only(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(room.strangers, "packaged", lambda: iter(()))
    train, held = rows_of(tmp_path / "train", 8), rows_of(tmp_path / "held", 4)
    known = room.members(predictor, train.assign(modality="dermoscopic"), labels_of(train), held)
    mixed = train.assign(modality=["dermoscopic", "clinical"] * 4)
    assert "modality.npz" in known
    assert "modality.npz" not in room.members(predictor, mixed, labels_of(train), held)


def test_what_cannot_be_read_is_passed_over(predictor, tmp_path):
    train, held = rows_of(tmp_path / "train", 8), rows_of(tmp_path / "held", 4)
    (tmp_path / "train" / "ISIC_0000003.jpg").write_bytes(b"no photograph")
    found = room.members(predictor, train, labels_of(train), held)
    assert tiny.bundle(tmp_path / "made.melascope", arrays=found).neighbours.images == 7
    assert room.members(predictor, train.iloc[:2], labels_of(train)[:2], held) == {}


def test_of_many_photographs_small_classes_are_kept_whole():
    labels = np.repeat([0, 1, 2], [90, 5, 40])
    kept = room._even(labels, 45, seed=0)
    assert np.bincount(labels[kept]).tolist() == [20, 5, 20]
    assert (np.diff(kept) > 0).all()
    assert room._even(labels, 200, seed=0).tolist() == list(range(135))
