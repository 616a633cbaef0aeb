"""Cross-validation and learning curve of a whole data set: the test stays closed, and the same command goes on."""

from __future__ import annotations

import json
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
    done = [done for stage, done, _ in steps if stage.startswith("training")]
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


def test_as_filed_divides_single_photographs_and_says_so(drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    filed = cross_validate_data(drawn, tmp_path / "CV", recipes[0], folds=2, protocol="as-filed")
    assert filed.result["optimistic"]
    assert filed.result["groups"] == filed.result["photographs"]
    assert "optimistic protocol" in (filed.path / "report.html").read_text(encoding="utf-8")


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


@pytest.fixture(scope="module")
def curve(drawn: Path, recipes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> LearningCurve:
    options = {"authority": [drawn / "metadata.csv"], "folds": 2}
    out = tmp_path_factory.mktemp("lc") / "LC"
    first = learning_curve(drawn, out, recipes[0], shares=(0.5, 1), **options)
    assert "too few" in first.result["fits"]["balanced_accuracy"]["words"]
    return learning_curve(drawn, out, recipes[0], shares=(1, 0.25, 0.5), **options)


def test_a_learning_curve_of_a_data_set(curve: LearningCurve, drawn: Path, recipes: list[Path], tmp_path: Path) -> None:
    assert [point["share"] for point in curve.result["points"]] == [0.25, 0.5, 1.0]
    assert len(curve.scores) == 6
    assert curve.scores.groupby("share")["groups"].mean().is_monotonic_increasing
    assert curve.scores.groupby("fold")["n"].nunique().eq(1).all()
    fit = curve.result["fits"]["balanced_accuracy"]
    assert fit["groups"]["asked"] == 2 * fit["groups"]["measured"]
    assert json.loads((curve.path / "learning_curve.json").read_text(encoding="utf-8")) == curve.result
    page = (curve.path / "report.html").read_text(encoding="utf-8")
    for words in ("extrapolation", "lesions in training", "twice as many", "test part closed", "learning-curve"):
        assert words in page
    options = {"authority": [drawn / "metadata.csv"], "folds": 2}
    with pytest.raises(DataError, match="Shares"):
        learning_curve(drawn, tmp_path / "no", recipes[0], shares=(0.5, 2), **options)
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
    assert "Twice as many" in capsys.readouterr().out
    with pytest.raises(click.BadParameter, match="no list of shares"):
        cli_curve.learning_curve.main([*words, "--shares", "2", "--out", str(tmp_path / "X")], standalone_mode=False)
