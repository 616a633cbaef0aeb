"""A command that is refused leaves its folder as it was found; one that is stopped or killed can be gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melascope.cli.main import _run
from melascope.errors import DataError, RecipeError, RunError
from melascope.training.cross_validated import cross_validate_data
from melascope.training.cross_validation import refuse_folds
from melascope.training.learning_curve import learning_curve
from melascope.training.recipe import Recipe, parse
from melascope.training.run_folder import AsFound, RunFolder
from melascope.training.settings import of_epochs, shortened

TINY = """
extends = "small-cnn"
name = "tiny"
[data]
size = 16
batch_size = 16
[network]
stem = 0
widths = [4]
convolutions = 1
residual = false
[augmentation]
rotation = 0.0
zoom = 0.0
[schedule]
epochs = 3
warmup_epochs = 0
"""
SEARCH = '[search]\n"optimiser.learning_rate" = [0.001, 0.01]\n'
COMMANDS = ("run", "train", "cross-validate", "learning-curve", "tune")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MELASCOPE_DEBUG", raising=False)
    monkeypatch.setenv("MELASCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(TINY + SEARCH)
    Path("best.toml").write_text(TINY.replace("[schedule]", '[schedule]\nkeep = "best"\nmonitor = "tune_melanoma_auc"'))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from melascope.images.synthetic_set import write_dataset

    return write_dataset(tmp_path_factory.mktemp("drawn") / "photographs", photographs=130, seed=3, size=24)


def refused(capsys, *words: object) -> str:
    assert _run([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "Unexpected" not in said
    return " ".join(said.split())


def test_only_what_was_not_there_is_taken_back(tmp_path):
    new, empty, mine = tmp_path / "a" / "b" / "RUN", tmp_path / "empty", tmp_path / "mine"
    empty.mkdir()
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")

    def work(folder: Path, error: BaseException, begun: bool, names: tuple[str, ...]) -> None:
        with AsFound(folder).if_refused(lambda: begun):
            for name in ("run.json", "copies/one.jpg", *names):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("")
            raise error

    def fail(folder: Path, error: BaseException, begun: bool = False, *names: str) -> list[str]:
        with pytest.raises(type(error)):
            work(folder, error, begun, names)
        return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else ["gone"]

    assert fail(new, DataError("no such data")) == ["gone"]
    assert not (tmp_path / "a").exists()
    assert fail(empty, OSError("no access")) == []
    assert fail(empty, RecipeError("found when the data were read"), True) == []
    assert fail(mine, DataError("no such data")) == ["one.jpg", "run.json", "thesis.txt"]
    assert fail(new, KeyboardInterrupt()) == ["one.jpg", "run.json"]
    for path in ("copies/one.jpg", "run.json"):
        (new / path).unlink()
    (new / "copies").rmdir()
    assert fail(new, RunError("the disk is full"), True) == ["one.jpg", "run.json"]
    assert fail(empty, DataError("in the second epoch"), True, "history.csv") == ["history.csv", "one.jpg", "run.json"]


@pytest.mark.train
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("found", ["missing", "empty"])
def test_a_refused_start_leaves_no_trace(command, found, photographs, capsys):
    if found == "empty":
        Path("OUT").mkdir()
    Path("one").mkdir()
    (Path("one") / "melanoma").symlink_to(photographs / "Train" / "melanoma")
    for words in (["nowhere", "--recipe", "tiny.toml"], ["one", "--recipe", "tiny.toml"]):
        refused(capsys, command, *words, "--out", "OUT")
        assert Path("OUT").exists() is (found == "empty")
        assert found == "missing" or not any(Path("OUT").iterdir())
    # Other settings than before are no matter: it is the data alone that are refused.
    assert "diagnosis" in refused(capsys, command, "one", "--recipe", "tiny.toml", "--seed", "7", "--out", "OUT")


@pytest.mark.train
def test_what_is_found_when_the_data_are_read_leaves_no_trace_either(photographs, capsys):
    common = ["--authority", photographs / "metadata.csv", "--out", "OUT"]
    for command, words, told in (
        ("cross-validate", ["--recipe", "tiny.toml", "--folds", 100], "--folds 10 would do"),
        ("cross-validate", ["--recipe", "tiny.toml", "--limit", 3], "raise --limit"),
        ("cross-validate", ["--recipe", "best.toml", "--limit", 20], "is too small for the recipe"),
        ("learning-curve", ["--recipe", "tiny.toml", "--folds", 100], "too few for 100 folds"),
        ("learning-curve", ["--recipe", "tiny.toml", "--limit", 8], "0.125 and 0.25 of them are the same ones"),
        ("tune", ["--recipe", "tiny.toml", "--folds", 100], "100 folds"),
        ("tune", ["--recipe", "tiny.toml", "--storage", "sqlite:////nowhere/at/all.db"], "cannot be used"),
    ):
        assert told in refused(capsys, command, photographs, *words, *common), (command, words)
        assert not Path("OUT").exists(), (command, words)
    for name in ("nevus", "basal cell carcinoma"):
        Path("benign", name).parent.mkdir(exist_ok=True)
        Path("benign", name).symlink_to(photographs / "Train" / name)
    told = refused(capsys, "train", "benign", "--recipe", "best.toml", "--out", "OUT")
    assert "does not hold both melanomas" in told
    assert "packing" not in told
    assert not Path("OUT").exists()


@pytest.mark.train
def test_a_recipe_that_the_weights_of_from_do_not_fit_is_refused_before_the_photographs_are_read(
    photographs, capsys, monkeypatch
):
    Path("other.toml").write_text(TINY.replace("[4]", "[6]\nkernel = 5").replace('"tiny"', '"other"'))
    common = [photographs, "--authority", photographs / "metadata.csv"]
    assert _run([str(word) for word in ["train", *common, "--recipe", "tiny.toml", "--out", "RUN"]]) == 1
    said = capsys.readouterr()
    # Each epoch was told; the last one always is.
    assert "epoch 3 of 3: loss " in said.err
    assert "; tune: balanced accuracy 0." in said.err
    with monkeypatch.context() as moment:
        moment.setattr("melascope.audit.survey.survey", lambda *_, **__: pytest.fail("the work began"))
        told = refused(capsys, "train", *common, "--from", "RUN", "--recipe", "other.toml", "--out", "NEXT")
    assert "No layer" in told
    assert not Path("NEXT").exists()
    again = ["train", *common, "--from", "RUN", "--recipe", "tiny.toml", "--epochs", 1, "--out", "NEXT"]
    assert _run([str(word) for word in again]) == 1
    said = capsys.readouterr()
    assert "Trained for 1 epoch instead of the recipe's 3 (--epochs): a try" in said.out
    history = pd.read_csv("NEXT/history.csv")
    assert history["learning_rate"].iloc[0] > 1e-4  # not the rate at the end of a cosine, which is zero
    # A start that was killed before its data were read may be repeated otherwise; what it left does not count.
    settings = RunFolder.open("NEXT").settings
    Path("KILLED").mkdir()
    Path("KILLED/continued.json").write_text("{}")
    Path("KILLED/run.json").write_text(json.dumps({"schema": 1, "settings": settings, "steps": {}}))
    assert _run([str(word) for word in ["train", *common, "--recipe", "tiny.toml", "--out", "KILLED"]]) == 1
    assert not Path("KILLED/continued.json").exists()


@pytest.mark.train
def test_an_experiment_that_was_killed_while_it_read_is_begun_anew(photographs, capsys):
    Path("CV").mkdir()
    record = {"schema": 1, "kind": "cross-validation", "settings": {"folds": 7}}
    Path("CV/experiment.json").write_text(json.dumps(record))
    told = refused(capsys, "learning-curve", photographs, "--recipe", "tiny.toml", "--out", "CV")
    assert "of another kind" in told
    told = refused(capsys, "cross-validate", photographs, "--recipe", "tiny.toml", "--folds", 100, "--out", "CV")
    assert "too few for 100 folds" in told


def _recipe(epochs: int, **schedule: object) -> Recipe:
    return parse({"name": "one", "data": {"size": 16}, "network": {}, "schedule": {"epochs": epochs, **schedule}})


def _refusal(labels: list[int], groups: list[str], folds: int, **schedule: object) -> str:
    recipe = _recipe(1, **schedule)
    with pytest.raises(DataError) as told:
        refuse_folds([recipe], np.array(labels), groups, ("MEL", "NV"), folds, [0], None, "lesions")
    return str(told.value)


def test_folds_that_cannot_be_are_refused_with_those_that_can():
    groups = [f"lesion {i // 2}" for i in range(24)]
    labels = [0] * 8 + [1] * 16
    told = _refusal(labels, groups, 13)
    assert told.startswith("12 lesions (4 of melanoma, 8 of nevus) are too few for 13 folds: there are fewer lesions")
    assert told.endswith("; --folds 10 would do.")
    decides = {"keep": "best", "monitor": "tune_melanoma_auc"}
    told = _refusal(labels, groups, 8, **decides)
    assert 'for the recipe "one" to decide by tune_melanoma_auc on; --folds 4 would do.' in told
    assert "none is left for" in _refusal(labels, groups, 2, **decides)
    only = _refusal([0, 0, 1], ["a", "b", "c"], 3)
    assert only.endswith("fold 2 would be empty; no number of folds would do; add photographs, or raise --limit.")
    fixed = np.array([[0] * 8 + [1] * 16])
    recipe = _recipe(1)
    with pytest.raises(DataError, match="fixed folds cannot be used with 12 groups"):
        refuse_folds([recipe], np.array(labels), groups, ("MEL", "NV"), 2, [0], fixed)


def test_other_epochs_than_the_recipes_are_told():
    recipe = _recipe(30)
    assert of_epochs(None, recipe) == of_epochs(30, recipe) == []
    assert of_epochs(30, shortened(recipe, 2)) == [
        "Trained for 2 epochs instead of the recipe's 30 (--epochs): a try, not what the recipe can do."
    ]
    assert of_epochs(30, shortened(recipe, 60)) == ["Trained for 60 epochs instead of the recipe's 30 (--epochs)."]
    early = _recipe(30, keep="best", early_stopping_patience=3)
    assert of_epochs(30, shortened(early, 2))[0].startswith("Trained for at most 2 epochs instead")


def _killed(photographs: Path, call: str, stage: str, at: int) -> None:
    """Make a call in a process of its own, which kills itself by signal 9 in the middle of its second training."""
    code = f"""
