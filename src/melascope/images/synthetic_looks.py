"""What a generated lesion of each diagnosis looks like, as numbers.

The looks follow the dermoscopic criteria in their crudest form: the ABCD rule
(Stolz et al. 1994) for melanocytic lesions, blue-grey ovoid nests and
arborising vessels for basal cell carcinoma, milia-like cysts and comedo-like
openings for seborrheic keratosis, lacunae for vascular lesions, a central
white patch for dermatofibroma.

Nevus and melanoma are one family. They differ only in how atypical they are,
and those distributions overlap: no network can tell all of them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from melascope.diagnosis import parse


@dataclass(frozen=True)
class Look:
    """One lesion's appearance. Lengths are in half the picture's shorter side, angles in radians.

    Attributes:
        radius: Mean radius.
        elongation: Share by which it is longer than wide.
        irregularity: Amplitude of the border's indentations, relative to the radius.
        border: Width over which the border fades.
        asymmetry: How much pigment and border differ between its two sides, 0 to 1.
        melanin: Density of brown pigment.
        variegation: Relative change of that density across the lesion.
        centre: How much denser (or, below 0, paler) the centre is.
        blotches: Density of structureless dark areas.
        network: Depth of the pigment network, 0 to 1.
        disorder: How warped and patchy network and globules are, 0 to 1.
        globules: Density of dark globules.
        streaks: Length of radial streaks at the border, relative to the radius.
        blue: Opacity of blue-white areas.
        white: Opacity of white, scar-like areas.
        central_white: Opacity of a white patch in the centre.
        blood: Redness.
        lacunae: Number of red-purple blobs.
        nests: Number of blue-grey ovoid nests.
        vessels: Number of branching vessels.
        cysts: Number of milia-like cysts (white dots).
        comedones: Number of comedo-like openings (dark dots).
        ridges: Depth of brain-like ridges.
        scale: Opacity of white flakes.
        yellow: Share of yellow in its brown.
    """

    radius: float
    elongation: float = 0.1
    irregularity: float = 0.05
    border: float = 0.06
    asymmetry: float = 0.1
    melanin: float = 0.0
    variegation: float = 0.2
    centre: float = 0.0
    blotches: float = 0.0
    network: float = 0.0
    disorder: float = 0.2
    globules: float = 0.0
    streaks: float = 0.0
    blue: float = 0.0
    white: float = 0.0
    central_white: float = 0.0
    blood: float = 0.0
    lacunae: int = 0
    nests: int = 0
    vessels: int = 0
    cysts: int = 0
    comedones: int = 0
    ridges: float = 0.0
    scale: float = 0.0
    yellow: float = 0.0


class _Dice:
    """Short names for the draws that looks are made of."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def near(self, mean: float, spread: float, low: float = 0.0, high: float = 9.0) -> float:
        return float(np.clip(self._rng.normal(mean, spread), low, high))

    def between(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def sometimes(self, chance: float, low: float, high: float) -> float:
        value, happens = self._rng.uniform(low, high), self._rng.random() < chance
        return float(value) if happens else 0.0

    def count(self, mean: float) -> int:
        return int(self._rng.poisson(mean))

    def beta(self, a: float, b: float) -> float:
        return float(self._rng.beta(a, b))


def _melanocytic(dice: _Dice, atypia: float) -> Look:
    return Look(
        radius=dice.near(0.32 + 0.22 * atypia, 0.08, 0.16, 0.75),
        elongation=dice.between(0.0, 0.3),
        irregularity=dice.near(0.02 + 0.11 * atypia, 0.025, 0.01),
        border=dice.near(0.1 - 0.05 * atypia, 0.03, 0.025, 0.2),
        asymmetry=dice.near(0.03 + 0.8 * atypia, 0.12, 0.0, 1.0),
        melanin=dice.near(0.85 + 0.25 * atypia, 0.25, 0.35, 1.6),
        variegation=dice.near(0.12 + 0.5 * atypia, 0.1, 0.05, 0.9),
        centre=dice.near(0.15 * (1 - atypia), 0.25, -0.4, 0.6),
        blotches=dice.sometimes(0.1 + 0.6 * atypia, 0.2, 0.9),
        network=dice.sometimes(0.75, 0.3, 0.8),
        disorder=dice.near(0.1 + 0.7 * atypia, 0.12, 0.0, 1.0),
        globules=dice.sometimes(0.4, 0.2, 0.7),
        streaks=dice.sometimes(0.05 + 0.4 * atypia, 0.08, 0.25),
        blue=dice.sometimes(0.03 + 0.75 * atypia**1.5, 0.3, 0.75),
        white=dice.sometimes(0.02 + 0.5 * atypia**1.5, 0.25, 0.65),
        blood=dice.near(0.06 + 0.2 * atypia, 0.08),
    )


def _nevus(dice: _Dice) -> Look:
    return _melanocytic(dice, dice.beta(1.5, 5.5))


def _melanoma(dice: _Dice) -> Look:
    return _melanocytic(dice, dice.beta(4.2, 1.6))


def _basal_cell_carcinoma(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.4, 0.11, 0.18, 0.75),
        elongation=dice.between(0.0, 0.35),
        irregularity=dice.near(0.07, 0.03, 0.02),
        border=dice.near(0.1, 0.03, 0.04, 0.2),
        asymmetry=dice.near(0.4, 0.2, 0.0, 1.0),
        melanin=dice.sometimes(0.6, 0.1, 0.8),
        variegation=dice.between(0.2, 0.5),
        white=dice.sometimes(0.5, 0.1, 0.45),
        blood=dice.near(0.28, 0.14, 0.05, 0.8),
        nests=dice.count(2.5),
        vessels=dice.count(1.5),
        scale=dice.sometimes(0.2, 0.1, 0.4),
    )


