from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melascope import datasets
from melascope.datasets import balanced_files
from melascope.datasets.balanced import Balancing, draw, quotas, shared_photographs
from melascope.datasets.balanced_files import write_copies, write_tables
from melascope.errors import DataError
from melascope.image_id import copy_source


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    names = {"Train/nevus": range(1, 13), "Train/melanoma": range(20, 23), "Test/melanoma": range(40, 44)}
    for folder, numbers in names.items():
        (root / folder).mkdir(parents=True)
        for number in numbers:
            small = np.random.default_rng(number).integers(0, 256, (8, 10, 3), dtype=np.uint8)
            Image.fromarray(small).resize((40, 32)).save(root / folder / f"ISIC_{number:07d}.jpg")
    return root


@pytest.fixture
def scanned(photographs: Path) -> pd.DataFrame:
    return datasets.scan(datasets.read(photographs), threads=1)


def test_the_three_modes_give_the_counts_that_they_promise():
    diagnoses = pd.Series(["NV"] * 12 + ["MEL"] * 3)
    assert quotas(diagnoses, Balancing(10)) == {"MEL": 10, "NV": 10}
    assert quotas(diagnoses, Balancing(10, "up-to")) == {"MEL": 7, "NV": 0}
    assert quotas(diagnoses, Balancing(10, "in-proportion")) == {"MEL": 4, "NV": 16}


def test_the_draw_is_that_of_the_seed_whatever_the_order_of_rows_and_never_of_test(scanned):
    first = draw(scanned, Balancing(200, seed=3))
    again = draw(scanned.iloc[::-1].reset_index(drop=True), Balancing(200, seed=3))
    columns = ["image_id", "copy_of", "diagnosis", "degrees"]
    assert first[columns].equals(again[columns])
    assert not first.equals(draw(scanned, Balancing(200, seed=4)))
    assert first["image_id"].is_unique
    assert set(scanned["split"].iloc[first["row"]]) == {"train"}
    assert first["degrees"].abs().max() <= 10
    assert 0.2 < (first["degrees"] == 0).mean() < 0.4
    assert (first["image_id"].map(copy_source) == first["copy_of"]).all()


def test_copies_are_tied_to_their_sources_by_the_table_and_by_their_names(photographs, scanned, tmp_path):
    copies = write_copies(scanned, tmp_path / "copies", Balancing(6), threads=1)
    csv, parquet = write_tables(scanned, copies, tmp_path / "copies")
    for table in (datasets.read(csv), datasets.read(parquet)):
        assert len(table) == 19 + 12
        assert all(Path(path).is_file() for path in table["path"])
        assert (table.loc[table["copy_of"].notna(), "split"] == "train").all()
        _assert_tied(table, table["copy_of"])
    # Without the table, the names alone are enough.
    alone = datasets.read(tmp_path / "copies", reader="folders")
    folders = pd.concat([datasets.read(photographs), alone], ignore_index=True)
    _assert_tied(folders, folders["image_id"].map(copy_source).astype("string"))
    part = datasets.split(folders[folders["split"] == "train"].reset_index(drop=True), seed=1).part
    trained = folders[folders["split"] == "train"].reset_index(drop=True)
    assert shared_photographs(trained, (part == "train").to_numpy(), (part != "train").to_numpy()) == 0


def _assert_tied(table: pd.DataFrame, source: pd.Series) -> None:
    shown = pd.Series(datasets.photographs(table))
    by_id = dict(zip(table["image_id"], shown, strict=True))
    copied = source.notna().to_numpy()
    assert copied.sum() == 12
    assert [by_id[of] for of in source[copied]] == shown[copied].tolist()
    assert shown.nunique() == table["image_id"][~copied].nunique()


def test_names_of_ones_own_are_tied_too_although_turned_copies_look_different(tmp_path):
    root = tmp_path / "set"
    for folder, name, seed in (("nevus", "1", 1), ("nevus", "2", 2), ("melanoma", "3", 3)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / folder / f"{name}.png")
    table = datasets.scan(datasets.read(root), threads=1)
    copies = datasets.scan(write_copies(table, tmp_path / "copies", Balancing(8, turn=45.0), threads=1), threads=1)
    both = pd.concat([table, copies], ignore_index=True)
    assert set(datasets.photographs(both)) == {"1", "2", "3"}


def test_a_copy_that_is_not_turned_is_the_very_file_and_others_are_not(scanned, tmp_path):
    copies = write_copies(scanned, tmp_path / "copies", Balancing(20), threads=1)
    source = dict(zip(scanned["image_id"], scanned["path"], strict=True))
    for row in copies.itertuples():
        assert (Path(row.path).read_bytes() == Path(source[row.copy_of]).read_bytes()) == (row.degrees == 0)
    assert set(datasets.scan(copies, threads=1)[["width", "height"]].itertuples(index=False, name=None)) == {(40, 32)}


