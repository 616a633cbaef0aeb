"""Networks trained by others as the features of ours: those of Keras, and two of the ONNX model zoo.

A backbone is a nested model called "backbone" from float32 `(n, h, w, 3)` in
[0, 255] to feature maps `(n, h', w', d)`; what it expects of a photograph is
part of it. Training may leave it frozen for some epochs (`freeze`), weights
are counted by place in it, because Keras' own layers have no lasting names.
"""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melascope.errors import RecipeError, WeightsError
from melascope.training import backend, zoo
from melascope.training.backbone_names import BACKBONES, IMAGENET

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe
    from melascope.training.recipe_sections import Network

NAME = "backbone"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BARE = ("ConvNeXt", "EfficientNetV2", "MobileNetV3")
_CAFFE_MEAN = (123.68, 116.779, 103.939)


def build(recipe: Recipe) -> Any:
    """Return the backbone of a recipe, freshly initialised.

    Raises:
        RecipeError: When it cannot be built for photographs of this size.
    """
    keras = backend.load()
    name = str(recipe.network.backbone)
    height, width = recipe.data.shape
    pixels = keras.Input((height, width, 3), dtype="float32", name="pixels")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.schedule.precision == "bfloat16" else "float32")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Keras, about sizes for which there are no weights
            features = _features(name, prepare(name, pixels), (height, width))
    except ValueError as error:
        raise RecipeError(
            f"The backbone {name} cannot take photographs of {height}x{width} pixels ({_line(error)}); "
            "choose another data.size or network.backbone."
        ) from None
    finally:
        keras.config.set_dtype_policy(before)
    return keras.Model(pixels, features, name=NAME)


def prepare(name: str, pixels: Any) -> Any:
    """Return photographs in [0, 255] as a backbone expects them, like its own `preprocess_input`."""
    keras = backend.load()
    kind = BACKBONES[name].input
    offset: Any = -1.0
    scale: Any = 1.0 / 127.5
    if kind == "signed":
        scale = 1.0 / 128.0
    elif kind == "imagenet":
        scale = [1.0 / (255.0 * deviation) for deviation in _DEVIATION]
        offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    elif kind == "caffe":
        from melascope.training.layers import ReverseChannels

        pixels = ReverseChannels(name="blue_green_red")(pixels)
        scale, offset = 1.0, [-mean for mean in reversed(_CAFFE_MEAN)]
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="input_scale")(pixels)


def inside(model: Any) -> Any | None:
    """Return the backbone within a network that `networks` built, or None."""
    for layer in model.layers:
        if layer.name == NAME:
            return layer
        if layer.name == "network":
            return inside(layer)
    return None


def start(model: Any, recipe: Recipe) -> None:
    """Fill a network's backbone with the weights that the recipe names.

    Raises:
        RecipeError: When they cannot be fetched, read or do not fit.
    """
    name = str(recipe.network.backbone)
    target: Any = inside(model)
    weights, file = recipe.network.weights, recipe.network.weights_file
    if file is not None and file.suffix in zoo.SUFFIXES:
        zoo.assign(target, name, file)
        return
    given = _fetched(name) if weights == IMAGENET else _from_file(name, Path(str(file)), target.input_shape[1:3])
    current = _own(target).get_weights()
    if [array.shape for array in given] != [array.shape for array in current]:
        raise RecipeError(f"The weights of {file or IMAGENET} are not those of the backbone {name}.")
    _own(target).set_weights(given)


def refuse_trained(network: Network) -> None:
    """Refuse weights of a training as `network.weights`: only what a backbone learnt from ImageNet may stand there.

    A training has seen photographs of lesions. Which ones is known of a run of ours, and `--from` keeps them from
    judging what comes out of it; of any other file nobody can say.

    Raises:
        RecipeError: When the file is not of a backbone.
        RunError: When it is an `.npz` or an `.onnx` that cannot be read.
    """
    file = network.weights_file
    if file is None:
        return
    arrays = file.suffix in zoo.SUFFIXES
    if (not arrays or zoo.published(file)) and network.backbone is not None:
        if arrays and not BACKBONES[network.backbone].arrays:
            raise RecipeError(
                f"network.weights: {file} is of a network of the ONNX model zoo, not of {network.backbone}. "
                'Give weights = "imagenet" or the .h5 file that keras.applications publishes.'
            )
        return
    raise RecipeError(
        f"network.weights: {file} is not what a backbone of this recipe learnt from ImageNet, so it is taken for the "
        "weights of a training, and nobody can say which photographs that has seen. To go on from a training, leave "
        "network.weights out and name the run by --from RUN, which keeps its photographs from judging."
    )


