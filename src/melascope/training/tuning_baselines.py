"""What the trials of a tuning are measured against, on the same folds: the largest class always, and colours alone."""

from __future__ import annotations

import json
from typing import Any

from melascope import environment
from melascope.datasets import pack
from melascope.errors import MelascopeError
from melascope.training.cross_validation import draw_folds
from melascope.training.fold_baselines import of_folds
from melascope.training.run_folder import write_text
from melascope.training.tuning_data import Task

FILE = "baselines.json"
"""In the folder of a tuning: they are the same for all trials, and made once."""


def baselines(task: Task) -> dict[str, Any]:
    """Return by name the `scores` and `by_fold` of what needs no network; nothing where photographs cannot be packed.

    Args:
        task: The tuning.
    """
    path = task.folder / FILE
    if path.exists():
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["mark"] == task.mark:
                found: dict[str, Any] = told["baselines"]
                return found
        except (ValueError, KeyError, TypeError):
            pass  # damaged: made again
    folds, seed = task.settings["folds"], task.settings["seed"]
    assigned = draw_folds(task.labels, task.groups, task.classes, folds, seed)[None]
    try:
        packed = pack(task.table, task.space.base.geometry, environment.cache_folder(), threads=environment.threads())
    except MelascopeError:
        return {}
    found = of_folds(task, packed.images, assigned, [seed])
    write_text(path, json.dumps({"schema": 1, "mark": task.mark, "baselines": found}, indent=1, ensure_ascii=False))
    return found
