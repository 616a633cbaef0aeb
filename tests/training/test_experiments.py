"""Cross-validation and learning curve of a whole data set: the test stays closed, and the same command goes on."""

from __future__ import annotations

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest

from melascope.cli import cross_validate as cli_folds
from melascope.cli import learning_curve as cli_curve
from melascope.errors import DataError, RunError
from melascope.training.cross_validated import CrossValidated, cross_validate_data
from melascope.training.cross_validation import draw_folds
from melascope.training.experiment import Experiment, Material, Reading
from melascope.training.learning_curve import LearningCurve, learning_curve, nested

pytestmark = pytest.mark.train

TINY = """
extends = "small-cnn"
name = "NAME"
[data]
size = 16
batch_size = 16
[network]
stem = 0
widths = [WIDTH]
convolutions = 1
residual = false
[augmentation]
rotation = 0.0
zoom = 0.0
[schedule]
epochs = 1
warmup_epochs = 0
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from melascope.images.synthetic_set import write_dataset

    return Path(write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=130, seed=3, size=24))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recipes")
    for name, width in (("first", "4"), ("second", "6")):
        (folder / f"{name}.toml").write_text(TINY.replace("NAME", name).replace("WIDTH", width))
    return [folder / "first.toml", folder / "second.toml"]


def _validate(drawn: Path, recipe: Any, out: Path, **options: Any) -> CrossValidated:
    options = {"folds": 2, "authority": [drawn / "metadata.csv"], **options}
    return cross_validate_data(drawn, out, recipe, **options)


@pytest.fixture(scope="module")
def found(drawn: Path, recipes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> CrossValidated:
    return _validate(drawn, recipes, tmp_path_factory.mktemp("cv") / "CV", repeats=2)


def test_the_test_part_stays_closed_and_groups_stay_whole(found: CrossValidated) -> None:
    predictions = found.predictions
    assert not predictions["path"].str.contains("/Test/").any()
    assert found.result["closed"] > 0
    assert len(predictions) == 2 * 2 * found.result["photographs"]
    folds = predictions[["recipe", "seed", "group", "fold"]].drop_duplicates()
    assert not folds.duplicated(["recipe", "seed", "group"]).any()
    # Both recipes stand on the same folds.
    placed = predictions.pivot_table(index=["seed", "image_id"], columns="recipe", values="fold")
    assert (placed["first"] == placed["second"]).all()
    p = predictions[[f"p_{code}" for code in found.result["classes"]]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_one_report_and_one_json_have_all_of_it(found: CrossValidated) -> None:
    result = json.loads((found.path / "cross_validation.json").read_text(encoding="utf-8"))
    assert result == found.result
    assert set(result["recipes"]) == {"first", "second"}
    assert len(found.scores) == 8
    assert {row["score"] for row in result["differences"]} == {"balanced_accuracy", "melanoma_auc", "accuracy"}
    page = (found.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "Fold by fold",
        "first − second",
        "test part closed",
        "2 recipes were tried",
        "melascope cross-validate",
    ):
        assert words in page
    assert (found.path / "second.toml").exists()


def test_the_same_command_goes_on_and_takes_further_recipes_and_repeats(
    drawn: Path, recipes: list[Path], tmp_path: Path
) -> None:
    told: list[str] = []

    def stop(name: str, row: dict[str, float]) -> None:
        told.append(name)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _validate(drawn, recipes[0], tmp_path / "CV", on_fold=stop)
    (drawn / "metadata.csv").touch()
    steps: list[tuple[str, int, int]] = []
    whole = _validate(drawn, recipes, tmp_path / "CV", progress=lambda *step: steps.append(step))
    assert not any(stage.startswith("scan") for stage, _, _ in steps)  # it was read and audited before
    assert list(whole.result["recipes"]) == ["first", "second"]
    done = [done for stage, done, _ in steps if stage.startswith("training all")]
    assert done == sorted(done)
    assert done[-1] == 4
    with pytest.raises(RunError, match="other settings"):
        _validate(drawn, recipes, tmp_path / "CV", folds=3)
    with pytest.raises(RunError, match="of another kind"):
        learning_curve(drawn, tmp_path / "CV", recipes[0], authority=[drawn / "metadata.csv"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        _validate(drawn, recipes, tmp_path / "mine")


def test_folds_and_parts_of_a_file_are_used(
    found: CrossValidated, drawn: Path, recipes: list[Path], tmp_path: Path
) -> None:
    table = pd.read_parquet(found.path / "table.parquet")
    groups = sorted(table["group"].unique())
    place = {name: rank % 3 + 1 for rank, name in enumerate(groups)}
    table.assign(fold=table["group"].map(place))[["image_id", "fold"]].to_csv(tmp_path / "folds.csv", index=False)
    given = _validate(drawn, recipes[0], tmp_path / "given", parts=tmp_path / "folds.csv", folds=5)
    assert given.result["folds"] == 3
    predictions = given.predictions
    assert (predictions["group"].map(place) == predictions["fold"] + 1).all()
    with pytest.raises(DataError, match="leave --repeats out"):
        _validate(drawn, recipes[0], tmp_path / "twice", parts=tmp_path / "folds.csv", repeats=2)
    closed = {name: ("test" if rank < 20 else "train") for rank, name in enumerate(groups)}
    table.assign(part=table["group"].map(closed))[["image_id", "part"]].to_csv(tmp_path / "parts.csv", index=False)
    apart = _validate(drawn, recipes[0], tmp_path / "apart", parts=tmp_path / "parts.csv")
    assert not set(apart.predictions["group"]) & set(groups[:20])
    assert apart.result["closed"] > found.result["closed"]


def _divided(found: CrossValidated, target: Path, **columns: Any) -> Path:
    """Write the photographs of an experiment as a table of a user's, with columns of its own."""
    rows = pd.read_parquet(found.path / "table.parquet")
    kept = rows[["image_id", "path", "diagnosis", "lesion_id", "patient_id"]]
    kept.assign(**{name: make(rows) for name, make in columns.items()}).to_parquet(target, index=False)
    return target


