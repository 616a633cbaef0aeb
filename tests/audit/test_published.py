from __future__ import annotations

import pandas as pd
import pytest

from melascope import audit, datasets
from melascope.audit.published import as_published
from melascope.datasets.balanced import Balancing
from melascope.datasets.balanced_files import write_copies, write_tables
from melascope.errors import DataError

FILES = {f"Train/nevus/ISIC_{n:07d}.jpg": n for n in range(100, 120)}
FILES |= {f"Train/melanoma/ISIC_{n:07d}.jpg": n for n in range(200, 206)}
FILES |= {f"Test/nevus/ISIC_{n:07d}.jpg": n for n in range(300, 303)}


def test_copies_come_first_and_are_divided_at_random(make_set, tmp_path):
    table = make_set(FILES)
    filed = audit.apply_protocol(table, audit.audit(table), "as-filed")
    made = as_published(filed, tmp_path / "copies", per_class=30, seed=1)
    assert (made.name, made.optimistic, made.split_group) == ("as-published", True, None)
    assert made.table["diagnosis"].value_counts().to_dict() == {"NV": 50, "MEL": 36}
    assert not (made.table["split"] == "test").any()
    assert made.table[["sha256", "photograph", "group"]].notna().all(axis=None)
    assert made.table["photograph"].nunique() == 26
    assert made.flow[-1].photographs == len(made.table)
    assert len(made.excluded) == 3
    part = datasets.split(made.table, seed=0, group=made.split_group).part
    assert audit.leakage(made.table, part)["share_photograph"] > 0
    said = " ".join(made.warnings)
    assert "Optimistic: 60 copies were made of 26 photographs first" in said
    assert "trained on too" in said
    assert "not turned at all: the very same pixels" in said
    again = as_published(filed, tmp_path / "copies", per_class=30, seed=1)
    pd.testing.assert_frame_equal(again.table, made.table)


def test_it_starts_from_as_filed_only(make_set, tmp_path):
    table = make_set(FILES)
    with pytest.raises(DataError, match="starts from as-filed, not from clean-unauthorised"):
        as_published(audit.apply_protocol(table, audit.audit(table), "clean"), tmp_path / "copies")


def test_clean_counts_each_photograph_once_and_keeps_the_original(make_set, tmp_path):
    table = make_set(FILES)
    copies = write_copies(table, tmp_path / "a", Balancing(30), threads=1)
    csv, _ = write_tables(table, copies, tmp_path / "a")
    balanced = datasets.scan(datasets.read(csv), threads=1)
    clean = audit.apply_protocol(balanced, audit.audit(balanced), "clean")
    assert sorted(clean.table["image_id"]) == sorted(table["image_id"])
    assert clean.excluded["reason"].value_counts().to_dict() == {"copy of a photograph that is kept": 60}
    told = [sentence for sentence in clean.warnings if "made to balance" in sentence]
    assert told == [
        "60 copies made to balance are left out, since every photograph counts once here; the section [balance] of a "
        "recipe balances without copies."
    ]
    plain = audit.apply_protocol(table, audit.audit(table), "clean")
    assert not any("made to balance" in sentence for sentence in plain.warnings)
