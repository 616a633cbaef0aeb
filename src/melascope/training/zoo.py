"""MobileNetV2 and ResNet-50 v2 up to its third stage, as the ONNX model zoo publishes them.

MobileNetV2 (Sandler et al. 2018) differs from that of Keras in three ways:
its first block has an expansion too, 3x3 convolutions pad by one on every
side, and batch normalisation adds 1e-5. ResNet-50 v2 (He et al. 2016b) ends
after its third stage, 1024 channels at a sixteenth of the side, with the
batch normalisation that would open the fourth.

The zoo's arrays are `(out, in, h, w)`, depthwise ones `(channels, 1, h, w)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.errors import RecipeError, RunError
from melascope.training import backend, checkpoint

ONNX = ".onnx"
SUFFIXES = (".npz", ONNX)
"""Of files with arrays of the zoo: its own, and archives of the same arrays by the same names."""
_EPSILON, _MOMENTUM = 1e-5, 0.9
_BLOCKS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""MobileNetV2: channels, blocks and the first block's stride of each stage."""
_STAGES = ((256, 3, 1), (512, 4, 2), (1024, 6, 2))
"""ResNet-50: the same."""
_PREFIX = {"mobilenetv2-onnx": "mobilenetv20_features_", "resnet50v2-onnx-stages3": "resnetv24_"}
_PARTS = {"gamma": "gamma", "beta": "beta", "moving_mean": "running_mean", "moving_variance": "running_var"}


def features(name: str, x: Any) -> Any:
    """Return the feature maps of a network of the zoo; its layers bear the zoo's names without the prefix."""
    return _mobilenet(x) if name == "mobilenetv2-onnx" else _resnet(x)


def published(file: Path) -> bool:
    """Return whether a file holds arrays of the zoo, by their names.

    Raises:
        RunError: When it is missing or no such file.
    """
    names = _initialisers(file) if file.suffix == ONNX else checkpoint.names(file)
    return any(name.startswith(tuple(_PREFIX.values())) for name in names)


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    if file.suffix != ONNX:
        return checkpoint.read(file)
    from onnx import numpy_helper

    return {name: numpy_helper.to_array(found) for name, found in _initialisers(file).items()}


def _initialisers(file: Path) -> dict[str, Any]:
    """Return the weights of an ONNX file by name, as they stand there."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return {found.name: found for found in onnx.load(file).graph.initializer}
    except FileNotFoundError:
        raise RunError(f"{file} does not exist.") from None
    except (OSError, ValueError, DecodeError) as error:
        raise RunError(f"{file} is damaged or no ONNX file: {type(error).__name__}.") from None


def assign(model: Any, name: str, file: Path) -> None:
    """Fill a model that holds `features` with the arrays of a file.

    Raises:
        RecipeError: When an array is missing or has another shape.
    """
    arrays = _arrays(file)
    for layer in model.layers:
        for weight in layer.weights:
            part = weight.path.rpartition("/")[2]
            source = f"{_PREFIX[name]}{layer.name}_{_PARTS.get(part, 'weight')}"
            if source not in arrays:
                raise RecipeError(f"network.weights: {file} has no {source}, so it is not of the backbone {name}.")
            array = _turned(arrays[source])
            if array.shape != tuple(weight.shape):
                raise RecipeError(f"network.weights: {source} in {file} is {array.shape}, not {tuple(weight.shape)}.")
            weight.assign(array.astype(np.float32))


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 4:
        return array
    # Keras wants (h, w, in, out), and for a depthwise convolution (h, w, channels, 1).
    return array.transpose(2, 3, 0, 1) if array.shape[1] == 1 else array.transpose(2, 3, 1, 0)


def _convolve(x: Any, name: str, width: int, kernel: int, stride: int = 1) -> Any:
    x, padding = _padded(x, name, kernel, stride)
    layer = backend.load().layers.Conv2D(width, kernel, strides=stride, padding=padding, use_bias=False, name=name)
    return layer(x)


def _padded(x: Any, name: str, kernel: int, stride: int) -> tuple[Any, str]:
    """Return features and the padding to ask for, so that a convolution sees as many zeros on each side.

    With stride 1 that is Keras's own `same`, which needs no copy of the features; with stride 2 `same` has more of them
    below and to the right.
    """
    if kernel == 1 or stride == 1:
        return x, "same"
    return backend.load().layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"


def _normalise(x: Any, name: str) -> Any:
    from melascope.training.batch_norm import BatchNormalization

    return BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=name)(x)


def _mobilenet(x: Any) -> Any:
    layers = backend.load().layers

    def activate(x: Any, name: str) -> Any:
        return layers.ReLU(6.0, name=f"{name}_relu")(_normalise(x, name))

    x = activate(_convolve(x, "conv0", 32, 3, 2), "batchnorm0")
    block = 0
    for channels, depth, first in _BLOCKS:
        for step in range(depth):
            name, stride, inputs = f"linearbottleneck{block}_", first if step == 0 else 1, x.shape[-1]
            shortcut = x
            x = activate(_convolve(x, f"{name}conv0", inputs * (6 if block else 1), 1), f"{name}batchnorm0")
            x, padding = _padded(x, f"{name}conv1", 3, stride)
            x = layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=f"{name}conv1")(x)
            x = activate(x, f"{name}batchnorm1")
            x = _normalise(_convolve(x, f"{name}conv2", channels, 1), f"{name}batchnorm2")
            if stride == 1 and inputs == channels:
                x = layers.Add(name=f"{name}add")([shortcut, x])
            block += 1
    return activate(_convolve(x, "conv1", 1280, 1), "batchnorm1")


def _resnet(x: Any) -> Any:
    layers = backend.load().layers

    def activate(x: Any, name: str) -> Any:
        return layers.ReLU(name=f"{name}_relu")(_normalise(x, name))

    x = _convolve(_normalise(x, "batchnorm0"), "conv0", 64, 7, 2)
    x = activate(x, "batchnorm1")
    # Nothing is below zero here, so that padding by zeros is the same as by nothing.
    x = layers.MaxPooling2D(3, 2, name="pool")(layers.ZeroPadding2D(1, name="pool_pad")(x))
    for stage, (channels, depth, first) in enumerate(_STAGES, start=1):
        norm = conv = 0
        for step in range(depth):
            name, stride, width = f"stage{stage}_", first if step == 0 else 1, channels // 4
            shortcut = x
            x = activate(x, f"{name}batchnorm{norm}")
            entry = x
            x = activate(_convolve(x, f"{name}conv{conv}", width, 1), f"{name}batchnorm{norm + 1}")
            x = activate(_convolve(x, f"{name}conv{conv + 1}", width, 3, stride), f"{name}batchnorm{norm + 2}")
            x = _convolve(x, f"{name}conv{conv + 2}", channels, 1)
            if step == 0:
                shortcut = _convolve(entry, f"{name}conv3", channels, 1, stride)
            x = layers.Add(name=f"{name}add{step}")([x, shortcut])
            norm, conv = norm + 3, conv + (4 if step == 0 else 3)
    return activate(x, "stage4_batchnorm0")
