"""Comparing runs: side by side, and paired on the photographs that all of them were tested on."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.counted import plural
from melascope.errors import RunError
from melascope.evaluation.predictions import Vocabulary, common_classes
from melascope.evaluation.results import RunResult, judged_part, load_result, unopened
from melascope.evaluation.sample import Sample, group_names, photographs
from melascope.progress import Progress, silent
from melascope.statistics import (
    Difference,
    Estimate,
    accuracy,
    balanced_accuracy,
    bootstrap,
    delong,
    deployed,
    holm,
    interval,
    partial_auc,
    rates,
    units,
)
from melascope.statistics.intervals import DRAWS, FEW, LEVEL, Array

TEST = "test"
PARTS = (TEST, "calibrate", "tune")
_KIN = ("key", "group", "lesion_id", "patient_id", "sha256")


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: A row per run: `run, protocol, audited, test`, and scores as
            `{"value", "low", "high", "n"}`, each from the run's own headline part.
        differences: A row per pair and score: `name, score, a, b, value, low,
            high, p, p_corrected, n, too_few, differs`. p is DeLong's (AUC only), corrected
            after Holm for the number of pairs; `n` counts the photographs that the score
            is of, such as melanomas for a sensitivity; `too_few`: fewer than ten groups of
            these, and no interval. `differs` is whether p_corrected is below .05, or,
            without a p, whether the interval leaves out zero.
        notes: What limits the comparison.
    """

    runs: pd.DataFrame
    differences: pd.DataFrame
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return `{"runs": [...], "differences": [...], "notes": [...]}`; what is undefined is None."""
        return {
            "runs": [_plain(row) for row in self.runs.to_dict("records")],
            "differences": [_plain(row) for row in self.differences.to_dict("records")],
            "notes": list(self.notes),
        }


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def compare(
    runs: Sequence[RunResult | str | os.PathLike[str] | Any],
    *,
    part: str = TEST,
    draws: int = DRAWS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Put runs side by side and test every pair on the photographs of a part that they share.

    Each pair is compared in the finest classes that both can be told in, on the
    same photographs, with the same labels, resampling the same groups.

    Args:
        runs: Run folders, `RunResult`s, or opened runs (with `predictions` and `metrics`).
        part: `test`, or `calibrate` or `tune` to choose between runs while their test part stays unseen; for these a
            run needs to be exported only: what is not judged yet is judged on that part alone.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Called with `compare`, pairs done and in all; before it with `predict` where a part is judged here.

    Raises:
        RunError: With fewer than two runs, when a run is not finished, or when one has no such part.
        ValueError: For a part that nothing may be compared on.
    """
    if part not in PARTS:
        raise ValueError(f"Runs are compared on {', '.join(PARTS)}; not on {part}.")
    if len(runs) < 2:
        raise RunError(f"A comparison needs at least two runs; {len(runs)} was given.")
    report = progress or silent
    results = _distinctly_named([_result(run, part, report) for run in runs])
    for result in results:
        if part != TEST and part not in result.metrics["parts"]:
            raise RunError(f"{result.name} has no part {part}. It has: {', '.join(result.metrics['parts'])}.")
    notes = _notes(results, part)
    rows: list[dict[str, Any]] = []
    pairs = list(itertools.combinations(results, 2))
    for done, (a, b) in enumerate(pairs):
        report("compare", done, len(pairs))
        found, told = _pair(a, b, part, draws, seed)
        rows += found
        notes += told
    report("compare", len(pairs), len(pairs))
    columns = ["name", "score", "a", "b", "value", "low", "high", "p", "p_corrected", "n", "too_few", "differs"]
    differences = pd.DataFrame(rows, columns=columns)
    for _, index in differences.groupby("score", sort=False).groups.items():
        differences.loc[index, "p_corrected"] = holm([float(p) for p in differences.loc[index, "p"]])
    tested = differences["p_corrected"].notna()
    differences.loc[tested, "differs"] = differences.loc[tested, "p_corrected"].astype(float) < 1 - LEVEL
    if len(pairs) > 1:
        notes.append(
            f"{len(pairs)} pairs are compared by each score. Of an area (AUC), p is corrected for that (Holm), and "
            "decides. The other intervals are not corrected: of runs that are equal, one in twenty leaves out zero."
        )
    return Comparison(
        pd.DataFrame([_row(result, part) for result in results]), differences, tuple(dict.fromkeys(notes))
    )


def _result(run: Any, part: str, progress: Progress) -> RunResult:
    if isinstance(run, RunResult):
        return run
    folder = run if isinstance(run, (str, os.PathLike)) else getattr(run, "path", None)
    folder = folder or getattr(getattr(run, "folder", None), "path", None)
    if folder is not None and part != TEST and unopened(folder):
        return judged_part(folder, part, progress)
    if isinstance(run, (str, os.PathLike)):
        return load_result(run)
    return RunResult(Path(folder).resolve().name if folder else "run", run.predictions, run.metrics)


