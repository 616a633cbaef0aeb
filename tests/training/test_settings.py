"""What decides a run: shortened recipes, and what is said where it changed."""

from __future__ import annotations

import pytest

from melascope.errors import RecipeError, RunError
from melascope.images.synthetic_set import write_dataset
from melascope.training import recipe as recipes
from melascope.training.run import run
from melascope.training.run_folder import RunFolder, changes
from melascope.training.settings import continued_recipe, resolve, shortened
from melascope.training.tuning_storage import storage_url


def test_fewer_epochs_leave_something_to_train_after_warm_up_and_frozen_backbone():
    plain = shortened(recipes.load("small-cnn"), 1)
    assert (plain.schedule.epochs, plain.schedule.warmup_epochs) == (1, 0.25)
    whole = recipes.load("efficientnetv2-finetuned")
    frozen = whole.schedule.frozen_epochs
    assert 0 < frozen < whole.schedule.epochs
    for epochs in (2, 3, 10):
        short = shortened(whole, epochs).schedule
        assert 1 <= short.frozen_epochs < short.epochs == epochs
    assert shortened(whole, whole.schedule.epochs) == whole
    assert shortened(whole, None) == whole


def test_what_differs_is_told_by_its_key():
    one = recipes.load("small-cnn")
    then = {"recipe": one.dumps(), "seed": 0, "limit": None}
    now = {"recipe": one.replace(schedule={"epochs": 3}).dumps(), "seed": 0, "limit": 5}
    assert changes(then, then) == ""
    told = changes(then, now)
    assert "schedule.epochs: 30 then, 3 now" in told
    assert "limit: None then, 5 now" in told
    assert len(told) < 400
    assert "\\n" not in told


def test_a_run_that_went_on_from_another_needs_it_no_more(tmp_path):
    recipe = recipes.load("plain-cnn").replace(schedule={"epochs": 2})
    folder = RunFolder.start(tmp_path / "R2", {"recipe": recipe.dumps(), "from": str(tmp_path / "R1")}, False)
    assert continued_recipe(tmp_path / "R2", tmp_path / "R1") is None  # its photographs are not read yet
    folder.finish("data", 1.0)
    assert continued_recipe(tmp_path / "R2", tmp_path / "R1") == recipe
    assert continued_recipe(tmp_path / "R2", tmp_path / "R3") is None
    assert continued_recipe(tmp_path / "R2", None) is None


def test_a_recipe_may_be_named_again_when_the_first_run_is_gone(tmp_path):
    given = {
        "data": tmp_path, "recipe": "plain-cnn", "protocol": "clean", "images": None, "authority": [],
        "spellings": None, "epochs": None, "limit": None, "seed": 0, "audit": None, "parts": None, "unaudited": False,
        "from_run": tmp_path / "R1",
    }  # fmt: skip
    with pytest.raises(RunError, match="holds no run"):
        resolve(**given)
    assert resolve(**given, begun=True)["from"] == str((tmp_path / "R1").resolve())


def test_a_run_to_resume_has_its_own_recipe(tmp_path):
    recipe = recipes.load("plain-cnn").replace(schedule={"epochs": 2})
    assert continued_recipe(tmp_path / "R", None) is None
    RunFolder.start(tmp_path / "R", {"recipe": recipe.dumps()}, False)
    assert continued_recipe(tmp_path / "R", None) == recipe
    assert continued_recipe(tmp_path / "R", tmp_path / "R1") is None


def test_another_recipe_takes_the_place_of_one_that_cannot_be_before_anything_is_done(tmp_path):
    """The recipe of a run that was stopped while it read photographs may name weights that are gone."""

    class StoppedError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    data = write_dataset(tmp_path / "photographs", photographs=40, seed=1, size=16)
    gone = recipes.load("plain-cnn").dumps().replace("[network]", '[network]\nweights = "gone.npz"')
    RunFolder.start(tmp_path / "R", {"recipe": gone}, False)
    with pytest.raises(RecipeError, match=r"gone\.npz"):
        run(data, tmp_path / "R", resume=True, progress=stop)
    with pytest.raises(StoppedError):
        run(data, tmp_path / "R", recipe="plain-cnn", resume=True, progress=stop)


@pytest.mark.parametrize(("url", "word"), [("postgresql://host:1/db", "user"), ("postgresql://me@host", "database")])
def test_an_address_that_lacks_something_says_what(tmp_path, url, word):
    from melascope.errors import RunError

    with pytest.raises(RunError, match=f"names no {word}"):
        storage_url(url, tmp_path)


def test_a_recipe_from_before_a_key_was_known_is_the_same_recipe() -> None:
    from melascope.training import recipe
    from melascope.training.run_folder import changes

    now = recipe.load("small-cnn").dumps()
    before = "\n".join(line for line in now.splitlines() if not line.startswith("views"))
    assert before != now.rstrip("\n")
    assert changes({"recipe": before}, {"recipe": now}) == ""
    other = recipe.load("small-cnn").replace(network={"views": 4}).dumps()
    assert changes({"recipe": before}, {"recipe": other}) == "network.views: 1 then, 4 now"
