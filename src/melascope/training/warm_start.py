"""Beginning with weights that another training left: what fits is taken, and the rest is named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from melascope.errors import RunError
from melascope.training import checkpoint
from melascope.training.recipe import Recipe


@dataclass(frozen=True)
class WarmStart:
    """Weights to begin with.

    Attributes:
        arrays: By name, as `weights.npz` has them.
        left_out: Names of weights that start anew although they would fit.
    """

    arrays: dict[str, np.ndarray]
    left_out: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """A digest of the weights, and of which of them are used."""
        return digest(self.arrays) + ",".join(sorted(self.left_out))

    def fits(self, name: str, weight: Any) -> bool:
        """Whether a network's weight can take what stands here under its name, one of `networks.weights`."""
        found = self.arrays.get(name)
        return found is not None and name not in self.left_out and tuple(weight.shape) == found.shape

    def into(self, network: Any) -> None:
        """Put the weights that fit into a network."""
        from melascope.training import networks

        for name, weight in networks.weights(network).items():
            if self.fits(name, weight):
                weight.assign(self.arrays[name])


def refuse_other_backbone(before: str | None, recipe: Recipe, source: str) -> None:
    """Refuse weights of another backbone: its arrays are told by their places, and what fits would fit by chance.

    Args:
        before: The backbone that the weights are of; None for a network without one.
        recipe: Of the network that is to begin with them.
        source: What they came out of, for the message.

    Raises:
        RunError: When the two are not the same.
    """
    now = recipe.network.backbone
    if before != now:
        first, second = (f"built on {name}" if name else "without a backbone" for name in (before, now))
        raise RunError(
            f"No layer of the network of {recipe.name}, which is {second}, fits the weights of {source}, which is "
            f"{first}. Use a recipe with a like network, or begin anew without --from."
        )


def warm_start(
    path: Path, source: str, recipe: Recipe, same_classes: bool, n_classes: int, threads: int | None
) -> tuple[WarmStart, list[str]]:
    """Return the weights to begin with, and the names of the layers that start anew.

    The layers that tell the diagnoses apart start anew where the diagnoses are not the same.

    Args:
        path: The `.npz` of weights.
        source: What they came out of, for the message.
        recipe: Of the network that begins with them.
        same_classes: Whether both networks tell the same diagnoses, in the same order.
        n_classes: How many the new one tells.
        threads: CPU threads of a step; see `backend.configure`.

    Raises:
        RunError: When no layer fits.
    """
    from melascope.training import backend, networks

    backend.load(threads)
    named = networks.weights(networks.build(recipe, n_classes))
    head: frozenset[str] = frozenset()
    if not same_classes:
        other = networks.weights(networks.build(recipe, n_classes + 1))
        head = frozenset(
            name for name, weight in named.items() if name not in other or other[name].shape != weight.shape
        )
    start = WarmStart(checkpoint.read(path), head)
    anew = list(dict.fromkeys(_layer(name) for name, weight in named.items() if not start.fits(name, weight)))
    # A layer is taken whole or not at all: a bias without its kernel is worth nothing.
    start = WarmStart(start.arrays, head | {name for name in named if _layer(name) in anew})
    if not any(start.fits(name, weight) and len(weight.shape) > 1 for name, weight in named.items()):
        raise RunError(
            f"No layer of the network of {recipe.name} fits the weights of {source}. "
            "Use a recipe with a like network, or begin anew without --from."
        )
    return start, anew


def _layer(path: str) -> str:
    return str(Path(path).parent)


def digest(weights: Mapping[str, np.ndarray]) -> str:
    """Return the sha256 of named weights."""
    result = hashlib.sha256()
    for name in sorted(weights):
        result.update(name.encode())
        result.update(np.ascontiguousarray(weights[name]).tobytes())
    return result.hexdigest()