def _benign_keratosis(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.42, 0.11, 0.18, 0.75),
        elongation=dice.between(0.0, 0.35),
        irregularity=dice.near(0.05, 0.025, 0.01),
        border=dice.near(0.035, 0.012, 0.015, 0.08),
        asymmetry=dice.near(0.25, 0.15, 0.0, 1.0),
        melanin=dice.near(0.7, 0.25, 0.2, 1.5),
        variegation=dice.between(0.15, 0.45),
        blotches=dice.sometimes(0.15, 0.2, 0.5),
        network=dice.sometimes(0.1, 0.2, 0.4),
        disorder=dice.between(0.2, 0.7),
        globules=dice.sometimes(0.25, 0.2, 0.5),
        blood=dice.near(0.08, 0.08),
        cysts=dice.count(7.0),
        comedones=dice.count(5.0),
        ridges=dice.sometimes(0.6, 0.2, 0.55),
        scale=dice.sometimes(0.25, 0.1, 0.35),
        yellow=dice.between(0.1, 0.6),
    )


def _dermatofibroma(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.32, 0.07, 0.18, 0.5),
        border=dice.near(0.13, 0.03, 0.06, 0.22),
        melanin=dice.near(0.5, 0.15, 0.2, 1.0),
        centre=dice.between(-0.4, 0.0),
        network=dice.between(0.3, 0.7),
        central_white=dice.between(0.25, 0.7),
        blood=dice.near(0.15, 0.08),
    )


def _vascular(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.32, 0.09, 0.15, 0.6),
        irregularity=dice.near(0.06, 0.03, 0.01),
        border=dice.near(0.04, 0.015, 0.015, 0.1),
        blood=dice.near(0.7, 0.25, 0.3, 1.4),
        lacunae=4 + dice.count(8.0),
        blue=dice.sometimes(0.25, 0.2, 0.5),
        white=dice.sometimes(0.3, 0.1, 0.3),
    )


def _actinic_keratosis(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.42, 0.11, 0.2, 0.75),
        irregularity=dice.near(0.1, 0.03, 0.02),
        border=dice.near(0.16, 0.04, 0.08, 0.25),
        melanin=dice.sometimes(0.4, 0.05, 0.35),
        variegation=dice.between(0.3, 0.6),
        network=dice.sometimes(0.4, 0.1, 0.3),
        disorder=dice.between(0.4, 0.9),
        blood=dice.near(0.4, 0.12, 0.15, 0.8),
        scale=dice.between(0.25, 0.7),
        yellow=dice.between(0.0, 0.2),
    )


def _squamous_cell_carcinoma(dice: _Dice) -> Look:
    return Look(
        radius=dice.near(0.45, 0.11, 0.2, 0.78),
        irregularity=dice.near(0.09, 0.03, 0.02),
        border=dice.near(0.08, 0.03, 0.03, 0.18),
        asymmetry=dice.near(0.4, 0.2, 0.0, 1.0),
        variegation=dice.between(0.3, 0.6),
        central_white=dice.sometimes(0.7, 0.3, 0.8),
        blood=dice.near(0.55, 0.15, 0.2, 1.0),
        vessels=dice.count(3.0),
        scale=dice.between(0.15, 0.6),
        yellow=dice.between(0.1, 0.4),
    )


_LOOKS: Mapping[str, Callable[[_Dice], Look]] = {
    "MEL": _melanoma,
    "NV": _nevus,
    "BCC": _basal_cell_carcinoma,
    "BKL": _benign_keratosis,
    "PBK": _benign_keratosis,
    "SK": _benign_keratosis,
    "DF": _dermatofibroma,
    "VASC": _vascular,
    "AK": _actinic_keratosis,
    "AKIEC": _actinic_keratosis,
    "SCC": _squamous_cell_carcinoma,
}


def draw_look(rng: np.random.Generator, diagnosis: str) -> Look:
    """Draw a lesion's look.

    Args:
        rng: Where the draws come from.
        diagnosis: A code or a name that `diagnosis.parse` knows.

    Raises:
        DataError: When the diagnosis is unknown.
    """
    return _LOOKS[parse(diagnosis)](_Dice(rng))
