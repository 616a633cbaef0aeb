from __future__ import annotations

import pandas as pd
import pytest

from melascope import audit, datasets
from melascope.audit.protocol import WITH_COPIES
from melascope.audit.published import as_published
from melascope.datasets.balanced import Balancing
from melascope.datasets.balanced_files import write_copies, write_tables
from melascope.datasets.groups import copies_of
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


@pytest.fixture
def balanced(make_set, tmp_path) -> pd.DataFrame:
    """Originals, copies of them, and a photograph that is filed twice."""
    table = make_set(FILES | {"Train/melanoma/ISIC_0000100.jpg": 100})
    copies = write_copies(table, tmp_path / "made", Balancing(30), threads=1)
    csv, _ = write_tables(table, copies, tmp_path / "made")
    return datasets.scan(datasets.read(csv), threads=1)


@pytest.mark.parametrize("seed", range(5))
def test_as_filed_keeps_a_copy_with_its_source(balanced, seed):
    filed = audit.apply_protocol(balanced, audit.audit(balanced), "as-filed")
    assert filed.split_group == WITH_COPIES
    assert "60 copies made to balance stay with the photograph that each was made of, in one part or fold." in (
        filed.warnings
    )
    table, source = filed.table, copies_of(filed.table)
    parts = [
        datasets.split(table, {"train": 0.5, "calibrate": 0.5}, seed, filed.split_group).part,
        datasets.folds(table, 4, seed, filed.split_group),
    ]
    for part in parts:
        assert len(set(part[source.isna() & (table["split"] == "train")])) > 1
        for image_id, code, place in zip(source, table["diagnosis"], part, strict=True):
            if not pd.isna(image_id):
                of = (table["image_id"] == image_id) & (table["diagnosis"] == code) & (table["split"] == "train")
                assert part[of].tolist() == [place]


def test_as_filed_still_divides_single_photographs_and_as_published_the_copies(balanced, make_set, tmp_path):
    table = balanced[balanced["copy_of"].isna()].drop(columns="copy_of").reset_index(drop=True)
    filed = audit.apply_protocol(table, audit.audit(table), "as-filed")
    assert filed.split_group is None
    assert WITH_COPIES not in filed.table
    twice = audit.apply_protocol(balanced, audit.audit(balanced), "as-filed")
    made = as_published(twice, tmp_path / "copies", per_class=30, seed=1)
    assert made.split_group is None
    assert WITH_COPIES not in made.table
    # Copies are made of originals only: 26 outside Test, one of them filed twice.
    assert "Optimistic: 60 copies were made of 27 photographs first" in made.warnings[0]
    part = datasets.split(made.table, seed=0, group=made.split_group).part
    assert audit.leakage(made.table, part)["share_photograph"] > 0


def test_copies_of_a_photograph_that_is_not_there_stay_together(balanced):
    alone = balanced[balanced["copy_of"].notna()].reset_index(drop=True)
    filed = audit.apply_protocol(alone, audit.audit(alone), "as-filed")
    assert filed.table[WITH_COPIES].nunique() == filed.table["copy_of"].nunique()


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
