"""Networks by name: from a recipe to a Keras model on uint8 photographs.

A network is a function `(recipe, images, classes) -> outputs` from a
float32 tensor `(n, h, w, 3)` in [0, 255] to a dict of tensors. A package of
one's own adds one by `@register("name")`, or by an entry point in the group
`melascope.networks` whose value is such a function.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from melascope.errors import RecipeError, RunError
from melascope.training import backbones, backend, checkpoint
from melascope.training.backbone_names import BACKBONES, IMAGENET

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe
    from melascope.training.recipe_sections import Network

Builder = Callable[["Recipe", Any, int], dict[str, Any]]


class _Registry(Mapping[str, Builder]):
    """The known networks, our own and those of installed packages."""

    def __init__(self) -> None:
        self._own: dict[str, Builder] = {}

    def _others(self) -> dict[str, metadata.EntryPoint]:
        return {entry.name: entry for entry in metadata.entry_points(group="melascope.networks")}

    def add(self, name: str, builder: Builder) -> None:
        self._own[name] = builder

    def __getitem__(self, name: str) -> Builder:
        if name in self._own:
            return self._own[name]
        builder: Builder = self._others()[name].load()
        return builder

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._own, *self._others()]))

    def __len__(self) -> int:
        return len(list(iter(self)))


NETWORKS = _Registry()


def register(name: str) -> Callable[[Builder], Builder]:
    """Add a network under a name that recipes can use."""

    def added(builder: Builder) -> Builder:
        NETWORKS.add(name, builder)
        return builder

    return added


_MIRRORED = ((False, False), (False, True), (True, True), (True, False))
"""Whether a photograph is turned over down and across, for its mirror images in the order of `network.views`."""


def build(recipe: Recipe, n_classes: int) -> Any:
    """Return the network for serving, freshly initialised.

    Args:
        recipe: Names the network; `schedule.precision` sets the arithmetic.
        n_classes: Number of diagnoses `c`.

    Returns:
        A `keras.Model` from "image", uint8 `(n, h, w, 3)`, to a dict of
        float32 `logits (n, c)`, `embedding (n, d)` and, for pooled heads,
        `heatmap (n, c, h', w')`. It has no augmentation.
    """
    keras = backend.load()
    height, width = recipe.data.shape
    image = keras.Input((height, width, 3), dtype="uint8", name="image")
    return keras.Model(image, _served(recipe, _body(recipe, n_classes), image), name=_plain(recipe.name))


def build_for_training(recipe: Recipe, n_classes: int) -> tuple[Any, Any]:
    """Return (model to train, model to serve), which share all weights.

    The model to train augments its input and puts out logits only.
    """
    from melascope.training.augmentation import augment

    keras = backend.load()
    height, width = recipe.data.shape
    body = _body(recipe, n_classes)
    image = keras.Input((height, width, 3), dtype="uint8", name="image")
    trained = keras.Model(image, body(augment(recipe, _pixels(recipe, image)))["logits"], name="training")
    image = keras.Input((height, width, 3), dtype="uint8", name="image")
    served = keras.Model(image, _served(recipe, body, image), name=_plain(recipe.name))
    _start(served, recipe)
    return trained, served


def _start(model: Any, recipe: Recipe) -> None:
    frozen = recipe.schedule.frozen_epochs
    if frozen and backbones.inside(model) is None:
        raise RecipeError(
            f'The recipe "{recipe.name}" has schedule.frozen_epochs = {frozen}, but its network '
            f'"{recipe.network.name}" has no part called "{backbones.NAME}" to freeze; set it to 0.'
        )
    if recipe.network.weights is not None:
        backbones.refuse_trained(recipe.network)  # the file may be another one since the recipe was read
        backbones.start(model, recipe)


def refuse_untaught(recipe: Recipe) -> None:
    """Refuse to freeze a backbone without weights.

    Raises:
        RecipeError: In that case, with the lines that a recipe file needs.
    """
    from melascope.training.recipe import names

    network = recipe.network
    if not recipe.schedule.frozen_epochs or network.backbone is None or network.weights is not None:
        return
    if BACKBONES[network.backbone].arrays:
        weights, what = BACKBONES[network.backbone].file, "a file of its ImageNet weights"
    else:
        weights, what = IMAGENET, "its ImageNet weights, a file or what Keras fetches"
    shipped = recipe.name in names()
    lines = [f'extends = "{recipe.name}"', ""] if shipped else []
    lines += ["[network]", f'weights = "{weights}"']
    where = "a file of your own, such as mine.toml, and train with --recipe mine.toml" if shipped else "its file"
    raise RecipeError(
        f'The recipe "{recipe.name}" freezes a backbone that has learnt nothing: it needs {what}. Write into {where}:'
        + "\n".join(["\n", *lines])
    )


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a network's weights as `.npz`, by name; the file appears whole or not at all."""
    keras = backend.load()
    checkpoint.write(path, {name: keras.ops.convert_to_numpy(weight) for name, weight in weights(model).items()})