def _distinctly_named(results: list[RunResult]) -> list[RunResult]:
    names = [result.name for result in results]
    return [
        RunResult(f"{result.name} ({i})", result.predictions, result.metrics)
        if names.count(result.name) > 1
        else result
        for i, result in enumerate(results, start=1)
    ]


def _row(result: RunResult, part: str) -> dict[str, Any]:
    metrics = result.metrics
    name = metrics["headline"] if part == TEST else part
    scores = metrics["parts"][name]
    melanoma = scores["groups"]["melanoma"]
    point: Mapping[str, Any] = melanoma["operating_points"].get(deployed(melanoma["operating_points"]) or "", {})
    return {
        "run": result.name,
        "protocol": metrics["protocol"],
        "audited": metrics["audited"],
        "test": f"{plural(scores['n_images'], 'photograph')} ({name})",
        "melanoma_sensitivity": point.get("sensitivity"),
        "melanoma_specificity": point.get("specificity"),
        # An area is as sure as the side that has fewest.
        "melanoma_auc": {**melanoma["auc"], "groups": min(melanoma["n_positive"], melanoma["n_negative"])},
        "balanced_accuracy": scores["balanced_accuracy"],
        "accuracy": scores["accuracy"],
    }


def _notes(results: Sequence[RunResult], part: str) -> list[str]:
    notes = []
    if part != TEST:
        notes.append(
            f"On the part {part}, which the runs were made with: it helps to choose a run, and is no result. "
            "Thresholds and first choices were set on calibrate, each run's by itself; the areas (AUC) are the fairer "
            "scores."
        )
    if part == "calibrate":
        notes.append(
            "A run that is chosen by it has its thresholds, assured bounds and prediction sets from these very "
            "photographs: what calibrate says of them is then a little too good. Choose on tune where there is one."
        )
    protocols = {result.name: result.metrics["protocol"] for result in results}
    if len(set(protocols.values())) > 1:
        told = ", ".join(f"{name}: {protocol}" for name, protocol in protocols.items())
        notes.append(f"The protocols differ ({told}): scores side by side are not comparable, only paired ones are.")
    unaudited = [result.name for result in results if not result.metrics["audited"]]
    if unaudited:
        notes.append(f"Not audited: {', '.join(unaudited)}.")
    tests = [frozenset(_judged(result, part)["key"]) for result in results]
    if len(set(tests)) > 1:
        sizes = ", ".join(f"{result.name}: {len(test)}" for result, test in zip(results, tests, strict=True))
        notes.append(f"The {part} sets differ ({sizes} photographs); pairs are compared on what they share.")
    if len(results) > 2:
        notes.append(f"{len(results)} runs were tried: the score of the best of them is optimistic.")
    return notes


def _judged(result: RunResult, part: str) -> pd.DataFrame:
    frame = result.predictions
    rows = frame["part"].astype("string").fillna(TEST) == part if "part" in frame.columns else frame["path"].notna()
    judged = frame[rows.to_numpy(dtype=bool)].copy()
    judged["key"] = judged["image_id"].astype("string").fillna(judged["path"].astype("string"))
    return judged.drop_duplicates("key")


