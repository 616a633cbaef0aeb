"""The recipes of published course projects, layer by layer, against what was published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from melascope.training import networks
from melascope.training import recipe as recipes

pytestmark = pytest.mark.train


def conv(kernel: int, inputs: int, width: int, norm: bool = False) -> int:
    """Parameters of a convolution with biases, or with the four vectors of a batch normalisation in their place."""
    return kernel * kernel * inputs * width + (4 * width if norm else width)


def dense(inputs: int, width: int) -> int:
    return (inputs + 1) * width


LAYERS: dict[str, tuple[str, int]] = {
    "wide-kernel-cnn": (
        "c32k5 c32k5 pool c32k5 pool c64k5 pool c64k5 pool drop.25 flatten dense9",
        2432 + 25632 + 25632 + 51264 + 102464 + 69705,  # as printed in the published notebook: 277,129
    ),
    "wide-kernel-augmented": (
        "c32k5 c32k5 pool c64k5 pool c64k5 pool drop.25 flatten dense9",
        2432 + 25632 + 51264 + 102464 + dense(22 * 22 * 64, 9),
    ),
    "sgd-cnn": (
        "c32k3 pool c64k3 pool c64k3 flatten dense64 dense9",
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 64) + dense(45 * 45 * 64, 64) + dense(64, 9),
    ),
    "sgd-augmented": (
        "c32k3 pool c64k3 pool c128k3 pool drop.5 flatten dense128 drop.25 dense9",
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 128) + dense(22 * 22 * 128, 128) + dense(128, 9),
    ),
    "deep-cnn": (
        "c32k3 pool c64k3 pool c128k3 pool c256k3 pool flatten dense512 drop.5 dense9",
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 128) + conv(3, 128, 256) + dense(11 * 11 * 256, 512)
        + dense(512, 9),
    ),
    "regularised-cnn": (
        "c32k3 norm pool c64k3 norm pool c128k3 norm pool c256k3 norm pool flatten dense512 drop.6 dense9",
        conv(3, 3, 32, True) + conv(3, 32, 64, True) + conv(3, 64, 128, True) + conv(3, 128, 256, True)
        + dense(11 * 11 * 256, 512) + dense(512, 9),
    ),
    "batchnorm-cnn": (
        "c32k3 norm c32k3 norm pool drop.25 c64k3 norm c64k3 norm pool drop.25 flatten dense512 drop.5 dense9",
        conv(3, 3, 32, True) + conv(3, 32, 32, True) + conv(3, 32, 64, True) + conv(3, 64, 64, True)
        + dense(45 * 45 * 64, 512) + dense(512, 9),
    ),
    "plain-augmented": (
        "c32k3 pool c64k3 pool c128k3 pool drop.25 flatten dense128 dense9",
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 128) + dense(22 * 22 * 128, 128) + dense(128, 9),
    ),
}  # fmt: skip


def told(layer: Any) -> str | None:
    kind = type(layer).__name__
    if kind == "Conv2D":
        assert layer.strides == (1, 1)
        assert layer.padding == "same"
        return f"c{layer.filters}k{layer.kernel_size[0]}"
    if kind == "Dropout":
        return f"drop{layer.rate:g}".replace("0.", ".")
    if kind == "Dense":
        return f"dense{layer.units}"
    if kind == "MaxPooling2D":
        assert layer.pool_size == layer.strides == (2, 2)
    return {"MaxPooling2D": "pool", "BatchNormalization": "norm", "Flatten": "flatten"}.get(kind)


@pytest.mark.parametrize("name", LAYERS)
def test_a_course_network_has_the_published_layers_and_weights(name: str) -> None:
    body = networks.build(recipes.load(name), 9).get_layer("network")
    sequence, count = LAYERS[name]
    assert " ".join(word for word in map(told, body.layers) if word) == sequence
    assert body.count_params() == count
    rescaling = body.get_layer("rescaling")
    assert (rescaling.scale, rescaling.offset) == (pytest.approx(1 / 255), 0)


def test_a_course_network_rectifies_every_convolution() -> None:
    for name in LAYERS:
        body = networks.build(recipes.load(name), 2).get_layer("network")
        kinds = [type(layer).__name__ for layer in body.layers]
        assert kinds.count("ReLU") == kinds.count("Conv2D")


TRAINING: dict[str, tuple[str, float, int]] = {
    "wide-kernel-cnn": ("adam", 1e-3, 30),
    "wide-kernel-augmented": ("adam", 1e-3, 30),
    "sgd-cnn": ("sgd", 1e-2, 20),
    "sgd-augmented": ("sgd", 1e-2, 20),
    "deep-cnn": ("adam", 1e-3, 20),
    "regularised-cnn": ("adam", 1e-3, 20),
    "batchnorm-cnn": ("sgd", 1e-2, 30),
    "plain-augmented": ("adam", 1e-3, 20),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_course_network_is_trained_as_published(name: str) -> None:
    recipe = recipes.load(name)
    optimiser, schedule = recipe.optimiser, recipe.schedule
    assert (optimiser.name, optimiser.learning_rate, schedule.epochs) == TRAINING[name]
    assert (recipe.data.shape, recipe.data.geometry, recipe.data.batch_size) == ((180, 180), "squash", 32)
    assert (schedule.kind, schedule.keep, schedule.precision) == ("constant", "last", "float32")
    assert (optimiser.momentum, optimiser.weight_decay, optimiser.ema, optimiser.clip_norm) == (0, 0, 0, 0)
    assert recipe.balance.sampling == recipe.balance.class_weights == "none"
    assert recipe.network.l2 == (1e-3 if name == "regularised-cnn" else 0)


def test_augmentation_is_as_published() -> None:
    wide = recipes.load("wide-kernel-augmented").augmentation
    assert (wide.flip, wide.rotation, wide.zoom_range, wide.fill) == ("both", 0.2, (0.2, 0.3), "reflect")
    sgd = recipes.load("sgd-augmented").augmentation
    assert sgd.flip != "none"
    assert min(sgd.brightness, sgd.contrast, sgd.rotation) > 0
    regularised = recipes.load("regularised-cnn").augmentation
    assert (regularised.flip, regularised.rotation, regularised.zoom_range) == ("horizontal", 0.2, (-0.2, 0.2))
    for name in ("wide-kernel-cnn", "sgd-cnn", "deep-cnn", "batchnorm-cnn"):
        assert recipes.load(name).augmentation == type(wide)()


def test_rotation_and_zoom_mean_what_they_mean_in_keras() -> None:
    import keras

    from melascope.training.layers import RandomAffine

    disc = np.zeros((1, 65, 65, 3), dtype=np.float32)
    y, x = np.mgrid[:65, :65] - 32
    disc[0, (np.abs(x) <= 20) & (np.abs(y) <= 4)] = 255
    ours = np.asarray(RandomAffine(zoom=(0.25, 0.25), fill="constant")(disc))
    theirs = np.asarray(keras.layers.RandomZoom((0.25, 0.25), fill_mode="constant")(disc, training=True))
    assert ours.mean() == pytest.approx(theirs.mean(), rel=0.05)
    turned = [np.asarray(RandomAffine(rotation=0.25, fill="constant")(disc.repeat(64, 0)))]
    turned.append(
        np.asarray(keras.layers.RandomRotation(0.25, fill_mode="constant")(disc.repeat(64, 0), training=True))
    )
    reach = [np.abs(y[None] * (images[..., 0] > 127)).max(axis=(1, 2)) for images in turned]
    assert all(17 <= far.max() <= 21 for far in reach)  # a quarter turn to either side sets the bar upright
