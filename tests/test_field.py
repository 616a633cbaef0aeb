"""benchmarks/field.py on generated photographs: what is done is never done again, here or on another machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks import field
from benchmarks.field_baselines import NEIGHBOURS, NUMBER, by_number, numbers
from benchmarks.field_page import accuracies, in_short, section
from benchmarks.field_record import OURS, SCORES, WITHIN, Record, copying, field_recipes, in_field
from benchmarks.reproduction_rows import ROWS, cost

from melascope.errors import RecipeError, RunError
from melascope.evaluation.cross_validated import COLOURS, LARGEST
from melascope.images import synthetic
from melascope.training import recipe as recipes
from melascope.training.experiment import Material

TINY = {
    "small-cnn": {"data": {"size": 24}, "network": {"name": "cnn", "widths": [4], "head": "pooled"}},
    "plain-cnn": {"data": {"size": 24}, "network": {"name": "cnn", "widths": [2], "head": "pooled"}},
}


def _recipe(name: str, epochs: int = 1, precision: str = "float32") -> recipes.Recipe:
    return recipes.parse({**TINY[name], "name": name, "schedule": {"epochs": epochs, "precision": precision}})


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    return synthetic.write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=90, seed=5, size=32)


def _run(monkeypatch: pytest.MonkeyPatch, photographs: Path, out: Path, record: Path, *words: str) -> None:
    given = ["field", str(photographs), "--out", str(out), "--write", str(record), "--folds", "2", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", [*given, *words])
    field.main()


@pytest.mark.train
def test_another_machine_goes_on_with_the_record_alone(photographs, tmp_path, monkeypatch, capsys):
    chosen = {name: _recipe(name) for name in TINY}
    monkeypatch.setattr(field, "field_recipes", lambda precision, weights: chosen)
    record = tmp_path / "docs" / "page_clean.json"
    _run(monkeypatch, photographs, tmp_path / "A", record, "--recipes", "small-cnn")
    first = json.loads(record.read_text())
    rows = first["recipes"]["small-cnn"]["by_fold"]
    assert [(row["seed"], row["fold"]) for row in rows] == [(0, 0), (0, 1)]
    assert sum(row["n"] for row in rows) == first["data"]["photographs"]
    assert {len(each) for each in first["baselines"].values()} == {2}
    assert "at_chance" in first["shuffled_labels"]
    assert "small-cnn" in capsys.readouterr().out

    # Elsewhere: the first recipe is not trained again, the second one is.
    trained = []
    real = field.one_training
    monkeypatch.setattr(field, "one_training", lambda recipe, *rest: trained.append(recipe.name) or real(recipe, *rest))
    _run(monkeypatch, photographs, tmp_path / "B", record)
    assert trained == ["plain-cnn", "plain-cnn"]
    assert json.loads(record.read_text())["recipes"]["small-cnn"]["by_fold"] == rows

    # A score that was not asked for then is made of what the training said, where that is; nothing is trained again.
    content = json.loads(record.read_text())
    for row in content["recipes"]["small-cnn"]["by_fold"]:
        del row[WITHIN]
        row["date"] = "2026-01-01"
    record.write_text(json.dumps(content))
    _run(monkeypatch, photographs, tmp_path / "B", record, "--recipes", "small-cnn")
    assert WITHIN not in json.loads(record.read_text())["recipes"]["small-cnn"]["by_fold"][0]
    monkeypatch.setattr(field, "one_training", real)
    _run(monkeypatch, photographs, tmp_path / "A", record, "--recipes", "small-cnn")
    again = json.loads(record.read_text())["recipes"]["small-cnn"]["by_fold"]
    assert again == [row | {"date": "2026-01-01"} for row in rows]
    monkeypatch.setattr(field, "one_training", lambda recipe, *rest: trained.append(recipe.name) or real(recipe, *rest))

    # Precision is told row by row and changes no recipe; anything else does, and then nothing is lost.
    chosen["small-cnn"] = _recipe("small-cnn", precision="bfloat16")
    chosen["plain-cnn"] = _recipe("plain-cnn", epochs=2)
    before = record.read_text()
    _run(monkeypatch, photographs, tmp_path / "B", record, "--no-train")
    assert capsys.readouterr().err.count("its recipe has changed since") == 1
    assert record.read_text() == before
    _run(monkeypatch, photographs, tmp_path / "B", record)
    assert trained == ["plain-cnn"] * 4
    after = json.loads(record.read_text())
    assert after["set_aside"][0]["by_fold"] == json.loads(before)["recipes"]["plain-cnn"]["by_fold"]
    assert "epochs = 2" in after["recipes"]["plain-cnn"]["toml"]


@pytest.mark.train
def test_one_that_cannot_go_on_does_not_hold_up_the_others(photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(field, "field_recipes", lambda precision, weights: {name: _recipe(name) for name in TINY})
    real = field.one_training

    def some(recipe, *rest):
        if recipe.name == "small-cnn":
            raise RunError("The disk is full.")
        return real(recipe, *rest)

    monkeypatch.setattr(field, "one_training", some)
    monkeypatch.setattr(field.fold_baselines, "on_shuffled", lambda *rest: {"recipe": "small-cnn", "at_chance": True})
    _run(monkeypatch, photographs, tmp_path / "A", tmp_path / "r.json")
    assert capsys.readouterr().err.count("small-cnn seed 0 fold 0 FAILED: The disk is full.") == 1
    assert list(json.loads((tmp_path / "r.json").read_text())["recipes"]) == ["plain-cnn"]


def _material(labels: str = "abab") -> Material:
    rows = [{"image_id": f"{i}", "diagnosis": code, "group": f"g{i}", "lesion_id": f"HAM_{i}" if i else pd.NA}
            for i, code in enumerate(labels)]  # fmt: skip
    told = {"protocol": "clean", "audited": True, "optimistic": False, "grouped": True, "classes": ["a", "b"],
            "closed": 3, "limited": None}  # fmt: skip
    return Material(pd.DataFrame(rows), told)


def _filled(path: Path, scores: dict[str, list[float]]) -> Record:
    """Return a record in which each recipe has a row per repeat and fold (3 folds), all scores alike."""
    record, today = Record.open(path, _material(), 3), field_recipes("float32", None)
    today |= {name: recipes.load(name) for name in OURS[1:]}
    for name, values in scores.items():
        for place, value in enumerate(values):
            row = {"seed": place // 3, "fold": place % 3, "n": 4, **dict.fromkeys([*SCORES, "log_loss"], value)}
            stamp = {"precision": "float32", "date": f"2026-01-0{1 + place // 3}", "machine": "a processor, 2 cores"}
            record.add(name, today[name], {**row, **stamp})
    return record


def test_ours_are_said_to_be_better_only_where_it_is_shown(tmp_path: Path):
    path = tmp_path / "page_clean.json"
    ours = [0.60, 0.62, 0.61, 0.59, 0.63, 0.60]
    below = [value - 0.15 - 0.005 * (i % 2) for i, value in enumerate(ours)]
    near = [0.55, 0.68, 0.57, 0.64, 0.60, 0.58]
    _filled(path, {"small-cnn": ours, "plain-cnn": below, "deep-cnn": near, "sgd-cnn": below[:4]})
    text = section(path)
    every = len(field_recipes("float32", None)) - 1
    (said,) = in_short(path)
    assert said.endswith(f"shown better than 2 of the 3 published recipes compared so far; there are {every}.")
    assert "by balanced accuracy shown better than 2 of 3 (not shown: deep-cnn);" in text
    assert "3 pairs of recipes are compared by each score" in " ".join(text.split())
    assert "on HAM10000, to which 3 of them belong" in " ".join(text.split())
    # Of a repeat that is not whole nothing is told: one fold of the second is not a second repeat.
    assert "| sgd-cnn | 3 | float32 |" in text
    assert "- Not computed yet: mobilenetv2-finetuned, champion, sgd-augmented, plain-augmented," in text
    last = "wide-kernel-augmented-copies-only+copies-in-proportion; the third baseline (`small-cnn` on shuffled"
    assert last in " ".join(text.split())
    assert "`small-cnn` 3 made, 2 ahead; `mobilenetv2-finetuned` 0 made, 0 ahead" in " ".join(text.split())
    assert "That ours beat all of the published recipes is not shown." in " ".join(text.split())
    assert "| plain-cnn | 6 | float32 | 0.456 (" in text
    assert "+0.153 (+0.1" in text
    assert "2026-01-01 to 2026-01-02, a processor, 2 cores." in text
    assert accuracies(path)["plain-cnn"]["value"] == pytest.approx(0.456, abs=0.001)
    assert set(accuracies(path)) == {"small-cnn", "plain-cnn", "deep-cnn", "sgd-cnn"}
    # A row of a recipe that has changed since is told, and not counted.
    content = json.loads(path.read_text())
    content["recipes"]["plain-cnn"]["toml"] = content["recipes"]["plain-cnn"]["toml"].replace("= 32", "= 16")
    path.write_text(json.dumps(content))
    text = section(path)
    assert "Left out, since the recipe has changed since: plain-cnn." in text
    assert "shown better than 1 of 2" in text
    assert "plain-cnn" not in accuracies(path)
    assert accuracies(tmp_path / "none.json") == {}


def test_recipes_stand_beside_what_needs_no_network(tmp_path: Path):
    path = tmp_path / "page_clean.json"
    ours = [0.60, 0.62, 0.61]
    published = {"plain-cnn": [0.40, 0.43, 0.41], "sgd-cnn": [0.50, 0.53, 0.47], "deep-cnn": [0.70, 0.73, 0.71]}
    record = _filled(path, {"small-cnn": ours, **published})
    assert "Beside baselines" not in section(path)

    def rows(values: list[float], **others: float) -> dict[str, Any]:
        told = [dict.fromkeys([*SCORES, "log_loss"], value) | others for value in values]
        return {"by_fold": [{"seed": i // 3, "fold": i % 3, "n": 4, **one} for i, one in enumerate(told)]}

    # The colours' second repeat is far off: pairs stand on the first alone, which both have.
    record.add_baselines({COLOURS: rows([0.50, 0.51, 0.50, 0.9, 0.9, 0.9]), LARGEST: rows([0.1] * 3)})
    record.add_baselines({NUMBER: rows([0.90, 0.93, 0.92], accuracy=0.62)})
    text = " ".join(section(path).split())
    assert "on the repeats that both have (seed 0; the baselines' means above stand on 2 repeats)" in text
    assert "4 recipes by 5 scores are compared, and no interval is corrected for that" in text
    colours, _, number = text.partition(f"Beside *{COLOURS}*:")[2].partition(f"Beside *{NUMBER}*:")
    first = "- by balanced accuracy shown above: `small-cnn` +0.107 (+0.0"
    assert colours.strip().startswith(first)
    assert ", deep-cnn; shown below: plain-cnn; not shown: sgd-cnn." in colours.partition("- by accuracy")[0]
    assert (
        "- by accuracy shown above: deep-cnn; shown below: plain-cnn, sgd-cnn; not shown: `small-cnn` -0.010" in number
    )
    assert "**1 of the 3 published recipes is shown above colours alone by balanced accuracy, 1 below.**" in text
    none = "**None of the 3 published recipes is shown above the number in the name by balanced accuracy, 3 below.** Of"
    assert f"{none} ours, `small-cnn` is shown below it." in text
    assert "By balanced accuracy, by melanoma AUC, by the same outside HAM10000, by the same among its" in text
    assert "no recipe is shown above the number in the name." in text
    assert "no recipe is shown above colours alone" not in text
    assert in_short(path)[1:] == [
        "Beside a logistic regression on colours alone, 1 of these 3 published recipes is shown better, 1 worse."
    ]
    assert in_short(tmp_path / "nothing.json") == []
    # Of ours, those that stand alike are said in one sentence.
    beside = {"small-cnn": [0.85, 0.88, 0.86], "mobilenetv2-finetuned": [0.90, 0.93, 0.91]}
    _filled(tmp_path / "both.json", {**beside, "plain-cnn": [0.40, 0.42, 0.41], "sgd-cnn": [0.50, 0.52, 0.51]})
    assert len(said := in_short(tmp_path / "both.json")) == 1
    assert ", `small-cnn` and `mobilenetv2-finetuned` are each shown better than all 2 published recipes" in said[0]


def test_a_baseline_that_is_missing_is_told(tmp_path: Path):
    path = tmp_path / "page_clean.json"
    record = _filled(path, {"small-cnn": [0.60, 0.62, 0.61]})
    missing = "the third baseline (`small-cnn` on shuffled labels, which must be at chance)."
    assert missing in " ".join(section(path).split())
    chance = {"value": 0.12, "low": 0.1, "high": 0.14, "n": 3}
    told = {"recipe": "small-cnn", "epochs": 7, "n": 3, "balanced_accuracy": chance, "melanoma_auc": chance}
    recipe = field_recipes("float32", None)["small-cnn"]
    record.set_shuffled(recipe, {**told, "at_chance": True})
    text = " ".join(section(path).split())
    assert "the third baseline" not in text
    assert (
        "`small-cnn` on shuffled labels, 7 epochs, judged on the first fold (n = 3): balanced accuracy 0.120 " in text
    )
    assert "(0.100 to 0.140), melanoma AUC 0.120 (0.100 to 0.140): not above chance, as it must be." in text
    record.set_shuffled(recipe, {**told, "at_chance": False})
    assert "ABOVE CHANCE, so that no number here can be trusted" in " ".join(section(path).split())


def test_the_number_in_the_name_tells_what_was_collected_together():
    labels = np.repeat([0, 1], 4 * NEIGHBOURS)
    number = np.concatenate([np.arange(4 * NEIGHBOURS), 10_000 + np.arange(4 * NEIGHBOURS)])
    assigned = np.arange(len(labels))[None, :] % 2
    p = by_number(number, labels, assigned, 2)
    assert p.shape == (1, len(labels), 2)
    assert np.array_equal(p[0].argmax(axis=1), labels)
    # Numbers that mean nothing tell nothing.
    mixed = np.random.default_rng(0).permutation(len(labels))
    assert 0.4 < (by_number(mixed, labels, assigned, 2)[0].argmax(axis=1) == labels).mean() < 0.6
    assert list(numbers(pd.DataFrame({"image_id": ["ISIC_0000012", "ISIC_7"]}))) == [12, 7]
    assert numbers(pd.DataFrame({"image_id": ["ISIC_0000012", "mole"]})) is None


def test_rows_of_another_process_stay_and_other_photographs_are_refused(tmp_path: Path):
    path = tmp_path / "page_clean.json"
    first, second = Record.open(path, _material(), 3), Record.open(path, _material(), 3)
    small, plain = recipes.load("small-cnn"), recipes.load("plain-cnn")
    row = {"seed": 0, "fold": 0, "n": 4, "accuracy": float("nan")}
    first.add("small-cnn", small, row)
    second.add("plain-cnn", plain, row)
    first.add("small-cnn", small, {**row, "fold": 1})
    # The same fold again takes the place of the first; whatever is written, the other's rows stay.
    second.add("plain-cnn", plain, {**row, "n": 5})
    first.add_baselines({"colours": {"by_fold": [row | {"accuracy": 0.1}]}})
    second.add_baselines({"colours": {"by_fold": [row | {"accuracy": 0.2, "seed": 1}]}})
    second.set_shuffled(small, {"at_chance": True})
    content = json.loads(path.read_text())
    kept = content["recipes"]
    assert {name: len(one["by_fold"]) for name, one in kept.items()} == {"small-cnn": 2, "plain-cnn": 1}
    assert kept["small-cnn"]["by_fold"][0]["accuracy"] is None
    assert kept["plain-cnn"]["by_fold"][0]["n"] == 5
    assert [one["seed"] for one in content["baselines"]["colours"]] == [0, 1]
    assert first.has_shuffled(small)
    assert not first.has_shuffled(plain)
    assert first.has("plain-cnn", plain, 0, 0)
    assert not first.has("plain-cnn", plain.replace(schedule={"epochs": 3}), 0, 0)
    assert not first.has("plain-cnn", plain, 0, 1)
    # A key that recipes of then did not know has today's default.
    kept["small-cnn"]["toml"] = kept["small-cnn"]["toml"].replace("views = 1\n", "")
    path.write_text(json.dumps(content))
    assert first.changed({"small-cnn": small, "plain-cnn": plain}) == []
    with pytest.raises(RunError, match="is of another cross-validation"):
        Record.open(path, _material("abba"), 3)
    with pytest.raises(RunError, match="folds: 3 there, 5 now"):
        Record.open(path, _material(), 5)
    path.write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        Record.open(path, _material(), 3)


def test_other_weights_are_another_training(tmp_path: Path):
    record = Record.open(tmp_path / "r.json", _material(), 3)
    made = []
    for number in (0, 1):
        file = tmp_path / str(number) / "weights.npz"
        file.parent.mkdir()
        np.savez(file, mobilenetv20_features_conv0_weight=np.full(1, number))
        made.append(recipes.load("champion").replace(network={"weights": str(file)}))
    record.add("champion", made[0], {"seed": 0, "fold": 0, "n": 4})
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()
    assert record.has("champion", made[0], 0, 0)
    assert not record.has("champion", made[1], 0, 0)
    # Without the file it cannot be told, and the name is believed.
    assert record.has("champion", recipes.load("champion"), 0, 0)


def test_the_field_s_recipes_have_their_epochs(tmp_path: Path):
    found = field_recipes("bfloat16", None)
    assert next(iter(found)) == "small-cnn"
    assert all(made.name == name for name, made in found.items())
    assert found["small-cnn"] == recipes.load("small-cnn")
    assert (found["wide-kernel-cnn"].schedule.epochs, found["wide-kernel-cnn"].schedule.precision) == (30, "bfloat16")
    assert found["batchnorm-cnn-augmented"].augmentation.flip == "horizontal"
    assert {in_field(row.clean) for row in ROWS} | {"small-cnn"} == set(found)
    assert (
        found["wide-kernel-augmented"].schedule.epochs,
        found["sgd-augmented-copies-only+copies"].schedule.epochs,
    ) == (30, 36)
    # Ours, those without copies, those with, and each of these from cheap to dear.
    work = {in_field(row.clean): (copying(in_field(row.clean)) is not None, cost(row.clean)) for row in ROWS}
    order = [work[name] for name in list(found)[1:]]
    assert order == sorted(order)
    with pytest.raises(RecipeError):
        field_recipes("float32", tmp_path / "nothing.npz")


def test_copies_are_made_of_what_is_trained_on_alone(monkeypatch):
    images = np.arange(24, dtype=np.uint8)[:, None, None, None] * np.ones((24, 8, 8, 3), np.uint8)
    monkeypatch.setattr(Material, "images", lambda self, recipe: images)
    names = [f"{place}" for place in range(24)]
    table = pd.DataFrame({"image_id": names, "path": names, "photograph": names, "split": "train",
                          "diagnosis": ["MEL", "MEL", "MEL", "NV", "NV", "NV"] * 4})  # fmt: skip
    material = Material(table, {"classes": ["MEL", "NV"]})
    train = np.arange(0, 24, 2)
    plain, copied = (_recipe("plain-cnn").model_copy(update={"name": name}) for name in ("plain", "plain+copies"))
    assert field._with_copies(material, plain, train, 3, 0)[2] is train
    pictures, labels, rows = field._with_copies(material, copied, train, 3, 0)
    # A third is held out: two thirds of 500 of each diagnosis are made.
    assert len(pictures) == len(labels) == 24 + 2 * 333
    assert rows.tolist() == [*train, *range(24, 24 + 2 * 333)]
    # Each shows one of those that are trained on, and has its label; the held ones stand where they stood.
    shown = pictures[24:].max(axis=(1, 2, 3))
    assert set(shown) == set(train)
    assert np.array_equal(labels[24:], labels[shown])
    assert np.array_equal(pictures[:24], images)
    again = field._with_copies(material, copied, train, 3, 0)
    assert np.array_equal(again[0], pictures)
    assert not np.array_equal(field._with_copies(material, copied, train, 3, 1)[0], pictures)


@pytest.mark.train
def test_a_recipe_on_rebalanced_data_is_trained_and_kept_by_its_name(photographs, tmp_path, monkeypatch):
    name = "plain-cnn+copies"
    chosen = {"small-cnn": _recipe("small-cnn"), name: _recipe("plain-cnn").model_copy(update={"name": name})}
    monkeypatch.setattr(field, "field_recipes", lambda precision, weights: chosen)
    monkeypatch.setattr(field, "copies_per_class", lambda share: round(10 * (1 - share)))
    seen = []
    real = field.one_training

    def spied(recipe, images, labels, train, tune, held, *rest):
        seen.append((len(images), len(labels), set(train) & set(held)))
        return real(recipe, images, labels, train, tune, held, *rest)

    monkeypatch.setattr(field, "one_training", spied)
    path = tmp_path / "r.json"
    _run(monkeypatch, photographs, tmp_path / "A", path, "--recipes", name)
    kept = json.loads(path.read_text())
    count = kept["data"]["photographs"]
    rows = kept["recipes"][name]["by_fold"]
    assert [row["copies"] for row in rows] == [images - count for images, _, _ in seen]
    assert rows[0]["copies"] > 0
    assert all(images == labels and not both for images, labels, both in seen)
    assert sum(row["n"] for row in rows) == count
    # It stands in the record as it was: another process does not train it again.
    _run(monkeypatch, photographs, tmp_path / "B", path, "--recipes", name)
    assert len(seen) == 2


def test_an_unknown_recipe_is_refused_with_those_there_are(photographs, tmp_path, monkeypatch):
    given = (monkeypatch, photographs, tmp_path / "A", tmp_path / "r.json")
    with pytest.raises(SystemExit, match="not champion; mobilenetv2-finetuned and champion need --weights"):
        _run(*given, "--recipes", "champion")
    with pytest.raises(SystemExit, match=r"Error: .*nothing\.npz, which is not a file"):
        _run(*given, "--weights", str(tmp_path / "nothing.npz"))
    with pytest.raises(SystemExit, match="--seeds has one twice: 0 0"):
        _run(*given, "--seeds", "0", "0")
    assert not (tmp_path / "r.json").exists()