def _pair(a: RunResult, b: RunResult, part: str, draws: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the differences a minus b, and what had to be left out for them."""
    label = f"{a.name} − {b.name}"
    own = [tuple(run.metrics["classes"]) for run in (a, b)]
    shared = common_classes(*own)
    words = shared or diagnosis.ISIC_2018
    left, right = (_judged(run, part).set_index("key") for run in (a, b))
    common = left.index.intersection(right.index, sort=False)
    left, right = left.loc[common], right.loc[common]
    kept, samples = np.ones(len(common), dtype=bool), []
    for frame, classes, run in ((left, own[0], a), (right, own[1], b)):
        prior = (run.metrics.get("first_choice") or {}).get("prior")
        sample, rows, _ = photographs(frame, classes, Vocabulary(words, False), prior)
        kept &= rows
        samples.append((sample, rows))
    if part == TEST:
        seen = np.logical_or.reduce([_seen(frame) for frame in (left, right)])
    else:  # What a run was made with is known to it; only what it learnt from may not be judged.
        seen = np.logical_or.reduce([_learnt(frame, run) for frame in (left, right) for run in (a, b)])
    kept &= ~seen
    pair = [_restrict(sample, rows, kept) for sample, rows in samples]
    same = pair[0].y == pair[1].y
    notes = []
    if seen.any():
        known = plural(
            int(seen.sum()), "photograph on which a run was trained is", "photographs on which a run was trained are"
        )
        notes.append(f"{label}: {known} left out.")
    if not same.all():
        bear = f"shared {part} photograph bears different labels and is"
        differ = plural(int((~same).sum()), bear, f"shared {part} photographs bear different labels and are")
        notes.append(f"{label}: {differ} left out.")
        pair = [sample.take(same) for sample in pair]
    if not len(pair[0]):
        return [], [*notes, f"{label}: no {part} photograph is shared, so nothing can be paired."]
    # The run that knows more of what belongs together says what is resampled.
    named = [units(group_names(frame[kept]), int(kept.sum()))[same] for frame in (left, right)]
    groups = min(named, key=lambda names: len(np.unique(names)))
    if shared is None:
        notes.append(f"{label}: their classes have no common vocabulary; only melanoma and malignancy are compared.")
    thresholds = [_thresholds(run.metrics) for run in (a, b)]
    found = _differences(pair[0], pair[1], groups, thresholds, shared is not None, draws, seed)
    return [{"name": f"{row['score']}: {label}", "a": a.name, "b": b.name, **row} for row in found], notes


def _seen(test: pd.DataFrame) -> Array:
    if "trained_on" not in test.columns:
        return np.zeros(len(test), dtype=bool)
    return test["trained_on"].fillna(False).to_numpy(dtype=bool)


def _learnt(judged: pd.DataFrame, run: RunResult) -> Array:
    """Return which photographs are, or share a lesion, a patient or their bytes with, one that a run learnt from."""
    learnt = _judged(run, "train")
    found = np.zeros(len(judged), dtype=bool)
    for name in _KIN:
        column = judged.index.to_series() if name == "key" else judged.get(name)
        if column is not None and name in learnt:
            found |= column.isin(learnt[name].dropna()).to_numpy(dtype=bool)
    return found


def _restrict(sample: Sample, rows: Array, kept: Array) -> Sample:
    return sample.take(kept[np.flatnonzero(rows)])


def _thresholds(metrics: Mapping[str, Any]) -> dict[str, float]:
    groups = metrics["parts"][metrics["headline"]]["groups"]
    return {
        group: section["operating_points"][str(deployed(section["operating_points"]))]["threshold"]
        for group, section in groups.items()
        if section["operating_points"]
    }


def _differences(
    a: Sample, b: Sample, groups: Array, thresholds: Sequence[Mapping[str, float]], classes: bool, draws: int, seed: int
) -> list[dict[str, Any]]:
    def scores(sample: Sample, limits: Mapping[str, float], w: Array) -> dict[str, Array]:
        result = {}
        if classes:
            predicted = sample.choice
            result["balanced accuracy"] = balanced_accuracy(sample.y, predicted, w)
            result["accuracy"] = accuracy(sample.y, predicted, w)
        for group, truth in sample.truth.items():
            result[f"{group} partial AUC"] = partial_auc(sample.risk[group], truth, w)
            if all(group in each for each in thresholds):
                found, passed = rates(sample.risk[group] >= limits[group], truth, w)
                result |= {f"{group} sensitivity": found, f"{group} specificity": passed}
        return result

    def difference(w: Array) -> dict[str, Array]:
        one, other = scores(a, thresholds[0], w), scores(b, thresholds[1], w)
        return {name: one[name] - other[name] for name in one}

    n = len(a)
    values = difference(np.ones((n, 1)))
    samples = bootstrap(difference, groups, a.y, draws, seed, n)
    behind = _behind(a.truth, groups, n)
    rows = [
        _told(f"{group} AUC", delong(a.risk[group], b.risk[group], truth, groups), behind)
        for group, truth in a.truth.items()
    ]
    rows += [_told(name, _interval(samples[name], float(value[0]), n), behind) for name, value in values.items()]
    return [row for row in rows if math.isfinite(row["value"])]


def _interval(samples: Array, value: float, n: int) -> Estimate:
    """Return a difference with its interval; with none where no draw differs from another, which is no certainty."""
    found = interval(samples, value, n, proportion=False)
    return found if found.high - found.low > 1e-12 else Estimate(value, math.nan, math.nan, n)


def _behind(truths: Mapping[str, Array], groups: Array, n: int) -> dict[str, tuple[int, int]]:
    """Return by score how many photographs it counts, and how many independent groups tell the side that has fewest."""
    unit = units(groups, n)
    everyone = (n, len(np.unique(unit)))
    found = {"balanced accuracy": everyone, "accuracy": everyone}
    for group, truth in truths.items():
        sides = {name: (int(rows.sum()), len(np.unique(unit[rows]))) for name, rows in ((1, truth), (0, ~truth))}
        fewest = (n, min(count for _, count in sides.values()))
        found |= {f"{group} AUC": fewest, f"{group} partial AUC": fewest}
        found |= {f"{group} sensitivity": sides[1], f"{group} specificity": sides[0]}
    return found


def _told(score: str, found: Difference | Estimate, behind: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    n, independent = behind[score]
    few = independent < FEW
    low, high = (math.nan, math.nan) if few else (found.low, found.high)
    return {
        "score": score,
        "value": found.difference if isinstance(found, Difference) else found.value,
        "low": low,
        "high": high,
        "p": found.p_value if isinstance(found, Difference) and not few else math.nan,
        "p_corrected": math.nan,
        "n": n,
        "too_few": few,
        "differs": bool(low > 0 or high < 0),
    }
