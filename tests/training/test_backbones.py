from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melascope.errors import RecipeError
from melascope.training import backbones, networks, schedule, zoo
from melascope.training import recipe as recipes
from melascope.training.backbone_names import BACKBONES
from melascope.training.fit import fit

pytestmark = pytest.mark.train
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def recipe_of(backbone: str, size: int = 32, **sections: Any) -> recipes.Recipe:
    network = {"name": "backbone", "backbone": backbone, **sections.pop("network", {})}
    return recipes.parse({"data": {"size": size, "batch_size": 16}, "network": network, **sections})


def test_every_classifier_of_keras_is_known_by_its_name() -> None:
    import keras

    theirs = {name for name in dir(keras.applications) if name[0].isupper()}
    assert theirs == {name for name, known in BACKBONES.items() if not known.arrays}


MODULES = {
    "symmetric": ("MobileNetV2", "mobilenet_v2"),
    "caffe": ("ResNet50", "resnet"),
    "imagenet": ("DenseNet121", "densenet"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_photographs_are_prepared_as_keras_prepares_them(kind: str) -> None:
    import keras

    name, module = MODULES[kind]
    assert BACKBONES[name].input == kind
    pixels = keras.Input((32, 32, 3))
    ours = keras.Model(pixels, backbones.prepare(name, pixels))(IMAGES.astype(np.float32))
    theirs = importlib.import_module(f"keras.applications.{module}").preprocess_input(IMAGES.astype(np.float32))
    np.testing.assert_allclose(np.asarray(ours), theirs, atol=2e-4)


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ConvNeXtTiny"])
def test_what_keras_prepares_inside_is_prepared_outside(name: str) -> None:
    import keras

    pixels = keras.Input((32, 32, 3))
    ours = np.asarray(keras.Model(pixels, backbones.prepare(name, pixels))(IMAGES.astype(np.float32)))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(ours, (IMAGES / 255 - mean) / deviation, atol=1e-4)


def test_a_backbone_carries_a_pooled_head_with_its_heat_map() -> None:
    model = networks.build(recipe_of("MobileNetV2"), 4)
    found = {name: np.asarray(value) for name, value in model(IMAGES, training=False).items()}
    assert found["logits"].shape == (3, 4)
    assert found["embedding"].shape == (3, 1280)
    assert found["heatmap"].shape[:2] == (3, 4)
    np.testing.assert_allclose(found["heatmap"].mean(axis=(2, 3)), found["logits"], atol=1e-5)


def test_convnext_computes_what_that_of_keras_computes() -> None:
    import keras

    theirs = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    for weight in theirs.weights:
        if "variable" in weight.path or "gamma" in weight.path:
            weight.assign(np.ones(weight.shape))  # of the scale of each block, 1e-6 at first
    ours = backbones.build(recipe_of("ConvNeXtTiny"))
    backbones._own(ours).set_weights(theirs.get_weights())
    expected = np.asarray(theirs(IMAGES.astype(np.float32), training=False))
    found = np.asarray(ours(IMAGES.astype(np.float32), training=False))
    assert expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_weights_of_a_backbone_without_lasting_names_come_back(tmp_path: Path) -> None:
    recipe = recipe_of("MobileNetV3Small", network={"head": "flatten", "dense": [8]})
    model = networks.build(recipe, 3)
    networks.save_weights(model, tmp_path / "weights.npz")
    again = networks.build(recipe, 3)
    networks.load_weights(again, tmp_path / "weights.npz")
    np.testing.assert_array_equal(again(IMAGES)["logits"], model(IMAGES)["logits"])
    with np.load(tmp_path / "weights.npz") as file:
        assert len(file.files) == len(model.weights)


def test_a_backbone_computes_in_half_precision_and_leaves_the_policy_alone() -> None:
    import keras

    model = networks.build(recipe_of("MobileNetV2", schedule={"precision": "bfloat16"}), 3)
    assert backbones.inside(model).layers[-1].compute_dtype == "bfloat16"  # type: ignore[union-attr]
    assert keras.config.dtype_policy().name == "float32"
    assert model.output["logits"].dtype == "float32"


def test_imagenet_weights_make_the_network_that_keras_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # EfficientNet of Keras is another network with weights = "imagenet" than without; here it must be one.
    import keras
    from keras.src.utils import file_utils

    plain = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    given = [array + rng.normal(0, 0.02, array.shape).astype(array.dtype) for array in plain.get_weights()]
    given[0], given[1] = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = [np.abs(a) + 0.5 if w.path.endswith("variance") and i > 1 else a
             for i, (a, w) in enumerate(zip(given, plain.weights, strict=True))]  # fmt: skip
    plain.set_weights(given)
    plain.save_weights(tmp_path / "notop.weights.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(tmp_path / "notop.weights.h5"))
    theirs = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    expected = np.asarray(theirs(IMAGES.astype(np.float32), training=False))
    for weights in ("imagenet", str(tmp_path / "notop.weights.h5")):
        _, served = networks.build_for_training(recipe_of("EfficientNetB0", network={"weights": weights}), 3)
        found = np.asarray(backbones.inside(served)(IMAGES.astype(np.float32), training=False))  # type: ignore[misc]
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_weights_that_cannot_be_fetched_or_read_are_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.utils import file_utils

    def offline(fname: str, origin: str, **_: object) -> str:
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(RecipeError) as caught:
        networks.build_for_training(recipe_of("MobileNetV2", network={"weights": "imagenet"}), 3)
    assert "https://storage.googleapis.com/" in str(caught.value)
    assert "_no_top.h5 on another machine" in str(caught.value)
    assert str(Path(".keras") / "models") in str(caught.value)
    assert "network.weights" in str(caught.value)
    (tmp_path / "bad.h5").write_bytes(b"no weights")
    with pytest.raises(RecipeError, match=r"bad\.h5 cannot be read as the weights of MobileNetV2"):
        networks.build_for_training(recipe_of("MobileNetV2", network={"weights": str(tmp_path / "bad.h5")}), 3)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"network": {"name": "backbone"}}, "go together"),
        ({"network": {"backbone": "MobileNetV2"}}, "go together"),
        ({"network": {"name": "backbone", "backbone": "MobilNetV2"}}, 'did you mean "MobileNetV2"'),
        ({"network": {"name": "backbone", "backbone": "MobileNetV2", "widths": [8]}}, "widths shape the network cnn"),
        ({"network": {"name": "backbone", "backbone": "mobilenetv2-onnx", "weights": "imagenet"}}, "name the file"),
        ({"network": {"weights": "imagenet"}}, "is for the backbones of Keras"),
        ({"network": {"name": "backbone", "backbone": "InceptionV3"}}, "needs 75 pixels"),
        ({"schedule": {"frozen_epochs": 2}}, 'network.name = "cnn" has none'),
        ({"schedule": {"finetune_learning_rate": 1e-5}}, "after frozen_epochs only"),
    ],
)
def test_what_does_not_go_together_is_refused(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.parse({"data": {"size": 64}, **tree})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_backbone_that_has_learnt_nothing_is_not_frozen(photos: Any, tmp_path: Path) -> None:
    recipe = recipes.load("mobilenetv2-finetuned").replace(data={"size": 32})
    images = np.kron(photos.images, np.ones((1, 2, 2, 1), dtype=np.uint8))
    with pytest.raises(RecipeError, match="has learnt nothing"):
        fit(recipe, images, *photos.arguments[1:], tmp_path)


@pytest.fixture(scope="module")
def small_backbone() -> Iterator[None]:
    """A network of another package whose features are a nested model called "backbone"."""
    import keras

    layers = keras.layers
    patch = pytest.MonkeyPatch()
    patch.setattr(networks.NETWORKS, "_own", dict(networks.NETWORKS._own))

    @networks.register("tiny-backbone")
    def tiny(recipe: recipes.Recipe, pixels: Any, n_classes: int) -> dict[str, Any]:
        inner = keras.Input(pixels.shape[1:])
        x = layers.Conv2D(6, 3, strides=2)(layers.Rescaling(1 / 127.5, -1)(inner))  # names that do not last
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
        x = layers.Dropout(0.1)(layers.Conv2D(8, 3, strides=2)(x))
        features = keras.Model(inner, x, name="backbone")(pixels)
        return networks._head(recipe.network, features, n_classes, networks._policy(recipe))

    yield
    patch.undo()


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz") as file:
        return {name: file[name] for name in file.files}


FROZEN: dict[str, Any] = {
    "network": {"name": "tiny-backbone"},
    "optimiser": {"name": "adamw", "learning_rate": 0.05, "weight_decay": 0.01, "ema": 0.9},
    "schedule": {"epochs": 5, "frozen_epochs": 2, "finetune_learning_rate": 0.01, "kind": "cosine"},
}


def fine_tuned(**schedule: Any) -> recipes.Recipe:
    tree = {**FROZEN, "schedule": {**FROZEN["schedule"], **schedule}}
    return recipes.parse({"data": {"size": 16, "batch_size": 16}, "augmentation": {"flip": "both"}, **tree})


def test_a_frozen_backbone_stays_as_it_is_and_then_learns(small_backbone: None, photos: Any, tmp_path: Path) -> None:
    history = fit(fine_tuned(epochs=2), *photos.arguments, tmp_path / "frozen", seed=1)
    fit(fine_tuned(epochs=1), *photos.arguments, tmp_path / "less", seed=1)
    fit(fine_tuned(), *photos.arguments, tmp_path / "tuned", seed=1)
    fit(fine_tuned(finetune_norms=True), *photos.arguments, tmp_path / "norms", seed=1)
    fit(fine_tuned(frozen_share=0.5), *photos.arguments, tmp_path / "half", seed=1)
    found = {name: arrays(tmp_path / name) for name in ("frozen", "less", "tuned", "norms", "half")}
    inside = [name for name in found["frozen"] if name.startswith("backbone/")]
    assert len(inside) == 2 + 4 + 2

    def moved(name: str) -> set[str]:
        return {key.rpartition("/")[2] + key[9:13] for key in inside
                if not np.array_equal(found[name][key], found["frozen"][key])}  # fmt: skip

    assert moved("less") == set()
    assert moved("tuned") == {"kernel0000", "bias0001", "kernel0006", "bias0007"}
    assert {"gamma0002", "moving_mean0004"} <= moved("norms")
    assert moved("half") == {"kernel0006", "bias0007"}
    assert not np.array_equal(found["less"]["head/kernel"], found["frozen"]["head/kernel"])
    assert list(history.epoch) == [1, 2]


def stopped_recipe() -> recipes.Recipe:
    return fine_tuned(keep="best", monitor="tune_loss")


@pytest.fixture(scope="module")
def whole(small_backbone: None, photos: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return fit(stopped_recipe(), *photos.arguments, folder, seed=1), folder


@pytest.mark.parametrize("stops", [(2,), (1, 3)], ids=str)
def test_resuming_a_fine_tuning_equals_going_through(
    stops: tuple[int, ...], whole: tuple[pd.DataFrame, Path], photos: Any, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    for stop in stops:

        def told(row: dict[str, float], stop: int = stop) -> None:
            if row["epoch"] == stop:
                raise StoppedError

        with pytest.raises(StoppedError):
            fit(stopped_recipe(), *photos.arguments, tmp_path, seed=1, resume=True, on_epoch=told)
    parts = fit(stopped_recipe(), *photos.arguments, tmp_path, seed=1, resume=True)
    pd.testing.assert_frame_equal(whole[0].drop(columns="seconds"), parts.drop(columns="seconds"))
    a, b = arrays(whole[1]), arrays(tmp_path)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_each_phase_has_its_own_rate_and_starts_its_cosine_anew(
    small_backbone: None, photos: Any, tmp_path: Path
) -> None:
    recipe = fine_tuned()
    rates = fit(recipe, *photos.arguments, tmp_path, seed=1).learning_rate
    steps = 4

    def mean(peak: float, epochs: int, epoch: int) -> float:
        done = np.arange(epoch * steps, (epoch + 1) * steps) / (epochs * steps)
        return float((peak * 0.5 * (1 + np.cos(np.pi * done))).mean())

    assert rates.tolist() == pytest.approx(
        [mean(0.05, 2, 0), mean(0.05, 2, 1), *(mean(0.01, 3, epoch) for epoch in range(3))], rel=1e-4
    )
    assert [phase.rate for phase in schedule.phases(fine_tuned(finetune_learning_rate=None))] == [0.05, 0.005]
    assert len(schedule.phases(fine_tuned(epochs=2))) == 1


def test_patience_is_counted_anew_when_a_backbone_thaws(small_backbone: None, photos: Any, tmp_path: Path) -> None:
    recipe = fine_tuned(epochs=8, frozen_epochs=4, early_stopping_patience=1, monitor="tune_melanoma_auc")
    history = fit(recipe, *photos.arguments, tmp_path, seed=1)
    assert len(history) > 4


def test_published_arrays_of_another_backbone_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", mobilenetv20_features_conv0_weight=np.zeros((32, 3, 3, 3), np.float32))
    asked = recipe_of("mobilenetv2-onnx", network={"weights": str(tmp_path / "few.npz")})
    with pytest.raises(RecipeError, match=r"has no mobilenetv20_features_batchnorm0_gamma"):
        networks.build_for_training(asked, 3)
    np.savez(tmp_path / "odd.npz", mobilenetv20_features_conv0_weight=np.zeros((8, 3, 3, 3), np.float32))
    asked = recipe_of("mobilenetv2-onnx", network={"weights": str(tmp_path / "odd.npz")})
    with pytest.raises(RecipeError, match=r"is \(3, 3, 3, 8\), not \(3, 3, 3, 32\)"):
        networks.build_for_training(asked, 3)


@pytest.mark.parametrize(
    ("name", "stride", "channels", "count"),
    # The published files' arrays, counted: weights and the four vectors of each normalisation.
    [("mobilenetv2-onnx", 32, 1280, 2_259_136), ("resnet50v2-onnx-stages3", 16, 1024, 8_566_988)],
)
def test_the_networks_of_the_zoo_have_their_shape(name: str, stride: int, channels: int, count: int) -> None:
    backbone = backbones.build(recipe_of(name, size=64))
    assert backbone.output_shape == (None, 64 // stride, 64 // stride, channels)
    assert backbone.count_params() == count


FILES = {
    "mobilenetv2-onnx": "mobilenetv2_imagenet.npz",
    "resnet50v2-onnx-stages3": "resnet50v2_imagenet_stages1to3.npz",
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", FILES)
def test_published_weights_see_natural_photographs_as_they_did_in_their_training(name: str, shared_data: Path) -> None:
    """Channel means at every stage's entry must match the means that batch normalisation stored."""
    import keras
    from PIL import Image
    from sklearn.datasets import load_sample_images

    file = shared_data.parent / "weights" / FILES[name]
    if not file.is_file():
        pytest.skip(f"needs {file}")
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    crops = [
        np.asarray(photo.resize((340, 224)).crop((left, 0, left + 224, 224)))
        for photo in photographs
        for left in (0, 58, 116)
    ]
    _, served = networks.build_for_training(recipe_of(name, size=224, network={"weights": str(file)}), 2)
    backbone: Any = backbones.inside(served)
    with np.load(file) as published:
        assert backbone.count_params() == sum(published[key].size for key in published.files)
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    watched = keras.Model(backbone.input, [layer.input for layer in norms])
    found = watched(np.stack(crops).astype(np.float32), training=False)
    agreement = {
        layer.name: np.corrcoef(np.asarray(values).mean((0, 1, 2)), np.asarray(layer.moving_mean))[0, 1]
        for layer, values in zip(norms, found, strict=True)
        if layer.moving_mean.shape[0] > 3
    }
    # Behind a linear bottleneck every mean is zero, which says nothing; the projections that end a stage stand behind
    # an activation, as does every normalisation of the pre-activated ResNet.
    entries = (
        [entry for entry in agreement if entry.endswith("batchnorm0")]
        if name.startswith("resnet")
        else [f"linearbottleneck{block}_batchnorm2" for block in (0, 2, 5, 9, 12, 15, 16)]
    )
    assert len(entries) > 3
    assert min(agreement[entry] for entry in entries) > 0.9, agreement
    spread = [
        float(np.median(np.asarray(values).std((0, 1, 2)) / np.sqrt(np.asarray(layer.moving_variance))))
        for layer, values in zip(norms, found, strict=True)
    ]
    assert 0.9 < float(np.median(spread)) < 1.1
    assert zoo.published(file)


def test_shuffled_labels_are_learnt_by_the_whole_network(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from melascope.training import judge

    seen: list[recipes.Recipe] = []

    class EnoughError(Exception):
        pass

    def fitted(recipe: recipes.Recipe, *rest: Any, **options: Any) -> None:
        seen.append(recipe)
        raise EnoughError

    monkeypatch.setattr("melascope.training.fit.fit", fitted)
    rows = {"train": np.arange(8), "test": np.arange(8, 12)}
    parts = ["train"] * 8 + ["test"] * 4
    table = pd.DataFrame({"diagnosis": ["MEL", "NV"] * 6, "group": [str(n) for n in range(12)], "part": parts})
    for recipe in (recipes.load("efficientnetv2-finetuned"), recipes.load("mobilenetv2-finetuned")):
        with pytest.raises(EnoughError):
            judge.train_on_shuffled(
                Path("nowhere"), recipe, table, IMAGES, rows, ("MEL", "NV"), 0, lambda *told: None, 1
            )
    # With ImageNet's weights it is fine-tuned, after a share of its epochs; a network that went on from a run, and has
    # no weights of its own, begins anew here and is not frozen.
    tuned, anew = (recipe.schedule for recipe in seen)
    assert tuned.epochs == recipes.load("efficientnetv2-finetuned").schedule.epochs // 4
    assert 0 < tuned.frozen_epochs < tuned.epochs
    assert (anew.frozen_epochs, anew.frozen_share) == (0, 0.0)
    networks.refuse_untaught(seen[1])


def test_the_file_of_the_zoo_fills_what_an_archive_of_its_arrays_fills(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper, save

    model = networks.build(recipe_of("mobilenetv2-onnx"), 2)
    draw, arrays = np.random.default_rng(0), {}
    for layer in backbones.inside(model).layers:  # type: ignore[union-attr]
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if len(shape) == 4:  # as the zoo has them: a depthwise convolution is (channels, 1, h, w)
                shape = (shape[2], 1, *shape[:2]) if shape[3] == 1 else (shape[3], shape[2], *shape[:2])
            part = {"moving_mean": "running_mean", "moving_variance": "running_var"}.get(weight.name, weight.name)
            part = "weight" if part == "kernel" else part
            arrays[f"mobilenetv20_features_{layer.name}_{part}"] = draw.uniform(0.1, 1, shape).astype(np.float32)
    np.savez(tmp_path / "w.npz", **arrays)
    graph = helper.make_graph([], "zoo", [], [], [numpy_helper.from_array(a, name) for name, a in arrays.items()])
    save(helper.make_model(graph), tmp_path / "w.onnx")
    filled = []
    for name in ("w.npz", "w.onnx"):
        _, served = networks.build_for_training(
            recipe_of("mobilenetv2-onnx", network={"weights": str(tmp_path / name)}), 2
        )
        filled.append([np.asarray(weight) for weight in backbones.inside(served).weights])  # type: ignore[union-attr]
    assert all(np.array_equal(one, other) for one, other in zip(*filled, strict=True))
    assert len(filled[0]) == len(arrays)