def weights(model: Any) -> dict[str, Any]:
    """Return a network's weights by lasting names: their paths, and their places within a backbone."""
    backbone = backbones.inside(model)
    places = {} if backbone is None else {id(weight): place for place, weight in enumerate(backbone.weights)}
    named = {}
    for weight in model.weights:
        place = places.get(id(weight))
        leaf = re.sub(r"_\d+$", "", weight.path.rpartition("/")[2])  # some variables are numbered as they are made
        named[weight.path if place is None else f"{backbones.NAME}/{place:04d}/{leaf}"] = weight
    return named


def load_weights(model: Any, path: str | os.PathLike[str], partly: bool = False) -> None:
    """Read weights that `save_weights` wrote into a network of the same recipe.

    Args:
        model: What `build` returned.
        path: The `.npz`.
        partly: Take what has the same name and shape, and leave the rest.

    Raises:
        RunError: When the file is damaged, or not of this network.
    """
    arrays = checkpoint.read(path)
    named = weights(model)
    fitting = {n: w for n, w in named.items() if n in arrays and tuple(w.shape) == arrays[n].shape}
    wrong = [name for name in named if name not in fitting]
    if not fitting or (wrong and not partly):
        raise RunError(
            f"{path} holds the weights of another network: {len(wrong)} of {len(named)} do not fit, "
            f"first {wrong[0]}. Use the recipe with which it was trained."
        )
    for name, weight in fitting.items():
        weight.assign(arrays[name])


def feature_side(network: Network, side: int) -> int:
    """Return the side of the last feature map of the network `cnn` for photographs of a side, in pixels."""
    if network.stem:
        side = (side - network.kernel) // 2 + 1 if network.padding == "valid" else -(-side // 2)
    for stage, depth in enumerate(network.depths):
        if network.padding == "valid":
            side -= depth * (network.kernel - 1)
        if stage + 1 < len(network.widths) or network.pool_last:
            side //= 2
        if side < 1:
            return 0
    return side


def _plain(name: str) -> str:
    """Return a recipe's name as the framework takes it: Latin letters, digits and _, no _ in front."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return plain if plain[:1].isalnum() else f"network{plain}"


def _pixels(recipe: Recipe, image: Any) -> Any:
    """Return a photograph's pixels `(n, h, w, 3)`, 0 to 255, as the network sees them before any augmentation."""
    keras = backend.load()
    # A plain Rescaling instead of a cast: tf2onnx turns other forms of preprocessing into graph inputs.
    pixels = keras.layers.Rescaling(1.0, dtype="float32")(image)
    from melascope.training.layers import OneLight

    return OneLight(dtype="float32", name="one_light")(pixels) if recipe.network.colour_constancy else pixels


def _body(recipe: Recipe, n_classes: int) -> Any:
    keras = backend.load()
    height, width = recipe.data.shape
    pixels = keras.Input((height, width, 3), dtype="float32", name="pixels")
    outputs = NETWORKS[recipe.network.name](recipe, pixels, n_classes)
    return keras.Model(pixels, outputs, name="network")


def _served(recipe: Recipe, body: Any, image: Any) -> dict[str, Any]:
    """Return what is served for an image: the body's outputs, or their mean over its mirror images."""
    pixels, mirrored = _pixels(recipe, image), _MIRRORED[: recipe.network.views]
    if len(mirrored) == 1:
        outputs: dict[str, Any] = body(pixels)
        return outputs
    ops = backend.load().ops
    seen = body(ops.concatenate([_turned(pixels, 1, down, 2, across) for down, across in mirrored], axis=0))
    parts = {name: ops.reshape(value, (len(mirrored), -1, *value.shape[1:])) for name, value in seen.items()}
    if "heatmap" in parts:  # (views, n, c, h', w'): each map is turned back before they are averaged
        maps = [_turned(parts["heatmap"][i], 2, down, 3, across) for i, (down, across) in enumerate(mirrored)]
        parts["heatmap"] = ops.stack(maps, axis=0)
    return {name: ops.mean(value, axis=0) for name, value in parts.items()}


def _turned(x: Any, rows: int, down: bool, columns: int, across: bool) -> Any:
    ops = backend.load().ops
    for axis, turn in ((rows, down), (columns, across)):
        if turn:  # by index: a slice with a negative step is lost on the way to ONNX
            x = ops.take(x, np.arange(x.shape[axis] - 1, -1, -1, dtype=np.int32), axis=axis)
    return x


