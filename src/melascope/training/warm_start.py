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

    def fits(self, weight: Any) -> bool:
        """Whether a network's weight can take what stands here under its name."""
        found = self.arrays.get(weight.path)
        return found is not None and weight.path not in self.left_out and tuple(weight.shape) == found.shape

    def into(self, network: Any) -> None:
        """Put the weights that fit into a network."""
        for weight in network.weights:
            if self.fits(weight):
                weight.assign(self.arrays[weight.path])


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
    network = networks.build(recipe, n_classes)
    head: frozenset[str] = frozenset()
    if not same_classes:
        other = {weight.path: tuple(weight.shape) for weight in networks.build(recipe, n_classes + 1).weights}
        head = frozenset(w.path for w in network.weights if other.get(w.path) != tuple(w.shape))
    start = WarmStart(checkpoint.read(path), head)
    anew = list(dict.fromkeys(_layer(w.path) for w in network.weights if not start.fits(w)))
    # A layer is taken whole or not at all: a bias without its kernel is worth nothing.
    start = WarmStart(start.arrays, head | {w.path for w in network.weights if _layer(w.path) in anew})
    if not any(start.fits(weight) and len(weight.shape) > 1 for weight in network.weights):
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