import os, signal
from melascope.training.cross_validated import cross_validate_data
from melascope.training.learning_curve import learning_curve
def told(stage, done, total):
    if stage.startswith({stage!r}) and done >= {at}:
        os.kill(os.getpid(), signal.SIGKILL)
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.train
def test_kill_9_in_the_middle_of_a_cross_validation_changes_nothing(photographs):
    options = {"folds": 2, "authority": [photographs / "metadata.csv"]}
    whole = cross_validate_data(photographs, "whole", "tiny.toml", **options)
    call = f"cross_validate_data({str(photographs)!r}, 'CV', 'tiny.toml', folds=2, "
    call += f"authority=[{str(photographs / 'metadata.csv')!r}], progress=told)"
    _killed(photographs, call, "training all", 5)
    assert {path.parts[-3] for path in Path("CV").rglob("epoch-*.npz")} == {"fold-1"}
    steps: list[int] = []
    same = cross_validate_data(
        photographs, "CV", "tiny.toml", progress=lambda _, done, __: steps.append(done), **options
    )
    # Almost, since the process that was killed may have had another number of threads than this one.
    pd.testing.assert_frame_equal(same.scores, whole.scores, rtol=1e-5)
    pd.testing.assert_frame_equal(same.predictions, whole.predictions, rtol=1e-5)


