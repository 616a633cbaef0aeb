"""How a network of an idea is trained on some photographs and asked about others, and how networks teach another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melascope import environment, statistics
from melascope.progress import Progress
from melascope.training import networks
from melascope.training.fit import fit, logits_only, predict_logits
from melascope.training.mixing import one_hot
from melascope.training.recipe import Recipe
from melascope.training.warm_start import WarmStart
from models.champion.judging import CLASSES

VIEWS = 4
"""Mirror images of a photograph, itself among them."""
PARTS = 4
"""Into so many parts the photographs are divided of which other networks speak."""


@dataclass(frozen=True)
class Learner:
    """A recipe and all photographs that its networks may see.

    Attributes:
        recipe: What is trained.
        photographs: `(n, h, w, 3)` uint8.
        labels: `(n,)` class numbers.
        progress: Told after each batch.
        warm: Weights to begin with, or None.
    """

    recipe: Recipe
    photographs: NDArray[np.uint8]
    labels: NDArray[np.int64]
    progress: Progress
    warm: WarmStart | None = None

    def learn(
        self, taken: NDArray[np.bool_], out: Path, targets: NDArray[np.float32] | None = None, seed: int = 0
    ) -> float:
        """Train on some photographs, as far as it is not done; return all epochs' seconds, also before a stop."""
        history = fit(
            self.recipe, self.photographs, self.labels, np.flatnonzero(taken), np.zeros(0, dtype=np.intp), CLASSES,
            out, seed, resume=True, progress=self.progress, threads=environment.threads(), warm=self.warm,
            targets=targets,
        )  # fmt: skip
        return float(history["seconds"].sum())

    def logits(self, out: Path, rows: NDArray[np.intp]) -> list[NDArray[np.float32]]:
        """Return what a trained network says, `(len(rows), c)`, for each of the four mirror images."""
        network = networks.build(self.recipe, len(CLASSES))
        networks.load_weights(network, out / "weights.npz")
        network, shown = logits_only(network), self.photographs[rows]
        mirrored = [shown, shown[:, :, ::-1], shown[:, ::-1], shown[:, ::-1, ::-1]]
        return [predict_logits(network, np.ascontiguousarray(view), np.arange(len(rows))) for view in mirrored]

    def taught(
        self, taken: NDArray[np.bool_], groups: pd.Series, share: float, out: Path
    ) -> tuple[NDArray[np.float32], float]:
        """Return targets `(n, c)` and the seconds that they cost.

        A share of each is what a network says of the photograph that was trained on `taken` without the quarter of
        the groups that it is of; the rest is its label. They are kept in `out`: a student that goes on must be taught
        the same to the last bit.
        """
        if self.warm is not None:
            raise SystemExit("Weights to begin with have seen the photographs that teachers are asked about.")
        answers = np.zeros((len(self.labels), len(CLASSES)), dtype=np.float32)
        part, seconds = divided(groups, taken), 0.0
        for number in range(PARTS):
            asked = taken & (part == number)
            folder = out / f"teacher-{number}"
            seconds += self.learn(taken & ~asked, folder)
            logits = np.mean(self.logits(folder, np.flatnonzero(asked)), axis=0)
            answers[asked] = statistics.softmax(logits.astype(float))
        kept = out / "targets.npy"
        if not kept.exists():
            np.save(kept, share * answers + (1 - share) * one_hot(self.labels, len(CLASSES)))
        return np.load(kept), seconds


def divided(groups: pd.Series, taken: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each photograph which of the parts its group is of; -1 for a group of which none is taken."""
    names = np.sort(groups[taken].unique())
    part = dict(zip(np.random.default_rng(0).permutation(names), np.arange(len(names)) % PARTS, strict=True))
    return groups.map(part).fillna(-1).to_numpy(dtype=np.int64)
