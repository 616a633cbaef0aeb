"""Augmentation in the graph, by name, and its preview.

All geometric changes of a recipe are one layer, and all changes of light
another, so that a photograph is resampled once. A package of one's own adds
a kind by `@register("name")`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melascope.training import backend, mixing

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe
    from melascope.training.recipe_sections import Augmentation

Maker = Callable[["Augmentation"], Any]
AUGMENTATIONS: dict[str, Maker] = {}
"""By name, in the order in which they act: a function from a recipe's section to a layer, or None where it is off."""

_PARTS: dict[str, tuple[str, ...]] = {
    "flip": ("flip",),
    "rotation": ("rotation", "fill"),
    "zoom": ("zoom", "fill"),
    "shift": ("shift", "fill"),
    "brightness": ("brightness",),
    "contrast": ("contrast",),
    "white_balance": ("white_balance",),
    "saturation": ("saturation",),
    "hue": ("hue",),
    "gamma": ("gamma",),
    "blur": ("blur",),
    "noise": ("noise",),
    "aspect": ("aspect", "fill"),
    "randaugment": ("randaugment", "randaugment_magnitude", "fill"),
}


def register(name: str) -> Callable[[Maker], Maker]:
    """Add a kind of augmentation, acting after the ones before it."""

    def added(maker: Maker) -> Maker:
        AUGMENTATIONS[name] = maker
        return maker

    return added


@register("affine")
def affine(settings: Augmentation) -> Any:
    """Return the layer of flips, rotation, zoom, aspect and shift, or None."""
    still = settings.flip == "none" and not settings.rotation and not settings.shift and not settings.aspect
    if still and not any(settings.zoom_range):
        return None
    backend.load()
    from melascope.training.layers import RandomAffine

    return RandomAffine(
        horizontal=settings.flip in ("horizontal", "both"),
        vertical=settings.flip in ("vertical", "both"),
        rotation=settings.rotation,
        zoom=settings.zoom_range,
        shift=settings.shift,
        aspect=settings.aspect,
        fill=settings.fill,
        name="augmentation_affine",
    )


@register("light")
def light(settings: Augmentation) -> Any:
    """Return the layer of brightness and contrast, or None."""
    if not settings.brightness and not settings.contrast:
        return None
    backend.load()
    from melascope.training.layers import RandomLight

    return RandomLight(settings.brightness, settings.contrast, name="augmentation_light")


@register("camera")
def camera(settings: Augmentation) -> Any:
    """Return the layer of other cameras and clinics, or None."""
    names = ("white_balance", "saturation", "hue", "gamma", "blur", "noise")
    strengths = {name: getattr(settings, name) for name in names}
    if not any(strengths.values()):
        return None
    backend.load()
    from melascope.training.camera import RandomCamera

    return RandomCamera(**strengths, name="augmentation_camera")


@register("randaugment")
def randaugment(settings: Augmentation) -> Any:
    """Return the layer of RandAugment, or None."""
    if not settings.randaugment:
        return None
    backend.load()
    from melascope.training.rand_augment import RandAugment

    return RandAugment(
        settings.randaugment, settings.randaugment_magnitude, settings.fill, name="augmentation_randaugment"
    )


def augment(recipe: Recipe, pixels: Any) -> Any:
    """Return `(n, h, w, 3)` float pixels in [0, 255] after the recipe's augmentation."""
    for maker in AUGMENTATIONS.values():
        layer = maker(recipe.augmentation)
        if layer is not None:
            pixels = layer(pixels)
    return pixels


def preview(
    recipe: Recipe,
    image: NDArray[np.uint8],
    count: int = 6,
    seed: int = 0,
    others: NDArray[np.uint8] | None = None,
) -> dict[str, NDArray[np.uint8]]:
    """Return examples of each augmentation of a recipe on one photograph.

    Args:
        recipe: Whose augmentation to show.
        image: `(h, w, 3)` uint8, sRGB.
        count: Examples of each.
        seed: Draws the examples.
        others: `(m, h, w, 3)` uint8 photographs to mix with; None mixes with the photograph itself, upside down.

    Returns:
        Name to `(count, h, w, 3)` uint8: each kind that is on, alone, and
        `all` together; empty for a recipe without augmentation.
    """
    keras = backend.load()
    from melascope.training.layers import OneLight

    defaults = type(recipe.augmentation)()
    settings = recipe.augmentation
    alone = {
        name: defaults.model_copy(update={key: getattr(settings, key) for key in keys})
        for name, keys in {**_PARTS, "mixup": ("mixup",), "cutmix": ("cutmix",)}.items()
        if getattr(settings, name) != getattr(defaults, name)
    }
    if not alone:
        return {}
    result = {}
    for name, section in {**alone, "all": settings}.items():
        pixels: Any = keras.ops.convert_to_tensor(_mixed(section, image, count, seed, others).astype(np.float32))
        if recipe.network.colour_constancy:
            pixels = OneLight(dtype="float32")(pixels)
        for maker in AUGMENTATIONS.values():
            layer = maker(section)
            if layer is not None:
                reseed(layer, seed, 0)
                pixels = layer(pixels)
        result[name] = np.rint(np.clip(keras.ops.convert_to_numpy(pixels), 0, 255)).astype(np.uint8)
    return result


def _mixed(
    settings: Augmentation, image: NDArray[np.uint8], count: int, seed: int, others: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Return `count` examples of the photograph, each mixed with another one if the settings say so."""
    batch = np.repeat(np.asarray(image)[None], count, axis=0)
    if not settings.mixes:
        return batch
    others = batch[:1, ::-1] if others is None or not len(others) else others
    shown = []
    for place in range(count):
        pair = np.stack([image, others[place % len(others)]])
        # Two photographs have two orders; the first draw that swaps them shows a mixture.
        draws = (np.random.default_rng([seed, place, trial]) for trial in range(64))
        rng = next(rng for rng in draws if rng.permutation(2)[0] == 1)
        shown.append(mixing.mix(pair, mixing.one_hot(np.arange(2), 2), settings.mixup, settings.cutmix, rng)[0][0])
    return np.stack(shown)


def reseed(model: Any, seed: int, epoch: int) -> None:
    """Set every random generator inside a layer or model from (seed, epoch).

    After this, dropout and augmentation of an epoch do not depend on what ran
    before, so that a resumed training equals an uninterrupted one.
    """
    weights = {id(weight) for weight in model.weights}
    states = [variable for variable in model.variables if id(variable) not in weights and "seed" in variable.path]
    for index, state in enumerate(states):
        words = np.random.SeedSequence([seed, epoch, index]).generate_state(int(np.prod(state.shape)))
        state.assign(words.astype(state.dtype).reshape(tuple(state.shape)))
