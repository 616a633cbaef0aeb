"""The designs and the page of benchmarks/reproduction.py; its trainings take hours and are not for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import reproduction
from benchmarks.field_record import portable
from benchmarks.reproduction_data import Material, judged, material, parts
from benchmarks.reproduction_page import PAIRS, write_page
from benchmarks.reproduction_pairs import copied, ours, pairs
from benchmarks.reproduction_rows import (
    CLEAN,
    CLEAN_COPIED,
    COPIED,
    FILED,
    ON_SOME,
    ROWS,
    STEPS,
    Design,
    Training,
    trainings,
)

from melascope.images import Geometry, synthetic
from melascope.training import recipe as recipes


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Material:
    root = synthetic.write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=120, seed=4, size=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELASCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return material(root, [root / "metadata.csv"], Geometry(32, 32, "squash"))


def test_copies_before_the_split_leak_and_copies_after_it_do_not(generated):
    leaky = parts(generated, COPIED, seed=0)
    assert leaky.told["photograph_in_train"] > 0.8 * leaky.told["validation"]
    assert leaky.told["copies_in_validation"] > 0
    honest = parts(generated, CLEAN_COPIED, seed=0)
    assert {honest.told[name] for name in ("photograph_in_train", "tied_to_train", "copies_in_validation")} == {0}
    assert honest.told["label_contradicted"] == 0
    assert honest.told["copies_in_train"] == 400 * len(honest.classes)
    assert np.isin(honest.labels[honest.rows["train"]], range(len(honest.classes))).all()
    assert len(honest.images) == honest.rows["train"].max() + 1


def test_parts_are_those_of_the_seed_and_never_overlap(generated):
    for design in (FILED, COPIED, CLEAN_COPIED, ON_SOME, Design("clean", "test")):
        first, again, other = (parts(generated, design, seed) for seed in (1, 1, 2))
        assert all(np.array_equal(first.rows[name], again.rows[name]) for name in first.rows)
        assert np.array_equal(first.images, again.images)
        assert not np.intersect1d(first.rows["train"], first.rows["validation"]).size
        if design.held != "test":
            assert not np.array_equal(first.rows["validation"], other.rows["validation"])
    filed = parts(generated, FILED, 1)
    outside = len(filed.rows["train"]) + len(filed.rows["validation"])
    assert len(filed.rows["validation"]) == int(0.2 * outside)


def test_every_row_names_a_recipe_and_keeps_the_last_epoch():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for training in trainings():
        recipe = training.resolved("bfloat16")
        assert (recipe.schedule.epochs, recipe.schedule.keep) == (training.epochs, "last")


def _results(accuracy: float) -> dict[str, Any]:
    told = dict.fromkeys(
        ("validation", "copies_in_validation", "photograph_in_train", "tied_to_train", "two_diagnoses"), 9
    )
    machine = {"processor": "a processor", "cores": 2, "packages": {"keras": "3"}}
    found = {}
    for training in trainings():
        recipe = training.resolved("float32")
        judged = {"n": 400, "accuracy": accuracy}
        found[training.name] = {
            str(seed): {
                "seed": seed, "recipe": recipe.dumps(), "precision": "float32", "seconds": 60.0, "date": "2026-01-01",
                "parts": {"validation": judged, "test": judged}, "told": told | {"label_contradicted": 1},
                "history": {name: [accuracy] * training.epochs for name in ("accuracy", "tune_accuracy")},
                "machine": machine,
            }
            for seed in (0, 1)
        }  # fmt: skip
    return found


def test_the_page_says_what_is_reproduced_and_draws_the_waterfall(tmp_path: Path):
    write_page(tmp_path / "page.md", _results(0.5))
    page = (tmp_path / "page.md").read_text()
    assert "| 0.499 | 0.500 (0.451 to 0.549) | yes, within sampling error |" in page
    assert "| 0.828 | 0.500 (0.451 to 0.549) | no: ours is lower; explained below |" in page
    assert "not as said (training is +0.00 above validation)" in page
    # A difference whose interval contains zero shows nothing either way.
    assert "not shown (+0.000 (-0.069 to +0.069) to case-study-plain)" in page
    assert "not computed yet" not in page.partition("## Ours on the same photographs")[0].lower()
    assert (tmp_path / "pictures" / "reproduction.png").stat().st_size > 10_000


def test_what_is_missing_or_of_another_recipe_is_said_with_the_command(tmp_path: Path):
    results = _results(0.5)
    del results[STEPS[1].training.name]
    first = ROWS[0].ours.name
    results[first]["0"]["recipe"] = results[first]["0"]["recipe"].replace("batch_size = 32", "batch_size = 16")
    write_page(tmp_path / "page.md", results)
    page = (tmp_path / "page.md").read_text()
    assert "The waterfall is not computed yet" in page
    assert "--seeds 0 1 --rows waterfall" in page
    assert f"Left out, since the recipe has changed since: {first}/seed-0." in page
    assert not (tmp_path / "pictures").exists()
    write_page(tmp_path / "empty.md", {})
    assert "--rows pattanaikay-plain pattanaikay-augmented" in (tmp_path / "empty.md").read_text()


def test_the_results_beside_the_page_are_enough_to_make_it_again(tmp_path, monkeypatch):
    results = _results(0.8)
    monkeypatch.setattr(reproduction, "_collected", lambda folder: results)
    page = tmp_path / "docs" / "reproduction.md"
    words = ["reproduction", "DATA", "--out", str(tmp_path / "OUT"), "--no-train", "--write", str(page)]
    monkeypatch.setattr("sys.argv", words)
    reproduction.main()
    first = page.read_text()
    monkeypatch.setattr(reproduction, "_collected", lambda folder: {})
    reproduction.main()
    assert page.read_text() == first


def test_ours_stand_in_pairs_beside_recipes_trained_on_copies(generated, tmp_path: Path):
    given = parts(generated, CLEAN, seed=0)
    labels = given.labels[given.rows["validation"]]
    table = judged(generated.prepared["clean"], CLEAN, 0)
    assert [given.classes[label] for label in labels] == table["diagnosis"].tolist()
    (mine,) = ours(None)
    theirs = next(iter(copied()))
    results = _results(0.5)
    for training, right in ((mine, np.ones(len(labels), bool)), (theirs, np.arange(len(labels)) % 2 == 0)):
        said = np.where(right, labels, (labels + 1) % len(given.classes))
        folder = tmp_path / training.name / "seed-0"
        folder.mkdir(parents=True)
        logits = np.eye(len(given.classes))[said]
        np.savez(folder / "predictions.npz", validation_logits=logits, validation_labels=labels)
        (folder / "result.json").write_text(json.dumps(results[theirs.name]["0"] | {"seed": 0}))
    # What was said of the fold is kept in the record, from which another machine goes on.
    kept = json.loads(json.dumps(reproduction._collected(tmp_path)))
    assert len(kept[mine.name]["0"]["said"]["choices"]) == len(labels)
    (tmp_path / mine.name / "seed-0" / "predictions.npz").unlink()
    assert "said" not in reproduction._collected(tmp_path)[mine.name]["0"]
    found = pairs(kept, generated.prepared["clean"], [0, 1])
    less = found[theirs.name]["0"]["small-cnn"]["accuracy"]
    assert less["value"] == pytest.approx(np.mean(np.arange(len(labels)) % 2))
    assert 0.1 < less["low"] < less["value"] < less["high"] < 0.9
    write_page(tmp_path / "page.md", {PAIRS: found})
    assert f"| {theirs.name} | 0 | `small-cnn` | {len(labels)} | +0." in (tmp_path / "page.md").read_text()


def test_explanations_tell_the_numbers_of_the_record():
    kept = json.loads((Path(__file__).parents[1] / "docs" / "reproduction.json").read_text(encoding="utf-8"))
    rows = {row.name: row for row in ROWS}

    def last(name: str, column: str) -> str:
        return f"{kept[name]['0']['history'][column][-1]:.3f}".removeprefix("0")

    plain, augmented = (rows[f"case-study-{name}"].ours.name for name in ("plain", "augmented"))
    told = f"{last(plain, 'accuracy')} to {last(augmented, 'accuracy')}"
    assert told in rows["case-study-augmented"].explained
    row = rows["case-study-rebalanced"]
    told = f"{last(row.clean.name, 'accuracy')} in training and {last(row.clean.name, 'tune_accuracy')} in validation"
    assert told in row.explained
    counted = kept[row.ours.name]["0"]["told"]
    assert counted["photograph_in_train"] / counted["validation"] == pytest.approx(0.9, abs=0.05)
    row = rows["saktisaurav-rebalanced-30"]
    last_ten = kept[row.ours.name]["0"]["history"]["tune_accuracy"][26:]
    lowest, highest = (f"{value:.3f}".removeprefix("0") for value in (min(last_ten), max(last_ten)))
    assert f"swings from {lowest} to {highest}" in row.explained


def test_the_record_names_weights_by_their_file_alone(tmp_path: Path):
    weights = tmp_path / "weights.npz"
    np.savez(weights, mobilenetv20_features_conv0_weight=np.zeros(1))  # a recipe asks for the name alone
    told = portable(recipes.load("champion").replace(network={"weights": str(weights)})).dumps()
    assert 'weights = "weights.npz"' in told
    assert str(tmp_path) not in told
    assert portable(recipes.load("small-cnn")) == recipes.load("small-cnn")
    kept = (Path(__file__).parents[1] / "docs" / "reproduction.json").read_text(encoding="utf-8")
    assert 'weights = \\"/' not in kept


@pytest.mark.train
def test_what_is_trained_now_stands_in_the_record_with_what_it_said(tmp_path: Path, monkeypatch):
    root = synthetic.write_dataset(tmp_path / "photographs", photographs=120, seed=4, size=32)
    tiny = recipes.parse({"data": {"size": 24}, "network": {"name": "cnn", "widths": [2], "head": "pooled"},
                          "schedule": {"epochs": 1, "keep": "last"}})  # fmt: skip
    mine, theirs = ours(None)[0], next(iter(copied()))
    monkeypatch.setattr(reproduction, "trainings", lambda names: [])
    monkeypatch.setattr(reproduction, "ours", lambda weights: [mine, theirs])
    monkeypatch.setattr(Training, "resolved", lambda *rest: tiny)
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))
    page = tmp_path / "docs" / "page.md"
    words = ["reproduction", str(root), "--authority", str(root / "metadata.csv"), "--seeds", "0", "--write", str(page)]
    monkeypatch.setattr("sys.argv", [*words, "--out", str(tmp_path / "A"), "--rows", "ours"])
    reproduction.main()
    kept = json.loads(page.with_suffix(".json").read_text())
    n = kept[mine.name]["0"]["parts"]["validation"]["n"]
    assert {len(kept[one.name]["0"]["said"]["choices"]) for one in (mine, theirs)} == {n}
    assert kept[PAIRS][theirs.name]["0"]["small-cnn"]["accuracy"]["n"] > 0
    # Another machine makes the pairs again of the record alone.
    del kept[PAIRS]
    page.with_suffix(".json").write_text(json.dumps(kept))
    monkeypatch.setattr("sys.argv", [*words, "--out", str(tmp_path / "B"), "--rows", "ours", "--no-train"])
    reproduction.main()
    assert PAIRS in json.loads(page.with_suffix(".json").read_text())
