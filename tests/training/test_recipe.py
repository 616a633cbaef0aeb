from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from melascope.errors import RecipeError, RunError
from melascope.training import checkpoint, networks
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
        ("name = 'a/b'\n[data]\nsize = 64", '"a/b" names files and folders too'),
        ("name = '..'\n[data]\nsize = 64", '".." names files and folders too'),
        ("[data\nsize = 64", "not valid TOML"),
        (
            "extends = 'nothing-like-it'\n",
            'mine.toml: extends = "nothing-like-it": There is no recipe "nothing-like-it"',
        ),
        ("extends = 'mine.toml'\n", "leads back to itself"),
        ("extends = 3\n", "extends takes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


IDLE = [
    (
        "[optimiser]\nfocal_gamma = 3.0",
        'optimiser.focal_gamma has no effect with loss = "cross_entropy"; set optimiser.loss',
    ),
    ("[optimiser]\nfocal_gamma = 2.0", "optimiser.focal_gamma"),
    ("[augmentation]\nrandaugment_magnitude = 0.9", "randaugment = 0; set augmentation.randaugment to 1 or more"),
    ("[augmentation]\nflip = 'both'\nzoom = [-0.2, 0]\nfill = 'nearest'", "augmentation.fill has no effect"),
    (
        "[augmentation]\nmixup = 0.2\n[data]\nbatch_size = 1",
        "augmentation.mixup has no effect with data.batch_size = 1",
    ),
    ("[schedule]\nplateau_factor = 0.5", 'set schedule.kind = "plateau"'),
    (
        "[schedule]\nplateau_patience = 3\nkind = 'cosine'",
        'schedule.plateau_patience has no effect with kind = "cosine"',
    ),
    ("[schedule]\nkind = 'plateau'\nepochs = 3\nplateau_patience = 3", "never passes within epochs = 3"),
    ("[schedule]\nepochs = 3\nearly_stopping_patience = 4", "schedule.early_stopping_patience = 4 never passes"),
    ("[schedule]\nmonitor = 'tune_accuracy'", 'set schedule.keep = "best" or schedule.early_stopping_patience'),
    ("[network]\nbatch_norm_momentum = 0.9", "set network.batch_norm = true"),
    (
        "[balance]\nsampling = 'balanced'\nclass_weights = 'balanced'",
        'balance.class_weights has no effect with sampling = "balanced"',
    ),
    ("[network]\nseparable = true\nkernel = 1", "network.separable has no effect"),
    (
        "[network]\nhead = 'pooled'\ndense = []\ndense_dropout = 0.5",
        "network.dense_dropout has no effect with dense = []",
    ),
    ("[network.options]\ndepth = 3", 'network.options are for networks of other packages, and "cnn" takes none'),
]


@pytest.mark.parametrize(("text", "expected"), IDLE)
def test_a_value_that_can_have_no_effect_is_refused_where_it_is_written(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f"extends = 'plain-cnn'\n{text}")
    with pytest.raises(RecipeError) as caught:
        recipes.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_after_the_frozen_epochs_are_refused_where_none_follow(tmp_path: Path) -> None:
    text = "extends = 'efficientnetv2-finetuned'\n[schedule]\nepochs = 4\nfrozen_epochs = 4\nfrozen_share = 0.5"
    with pytest.raises(RecipeError, match=r"schedule\.frozen_share has a meaning after the frozen epochs only"):
        recipes.load(write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "[optimiser]\nloss = 'focal'\nfocal_gamma = 3.0\nmomentum = 0.0",
        "[augmentation]\nrandaugment = 1\nrandaugment_magnitude = 0.9\nfill = 'constant'\nmixup = 0.0",
        "[schedule]\nkind = 'plateau'\nplateau_factor = 0.5\nmonitor = 'tune_accuracy'",
        "[schedule]\nearly_stopping_patience = 5\nmonitor = 'tune_accuracy'",
        "[network]\nbatch_norm = true\nbatch_norm_momentum = 0.9\ndense_dropout = 0.2\nseparable = true",
        "[network]\nseparable = false\noptions = {}",
        "[augmentation]\naspect = 0.1\nfill = 'nearest'",
    ],
)
def test_what_has_an_effect_or_is_off_is_no_mistake(text: str, tmp_path: Path) -> None:
    recipes.load(write(tmp_path, f"extends = 'plain-cnn'\n{text}"))