def _material(data: Path, out: Path, **options: Any) -> Material:
    return Experiment(out, "cross-validation", {}, Reading(data, **options)).material()


def _halves(rows: pd.DataFrame, names: tuple[Any, Any] = ("test", "train")) -> pd.Series:
    rank = rows["group"].rank(method="dense").astype(int)
    return pd.Series(np.where(rank % 4 == 0, names[0], names[1]), index=rows.index)


def _tear(column: pd.Series, rows: pd.DataFrame, other: Any) -> pd.Series:
    """Put one photograph of a group of several into another part."""
    several = rows["group"].duplicated(keep=False) & (column != other)
    return column.where(rows.index != several.idxmax(), other)


def test_the_test_part_of_a_divided_table_stays_closed(found: CrossValidated, tmp_path: Path) -> None:
    data = _divided(found, tmp_path / "divided.parquet", part=_halves)
    material = _material(data, tmp_path / "CV")
    told = pd.read_parquet(data)
    closed = set(told["image_id"][told["part"] == "test"])
    assert closed
    assert closed.isdisjoint(material.table["image_id"])
    assert material.told["closed"] == len(closed)
    assert not any("No test part was closed" in warning for warning in material.told["warnings"])
    torn = _divided(found, tmp_path / "torn.parquet", part=lambda rows: _tear(_halves(rows), rows, "test"))
    with pytest.raises(DataError, match="stands in several parts"):
        _material(torn, tmp_path / "torn")
    used = _material(torn, tmp_path / "used", unaudited=True)
    assert any("of the closed test part can also be found here" in warning for warning in used.told["warnings"])
    whole = _divided(found, tmp_path / "whole.parquet")
    assert any("the set has no Test folder" in text for text in _material(whole, tmp_path / "whole").told["warnings"])
    few = _material(whole, tmp_path / "few", limit=60).told["warnings"]
    assert any("of the 60 photographs that were drawn (--limit) none stands in one" in text for text in few)


def test_folds_of_a_table_are_used_where_they_are_asked_for(
    found: CrossValidated, recipes: list[Path], tmp_path: Path
) -> None:
    data = _divided(found, tmp_path / "folds.parquet", fold=lambda rows: _halves(rows, (1, 2)))
    drawn_anew = _material(data, tmp_path / "drawn")
    assert "fold" not in drawn_anew.table or drawn_anew.table["fold"].isna().all()
    assert any("--parts table uses it" in warning for warning in drawn_anew.told["warnings"])
    given = cross_validate_data(data, tmp_path / "CV", recipes[0], folds=5, parts="table")
    assert given.result["folds"] == 2
    assert given.result["fixed_folds"] == f"{data} (its column fold)"
    assert any("--folds has no say" in note for note in given.result["notes"])
    assert "--parts table" in given.result["command"]
    torn = _divided(found, tmp_path / "torn.parquet", fold=lambda rows: _tear(_halves(rows, (1, 2)), rows, 1))
    with pytest.raises(DataError, match="stands in several parts"):
        _material(torn, tmp_path / "torn", parts="table")
    with pytest.raises(DataError, match="column fold gives"):
        _material(_divided(found, tmp_path / "none.parquet"), tmp_path / "none", parts="table")