def test_stopped_at_any_moment_it_goes_on_and_ends_the_same(scanned, tmp_path, monkeypatch):
    whole = write_copies(scanned, tmp_path / "whole", Balancing(40), threads=1)
    monkeypatch.setattr(balanced_files, "_AT_A_TIME", 8)

    def stop(stage: str, done: int, total: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_copies(scanned, tmp_path / "stopped", Balancing(40), threads=1, progress=stop)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped").rglob("*.jpg")}
    assert 32 <= len(done) < 80
    again = write_copies(scanned, tmp_path / "stopped", Balancing(40), threads=1)
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    contents = [[Path(path).read_bytes() for path in copies["path"]] for copies in (whole, again)]
    assert contents[0] == contents[1]
    assert not list((tmp_path / "stopped").rglob("*.partial"))


def test_killed_while_it_begins_or_without_power_it_goes_on(scanned, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / ".balancing.json.partial").write_text('{"settings"')
    copies = write_copies(scanned, begun, Balancing(4), threads=1)
    first, second = (Path(path) for path in copies["path"][:2])
    whole = first.read_bytes()
    first.write_bytes(b"")
    second.rename(second.with_name(f".{second.name}.partial"))  # half-written ones have this name
    write_copies(scanned, begun, Balancing(4), threads=1)
    assert first.read_bytes() == whole
    assert not list(begun.rglob("*.partial"))


def test_the_folder_alone_is_no_data_set_and_the_table_says_that_copies_are_in_it(scanned, tmp_path):
    copies = write_copies(scanned, tmp_path / "copies", Balancing(2), threads=1)
    with pytest.raises(DataError, match=r"holds copies only.*Give the photographs that they were made of"):
        datasets.read(tmp_path / "copies")
    csv, _ = write_tables(scanned, copies, tmp_path / "copies")
    with pytest.raises(DataError, match=r"copies only.*Give its table of both instead: .*copies/table\.csv"):
        datasets.read(tmp_path / "copies")
    assert "holds copies only" in (tmp_path / "copies" / "balancing.json").read_text()
    notes = datasets.read(csv).attrs["notes"]
    assert notes == [f"{csv} lists 4 copies made to balance, beside the photographs they were made of."]
    scanned[["image_id", "path", "diagnosis"]].to_csv(tmp_path / "plain.csv", index=False)
    assert datasets.read(tmp_path / "plain.csv").attrs["notes"] == []


def test_a_folder_with_other_things_is_refused_and_left_alone(scanned, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something else already"):
        write_copies(scanned, taken, Balancing(2), threads=1)
    assert [path.name for path in taken.iterdir()] == ["thesis.txt"]
    write_copies(scanned, tmp_path / "copies", Balancing(2), threads=1)
    with pytest.raises(DataError, match="made of other photographs or in another way"):
        write_copies(scanned, tmp_path / "copies", Balancing(3), threads=1)


def test_too_little_room_names_of_two_photographs_and_impossible_numbers_are_refused(scanned, tmp_path, monkeypatch):
    monkeypatch.setattr(balanced_files.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match="GB"):
        write_copies(scanned, tmp_path / "copies", Balancing(2), threads=1)
    twice = scanned.assign(image_id=scanned["image_id"].where(scanned.index > 1, "1"))
    with pytest.raises(DataError, match="1 name stands for photographs that look different, such as 1"):
        draw(twice, Balancing(2))
    with pytest.raises(DataError, match="none is outside Test"):
        draw(scanned[scanned["split"] == "test"], Balancing(2))
    with pytest.raises(
        DataError, match=r'"training" .*Write train for "training", or drop .* all outside Test copied\.'
    ):
        draw(scanned.assign(part="training"), Balancing(2))
    for bad in ({"per_class": 0}, {"turn": 50.0}, {"probability": 1.5}):
        with pytest.raises(DataError):
            Balancing(**bad)


def test_only_the_part_train_of_a_table_that_was_split_gets_copies(scanned):
    parts = scanned.assign(part="train")
    parts.loc[parts["image_id"] == "ISIC_0000020", "part"] = "calibrate"
    assert "ISIC_0000020" not in set(draw(parts, Balancing(100))["copy_of"])


def test_a_column_part_of_another_meaning_hinders_no_copies(scanned):
    assert len(draw(scanned.assign(part="arm"), Balancing(2))) == 4