@pytest.mark.train
def test_kill_9_in_the_middle_of_a_learning_curve_changes_nothing(photographs):
    options = {"folds": 2, "shares": (0.25, 0.5, 1), "authority": [photographs / "metadata.csv"]}
    rows: list[dict[str, object]] = []
    whole = learning_curve(photographs, "whole", "tiny.toml", on_training=rows.append, **options)
    assert [(row["fold"], row["share"]) for row in rows] == [(f, s) for f in (0, 1) for s in (0.25, 0.5, 1)]
    at = 3 * int(str(rows[0]["photographs"])) + 2 * int(str(rows[1]["photographs"])) + 1
    call = f"learning_curve({str(photographs)!r}, 'LC', 'tiny.toml', folds=2, shares=(0.25, 0.5, 1), "
    call += f"authority=[{str(photographs / 'metadata.csv')!r}], progress=told)"
    _killed(photographs, call, "training all", at)
    assert {path.parts[-3] for path in Path("LC").rglob("epoch-*.npz")} == {"share-0.5"}
    same = learning_curve(photographs, "LC", "tiny.toml", **options)
    pd.testing.assert_frame_equal(same.scores, whole.scores, rtol=1e-5)
    for name, fit in whole.result["fits"].items():
        assert same.result["fits"][name].get("score") == pytest.approx(fit.get("score"), rel=1e-4)
