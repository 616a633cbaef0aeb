"""The ideas tried for the champion: what each changes of the recipe `champion`, in the order they were tried in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Idea:
    """A change of the champion's recipe.

    Attributes:
        what: In words.
        changes: Of the recipe, by section.
        others: Whether the sets beside HAM10000 are trained on too.
        begins: The idea whose weights, trained without the same fold, are the first ones.
        prepare: What is done to all photographs `(n, h, w, 3)` uint8 beforehand, or None.
        taught: The share of each label that other networks say, which were trained without the photograph.
        cut: Whether photographs are cut to their lesion, by masks, where it is trained and where it is judged.
        networks: So many are trained, each with a seed of its own, and their logits averaged.
    """

    what: str
    changes: Sections = field(default_factory=dict)
    others: bool = False
    begins: str | None = None
    prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    taught: float = 0.0
    cut: bool = False
    networks: int = 1


def shades_of_grey(images: NDArray[np.uint8], power: float = 6.0, at_once: int = 512) -> NDArray[np.uint8]:
    """Return photographs `(n, h, w, 3)` as under white light, by shades of grey.

    Source: Finlayson and Trezzi 2004, Color and Imaging Conference.
    """
    made = np.empty_like(images)
    for start in range(0, len(images), at_once):
        pixels = images[start : start + at_once].astype(np.float32) / 255
        light = (pixels**power).mean((1, 2), keepdims=True) ** (1 / power)
        light /= np.sqrt((light**2).mean(3, keepdims=True))
        made[start : start + at_once] = np.clip(pixels / np.maximum(light, 1e-3) * 255 + 0.5, 0, 255)
    return made


def skin_alike(images: NDArray[np.uint8], at_once: int = 512) -> NDArray[np.uint8]:
    """Return photographs `(n, h, w, 3)` with skin of one colour: each channel's 90th percentile is made the same."""
    made = np.empty_like(images)
    for start in range(0, len(images), at_once):
        pixels = images[start : start + at_once].astype(np.float32)
        light = np.maximum(np.percentile(pixels.reshape(len(pixels), -1, 3), 90, axis=1), 20)
        made[start : start + at_once] = np.clip(pixels * (_SKIN / light)[:, None, None] + 0.5, 0, 255)
    return made


def contrast_alike(images: NDArray[np.uint8], at_once: int = 512) -> NDArray[np.uint8]:
    """Return photographs `(n, h, w, 3)` as `skin_alike` does, and from dark to light they span 100 grey levels."""
    made = skin_alike(images, at_once)
    for start in range(0, len(images), at_once):
        pixels = made[start : start + at_once].astype(np.float32)
        low, high = np.percentile((pixels @ _GREY).reshape(len(pixels), -1), [2, 99], axis=1)[:, :, None, None, None]
        spread = np.clip(100 / np.maximum(high - low, 20), 0.5, 2.5)
        made[start : start + at_once] = np.clip((pixels - low) * spread + 75 + 0.5, 0, 255)
    return made


_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_SKIN = np.array([190.0, 150.0, 150.0], dtype=np.float32)
"""Near what HAM10000's photographs have."""
_HALF = {
    "contrast": 0.1, "white_balance": 0.05, "saturation": 0.15, "hue": 0.01, "gamma": 0.1, "blur": 0.4, "noise": 0.01,
}  # fmt: skip
"""Half as strong as the recipe."""
_FIRST = {"finetune_learning_rate": 1e-3, "frozen_share": 0.0}
"""The first recipe's rate, and no layer left alone."""
_NO_CAMERA = dict.fromkeys(("white_balance", "saturation", "hue", "gamma", "blur", "noise", "aspect"), 0.0)
_WHOLE = {"zoom": [-0.25, 0.1], "aspect": 0.2}
_SLOW = {**_FIRST, "finetune_learning_rate": 4e-4}


_WHOLE_RATE = {"finetune_learning_rate": None, "frozen_share": 0.0, "finetune_norms": False}
"""One phase alone: what has a meaning only after the frozen epochs is left out."""


def _half(**schedule: Any) -> Sections:
    return {"augmentation": _HALF, "schedule": {**_FIRST, **schedule}}


_STRONG = {
    "white_balance": 0.2, "saturation": 0.5, "hue": 0.03, "gamma": 0.3, "contrast": 0.3, "brightness": 0.15,
}  # fmt: skip


def _quick(**augmentation: Any) -> Sections:
    return {"augmentation": {**_HALF, **augmentation}}


