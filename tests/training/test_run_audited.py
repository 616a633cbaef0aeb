"""What a training demands of its data: an audit that is theirs and now, and parts that tear nothing apart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest

import melascope
from melascope.bundle import load_bundle
from melascope.datasets.fixed import write
from melascope.errors import DataError

pytestmark = pytest.mark.train

RECIPE = """
extends = "small-cnn"
[data]
size = 32
[network]
stem = 0
widths = [8]
convolutions = 1
[schedule]
epochs = 1
warmup_epochs = 0
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from melascope.images.synthetic_set import write_dataset

    return write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=120, seed=3, size=40)


@pytest.fixture(scope="module")
def audited(photographs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "AUDIT"
    melascope.audit_data(photographs, out=folder)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))


def test_an_audit_made_before_is_used_and_its_clean_table_too(photographs, audited, recipe, tmp_path, monkeypatch):
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the photographs were looked at again")

    monkeypatch.setattr("melascope.audit.survey.scan", forbidden)
    run = melascope.train(photographs, tmp_path / "RUN", recipe=recipe, audit=audited)
    told = json.loads((run.path / "audit.json").read_text())
    before = json.loads((audited / "audit.json").read_text())
    assert told["audited"]
    assert told["verdict"] == before["verdict"]
    assert len(run.table) == before["used"] == len(pd.read_csv(audited / "clean.csv"))


def test_an_audit_of_other_data_or_older_than_the_data_is_refused(photographs, audited, recipe, tmp_path):
    with pytest.raises(DataError, match="holds no finished audit"):
        melascope.train(photographs, tmp_path / "A", recipe=recipe, audit=tmp_path)
    changed = next(photographs.rglob("*.jpg"))
    before = changed.stat()
    os.utime(changed, (before.st_atime, before.st_mtime + 5))
    try:
        with pytest.raises(DataError, match="as they are now"):
            melascope.train(photographs, tmp_path / "B", recipe=recipe, audit=audited)
    finally:
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_the_audit_calls_not_usable_is_refused_and_unaudited_overrides(recipe, tmp_path, photographs):
    broken = tmp_path / "broken"
    for number, path in enumerate(sorted(photographs.rglob("*.jpg"))):
        copy = broken / path.relative_to(photographs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes() if number % 9 < 4 else b"")
    with pytest.raises(DataError, match=r"files cannot be read. Mend the data set; .* --unaudited"):
        melascope.train(broken, tmp_path / "A", recipe=recipe)
    run = melascope.train(broken, tmp_path / "B", recipe=recipe, unaudited=True)
    assert json.loads((run.path / "audit.json").read_text())["audited"] is False
    assert any("Unaudited" in warning for warning in run.warnings)
    assert load_bundle(melascope.export(run)).decision["audited"] is False


def test_parts_of_ones_own_are_kept_unless_they_tear_a_lesion_apart(photographs, recipe, tmp_path):
    authority = [photographs / "metadata.csv"]
    _, divided = melascope.split_data(
        photographs, out=tmp_path / "parts.csv", ids=tmp_path / "ids.csv", authority=authority, seed=9
    )
    assert (tmp_path / "parts.html").read_text().startswith("<!doctype html>")
    assert pd.read_csv(tmp_path / "ids.csv").columns.tolist() == ["image_id", "part"]
    run = melascope.train(photographs, tmp_path / "A", recipe=recipe, authority=authority, parts=tmp_path / "ids.csv")
    by_id = divided.table.set_index("image_id")["part"]
    assert run.table.set_index("image_id")["part"].equals(by_id.loc[run.table["image_id"]].astype("string"))
    again = melascope.train(tmp_path / "parts.csv", tmp_path / "B", recipe=recipe)
    assert again.table.set_index("image_id")["part"].sort_index().equals(by_id.sort_index().astype("string"))
    torn = divided.table.copy()
    lesions = torn["lesion_id"].value_counts()
    rows = torn.index[torn["lesion_id"] == lesions.index[0]]
    assert len(rows) > 1
    torn.loc[rows, "part"] = ["train", *["calibrate"] * (len(rows) - 1)]
    write(torn, tmp_path / "torn.csv")
    with pytest.raises(DataError, match=r"stands? in several parts"):
        melascope.train(photographs, tmp_path / "C", recipe=recipe, authority=authority, parts=tmp_path / "torn.csv")
    melascope.audit_data(photographs, out=tmp_path / "AUDIT", authority=authority)
    asked = {"authority": authority, "parts": tmp_path / "torn.csv", "audit": tmp_path / "AUDIT", "unaudited": True}
    run = melascope.train(photographs, tmp_path / "D", recipe=recipe, **asked)
    assert json.loads((run.path / "audit.json").read_text())["audited"] is False
