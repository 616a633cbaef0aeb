from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from melascope.errors import RecipeError, RunError
from melascope.training import networks
from melascope.training import recipe as recipes

pytestmark = pytest.mark.train
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def small(**network: object) -> recipes.Recipe:
    return recipes.parse({"data": {"size": 32}, "network": {"widths": [4, 6], **network}})


def outputs(model: object, images: np.ndarray = IMAGES) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model(images, training=False).items()}  # type: ignore[operator]


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"stem": 4, "residual": True, "batch_norm": True, "convolutions": 2},
        {"separable": True, "kernel": 5, "pool_last": False},
        {"padding": "valid", "stage_dropout": 0.1, "input_range": "symmetric"},
        {"head": "flatten", "dense": [5, 7], "dense_dropout": 0.5, "l2": 1e-3},
        {"head": "pooled", "dense": [5]},
    ],
)
def test_every_shape_of_the_family_gives_the_contract(network: dict[str, object]) -> None:
    recipe = small(**network)
    model = networks.build(recipe, 5)
    assert model.input.name == "image"
    assert model.input.dtype == "uint8"
    found = outputs(model)
    assert found["logits"].shape == (3, 5)
    assert found["embedding"].ndim == 2
    assert all(value.dtype == np.float32 for value in found.values())
    if "dense" in network:
        assert found["embedding"].shape[1] == network["dense"][-1]  # type: ignore[index]
        assert "heatmap" not in found
    else:
        side = networks.feature_side(recipe.network, 32)
        assert found["heatmap"].shape == (3, 5, side, side)


@pytest.mark.parametrize("name", ["my récipe", "_mine", "mine (1)", "-", "病変", "small-cnn"])
def test_a_recipe_may_have_any_name(name: str) -> None:
    # The framework refuses a model to export whose name has other letters, or _ in front.
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", networks.build(small().replace(name=name), 3).name)


def test_the_heat_map_adds_up_to_the_logits() -> None:
    model = networks.build(small(), 4)
    bias = next(weight for weight in model.weights if weight.path == "head/bias")
    bias.assign([1.0, -2.0, 0.5, 3.0])
    found = outputs(model)
    np.testing.assert_allclose(found["heatmap"].mean(axis=(2, 3)) + np.asarray(bias), found["logits"], atol=1e-5)


def test_plain_cnn_is_the_classic_function() -> None:
    import keras

    layers = keras.layers
    ours = networks.build(recipes.load("plain-cnn"), 9)
    classic = keras.Sequential([keras.Input((180, 180, 3)), layers.Rescaling(1 / 255)])
    for width in (32, 64, 128):
        classic.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        classic.add(layers.MaxPooling2D())
    for layer in (layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(9)):
        classic.add(layer)
    assert [weight.shape for weight in classic.weights] == [weight.shape for weight in ours.weights]
    classic.set_weights(ours.get_weights())
    images = np.random.default_rng(1).integers(0, 256, (2, 180, 180, 3), dtype=np.uint8)
    expected = np.asarray(classic(images.astype(np.float32)))
    np.testing.assert_allclose(outputs(ours, images)["logits"], expected, atol=1e-5)


def test_small_cnn_is_small_and_explains_itself() -> None:
    recipe = recipes.load("small-cnn")
    model = networks.build(recipe, 8)
    assert model.count_params() < 1_000_000
    assert "heatmap" in model.output


def test_weights_come_back(tmp_path: Path) -> None:
    recipe = small(batch_norm=True)
    model = networks.build(recipe, 4)
    networks.save_weights(model, tmp_path / "weights.npz")
    again = networks.build(recipe, 4)
    assert not np.array_equal(outputs(again)["logits"], outputs(model)["logits"])
    networks.load_weights(again, tmp_path / "weights.npz")
    np.testing.assert_array_equal(outputs(again)["logits"], outputs(model)["logits"])


def test_weights_of_another_network_are_refused_or_partly_taken(tmp_path: Path) -> None:
    networks.save_weights(networks.build(small(), 4), tmp_path / "weights.npz")
    with pytest.raises(RunError, match="another network"):
        networks.load_weights(networks.build(small(), 5), tmp_path / "weights.npz")
    served = networks.build(small(), 5)
    networks.load_weights(served, tmp_path / "weights.npz", partly=True)
    taken = dict(np.load(tmp_path / "weights.npz"))
    kernels = {weight.path: np.asarray(weight) for weight in served.weights}
    np.testing.assert_array_equal(kernels["stage1_conv1/kernel"], taken["stage1_conv1/kernel"])
    with pytest.raises(RunError, match="does not exist"):
        networks.load_weights(served, tmp_path / "gone.npz")


def test_weights_that_became_those_of_a_training_since_the_recipe_was_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.npz"
    np.savez(file, mobilenetv20_features_conv0_weight=np.zeros(2))
    network = {"name": "backbone", "backbone": "mobilenetv2-onnx", "weights": str(file)}
    recipe = recipes.parse({"data": {"size": 32}, "network": network})
    networks.save_weights(networks.build(small(), 4), file)
    with pytest.raises(RecipeError, match="--from RUN"):
        networks.build_for_training(recipe, 4)


def test_half_precision_keeps_float32_outputs_and_nearly_the_logits() -> None:
    full = networks.build(small(), 4)
    half = networks.build(small().replace(schedule={"precision": "bfloat16"}), 4)
    half.set_weights(full.get_weights())
    found, expected = outputs(half), outputs(full)
    assert found["logits"].dtype == np.float32
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.05)


def test_a_network_of_ones_own_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(networks.NETWORKS, "_own", dict(networks.NETWORKS._own))

    @networks.register("mean-colour")
    def mean_colour(recipe: recipes.Recipe, pixels: object, n_classes: int) -> dict[str, object]:
        embedding = keras.layers.GlobalAveragePooling2D(name="mean")(pixels)
        return {"logits": keras.layers.Dense(n_classes, name="logits")(embedding), "embedding": embedding}

    model = networks.build(small(name="mean-colour"), 3)
    found = outputs(model)
    np.testing.assert_allclose(found["embedding"], IMAGES.mean(axis=(1, 2)), rtol=1e-5)


def test_a_photograph_too_small_for_an_unpadded_stem_is_refused() -> None:
    from melascope.errors import RecipeError

    shape = {"stem": 8, "kernel": 5, "padding": "valid", "widths": [8], "convolutions": 2}
    for side in range(20, 40):
        network = recipes.parse({"data": {"size": 64}, "network": {**shape}}).network
        expected = networks.feature_side(network, side)
        if expected < 1:
            with pytest.raises(RecipeError):
                recipes.parse({"data": {"size": side}, "network": shape})
        else:
            built = networks.build(recipes.parse({"data": {"size": side}, "network": shape}), 2)
            assert built.output["heatmap"].shape[2] == expected