def test_only_what_a_person_wrote_here_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "focal.toml"
    base.write_text("extends = 'plain-cnn'\n[optimiser]\nloss = 'focal'\nfocal_gamma = 3.0")
    child = recipes.load(write(tmp_path, "extends = 'focal.toml'\n[optimiser]\nloss = 'cross_entropy'"))
    assert child.optimiser.focal_gamma == 3.0
    again = tmp_path / "again.toml"
    again.write_text(child.dumps())  # names every value, idle ones too
    assert recipes.load(again) == child
    early = "\n".join(
        line for line in child.dumps().splitlines() if not line.startswith(("randaugment", "mixup", "loss"))
    )
    again.write_text(early)  # as an earlier version wrote it
    assert recipes.load(again).optimiser.focal_gamma == 3.0
    full = tmp_path / "full.toml"
    full.write_text("[data]\nsize = 64\n[schedule]\nmonitor = 'tune_accuracy'")  # as small-cnn does, for its children
    assert recipes.load(full).schedule.monitor == "tune_accuracy"


def test_what_a_run_remembers_keeps_loading(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[data]\nsize = 64\n[optimiser]\nfocal_gamma = 3.0")
    with pytest.raises(RecipeError, match="no effect"):
        recipes.load(path)
    (tmp_path / "run.json").write_text("{}")
    assert recipes.load(path).optimiser.focal_gamma == 3.0


def test_replace_refuses_what_can_have_no_effect_unless_it_is_the_default() -> None:
    recipe = recipes.load("plain-cnn")
    with pytest.raises(RecipeError, match=r'recipe "plain-cnn": optimiser\.focal_gamma has no effect'):
        recipe.replace(optimiser={"focal_gamma": 3.0})
    assert recipe.replace(schedule={"keep": "last", "monitor": "tune_loss"}) == recipe.replace()


def test_a_recipe_that_extends_another_does_not_describe_itself_as_it(tmp_path: Path) -> None:
    text = "extends = 'mobilenetv2-finetuned'\n[schedule]\nfrozen_epochs = 1\nepochs = 3"
    assert recipes.load(write(tmp_path, text)).description == "Extends mobilenetv2-finetuned."
    assert recipes.load(write(tmp_path, f"description = 'Short.'\n{text}")).description == "Short."
    assert recipes.load("mobilenetv2-finetuned").description.startswith("MobileNetV2")


@pytest.mark.parametrize("base", ["demo", "small-cnn-search", "mobilenetv2-finetuned", "parent.toml"])
def test_a_recipe_that_extends_another_is_called_after_its_own_file(base: str, tmp_path: Path) -> None:
    (tmp_path / "parent.toml").write_text("extends = 'demo'\nname = 'of its own'")
    assert recipes.load(write(tmp_path, f"extends = '{base}'")).name == "mine"
    assert recipes.load(tmp_path / "parent.toml").name == "of its own"


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("extends = 'small-cnn'\n[network]\nbackbone = 'VGG16'", 'extends = "efficientnetv2-finetuned" instead'),
        (
            "extends = 'small-cnn'\n[network]\nname = 'backbone'\nbackbone = 'VGG16'",
            'then [network] and backbone = "VGG16"',
        ),
        (
            "extends = 'demo'\n[network]\nbackbone = 'mobilenetv2-onnx'",
            'Write extends = "mobilenetv2-finetuned" instead',
        ),
        ("extends = 'mobilenetv2-finetuned'\n[network]\nname = 'cnn'", 'Write extends = "small-cnn" instead'),
        ("extends = 'mobilenetv2-finetuned'\n[network]\nwidths = [8]", 'drop them, or write extends = "small-cnn"'),
        ("extends = 'plain-cnn'\n[network]\nbackbone = 'VGG16'", 'go together; write name = "backbone", not "cnn"'),
        ("extends = 'plain-cnn'\n[network]\nname = 'backbone'", 'go together; write backbone = "EfficientNetV2B0"'),
    ],
)
def test_one_network_on_the_recipe_of_another_is_told_what_to_write(text: str, better: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(tmp_path, text))
    assert better in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_warm_up_that_a_recipe_brings_along_is_told_how_to_shorten(tmp_path: Path) -> None:
    text = "extends = 'small-cnn'\n[schedule]\nepochs = 1"
    with pytest.raises(RecipeError, match=r"warmup_epochs = 2 leaves nothing.*set warmup_epochs.*such as 0\.25"):
        recipes.load(write(tmp_path, text))
    assert recipes.load(write(tmp_path, f"{text}\nwarmup_epochs = 0.25")).schedule.warmup_epochs == 0.25


