"""A table's own column `part`: heeded whole by every command that trains, or refused, and never dropped in silence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melascope.errors import DataError
from melascope.training import search_section, tuning_data
from melascope.training.experiment import Experiment, Reading
from melascope.training.run import run

SEARCH = 'extends = "small-cnn"\nname = "tiny"\n[search]\n"network.dropout" = { low = 0.0, high = 0.5, step = 0.1 }\n'


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A drawn set as one table, its lesions divided by somebody else."""
    from melascope import datasets
    from melascope.images.synthetic_set import write_dataset

    root = Path(write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=120, seed=3, size=24))
    rows = datasets.scan(datasets.read(root, authority=[root / "metadata.csv"]), threads=1)
    rows = rows[rows["error_kind"].isna()].reset_index(drop=True)
    place = pd.Series(datasets.groups(rows)).rank(method="dense").astype(int) % 5
    rows["part"] = np.select([place == 0, place == 1], ["test", "valid"], "train")
    return rows[["image_id", "path", "diagnosis", "lesion_id", "patient_id", "part"]]


def _run(data: Path, out: Path, parts: Path | None = None) -> tuple[pd.DataFrame, list[str]]:
    found = run(data, out, recipe="small-cnn", parts=parts, until="data")
    return found.table[found.table["part"] != "test"], found.warnings


def _tune(data: Path, out: Path, parts: Path | None = None) -> tuple[pd.DataFrame, list[str]]:
    text = data.parent / "tiny.toml"
    text.write_text(SEARCH)
    space = search_section.load(text)
    settings = {
        "data": str(data), "images": None, "authority": [], "spellings": {}, "limit": None, "seed": 0,
        "audit": None, "unaudited": False, "protocol": "clean", "parts": None if parts is None else str(parts),
        "folds": 2, "score": "balanced_accuracy", "recipe": space.base.replace().dumps(), "search": dict(space.spec),
    }  # fmt: skip
    task = tuning_data.start(out, settings, lambda *_: None)
    return task.table, list(task.facts["warnings"])


def _experiment(kind: str, data: Path, out: Path, parts: Path | None) -> tuple[pd.DataFrame, list[str]]:
    experiment = Experiment(out, kind, {}, Reading(data, parts=parts))
    with experiment.if_refused():
        material = experiment.material()
    return material.table, material.told["warnings"]


def _cross_validate(data: Path, out: Path, parts: Path | None = None) -> tuple[pd.DataFrame, list[str]]:
    return _experiment("cross-validation", data, out, parts)


def _learning_curve(data: Path, out: Path, parts: Path | None = None) -> tuple[pd.DataFrame, list[str]]:
    return _experiment("learning-curve", data, out, parts)


COMMANDS = [
    _run,
    pytest.param(_tune, marks=pytest.mark.skipif(find_spec("optuna") is None, reason="needs the extra tune")),
    _cross_validate,
    _learning_curve,
]
Command = Callable[..., tuple[pd.DataFrame, list[str]]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_part_that_is_missing_or_has_another_name_is_refused_before_any_training(
    command: Command, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "named.csv", index=False)
    told = r'none of train, tune, calibrate and test for (\d+) of \d+ photographs: \1 "valid" \(such as .*\)\. '
    with pytest.raises(DataError, match=told + 'Write calibrate for "valid", or drop the column'):
        command(tmp_path / "named.csv", tmp_path / "OUT")
    assert not (tmp_path / "OUT").exists()
    gap = table.index[table["part"] == "train"][0]
    mended = table["part"].replace("valid", "calibrate").mask(table.index == gap)
    table.assign(part=mended).to_csv(tmp_path / "gap.csv", index=False)
    with pytest.raises(DataError, match=rf"1 empty \(such as {table['image_id'][gap]}\)\. Fill in the empty cells, or"):
        command(tmp_path / "gap.csv", tmp_path / "OUT")


@pytest.mark.parametrize("command", COMMANDS)
def test_mended_as_the_refusal_says_the_users_test_is_seen_by_none(
    command: Command, table: pd.DataFrame, tmp_path: Path
) -> None:
    mended = table["part"].replace({"valid": "Calibrate", "train": "Train"})
    table.assign(part=mended).to_csv(tmp_path / "mended.csv", index=False)
    seen, warnings = command(tmp_path / "mended.csv", tmp_path / "OUT")
    assert len(seen)
    assert set(seen["image_id"]).isdisjoint(table["image_id"][table["part"] == "test"])
    assert not any("column part" in warning for warning in warnings)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_parts_takes_the_place_of_the_column(command: Command, table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "named.csv", index=False)
    parts = table.assign(part=table["part"].replace("valid", "calibrate"))[["image_id", "part"]]
    parts.to_csv(tmp_path / "parts.csv", index=False)
    seen, _ = command(tmp_path / "named.csv", tmp_path / "OUT", tmp_path / "parts.csv")
    assert set(seen["image_id"]).isdisjoint(table["image_id"][table["part"] == "test"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_column_that_means_something_else_is_told_and_not_used(
    command: Command, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.assign(part="arm").to_csv(tmp_path / "body.csv", index=False)
    _, warnings = command(tmp_path / "body.csv", tmp_path / "OUT")
    assert 'The table has a column part, which was not used: "arm" and its other words name no parts.' in warnings


@pytest.mark.parametrize("command", COMMANDS)
def test_photographs_that_a_protocol_leaves_out_need_no_part(
    command: Command, table: pd.DataFrame, tmp_path: Path
) -> None:
    gap = table.index == table.index[table["part"] == "train"][0]
    mended = table.assign(
        part=table["part"].replace("valid", "calibrate").mask(gap), diagnosis=table["diagnosis"].mask(gap)
    )
    mended.to_csv(tmp_path / "gap.csv", index=False)
    seen, _ = command(tmp_path / "gap.csv", tmp_path / "OUT")
    assert set(seen["image_id"]).isdisjoint(table["image_id"][(table["part"] == "test") | gap])