def freeze(model: Any, recipe: Recipe, frozen: bool) -> None:
    """Make a network's backbone fixed, or trainable but for what the recipe keeps fixed.

    The batch normalisation of a fixed layer uses its stored statistics and
    leaves them alone.
    """
    found = inside(model)
    if found is None or not recipe.schedule.frozen_epochs:
        return
    keras = backend.load()
    found.trainable = not frozen
    if frozen:
        return
    layers = list(_flat(found))
    for place, layer in enumerate(layers):
        norm = isinstance(layer, keras.layers.BatchNormalization) and not recipe.schedule.finetune_norms
        layer.trainable = not norm and place >= round(recipe.schedule.frozen_share * len(layers))


def _flat(model: Any) -> list[Any]:
    return [leaf for layer in model.layers for leaf in (_flat(layer) if hasattr(layer, "layers") else [layer])]


def _features(name: str, pixels: Any, size: tuple[int, int]) -> Any:
    if BACKBONES[name].arrays:
        return zoo.features(name, pixels)
    from melascope.training.batch_norm import rebuilt

    return _convertible(rebuilt(_without_normalisation(name, _of_keras(name, None, (*size, 3)))))(pixels)


def _of_keras(name: str, weights: str | None, shape: tuple[int, int, int] | None) -> Any:
    keras = backend.load()
    make = getattr(keras.applications, name)
    bare = {"include_preprocessing": False} if name.startswith(_BARE) else {}
    return make(include_top=False, weights=weights, input_shape=shape, **bare)


def _without_normalisation(name: str, model: Any) -> Any:
    """Return the model without a Normalization, whose constants the conversion to ONNX makes graph inputs."""
    keras = backend.load()
    if not _is_first_efficientnet(name):
        return model
    place = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    return keras.Model(place.output, model.output, name=name.lower())


def _convertible(model: Any) -> Any:
    """Let ConvNeXt compute the same by operations that can be converted to ONNX.

    On TensorFlow Keras compiles a convolution of one channel per group by XLA, and its GELU takes the complement of
    the error function; a depthwise convolution, which is faster too, and the error function itself can be converted.
    """
    keras = backend.load()
    ops = keras.ops

    def depthwise(strides: Any, padding: str) -> Any:
        return lambda x, kernel: ops.depthwise_conv(x, ops.transpose(kernel, (0, 1, 3, 2)), strides, padding)

    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.groups == layer.filters > 1:
            layer.convolution_op = depthwise(layer.strides, layer.padding)
        elif isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.gelu:
            layer.activation = _gelu
    return model


def _gelu(x: Any) -> Any:
    ops = backend.load().ops
    return 0.5 * x * (1.0 + ops.erf(x / np.asarray(math.sqrt(2.0), dtype=np.float32)))


def _is_first_efficientnet(name: str) -> bool:
    return re.fullmatch(r"EfficientNetB\d", name) is not None


def _own(target: Any) -> Any:
    """Return what Keras built within our backbone."""
    return next(layer for layer in target.layers if hasattr(layer, "layers"))


def _fetched(name: str) -> list[NDArray[Any]]:
    keras = backend.load()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given: list[NDArray[Any]] = _of_keras(name, IMAGENET, None).get_weights()
    except Exception as error:  # whatever the network and the disk can do
        address = re.search(r"https?://\S+?(?=:?\s|:$|$)", str(error))
        folder = Path(keras.config.keras_home() if hasattr(keras.config, "keras_home") else "~/.keras") / "models"
        how = f"get {address[0]} on another machine and put it into {folder}" if address else "try again with a network"
        raise WeightsError(
            f"The ImageNet weights of {name} could not be fetched ({_line(error)}). Either {how}, "
            "or name the file by network.weights."
        ) from None
    return _rescaled(name, given)


def _from_file(name: str, file: Path, size: tuple[int, int]) -> list[NDArray[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given: list[NDArray[Any]] = _of_keras(name, str(file), (*size, 3)).get_weights()
    except Exception as error:  # h5py and Keras raise almost anything
        raise RecipeError(
            f"network.weights: {file} cannot be read as the weights of {name} ({_line(error)}). It takes the .h5 file "
            'without classifier ("notop") that keras.applications publishes.'
        ) from None
    return _rescaled(name, given)


def _rescaled(name: str, given: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Take the mean, variance and count of EfficientNet's normalisation away from its weights.

    With weights = "imagenet" Keras divides by the root of that variance, then by the root of the deviation by a
    layer that it adds only then; here `prepare` divides by the deviation, and the first kernel takes the rest.
    """
    if not _is_first_efficientnet(name):
        return given
    rest = np.sqrt(np.asarray(_DEVIATION) / given[1])
    return [(given[3] * rest[:, None]).astype(given[3].dtype), *given[4:]]


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].rstrip(".")
