"""Values of a recipe that can have no effect as the rest of it stands.

One that a person wrote is refused: it was meant to do something. One that came with the recipe that a file extends,
or that stands in a recipe written out in full by `Recipe.dumps`, is nobody's mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe
    from melascope.training.recipe_sections import Network

# What every version has written out, and what a person who means a few things does not write all of.
_WRITTEN_OUT = {
    "network": ("separable", "batch_norm_momentum", "stage_dropout", "dense_dropout", "options"),
    "augmentation": ("shift", "fill"),
    "optimiser": ("momentum", "clip_norm", "ema"),
    "schedule": ("plateau_factor", "plateau_patience", "early_stopping_patience", "monitor"),
}
_OURS = ("cnn", "backbone")


@dataclass(frozen=True)
class _Rule:
    """When a value is idle.

    Attributes:
        keys: Such as `optimiser.focal_gamma`.
        idle: Whether they have no effect in a recipe.
        told: Why, and the mend: what follows the key in a sentence; `{r}` is the recipe.
        off: Whether the default switches the value off, so that writing the default claims nothing.
    """

    keys: tuple[str, ...]
    idle: Callable[[Recipe], bool]
    told: str
    off: bool = False


def _shows_outside(recipe: Recipe) -> bool:
    """Whether augmentation can show what stands outside a photograph."""
    a = recipe.augmentation
    return bool(a.rotation or a.zoom_range[1] > 0 or a.shift or a.aspect or a.randaugment)


def _decides(recipe: Recipe) -> bool:
    s = recipe.schedule
    return s.keep == "best" or s.early_stopping_patience > 0 or s.kind == "plateau"


def _separated(network: Network) -> int:
    """Return how many convolutions are wider than a pixel and look at features rather than at the photograph."""
    return sum(network.depths) - (not network.stem) if network.kernel > 1 else 0


_RULES = (
    _Rule(
        ("network.batch_norm_momentum",),
        lambda r: r.network.name == "cnn" and not r.network.batch_norm,
        "has no effect with batch_norm = false; set network.batch_norm = true, or leave it out",
    ),
    _Rule(
        ("network.separable",),
        lambda r: r.network.name == "cnn" and not _separated(r.network),
        "has no effect where no convolution wider than a pixel follows the first one; leave it out",
        off=True,
    ),
    _Rule(
        ("network.dense_dropout",),
        lambda r: r.network.name in _OURS and not r.network.dense,
        "has no effect with dense = []; set network.dense, such as [128], or use network.dropout instead",
        off=True,
    ),
    _Rule(
        ("network.options",),
        lambda r: r.network.name in _OURS,
        'are for networks of other packages, and "{r.network.name}" takes none; leave them out',
        off=True,
    ),
    _Rule(
        ("augmentation.randaugment_magnitude",),
        lambda r: r.augmentation.randaugment == 0,
        "has no effect with randaugment = 0; set augmentation.randaugment to 1 or more, or leave it out",
    ),
    _Rule(
        ("augmentation.fill",),
        lambda r: not _shows_outside(r),
        "has no effect where nothing outside the photograph is shown; set rotation, shift, aspect, a positive zoom or "
        "randaugment, or leave it out",
    ),
    _Rule(
        ("augmentation.mixup", "augmentation.cutmix"),
        lambda r: r.data.batch_size == 1,
        "has no effect with data.batch_size = 1, which has no other photograph to mix with; set data.batch_size to 2 "
        "or more, or leave it out",
        off=True,
    ),
    _Rule(
        ("balance.class_weights",),
        lambda r: r.balance.sampling == "balanced",
        'has no effect with sampling = "balanced", after which all classes are equally frequent; set balance.sampling '
        'to "none" or "sqrt", or leave it out',
        off=True,
    ),
    _Rule(
        ("optimiser.focal_gamma",),
        lambda r: r.optimiser.loss != "focal",
        'has no effect with loss = "{r.optimiser.loss}"; set optimiser.loss = "focal", or leave it out',
    ),
    _Rule(
        ("schedule.plateau_factor", "schedule.plateau_patience"),
        lambda r: r.schedule.kind != "plateau",
        'has no effect with kind = "{r.schedule.kind}"; set schedule.kind = "plateau", or leave it out',
    ),
    _Rule(
        ("schedule.plateau_patience",),
        lambda r: r.schedule.kind == "plateau" and r.schedule.plateau_patience >= r.schedule.epochs,
        "= {r.schedule.plateau_patience} never passes within epochs = {r.schedule.epochs}; lower it, or train longer",
    ),
    _Rule(
        ("schedule.early_stopping_patience",),
        lambda r: r.schedule.early_stopping_patience >= r.schedule.epochs,
        "= {r.schedule.early_stopping_patience} never passes within epochs = {r.schedule.epochs}; lower it, train "
        "longer, or leave it out",
        off=True,
    ),
    _Rule(
        ("schedule.monitor",),
        lambda r: not _decides(r),
        'has no effect with keep = "last" and no early stopping; set schedule.keep = "best" or '
        "schedule.early_stopping_patience, or leave it out",
    ),
    _Rule(
        ("schedule.finetune_learning_rate", "schedule.frozen_share", "schedule.finetune_norms"),
        lambda r: 0 < r.schedule.epochs <= r.schedule.frozen_epochs,
        "has a meaning after the frozen epochs only, and frozen_epochs = {r.schedule.frozen_epochs} leaves none of "
        "epochs = {r.schedule.epochs}; set frozen_epochs lower or epochs higher, or leave it out",
        off=True,
    ),
)


def sentences(recipe: Recipe, keys: Iterable[str]) -> dict[str, str]:
    """Return which of some keys, such as `optimiser.focal_gamma`, can have no effect in a recipe: why, and the mend.

    A value that is its default is passed over where the default means "off".
    """
    found: dict[str, str] = {}
    for key in keys:
        for rule in _RULES:
            if key in rule.keys and rule.idle(recipe) and not (rule.off and is_default(recipe, key)):
                found.setdefault(key, f"{key} {rule.told.format(r=recipe)}")
    return found


def keys_of(tree: Mapping[str, Any]) -> list[str]:
    """Return the keys that a parsed recipe file writes in its sections, such as `optimiser.focal_gamma`."""
    return [f"{section}.{name}" for section, values in tree.items() if isinstance(values, Mapping) for name in values]


def is_written_out(tree: Mapping[str, Any]) -> bool:
    """Return whether a parsed recipe file names every value, as `Recipe.dumps` does and a person does not."""
    return all(set(names) <= set(tree.get(section, ())) for section, names in _WRITTEN_OUT.items())


def is_default(recipe: Recipe, key: str) -> bool:
    """Return whether a value of a section, by its key, is what it is when nothing is said of it."""
    section, _, name = key.partition(".")
    values = getattr(recipe, section)
    fields = type(values).model_fields if isinstance(values, BaseModel) else {}
    return name in fields and bool(getattr(values, name) == fields[name].get_default(call_default_factory=True))
