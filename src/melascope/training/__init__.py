"""Training: from packed photographs and a recipe to a network's weights. Needs the extra `train`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from melascope import environment
from melascope.errors import MissingExtraError

if environment.missing_for_training():
    raise MissingExtraError("train", "Training")

if TYPE_CHECKING:
    from melascope.training.augmentation import preview
    from melascope.training.augmentation import register as register_augmentation
    from melascope.training.backend import configure
    from melascope.training.balancing import class_weights
    from melascope.training.balancing import order as epoch_order
    from melascope.training.cross_validation import CrossValidation, cross_validate
    from melascope.training.fit import fit as fit_recipe
    from melascope.training.fit import predict_logits
    from melascope.training.networks import build as build_network
    from melascope.training.networks import load_weights, save_weights
    from melascope.training.networks import register as register_network
    from melascope.training.recipe import Recipe
    from melascope.training.recipe import load as load_recipe
    from melascope.training.recipe import names as recipe_names

_WHERE = {
    "configure": ("backend", "configure"),
    "Recipe": ("recipe", "Recipe"),
    "load_recipe": ("recipe", "load"),
    "recipe_names": ("recipe", "names"),
    "build_network": ("networks", "build"),
    "register_network": ("networks", "register"),
    "load_weights": ("networks", "load_weights"),
    "save_weights": ("networks", "save_weights"),
    "preview": ("augmentation", "preview"),
    "register_augmentation": ("augmentation", "register"),
    "class_weights": ("balancing", "class_weights"),
    "epoch_order": ("balancing", "order"),
    "fit_recipe": ("fit", "fit"),
    "predict_logits": ("fit", "predict_logits"),
    "cross_validate": ("cross_validation", "cross_validate"),
    "CrossValidation": ("cross_validation", "CrossValidation"),
}

__all__ = [
    "CrossValidation",
    "Recipe",
    "build_network",
    "class_weights",
    "configure",
    "cross_validate",
    "epoch_order",
    "fit_recipe",
    "load_recipe",
    "load_weights",
    "predict_logits",
    "preview",
    "recipe_names",
    "register_augmentation",
    "register_network",
    "save_weights",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: threads must be set before the framework is imported."""
    if name not in _WHERE:
        raise AttributeError(f"module 'melascope.training' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(f"melascope.training.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