@register("cnn")
def cnn(recipe: Recipe, pixels: Any, n_classes: int) -> dict[str, Any]:
    """Build stages of convolutions with a pooled or a flattened head.

    The activation stands after the pooling: for a rising activation and a
    maximum this is the same function, at a quarter of the elementwise work.
    """
    keras = backend.load()
    from melascope.training.batch_norm import BatchNormalization

    layers = keras.layers
    network, policy = recipe.network, _policy(recipe)
    penalty = keras.regularizers.L2(network.l2) if network.l2 else None

    def convolve(x: Any, width: int, name: str, kernel: int, stride: int = 1) -> Any:
        options = {
            "strides": stride, "padding": network.padding, "use_bias": not network.batch_norm,
            "dtype": policy, "name": name,
        }  # fmt: skip
        if network.separable and kernel > 1 and x.shape[-1] > 3:
            x = layers.SeparableConv2D(
                width, kernel, depthwise_regularizer=penalty, pointwise_regularizer=penalty, **options
            )(x)
        else:
            x = layers.Conv2D(width, kernel, kernel_regularizer=penalty, **options)(x)
        if network.batch_norm:
            x = BatchNormalization(momentum=network.batch_norm_momentum, dtype=policy, name=f"{name}_norm")(x)
        return x

    low, high = (0.0, 1.0) if network.input_range == "unit" else (-1.0, 1.0)
    x = layers.Rescaling((high - low) / 255.0, low, dtype=policy, name="rescaling")(pixels)
    if network.stem:
        x = layers.ReLU(dtype=policy, name="stem_relu")(convolve(x, network.stem, "stem", network.kernel, stride=2))
    for stage, (width, depth) in enumerate(zip(network.widths, network.depths, strict=True), start=1):
        shortcut = x
        for step in range(1, depth + 1):
            name = f"stage{stage}_conv{step}"
            x = convolve(x, width, name, network.kernel)
            if step < depth:
                x = layers.ReLU(dtype=policy, name=f"{name}_relu")(x)
        if network.residual:
            if shortcut.shape[-1] != width:
                shortcut = convolve(shortcut, width, f"stage{stage}_shortcut", 1)
            x = layers.Add(dtype=policy, name=f"stage{stage}_add")([x, shortcut])
        if stage < len(network.widths) or network.pool_last:
            x = layers.MaxPooling2D(dtype=policy, name=f"stage{stage}_pool")(x)
        x = layers.ReLU(dtype=policy, name=f"stage{stage}_relu")(x)
        if network.stage_dropout:
            x = layers.Dropout(network.stage_dropout, dtype=policy, name=f"stage{stage}_dropout")(x)
    return _head(network, x, n_classes, policy)


@register("backbone")
def backbone(recipe: Recipe, pixels: Any, n_classes: int) -> dict[str, Any]:
    """Build a network on features that others trained, with a pooled or a flattened head; see `backbones`."""
    features = backbones.build(recipe)(pixels)
    return _head(recipe.network, features, n_classes, _policy(recipe))


def _policy(recipe: Recipe) -> Any:
    keras = backend.load()
    return keras.DTypePolicy("mixed_bfloat16" if recipe.schedule.precision == "bfloat16" else "float32")


def _head(network: Network, x: Any, n_classes: int, policy: Any) -> dict[str, Any]:
    keras = backend.load()
    layers = keras.layers
    from melascope.training.layers import PooledHead

    penalty = keras.regularizers.L2(network.l2) if network.l2 else None
    if network.head == "pooled" and not network.dense:
        head = PooledHead(n_classes, network.dropout, network.l2, dtype="float32", name="head")
        outputs: dict[str, Any] = head(x)
        return outputs
    if network.head == "pooled":
        x = layers.GlobalAveragePooling2D(dtype=policy, name="pool")(x)
    if network.dropout:
        x = layers.Dropout(network.dropout, dtype=policy, name="dropout")(x)
    if network.head == "flatten":
        x = layers.Flatten(dtype=policy, name="flatten")(x)
    for step, width in enumerate(network.dense, start=1):
        x = layers.Dense(width, "relu", kernel_regularizer=penalty, dtype=policy, name=f"dense{step}")(x)
        if network.dense_dropout:
            x = layers.Dropout(network.dense_dropout, dtype=policy, name=f"dense{step}_dropout")(x)
    embedding = layers.Identity(dtype="float32", name="embedding")(x)
    logits = layers.Dense(n_classes, kernel_regularizer=penalty, dtype="float32", name="logits")(embedding)
    return {"logits": logits, "embedding": embedding}