def test_a_backbone_without_weights_is_told_the_lines_to_write(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        networks.refuse_untaught(recipes.load("mobilenetv2-finetuned"))
    said, _, lines = str(caught.value).partition("\n\n")
    assert "mine.toml" in said
    zoo_file(tmp_path / "mobilenetv2-7.onnx", {"mobilenetv20_features_conv0_weight": np.zeros(2)})
    assert len(lines.splitlines()) == 4
    networks.refuse_untaught(recipes.load(write(tmp_path, lines)))
    own = recipes.load("efficientnetv2-finetuned").replace(name="mine", network={"weights": "none"})
    with pytest.raises(RecipeError, match=r'into its file:\n\n\[network\]\nweights = "imagenet"'):
        networks.refuse_untaught(own)


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


def zoo_file(path: Path, arrays: dict[str, Any]) -> Path:
    """Write an ONNX file that holds nothing but weights."""
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph([], "zoo", [], [], [numpy_helper.from_array(a, name) for name, a in arrays.items()])
    onnx.save(helper.make_model(graph), path)
    return path


@pytest.mark.parametrize("read", [checkpoint.read, checkpoint.names])
def test_what_is_no_archive_is_told_in_one_way_and_without_quotes(read: Any, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_text("hello")
    with pytest.raises(RunError) as caught:
        read(tmp_path / "w.npz")
    assert str(caught.value) == f"{tmp_path / 'w.npz'} is damaged or no weights file: it is no .npz archive."


def test_arrays_of_the_zoo_are_for_its_own_backbones(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", mobilenetv20_features_conv0_weight=np.zeros(2))
    zoo_file(tmp_path / "w.onnx", {"resnetv24_conv0_weight": np.zeros(2)})
    for name in ("w.onnx", "w.npz"):
        with pytest.raises(RecipeError, match="of the ONNX model zoo, not of EfficientNetV2B0"):
            recipes.load(write(tmp_path, f"extends = 'efficientnetv2-finetuned'\n[network]\nweights = '{name}'"))
    (tmp_path / "w.onnx").write_text("hello")
    with pytest.raises(RecipeError, match="damaged or no ONNX file"):
        recipes.load(write(tmp_path, "extends = 'mobilenetv2-finetuned'\n[network]\nweights = 'w.onnx'"))
    zoo_file(tmp_path / "w.onnx", {"dense": np.zeros(2)})
    with pytest.raises(RecipeError, match="not what a backbone of this recipe learnt from ImageNet"):
        recipes.load(write(tmp_path, "extends = 'mobilenetv2-finetuned'\n[network]\nweights = 'w.onnx'"))


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
