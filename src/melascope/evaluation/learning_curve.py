"""What a learning curve says: scores at each size, a power law through them, and twice the lesions, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from melascope.evaluation.cross_validated import SCORES, fold_scores, grouping, of_sources
from melascope.statistics.intervals import Array
from melascope.statistics.power_law import FEWEST_SIZES, extrapolate, fit_power_law

FITTED = ("balanced_accuracy", "melanoma_auc")
TIMES = 2.0
_NAMES = {"balanced_accuracy": "balanced accuracy", "melanoma_auc": "melanoma AUC"}


def unit(told: Mapping[str, Any]) -> str:
    """Return what a curve counts, in words: lesions only where every lesion is known.

    Args:
        told: As `notes` takes it.
    """
    if not told.get("by_group", told["grouped"]):
        return "photographs"
    return "known or assumed lesions" if told.get("lesions", {}).get("assumed") else "lesions"


def points(rows: pd.DataFrame, few: Collection[str] = (), judging: int | None = None) -> list[dict[str, Any]]:
    """Return for each share of the lesions its mean size, and each score with its corrected interval.

    Args:
        rows: A row per repeat, fold and share: `seed, fold, share, groups, photographs` and the scores.
        few: Scores behind which too little stands to be judged.
        judging: How many lesions or patients judge in a repeat.
    """
    found = []
    for share, part in rows.groupby("share", sort=True):
        sizes = {name: float(part[name].mean()) for name in ("groups", "photographs")}
        found.append({"share": float(str(share)), **sizes, "scores": fold_scores(part, few, judging)})
    return found


def laws(
    rows: pd.DataFrame, folds: int, seed: int = 0, unit: str = "lesions", few: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return for each fitted score the law, what it says of twice the lesions, and how it did on what is known.

    Args:
        rows: As `points` takes them.
        folds: Folds of one repeat.
        seed: Of the bootstrap.
        unit: What `groups` counts, for the words.
        few: Why a score cannot be judged, by score.

    Returns:
        By score: `a, b, c`, `groups` (largest measured and asked for), `score`, `gain`, `backtest` (what the smaller
        sizes alone say of the largest, None with fewer than four sizes) and `words`. Only `words` where nothing can be
        fitted.
    """
    sizes = rows.groupby("share")["groups"].mean().to_numpy(dtype=float)
    found: dict[str, dict[str, Any]] = {}
    for name in FITTED:
        if few and name in few:
            found[name] = {"words": f"No curve was fitted to {_NAMES[name]}: {few[name]}."}
            continue
        curves = _curves(rows, name)
        if len(sizes) < FEWEST_SIZES or not np.isfinite(curves).all():
            why = f"{len(sizes)} sizes are too few" if len(sizes) < FEWEST_SIZES else "it is not defined in every fold"
            found[name] = {"words": f"No curve was fitted to {_NAMES[name]}: {why}."}
            continue
        told = extrapolate(sizes, curves, folds, TIMES, seed=seed)
        measured = float(curves[:, -1].mean())
        backtest = None
        if len(sizes) > FEWEST_SIZES:
            said = float(fit_power_law(sizes[:-1], curves[:, :-1].mean(axis=0)).at(sizes[-1]))
            backtest = {"said": said, "measured": measured}
        law = {
            "a": float(told.law.a),
            "b": float(told.law.b),
            "c": float(told.law.c),
            "groups": {"measured": float(sizes[-1]), "asked": told.size},
            "score": told.score.to_json(),
            "gain": told.gain.to_json(),
            "backtest": backtest,
        }
        found[name] = {**law, "words": _words(name, law, measured, unit)}
    return found


def _curves(rows: pd.DataFrame, score: str) -> Array:
    """Return a score as `(repeats x folds, sizes)`."""
    values: Array = rows.set_index(["seed", "fold", "share"])[score].sort_index().to_numpy(dtype=float)
    return values.reshape(-1, rows["share"].nunique())


def _words(name: str, law: Mapping[str, Any], measured: float, unit: str) -> str:
    score, gain = law["score"], law["gain"]
    what = f"{_NAMES[name][:1].upper()}{_NAMES[name][1:]}"
    head = (
        f"{what} was measured as {measured:.3f} with {law['groups']['measured']:,.0f} {unit} in training; the curve "
        f"through all sizes passes there at {score['value'] - gain['value']:.3f}."
    )
    of_score = "" if score["low"] is None else f" (95 % interval {score['low']:.3f} to {score['high']:.3f})"
    of_gain = "" if gain["low"] is None else f" ({gain['low']:+.3f} to {gain['high']:+.3f})"
    twice = (
        f"With twice as many ({law['groups']['asked']:,.0f}) the curve would reach {score['value']:.3f}{of_score}, "
        f"{gain['value']:+.3f} along it{of_gain}, if it goes on as it does: an extrapolation, not a measurement."
    )
    verdict = ""
    if law["b"] <= 0:
        verdict = f" No rise with the number of {unit} is seen."
    if gain["high"] is not None and gain["high"] <= 0:
        verdict += " More of the same may not help this recipe."
    elif gain["low"] is None or gain["low"] <= 0:
        verdict += f" Whether more {unit} would help cannot be told from these."
    tested = law["backtest"]
    if tested is not None:
        verdict += (
            f" Put to the test: the smaller sizes alone say {tested['said']:.3f} of the largest, where "
            f"{tested['measured']:.3f} was measured."
        )
    return f"{head} {twice}{verdict}"


def notes(told: Mapping[str, Any], folds: int, repeats: int, tuned: bool) -> list[str]:
    """Return what limits the curve, a sentence each.

    Args:
        told: As `cross_validated.grouping` takes it.
        folds: How many.
        repeats: How many.
        tuned: Whether the recipe decides by a fold of its own.
    """
    what = unit(told)
    meant = (
        "Each photograph counts for itself."
        if what == "photographs"
        else "A lesion here is a group: all photographs of one lesion and of one patient, as far as ids are known."
    )
    found = [
        f"{meant} Smaller sizes are part of larger ones, each diagnosis keeps its share, and all are scored on the "
        "same folds.",
        *grouping(told),
        "The recipe is the same at every size. The same epochs over fewer photographs are fewer steps, as they would "
        "be for somebody who had only those.",
        f"Twice the {what} means twice as many like these: from the same sources, with the same diagnoses in the same "
        "shares. Other sources may help more, or show that the model is worse than it seems.",
        f"The intervals rest on {folds * repeats} curves that share photographs. What their trainings err in common, "
        "the intervals of the extrapolation see in part only: they may be too narrow, that of the change more so. The "
        "power law itself is an assumption that no interval covers.",
    ]
    if tuned:
        found.append("The recipe decides by a fold of its own, which has the same size at every point.")
    found += of_sources(told)
    if told["closed"]:
        found.append(f"The test part ({told['closed']:,} photographs) was left closed.")
    if told.get("limited"):
        found.append(f"Only {told['limited']:,} photographs were drawn (--limit): a try, not a result.")
    return found


__all__ = ["FITTED", "SCORES", "laws", "notes", "points", "unit"]