def test_torn_folds_are_counted_and_flatter(found: CrossValidated, recipes: list[Path], tmp_path: Path) -> None:
    data = _divided(found, tmp_path / "torn.parquet", fold=lambda rows: _tear(_halves(rows, (1, 2)), rows, 1))
    torn = cross_validate_data(data, tmp_path / "CV", recipes[0], parts="table", unaudited=True)
    assert torn.result["torn"] == 1
    assert torn.result["optimistic"]
    assert not torn.result["grouped"]
    assert torn.result["groups"] < torn.result["photographs"]  # intervals resample lesions all the same
    page = (torn.path / "report.html").read_text(encoding="utf-8")
    assert "1 photograph, lesion or patient stands in several of these folds" in page
    assert "lesions that it has not seen" not in page
    assert "stand in one fold" not in page


def test_lesions_that_are_assumed_are_counted_and_not_claimed(
    found: CrossValidated, drawn: Path, recipes: list[Path], tmp_path: Path
) -> None:
    assert found.result["lesions"]["assumed"] == 0
    assert "lesions that it has not seen" in (found.path / "report.html").read_text(encoding="utf-8")
    unknown = cross_validate_data(drawn, tmp_path / "CV", recipes[0], folds=2)
    assert unknown.result["lesions"] == {"known": 0, "assumed": unknown.result["photographs"]}
    page = (unknown.path / "report.html").read_text(encoding="utf-8")
    assert "lesions that it has not seen" not in page
    assert "assumed (one photograph, one lesion)" in page


def test_a_recipe_that_was_changed_is_refused_before_its_record_is_overwritten(
    found: CrossValidated, drawn: Path, recipes: list[Path], tmp_path: Path
) -> None:
    before = (found.path / "first.toml").read_text()
    (tmp_path / "first.toml").write_text(recipes[0].read_text().replace("widths = [4]", "widths = [5]"))
    with pytest.raises(RunError, match='another recipe called "first"'):
        _validate(drawn, tmp_path / "first.toml", found.path, repeats=2)
    assert (found.path / "first.toml").read_text() == before


def test_baselines_stand_on_the_same_folds(found: CrossValidated) -> None:
    baselines = found.result["baselines"]
    assert set(baselines) == {"the largest class always", "colour histogram and logistic regression"}
    for one in baselines.values():
        sizes = [(row["seed"], row["fold"], row["n"]) for row in one["by_fold"]]
        assert sizes == [(r["seed"], r["fold"], r["n"]) for r in found.result["recipes"]["first"]["by_fold"]]
    # Drawn lesions have the colours of their diagnoses.
    largest, colour = (one["scores"]["balanced_accuracy"]["value"] for one in baselines.values())
    assert largest < 0.3 < colour
    page = (found.path / "report.html").read_text(encoding="utf-8")
    assert "baseline: the largest class always" in page
    shuffled = found.result["shuffled_labels"]
    assert (shuffled["recipe"], shuffled["epochs"], shuffled["at_chance"]) == ("first", 1, True)
    assert shuffled["n"] == found.result["recipes"]["first"]["by_fold"][0]["n"]
    assert "baseline: first on shuffled labels, one fold" in page
    assert "above chance" not in page


