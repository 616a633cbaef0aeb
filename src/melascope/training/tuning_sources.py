"""The melanoma AUC of each trial within a source: what a source tells of the diagnosis gains nothing there.

It is reckoned from what the trials have left in the folder of the tuning, so that it costs no training and is there
for trials of earlier commands too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melascope import diagnosis
from melascope.datasets import origins
from melascope.datasets.origins import OTHER
from melascope.errors import MelascopeError, RunError
from melascope.evaluation.cross_validated import within_source_by_fold
from melascope.statistics import softmax
from melascope.training import checkpoint
from melascope.training.cross_validation import draw_folds
from melascope.training.tuning_data import Task
from melascope.training.tuning_worker import trial_name

COLUMN = "melanoma_auc_within_source"
"""Of `trials.csv`, where at least two sources are known."""


class WithinSources:
    """Scores the trials of a tuning within their sources.

    Args:
        task: The tuning.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._sources = task, origins(task.table)
        self._used: set[str] = set()
        self.known = self._sources.nunique() >= 2

    @cached_property
    def _folds(self) -> NDArray[np.int64]:
        task = self._task
        return draw_folds(task.labels, task.groups, task.classes, task.settings["folds"], task.settings["seed"])

    def of(self, drawn: Mapping[str, Any]) -> float:
        """Return the AUC of a trial, the mean over the folds that it has done; NaN where none or not all are known.

        Args:
            drawn: What the trial has drawn.
        """
        try:
            rows, risk = self._risk(drawn)
        except MelascopeError:
            return math.nan
        task = self._task
        melanoma = np.isin(np.asarray(task.classes)[task.labels[rows]], list(diagnosis.GROUPS["melanoma"]))
        # A trial that was given up has the first folds only.
        sources = self._sources.to_numpy(dtype=object)[rows]
        found = within_source_by_fold(risk[None], melanoma, self._folds[rows][None], sources)
        if found is None:
            return math.nan
        self._used |= set(found[1])
        return round(float(found[0].mean()), 6)

    def _risk(self, drawn: Mapping[str, Any]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the rows of the folds that a trial has done, and their risks of melanoma, out of fold."""
        task = self._task
        recipe = task.space.recipe(drawn)
        folder = task.folder / "trials" / trial_name(task, recipe.dumps()) / f"seed-{task.settings['seed']}"
        rows, risks = [], []
        for fold in range(task.settings["folds"]):
            path = folder / f"fold-{fold}" / "logits.npz"
            if fold and not path.exists():
                break
            logits, own = checkpoint.read(path)["logits"], np.flatnonzero(self._folds == fold)
            if logits.shape != (len(own), len(task.classes)):
                raise RunError(f"{path} is of other photographs.")
            rows.append(own)
            risks.append(diagnosis.group_risk(softmax(logits), task.classes, "melanoma"))
        return np.concatenate(rows), np.concatenate(risks)

    def sentence(self, value: float) -> str:
        """Return in words what a trial's AUC within a source is."""
        if math.isnan(value):
            return (
                "Its melanoma AUC within a source is not known: in some fold no source has both melanomas and others, "
                "or its folds lie on another machine or were trained by an earlier version."
            )
        told = f"Within a source, where only photographs of one source are compared: melanoma AUC {value:.3f}."
        if OTHER in self._used:
            told += f' Those of a source "{OTHER}" count as one and may be of several.'
        return told
