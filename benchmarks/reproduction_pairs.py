"""Ours against recipes that were trained on copies, in pairs: on the fold by which both were judged under `clean`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.field_record import OURS
from benchmarks.reproduction_data import judged
from benchmarks.reproduction_rows import CLEAN, Training, on_the_fold, trainings
from benchmarks.reproduction_words import filled
from melascope import statistics
from melascope.audit.protocol import Prepared
from melascope.training import recipe as recipes

PAIRS = "pairs"
"""The key of the results under which ours stand beside others, as `pairs` finds it."""
SCORES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}


def ours(weights: Path | None) -> list[Training]:
    """Return our recipes, trained without the fold: the default, and with weights those of a pretrained network."""
    given: dict[str, dict[str, object]] = {"network": {"weights": str(weights.resolve())}} if weights else {}
    return [of_ours(name, given if name != OURS[0] else None) for name in (OURS if weights else OURS[:1])]


def of_ours(name: str, changes: dict[str, dict[str, object]] | None = None) -> Training:
    """Return one of our recipes, trained without the fold."""
    return Training(name, CLEAN, recipes.load(name).schedule.epochs, changes or {}, as_is=True)


def copied() -> Iterator[Training]:
    """Yield the published recipes that were trained on copies and judged by a fold under `clean`."""
    for training in trainings():
        if on_the_fold(training.design) and training.design.copies == "after":
            yield training


def first_choices(folder: Path) -> dict[str, str]:
    """Return `labels` and `choices` of a training, a digit for each photograph that judges; empty where none are kept.

    Args:
        folder: Of the training, with `predictions.npz`.
    """
    path = folder / "predictions.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        found = {"labels": arrays["validation_labels"], "choices": arrays["validation_logits"].argmax(axis=1)}
    return {name: "".join(str(int(place)) for place in places) for name, places in found.items()}


def pairs(results: Mapping[str, Any], prepared: Prepared, seeds: list[int]) -> dict[str, Any]:
    """Return by training, seed and recipe of ours by how much ours is better, as far as both are trained.

    Args:
        results: Of all trainings, by name and seed; those on the fold have `said`, as `first_choices` gives it.
        prepared: The data set under `clean`.
        seeds: Which to compare.
    """
    found: dict[str, Any] = {}
    for seed in seeds:
        groups = judged(prepared, CLEAN, seed)["group"]
        for training in copied():
            theirs = said_of(results, training.name, seed)
            for mine in OURS:
                said = said_of(results, of_ours(mine).name, seed)
                if theirs is not None and said is not None:
                    found.setdefault(training.name, {}).setdefault(str(seed), {})[mine] = _less(said, theirs, groups)
    return found


def section(results: Mapping[str, Any]) -> str:
    """Return the page's words and table of the pairs: what is shown by them, and what is not."""
    found = results.get(PAIRS, {})
    if not found:
        return ""
    said = (
        "Before the cross-validation had the recipes that are trained on copies, some were compared with ours on one "
        "fold of five under `clean`. No more of these pairs are asked for; those that were made stay here, whatever "
        "they say (95 % intervals resample groups of photograph and lesion, and are those of this one training each; "
        "`--one-fold` of the first command trains theirs, `--rows ours` with `--weights mobilenetv2_imagenet.npz` "
        "ours; `champion` with its moving average as it was before it was made to shorten itself, see above):"
    )
    lines = [
        filled(said),
        "",
        f"| recipe | seed | ours | n | {' | '.join(f'ours less it, {words}' for words in SCORES.values())} |",
        "|" + "---|" * (4 + len(SCORES)),
    ]
    short = []
    for name, seeds in found.items():
        for seed, each in seeds.items():
            for mine, less in each.items():
                n = next(iter(less.values()))["n"]
                lines.append(f"| {name} | {seed} | `{mine}` | {n} | {' | '.join(map(_span, less.values()))} |")
                apart = less["balanced_accuracy"]
                if apart["low"] <= 0:
                    shown = "shown to be worse" if apart["high"] < 0 else "not shown to be better"
                    short.append(f"`{mine}` against {name}, seed {seed}: {_span(apart)}, {shown}")
    if short:
        lines += ["", "By balanced accuracy, which decides, ours is not shown to be ahead here:", ""]
        lines += [filled(f"{words}{';' if words != short[-1] else '.'}", bullet=True) for words in short]
    return "\n".join(lines)


def _span(apart: Mapping[str, Any]) -> str:
    return f"{apart['value']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})"


def said_of(results: Mapping[str, Any], name: str, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels `(n,)` and first choices `(n,)` of a training, or None where they are not kept."""
    said = results.get(name, {}).get(str(seed), {}).get("said")
    if not said:
        return None
    labels, choices = (np.array([int(digit) for digit in said[key]], dtype=np.int64) for key in ("labels", "choices"))
    return labels, choices


def _less(
    mine: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray], groups: pd.Series
) -> dict[str, Any]:
    labels = mine[0]
    if not np.array_equal(labels, theirs[0]) or len(labels) != len(groups):
        raise SystemExit("Two trainings of one fold were judged by other photographs; train both of the same data.")

    def scores(w: np.ndarray) -> dict[str, np.ndarray]:
        first, second = (
            {
                "accuracy": (w * (said == labels)[:, None]).sum(axis=0) / w.sum(axis=0),
                "balanced_accuracy": statistics.balanced_accuracy(labels, said, w),
            }
            for said in (mine[1], theirs[1])
        )
        return {name: first[name] - second[name] for name in SCORES}

    values = scores(np.ones((len(labels), 1)))
    drawn = statistics.bootstrap(scores, pd.factorize(groups)[0], labels, 2000, 0, len(labels))
    return {
        name: statistics.interval(drawn[name], float(values[name][0]), len(labels), proportion=False).to_json()
        for name in SCORES
    }
