"""What a comparison reads of a run: from its finished evaluation, or of one part while its test part stays unseen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from melascope import environment
from melascope.datasets import table as tables
from melascope.errors import RunError
from melascope.evaluation.evaluate import evaluate
from melascope.evaluation.predictions import KEPT, predict_table
from melascope.progress import Progress, silent

MODEL, TABLE, PREDICTIONS, METRICS = "model.melascope", "table.parquet", "predictions.parquet", "metrics.json"
"""The files of a run folder that are read here."""


@dataclass(frozen=True)
class RunResult:
    """What a comparison needs of a run: its name, its predictions and its `metrics.json`."""

    name: str
    predictions: pd.DataFrame
    metrics: Mapping[str, Any]


def load_result(folder: str | os.PathLike[str]) -> RunResult:
    """Read a run folder's `predictions.parquet` and `metrics.json`.

    Raises:
        RunError: When either is missing or damaged.
    """
    path = Path(folder)
    try:
        metrics = json.loads((path / METRICS).read_text(encoding="utf-8"))
        predictions = pd.read_parquet(path / PREDICTIONS)
    except FileNotFoundError as error:
        name = Path(str(error.filename or PREDICTIONS)).name
        mend = "Finish it with --resume"
        if (path / TABLE).exists():
            mend += ", or export it and compare with --part tune or calibrate"
        raise RunError(f"{path} has no {name}: it holds no evaluated run. {mend}.") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as a run: {str(error).splitlines()[0]}") from None
    return RunResult(path.resolve().name, predictions, metrics)


def unopened(folder: str | os.PathLike[str]) -> bool:
    """Return whether a run is exported and not evaluated yet, so that nobody has seen its test part."""
    path = Path(folder)
    return (path / MODEL).exists() and (path / TABLE).exists() and not (path / METRICS).exists()


def judged_part(folder: str | os.PathLike[str], part: str, progress: Progress = silent) -> RunResult:
    """Judge an exported run on one part; its test part is not looked at, and nothing is written.

    Args:
        folder: Of a run that is exported.
        part: `calibrate` or `tune`.
        progress: Called with `predict` and the run's name, photographs done and in all.

    Returns:
        The run with that part as its headline; of what it was trained on the predictions name the photographs alone.

    Raises:
        RunError: When the run has no such part.
        BundleError, DataError: When its bundle or its table is damaged.
    """
    from melascope.bundle import Predictor, load_bundle

    path = Path(folder)
    name = path.resolve().name
    bundle = load_bundle(path / MODEL)
    table = tables.load(path / TABLE)
    rows = table[table["part"] == part].reset_index(drop=True)
    if rows.empty:
        raise RunError(f"{name} has no part {part}. It has: {', '.join(table['part'].unique())}.")

    def told(stage: str, done: int, total: int) -> None:
        progress(f"{stage}, {name}", done, total)

    predictions = predict_table(Predictor(bundle, environment.threads()), rows, told)
    if predictions["error"].notna().all():
        raise RunError(
            f"{name}: no photograph of its part {part} can be read; the first says: {predictions['error'][0]}"
        )
    # An evaluation takes what has no part for test.
    alone = evaluate(predictions.drop(columns="part"), bundle.decision)
    metrics = {**alone, "headline": part, "parts": {part: alone["parts"]["test"]}}
    learnt = table[table["part"] == "train"].reindex(columns=[*KEPT, "sha256"])
    return RunResult(name, pd.concat([predictions, learnt], ignore_index=True), metrics)