IDEAS: Mapping[str, Idea] = {
    "camera": Idea(
        "HAM10000 alone; and strong changes of white balance, colour, gamma, blur, noise, aspect",
        {"augmentation": _WHOLE, "schedule": _SLOW},
    ),
    "others": Idea(
        "the same, trained on ISIC 2017 and the nine-class set too",
        {"augmentation": _WHOLE, "schedule": _SLOW},
        others=True,
    ),
    "fast": Idea(
        "as others, the changes half as strong, at a rate of 1e-3 instead of 4e-4",
        _half(),
        others=True,
    ),
    "larger": Idea(
        "fast, and from its weights six more epochs at 144 x 192",
        {
            "data": {"size": [144, 192]},
            **_half(epochs=6, frozen_epochs=0, finetune_learning_rate=None, finetune_norms=False),
            "optimiser": {"learning_rate": 5e-4},
        },
        others=True,
        begins="fast",
    ),
    "gentle": Idea(
        "as fast, at 144 x 192 from the beginning and at a rate of 2e-4",
        _half(finetune_learning_rate=2e-4),
        others=True,
    ),
    "norms": Idea(
        "as gentle, batch normalisation left as ImageNet set it",
        _half(finetune_learning_rate=2e-4, finetune_norms=False),
        others=True,
    ),
    "stem": Idea(
        "as gentle, at a rate of 3e-4, the first fifth of the network left as ImageNet set it",
        _half(finetune_learning_rate=3e-4, frozen_share=0.2),
        others=True,
    ),
    "closer": Idea(
        "stem, and from its weights five more epochs at 192 x 256",
        {
            "data": {"size": [192, 256]},
            **_half(epochs=5, finetune_learning_rate=1.5e-4, frozen_share=0.2),
            "optimiser": {"learning_rate": 1e-4},
        },
        others=True,
        begins="stem",
    ),
    "alone": Idea("as stem, on HAM10000 alone: the small try that the others below change", _quick()),
    "wide": Idea(
        "as alone, zoomed from half to a fifth more, shifted by up to a tenth",
        _quick(zoom=[-0.5, 0.2], shift=0.1, aspect=0.2),
    ),
    "constancy": Idea(
        "as alone, all photographs as under white light (shades of grey)", _quick(), prepare=shades_of_grey
    ),
    "plain": Idea("as alone, flips, turns, zoom, brightness and contrast only", _quick(**_NO_CAMERA)),
    "colours": Idea("as alone, colour and light changed about three times as strongly", _quick(**_STRONG)),
    "taught": Idea(
        "as alone; half of each label is what a network said that was trained on three quarters of the photographs, "
        "without this one (its time counts)",
        _quick(),
        taught=0.5,
    ),
    "champion": Idea("the recipe: as stem, colour, light and focus changed twice as strongly, 12 epochs", others=True),
    "natural": Idea("as alone, classes drawn as often as they are", {**_quick(), "balance": {"sampling": "none"}}),
    "even": Idea("as alone, classes drawn equally often", {**_quick(), "balance": {"sampling": "balanced"}}),
    "decoupled": Idea(
        "natural, and from its weights two epochs of the last layer alone, classes drawn equally often",
        {
            **_quick(),
            "balance": {"sampling": "balanced"},
            "optimiser": {"learning_rate": 1e-3},
            "schedule": {"epochs": 2, "frozen_epochs": 2, **_WHOLE_RATE},
        },
        begins="natural",
    ),
    "after": Idea(
        "natural, and from its weights three epochs of all layers at a rate of 1e-4, classes drawn by the square root",
        {
            **_quick(),
            "optimiser": {"learning_rate": 1e-4},
            "schedule": {"epochs": 3, "frozen_epochs": 0, **_WHOLE_RATE},
        },
        begins="natural",
    ),
    "smooth": Idea("as alone, labels smoothed by .1", {**_quick(), "optimiser": {"label_smoothing": 0.1}}),
    "mixed": Idea("as alone, mixup of .2", _quick(mixup=0.2)),
    "focal": Idea("as alone, focal loss", {**_quick(), "optimiser": {"loss": "focal"}}),
    "skin": Idea(
        "as alone, skin of one colour (the 90th percentile of each channel made the same)", _quick(), prepare=skin_alike
    ),
    "levels": Idea("as skin, and of one contrast", _quick(), prepare=contrast_alike),
    "skin-colours": Idea("as colours, skin of one colour", _quick(**_STRONG), prepare=skin_alike),
    "abroad": Idea("as champion, on HAM10000 alone: for a source left out"),
    "abroad-skin": Idea("as abroad, skin of one colour", prepare=skin_alike),
    "committee": Idea("as alone, three networks with seeds of their own, averaged", _quick(), networks=3),
    "cut": Idea(
        "as alone, photographs cut to the lesion by HAM10000's masks, in training and where it is judged, which nobody "
        "has masks for",
        _quick(),
        cut=True,
    ),
    "light": Idea(
        "as champion, every photograph under one light (shades of grey, in the graph)",
        {"network": {"colour_constancy": True}},
        others=True,
    ),
}  # fmt: skip
