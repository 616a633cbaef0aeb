"""Optimisers and learning rates of a recipe, and the memory of what the tune part said."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from melascope.training.recipe import Recipe
    from melascope.training.recipe_sections import Schedule

_OF_BEFORE = 0.1
"""The largest share that the weights from before a phase have in the average that is kept of it."""


class WarmupThen(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """A rate that rises from zero over the warm-up, then stays or falls to zero along a cosine.

    Args:
        peak: The highest rate.
        warmup: Steps of the rise.
        total: Steps of the whole training.
        cosine: Whether it falls (Loshchilov and Hutter 2017).
    """

    def __init__(self, peak: float, warmup: int, total: int, cosine: bool) -> None:
        super().__init__()
        self.peak, self.warmup, self.total, self.cosine = peak, warmup, total, cosine

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.peak, "float32")
        if self.cosine:
            done = ops.clip((step - self.warmup) / max(1, self.total - self.warmup), 0.0, 1.0)
            rate = self.peak * 0.5 * (1.0 + ops.cos(math.pi * done))
        if self.warmup:
            rate = rate * ops.minimum(1.0, (step + 1.0) / self.warmup)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total, "cosine": self.cosine}


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike, with one optimiser.

    Attributes:
        first: Its first epoch, from 0.
        end: The epoch after its last one.
        rate: Its highest learning rate.
        frozen: Whether the backbone stays as it is.
    """

    first: int
    end: int
    rate: float
    frozen: bool = False


def phases(recipe: Recipe) -> tuple[Phase, ...]:
    """Return the one phase of a training, or the two of a backbone that is first frozen, then fine-tuned."""
    rate, schedule = recipe.optimiser.learning_rate, recipe.schedule
    if not schedule.frozen_epochs:
        return (Phase(0, schedule.epochs, rate),)
    frozen = Phase(0, min(schedule.frozen_epochs, schedule.epochs), rate, frozen=True)
    if frozen.end == schedule.epochs:
        return (frozen,)
    return frozen, Phase(frozen.end, schedule.epochs, schedule.finetune_learning_rate or rate / 10)


def averaging(ema: float, steps: int) -> float:
    """Return the momentum of the moving average of weights in a phase of so many steps.

    It is the recipe's, or less where so few steps come that more than a tenth of what is kept would still be the
    weights from before them: `ema` to the power of `steps` is that share. An average that a recipe for ten thousand
    photographs reaches back with would otherwise keep, of a thousand, a network that has hardly learnt.
    """
    return min(ema, math.pow(_OF_BEFORE, 1 / steps))


def optimiser(recipe: Recipe, steps: int, phase: Phase | None = None) -> Any:
    """Return the Keras optimiser of a recipe for epochs of so many steps.

    In each phase it starts anew, and so do warm-up and cosine: averages of
    gradients that the backbone never had would throw it off at the start.
    """
    chosen, schedule = recipe.optimiser, recipe.schedule
    phase = phase or phases(recipe)[0]
    rate: Any = phase.rate
    if schedule.kind == "cosine" or schedule.warmup_epochs:
        warmup = round(schedule.warmup_epochs * steps)
        rate = WarmupThen(phase.rate, warmup, (phase.end - phase.first) * steps, schedule.kind == "cosine")
    options: dict[str, Any] = {"learning_rate": rate}
    if chosen.name in ("sgd", "rmsprop"):
        options["momentum"] = chosen.momentum
    if chosen.weight_decay or chosen.name == "adamw":
        options["weight_decay"] = chosen.weight_decay
    if chosen.clip_norm:
        options["global_clipnorm"] = chosen.clip_norm
    if chosen.ema:
        options |= {"use_ema": True, "ema_momentum": averaging(chosen.ema, (phase.end - phase.first) * steps)}
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }
    made = kinds[chosen.name](**options)
    if chosen.weight_decay:
        made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made


@dataclass
class Watch:
    """What the monitored score did so far; decides what is best, when the rate falls and when to stop.

    Attributes:
        best: The best value, None before the first.
        best_epoch: Its epoch, from 1.
        stalled: Epochs since then.
        stalled_rate: Epochs since then, or since the rate last fell.
    """

    best: float | None = None
    best_epoch: int = 0
    stalled: int = 0
    stalled_rate: int = 0

    def seen(self, epoch: int, value: float, monitor: str) -> bool:
        """Take in an epoch's value, and return whether it is the best; NaN says nothing and changes nothing."""
        if math.isnan(value):
            return False
        better = self.best is None or (value < self.best if monitor.endswith("loss") else value > self.best)
        if better:
            self.best, self.best_epoch, self.stalled, self.stalled_rate = value, epoch, 0, 0
        else:
            self.stalled += 1
            self.stalled_rate += 1
        return better

    def lowers_rate(self, schedule: Schedule) -> bool:
        """Return whether the learning rate should fall now."""
        if schedule.kind != "plateau" or self.stalled_rate < schedule.plateau_patience:
            return False
        self.stalled_rate = 0
        return True

    def stops(self, schedule: Schedule) -> bool:
        """Return whether training should stop early."""
        return 0 < schedule.early_stopping_patience <= self.stalled

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that goes into a checkpoint."""
        return asdict(self)


def current_rate(model: Any) -> float:
    """Return the learning rate of the coming step."""
    return float(np.asarray(ops.convert_to_numpy(model.optimizer.learning_rate)))