def test_sources_are_told_where_they_are_known(drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    rows = cross_validate_data(drawn, tmp_path / "A", recipes[0], folds=2, authority=[drawn / "metadata.csv"]).path
    frame = pd.read_parquet(rows / "table.parquet")
    place = np.arange(len(frame)) % 2
    frame.assign(source=np.array(["here", "there"])[place]).to_parquet(tmp_path / "two.parquet")
    found = cross_validate_data(tmp_path / "two.parquet", tmp_path / "B", recipes[0], folds=2, unaudited=True)
    within = found.result["recipes"]["first"]["within_source"]
    assert found.result["sources"] == 2
    assert within["sources"] == ["here", "there"]
    assert 0 <= within["auc"]["value"] <= 1
    assert "melanoma AUC within a source" in (found.path / "report.html").read_text(encoding="utf-8")


def test_as_filed_divides_single_photographs_and_says_so(drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    filed = cross_validate_data(drawn, tmp_path / "CV", recipes[0], folds=2, protocol="as-filed")
    assert filed.result["optimistic"]
    assert filed.result["groups"] == filed.result["photographs"]
    page = (filed.path / "report.html").read_text(encoding="utf-8")
    assert "optimistic protocol" in page
    assert "lesions that it has not seen" not in page


def test_as_filed_keeps_copies_on_disk_with_their_source(drawn: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from melascope.cli.balance import balance
    from melascope.datasets.groups import copies_of

    CliRunner().invoke(balance, [str(drawn), "--out", str(tmp_path / "B"), "--per-class", "5"], catch_exceptions=False)
    material = _material(tmp_path / "B" / "table.csv", tmp_path / "CV", protocol="as-filed")
    assert material.told["by_group"] is False
    table = material.table.assign(unit=material.groups)
    source = copies_of(table)
    copied = source.notna().to_numpy(dtype=bool)
    assert copied.sum() == 5 * table["diagnosis"].nunique()
    unit = table[~copied].groupby("image_id")["unit"].agg(set)
    assert all(one in unit[of] for one, of in zip(table["unit"][copied], source[copied], strict=True))
    assert table["unit"].nunique() == (~copied).sum()


def test_a_score_that_is_the_same_in_every_fold_is_told_without_an_interval(
    found: CrossValidated, drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from melascope.evaluation import cross_validated as judged
    from melascope.reports.cross_validation_report import cross_validation_report

    rows = pd.DataFrame(found.result["recipes"]["first"]["by_fold"])
    rows = rows.assign(balanced_accuracy=0.125, melanoma_auc=0.5, accuracy=0.25, log_loss=2.0)
    same = {"scores": judged.fold_scores(rows), "by_fold": rows.to_dict("records")}
    one = {name: {**told, **same} for name, told in found.result["recipes"].items()}
    result = {**found.result, "recipes": one, "differences": judged.differences({"first": rows, "second": rows})}
    monkeypatch.setattr(
        "melascope.training.cross_validated.cross_validate_data",
        lambda *_, **__: CrossValidated(found.path, result, 0),
    )
    assert cli_folds.cross_validate.main([str(drawn), "--out", str(found.path)], standalone_mode=False) == 0
    said = capsys.readouterr().out
    assert "first, balanced accuracy: 0.125 in every fold, so that no interval can be given" in said
    assert "first − second: melanoma AUC: +0.000 in every fold, so that no interval can be given" in said
    assert "0.125" in cross_validation_report(result, title="The same")


def test_recipes_of_an_earlier_command_stay_and_what_is_left_out_is_told(
    found: CrossValidated, drawn: Path, recipes: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "CV"
    shutil.copytree(found.path, out)
    told: list[str] = []
    both = _validate(drawn, recipes[1], out, repeats=2, on_fold=lambda name, _: told.append(name))
    assert list(both.result["recipes"]) == ["second", "first"]
    assert both.result["recipes"]["first"] == found.result["recipes"]["first"]
    assert {row["name"] for row in both.result["differences"]} >= {"second − first: melanoma AUC"}
    assert set(both.predictions["recipe"]) == {"first", "second"}
    assert "--recipe second.toml --recipe first.toml" in both.result["command"]
    assert "first" in (out / "report.html").read_text(encoding="utf-8")
    assert told == ["second"] * 4
    fewer = _validate(drawn, recipes[1], out)
    note = "1 further repeat in this folder is not shown; --repeats 2 shows 2."
    assert note in fewer.result["notes"]
    assert note in (out / "report.html").read_text(encoding="utf-8")
    (out / "first" / "seed-1" / "fold-1" / "logits.npz").unlink()
    less = _validate(drawn, recipes[1], out, repeats=2)
    assert list(less.result["recipes"]) == ["second"]
    left = f"The recipe first was begun in this folder and has not finished these folds; with --recipe {out}/first.toml"
    assert any(told.startswith(left) for told in less.result["notes"])
    (out / "first.toml").write_text("nonsense = 1")
    broken = _validate(drawn, recipes[1], out)
    assert any(told.startswith("The recipe first of this folder is left out: ") for told in broken.result["notes"])


def test_two_recipes_of_one_name_are_refused(drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match='Two recipes are called "first"'):
        _validate(drawn, [recipes[0], recipes[0]], tmp_path / "CV")
    assert not (tmp_path / "CV").exists()


def test_smaller_shares_are_part_of_larger_ones_and_groups_stay_whole() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([f"g{i // 3}" for i in range(300)], dtype=object)
    labels = np.repeat(rng.choice(3, 100, p=[0.2, 0.75, 0.05]), 3)
    rows = np.sort(rng.permutation(100)[:60])[:, None] * 3 + np.arange(3)
    rows = rows.ravel()
    before: set[int] = set()
    for share in (0.01, 0.125, 0.25, 0.5, 1.0):
        taken = nested(rows, labels, groups, share, seed=4)
        assert before <= set(taken)
        assert set(labels[taken]) == set(labels[rows])
        assert set(groups[taken]).isdisjoint(groups[np.setdiff1d(rows, taken)])
        before = set(taken)
    np.testing.assert_array_equal(taken, rows)
    half = nested(rows, labels, groups, 0.5, seed=4)
    assert abs(len(half) - 90) <= 9
    assert not np.array_equal(half, nested(rows, labels, groups, 0.5, seed=5))


def test_small_shares_of_different_folds_are_not_the_same_photographs() -> None:
    names = np.array([f"lesion {i}" for i in range(1500)], dtype=object)
    labels = np.random.default_rng(1).choice(3, len(names), p=[0.6, 0.3, 0.1])
    assigned = draw_folds(labels, names, ("a", "b", "c"), 5, 0)
    taken = [
        set(nested(np.flatnonzero(assigned != fold), labels, names, 0.125, seed=0, fold=fold)) for fold in range(5)
    ]
    shared = [len(a & b) / len(a | b) for a, b in combinations(taken, 2)]
    assert max(shared) < 0.15  # .07 where each is drawn by itself


@pytest.fixture(scope="module")
def curve(drawn: Path, recipes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> LearningCurve:
    options = {"authority": [drawn / "metadata.csv"], "folds": 2}
    out = tmp_path_factory.mktemp("lc") / "LC"
    learning_curve(drawn, out, recipes[0], shares=(0.5, 0.75, 1), **options)
    return learning_curve(drawn, out, recipes[0], shares=(1, 0.25, 0.5), **options)


def test_a_learning_curve_of_a_data_set(curve: LearningCurve, drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    assert [point["share"] for point in curve.result["points"]] == [0.25, 0.5, 1.0]
    assert len(curve.scores) == 6
    assert curve.scores.groupby("share")["groups"].mean().is_monotonic_increasing
    assert curve.scores.groupby("fold")["n"].nunique().eq(1).all()
    assert set(curve.result["baselines"]) == {"the largest class always", "colour histogram and logistic regression"}
    assert curve.result["shuffled_labels"]["at_chance"]
    fit = curve.result["fits"]["balanced_accuracy"]
    assert fit["groups"]["asked"] == 2 * fit["groups"]["measured"]
    assert json.loads((curve.path / "learning_curve.json").read_text(encoding="utf-8")) == curve.result
    page = (curve.path / "report.html").read_text(encoding="utf-8")
    for words in (
        "extrapolation",
        "lesions in training",
        "the curve through all sizes passes there",
        "on shuffled labels",
        "twice as many",
        "test part closed",
        "learning-curve",
    ):
        assert words in page
    options = {"authority": [drawn / "metadata.csv"], "folds": 2}
    with pytest.raises(DataError, match="Shares"):
        learning_curve(drawn, tmp_path / "no", recipes[0], shares=(0.5, 2), **options)
    with pytest.raises(DataError, match="needs 3 sizes at least, not 1"):
        learning_curve(drawn, tmp_path / "no", recipes[0], shares=(1,), **options)
    assert not (tmp_path / "no").exists()
    with pytest.raises(RunError, match="other settings"):
        learning_curve(drawn, curve.path, recipes[1], **options)


def test_the_commands_go_on_and_print_what_was_found(
    found: CrossValidated,
    curve: LearningCurve,
    drawn: Path,
    recipes: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(drawn), "--authority", str(drawn / "metadata.csv"), "--folds", "2", "--recipe", str(recipes[0])]
    both = [*words, "--recipe", str(recipes[1]), "--repeats", "2", "--out", str(found.path)]
    code = cli_folds.cross_validate.main(both, standalone_mode=False)
    assert code == 1  # two planted files cannot be read
    said = capsys.readouterr()
    assert "first, balanced accuracy: 0." in said.out
    assert "first − second: melanoma AUC: " in said.out
    assert "second, seed 1, fold 2" in said.err
    more = [*words, "--shares", "0.25 0.5,1", "--out", str(curve.path)]
    assert cli_curve.learning_curve.main(more, standalone_mode=False) == 1
    assert "With twice as many" in capsys.readouterr().out
    with pytest.raises(click.BadParameter, match="no list of shares"):
        cli_curve.learning_curve.main([*words, "--shares", "2", "--out", str(tmp_path / "X")], standalone_mode=False)
