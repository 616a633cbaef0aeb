"""Whether a heat map shows what the model looks at: its place on the lesion, and what happens when that is taken away.

A map may look right because lesions stand in the middle. So each score stands beside that of maps that know nothing of
the photograph: a Gaussian in the middle, and smooth noise.

Sources: pointing game, Zhang et al. 2018 (Int J Comput Vis 126:1084); energy-based pointing game, Wang et al. 2020
(Score-CAM); deletion and insertion, Petsiuk et al. 2018 (RISE).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope.statistics.intervals import DRAWS, bootstrap, interval

Array = NDArray[Any]
STEPS = 12
"""In how many steps of equal area a photograph is taken away, or brought back."""


def place(heat: Array, lesion: Array) -> tuple[float, float]:
    """Return a map's share of energy on the lesion, and whether its highest point lies there (1 or 0).

    Args:
        heat: `(h', w')` floats of 0 or more.
        lesion: `(h, w)` bool; the map is stretched to it.

    Returns:
        NaN for both where the map is empty: it points nowhere.
    """
    spread = np.maximum(stretched(heat, *lesion.shape), 0.0)
    if not spread.max() > 0:
        return float("nan"), float("nan")
    highest = spread >= spread.max() * (1 - 1e-6)
    return float((spread * lesion).sum() / spread.sum()), float(lesion[highest].mean())


def centred(height: int, width: int, spread: float = 0.25) -> Array:
    """Return a Gaussian in the middle `(height, width)`, whose deviation is a share of the sides."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    return np.asarray(np.exp(-0.5 * (y[:, None] ** 2 + x[None] ** 2) / spread**2))


def noise(height: int, width: int, generator: np.random.Generator, cells: int = 5) -> Array:
    """Return smooth noise `(height, width)` in [0, 1]: random numbers on a coarse grid, stretched."""
    return stretched(generator.random((cells, cells)), height, width)


def stretched(heat: Array, height: int, width: int) -> Array:
    """Return a map stretched to another size, bilinear."""
    from PIL import Image

    image = Image.fromarray(np.asarray(heat, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)


def curves(
    image: Array, heat: Array, risk: Callable[[Array], Array], gone: Array, steps: int = STEPS
) -> tuple[Array, Array]:
    """Return the risk while a photograph is taken away and brought back, the hottest places first.

    Args:
        image: `(h, w, 3)` uint8, as the network takes it.
        heat: `(h', w')`.
        risk: From `(n, h, w, 3)` uint8 to `(n,)`.
        gone: `(h, w, 3)` uint8, what stands where the photograph was taken away: the same, blurred beyond recognition.
        steps: Of equal area.

    Returns:
        Deletion and insertion, `(steps + 1,)` each. A good map lets the first fall early and the second rise early.
    """
    height, width = image.shape[:2]
    order = np.argsort(-stretched(heat, height, width).ravel(), kind="stable")
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.arange(order.size)
    reached = [rank.reshape(height, width) < round(step * order.size / steps) for step in range(steps + 1)]
    less = np.stack([np.where(hot[..., None], gone, image) for hot in reached])
    more = np.stack([np.where(hot[..., None], image, gone) for hot in reached])
    both = np.asarray(risk(np.concatenate([less, more])), dtype=float)
    return both[: steps + 1], both[steps + 1 :]


def under(curve: Array) -> float:
    """Return the mean height of a curve over equal steps (its area, by trapezia)."""
    return float(np.trapezoid(curve) / (len(curve) - 1))


def summary(scores: Mapping[str, Array], groups: Array, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Return the mean of each score over photographs with its interval over groups; what is NaN is left out.

    Args:
        scores: Name to `(n,)`.
        groups: `(n,)` lesions or patients.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    found: dict[str, Any] = {}
    for name, given in scores.items():
        known = np.isfinite(given)
        values = np.asarray(given, dtype=float)[known]
        if not len(values):
            found[name] = {"value": None, "low": None, "high": None, "n": 0}
            continue

        def mean(w: Array, values: Array = values) -> Array:
            return np.asarray((values[:, None] * w).sum(axis=0) / w.sum(axis=0))

        samples = bootstrap(mean, np.asarray(groups)[known], None, draws, seed, len(values))
        found[name] = interval(samples, float(values.mean()), len(values), proportion=False).to_json()
    return found
