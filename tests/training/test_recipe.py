from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from melascope.errors import RecipeError
from melascope.training import recipe as recipes


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_survives_dumping_and_loading(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipes.load(write(tmp_path, recipe.dumps())) == recipe


def test_plain_cnn_is_the_classic() -> None:
    recipe = recipes.load("plain-cnn")
    assert recipe.geometry.height == recipe.geometry.width == 180
    assert recipe.geometry.mode == "squash"
    assert (recipe.data.batch_size, recipe.schedule.epochs, recipe.schedule.precision) == (32, 20, "float32")
    assert (recipe.network.widths, recipe.network.head, recipe.network.dense) == ((32, 64, 128), "flatten", (128,))
    assert (recipe.network.dropout, recipe.optimiser.name, recipe.optimiser.learning_rate) == (0.25, "adam", 1e-3)
    assert recipe.augmentation == type(recipe.augmentation)()
    assert recipe.balance.sampling == recipe.balance.class_weights == "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[data]\nsize = 64\nbatchsize = 8", 'unknown key "data.batchsize" (did you mean "batch_size"?)'),
        ("[data]\nsize = 64\n[optimizer]\nname = 'sgd'", 'unknown key "optimizer" (did you mean "optimiser"?)'),
        ("[data]\nsize = 64\n[balance]\nxyzzy = 1", "[balance] knows: sampling, class_weights"),
        ("[data]\nsize = 8", "data.size = 8 is impossible"),
        ("[network]\ndropout = 0.1", '"data" is missing'),
        ("[data]\nsize = 64\n[schedule]\nepochs = -3", "schedule.epochs = -3 is impossible"),
        ("[data]\nsize = 64\n[network]\ndropout = 1.0", "network.dropout = 1.0 is impossible"),
        ("[data]\nsize = 64\n[network]\nname = 'resnet'", 'network.name: "resnet" is no network'),
        ("[data]\nsize = 64\ngeometry = 'stretch'", 'data.geometry = "stretch" is impossible'),
        ("[data]\nsize = 64\n[optimiser]\nlearning_rate = nan", "optimiser.learning_rate"),
        ("[data]\nsize = 64\n[optimiser]\nlearning_rate = 0", "optimiser.learning_rate = 0 is impossible"),
        ("[data]\nsize = 64\n[optimiser]\nmomentum = 0.9", "momentum belongs to sgd"),
        ("[data]\nsize = 64\n[network]\nwidths = [8, 8]\nconvolutions = [1, 2, 3]", "convolutions has 3 stages"),
        ("[data]\nsize = 16\n[network]\nwidths = [8, 8, 8, 8, 8]", "too small for a network of 5 stages"),
        ("[data]\nsize = 64\n[augmentation]\nzoom = [0.3, 0.1]", "lower end above the upper"),
        ("[data]\nsize = 64\n[schedule]\nkind = 'plateau'\nwarmup_epochs = 2", "warmup_epochs"),
        ("[data]\nsize = 64\n[schedule]\nepochs = 2\nwarmup_epochs = 2", "leaves nothing"),
        ("[data]\nsize = 64\n[network]\nweights = 'gone.npz'", "is not a file"),
        ("data = 3", "data = 3 is impossible"),
        ("[data]\nsize = 64\nbatch_size = true", "data.batch_size = true is impossible"),
        ("[data]\nsize = 64\nbatch_size = '8'", 'data.batch_size = "8" is impossible'),
        ("[data]\nsize = [64, true]", "data.size = [64, true] is impossible"),
        ("[data]\nsize = 64\n[network]\ndropout = '0.5'", 'network.dropout = "0.5" is impossible'),
        ("[data]\nsize = 64\n[network]\nresidual = 1", "network.residual = 1 is impossible"),
        ("[data]\nsize = 64\n[schedule]\nepochs = 2.0", "schedule.epochs = 2.0 is impossible"),
        (
            "[data]\nsize = 64\n[augmentation]\nmixupp = 0.2",
            'unknown key "augmentation.mixupp" (did you mean "mixup"?)',
        ),
        ("[data]\nsize = 64\n[augmentation]\nrandaugment = 13", "augmentation.randaugment = 13 is impossible"),
        ("[data]\nsize = 64\n[optimiser]\nloss = 'focus'", 'optimiser.loss = "focus" is impossible'),
        ("[data]\nsize = 64\n[optimiser]\nfocal_gamma = 0", "optimiser.focal_gamma = 0 is impossible"),
        ("search = 3\n[data]\nsize = 64", "search = 3 is impossible"),
        ("[data\nsize = 64", "not valid TOML"),
        ("extends = 'nothing-like-it'\n", 'There is no recipe "nothing-like-it"'),
        ("extends = 'mine.toml'\n", "leads back to itself"),
        ("extends = 3\n", "extends takes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"batchsize.*epochs"):
        recipes.load(write(tmp_path, "[data]\nsize = 64\nbatchsize = 8\n[schedule]\nepochs = 0"))


def test_an_unknown_name_and_a_missing_file_name_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r'did you mean "small-cnn"'):
        recipes.load("smal-cnn")
    with pytest.raises(RecipeError, match=r"does not exist.*plain-cnn"):
        recipes.load(tmp_path / "gone.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipes.load(tmp_path)


def test_extends_changes_only_what_it_names(tmp_path: Path) -> None:
    changed = recipes.load(write(tmp_path, "extends = 'plain-cnn'\n[schedule]\nepochs = 3"))
    plain = recipes.load("plain-cnn")
    assert changed.name == "mine"
    assert changed.schedule.epochs == 3
    assert (changed.data, changed.network, changed.optimiser) == (plain.data, plain.network, plain.optimiser)


def test_weights_are_found_beside_the_recipe(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", mobilenetv20_features_conv0_weight=np.zeros(2))
    recipe = recipes.load(write(tmp_path, "extends = 'mobilenetv2-finetuned'\n[network]\nweights = 'w.npz'"))
    assert recipe.network.weights == str(tmp_path / "w.npz")


@pytest.mark.parametrize("base", ["small-cnn", "mobilenetv2-finetuned", "efficientnetv2-finetuned"])
@pytest.mark.parametrize("name", ["weights.npz", "of-another.npz"])
def test_weights_of_a_training_are_refused_and_pointed_to_from(base: str, name: str, tmp_path: Path) -> None:
    # Nothing in such a file tells which photographs must not judge; --from looks into the run.
    own = {"stage1_conv1/kernel": np.zeros((3, 3, 3, 4)), "head/bias": np.zeros(4)}
    np.savez(tmp_path / name, **(own if name == "weights.npz" else {"conv1.weight": np.zeros(3)}))
    with pytest.raises(RecipeError, match=r"nobody can say which photographs.*--from RUN") as caught:
        recipes.load(write(tmp_path, f"extends = '{base}'\n[network]\nweights = '{name}'"))
    assert name in str(caught.value)
    with pytest.raises(RecipeError, match="--from RUN"):
        recipes.load(base).replace(network={"weights": str(tmp_path / name)})


def test_weights_of_a_training_by_another_ending_start_no_network_without_a_backbone(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.zeros(2))
    (tmp_path / "weights.npz").rename(tmp_path / "weights.h5")
    with pytest.raises(RecipeError, match="--from RUN"):
        recipes.load(write(tmp_path, "extends = 'small-cnn'\n[network]\nweights = 'weights.h5'"))


def test_arrays_of_the_zoo_are_for_its_own_backbones(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", mobilenetv20_features_conv0_weight=np.zeros(2))
    with pytest.raises(RecipeError, match="of the ONNX model zoo, not of EfficientNetV2B0"):
        recipes.load(write(tmp_path, "extends = 'efficientnetv2-finetuned'\n[network]\nweights = 'w.npz'"))


def test_replace_is_checked_like_a_file() -> None:
    recipe = recipes.load("small-cnn")
    assert recipe.replace(schedule={"epochs": 2, "warmup_epochs": 0}).schedule.epochs == 2
    with pytest.raises(RecipeError, match=r"did you mean .epochs"):
        recipe.replace(schedule={"epoch": 2})


def test_rare_characters_survive(tmp_path: Path) -> None:
    recipe = recipes.load("plain-cnn").replace(description='"Nävus" \\ \n\ttabs')
    assert tomllib.loads(recipe.dumps())["description"] == recipe.description


def test_what_a_recipe_is_expected_to_reach_is_not_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "small-cnn"\n[schedule]\nepochs = 3\nwarmup_epochs = 0\n')
    assert recipes.load("small-cnn").expected.balanced_accuracy is not None
    assert recipes.load(path).expected.balanced_accuracy is None
    assert recipes.load("small-cnn").replace(schedule={"epochs": 7}).expected.balanced_accuracy is None


def test_a_search_section_survives_dumping_and_extending_and_decides_no_training(tmp_path: Path) -> None:
    text = """extends = "plain-cnn"
[search]
"optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
network.dropout = [0.1, 0.3, 0.5]
trials = 12
"""
    recipe = recipes.load(write(tmp_path, text))
    assert recipe.search["optimiser.learning_rate"] == {"low": 1e-4, "high": 1e-2, "log": True}
    assert recipe.search["network"] == {"dropout": [0.1, 0.3, 0.5]}
    again = tmp_path / "again.toml"
    again.write_text(recipe.dumps())
    assert recipes.load(again) == recipe
    further = tmp_path / "further.toml"
    further.write_text('extends = "again.toml"\n[search]\ntrials = 3\n')
    assert recipes.load(further).search == {**recipe.search, "trials": 3}
    assert recipes.load("plain-cnn").search == {}
    assert recipe.replace(schedule={"epochs": 2}).search == recipe.search


def test_weights_can_be_taken_away_and_fetched(tmp_path: Path) -> None:
    fetched = recipes.load("efficientnetv2-finetuned")
    assert fetched.network.weights == "imagenet"
    assert fetched.network.weights_file is None
    text = "extends = 'efficientnetv2-finetuned'\n[network]\nweights = 'none'\n[schedule]\nfrozen_epochs = 2"
    assert recipes.load(write(tmp_path, text)).network.weights is None
