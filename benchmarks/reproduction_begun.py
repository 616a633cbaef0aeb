"""Trainings of benchmarks/reproduction.py that are not finished: what their epochs so far gave, told as no result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reproduction_rows import BEGUN

Results = dict[str, Any]
FILE = "begun.json"
"""In the folder of a training until it has its result: `recipe`, `precision`, `of` how many epochs, and more."""
HISTORY = ("accuracy", "tune_accuracy", "tune_balanced_accuracy", "loss", "tune_loss")


def history(epochs: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return the columns of `history.csv` that are kept, by name; what is no number is None."""
    return {name: [None if np.isnan(value) else float(value) for value in epochs[name]] for name in HISTORY}


def collected(folder: Path) -> Results:
    """Return what each training in a folder that is not finished has after its epochs so far, by training and seed.

    Returns:
        Beside what stands in `FILE`: `epochs` done, `history`, `seconds`, `date`, and `parts` with the accuracies of
        the last one of them under `validation`. A training without an epoch is left out.
    """
    found: Results = {}
    for path in sorted(folder.glob(f"*/seed-*/{FILE}")):
        table = path.with_name("history.csv")
        if path.with_name("result.json").exists() or not table.exists():
            continue
        begun, epochs = json.loads(path.read_text(encoding="utf-8")), pd.read_csv(table)
        if epochs.empty:
            continue
        last = epochs.iloc[-1]
        judged = {"accuracy": last["tune_accuracy"], "balanced_accuracy": last["tune_balanced_accuracy"]}
        own = {name: value for name, value in begun.items() if name != "n"}
        found.setdefault(path.parent.parent.name, {})[str(begun["seed"])] = {
            **own,
            "epochs": len(epochs),
            "history": history(epochs),
            "parts": {"validation": {"n": begun["n"], **{name: float(value) for name, value in judged.items()}}},
            "seconds": round(float(np.nansum(epochs["seconds"])), 1),
            "date": date.fromtimestamp(table.stat().st_mtime).isoformat(),
        }
    return found


def kept(results: Mapping[str, Any], here: Results) -> Results:
    """Return the trainings that are begun and have no result, of each the one that went furthest.

    Args:
        results: By training and seed; under `BEGUN` what was begun elsewhere or before.
        here: What `collected` found.
    """
    found: Results = {}
    for name, seed, one in [*_each(results.get(BEGUN, {})), *_each(here)]:
        other = found.get(name, {}).get(seed)
        furthest = other is None or other["recipe"] != one["recipe"] or one["epochs"] >= other["epochs"]
        if furthest and seed not in results.get(name, {}):
            found.setdefault(name, {})[seed] = one
    return found


def with_begun(results: Mapping[str, Any]) -> Results:
    """Return by training and seed what is there, finished or not."""
    found = {name: dict(seeds) for name, seeds in results.items() if name != BEGUN}
    for name, seed, one in _each(results.get(BEGUN, {})):
        found.setdefault(name, {}).setdefault(seed, one)
    return found


def _each(results: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    return ((name, seed, one) for name, seeds in results.items() for seed, one in seeds.items())
