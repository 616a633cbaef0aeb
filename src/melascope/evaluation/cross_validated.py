"""What a repeated cross-validation says: scores by fold with intervals that know that folds share their photographs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from melascope.counted import plural
from melascope.evaluation.baselines import colour_model, colours
from melascope.evaluation.strata import with_both
from melascope.statistics import (
    Estimate,
    auc_within,
    confusion,
    holm,
    proportion,
    repeated_cv_difference,
    repeated_cv_p_value,
    wilson,
)
from melascope.statistics.intervals import FEW, LEVEL, Array

SCORES = ("balanced_accuracy", "melanoma_auc", "accuracy", "log_loss")
"""In the order of tables; the last is better where it is smaller."""
LARGEST, COLOURS = "the largest class always", "colour histogram and logistic regression"
"""The names of the baselines."""
_CHUNK, _SIDE = 256, 64  # photographs whose colours are counted at once; pixels of a side that are enough for it


def by_fold(rows: pd.DataFrame, score: str) -> Array:
    """Return a score as `(repeats, folds)` from a row for each `seed` and `fold`."""
    values: Array = rows.set_index(["seed", "fold"])[score].sort_index().to_numpy(dtype=float)
    return values.reshape(rows["seed"].nunique(), -1)


def fold_scores(rows: pd.DataFrame, few: Collection[str] = (), groups: int | None = None) -> dict[str, dict[str, Any]]:
    """Return the mean over folds of each score with its 95 % interval, as `{"value", "low", "high", "n"}`.

    The interval is the corrected resampled t (Nadeau and Bengio 2003): the folds of one repeat share most of their
    training photographs, and repeats share all. `n` counts trainings. A score that is not defined in every fold has
    no value; one that is the same in all has no interval. Folds hold the diagnoses in equal shares, so that an
    accuracy which the diagnosis alone decides hardly differs between them: its interval is never narrower than
    Wilson's of as many groups.

    Args:
        rows: A row per repeat and fold: `seed`, `fold`, and the columns of `SCORES`.
        few: Scores behind which too little stands to be judged: these have no interval.
        groups: How many lesions or patients judge in a repeat.
    """
    found = {}
    for score in SCORES:
        top = math.inf if score == "log_loss" else 1.0
        one = repeated_cv_difference(by_fold(rows, score), lowest=0.0, highest=top)
        if score in few:
            one = Estimate(one.value, math.nan, math.nan, one.n)
        elif score == "accuracy" and groups and math.isfinite(one.value):
            one = widened(one, groups)
        found[score] = one.to_json()
    return found


def widened(accuracy: Estimate, groups: int) -> Estimate:
    """Return an accuracy with an interval that is no narrower than Wilson's of as many groups."""
    least = wilson(min(1.0, accuracy.value) * groups, groups)
    low, high = float(np.fmin(accuracy.low, least.low)), float(np.fmax(accuracy.high, least.high))
    return Estimate(accuracy.value, low, high, accuracy.n)


def differences(rows: Mapping[str, pd.DataFrame], few: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the paired differences between all recipes, fold by fold, with corrected intervals.

    Args:
        rows: By recipe, as `fold_scores` takes them; all on the same folds.
        few: Scores behind which too little stands to be judged: these have no interval.

    Returns:
        Rows `name, a, b, score, value, low, high, p, p_corrected, n, too_few, differs`: p of the corrected resampled t
        test, corrected after Holm for the number of pairs of one score; `differs` is whether that is below .05.
    """
    found: list[dict[str, Any]] = []
    for score in SCORES[:3]:
        pairs = list(itertools.combinations(rows, 2))
        apart = [by_fold(rows[a], score) - by_fold(rows[b], score) for a, b in pairs]
        p_values = [math.nan if score in few else repeated_cv_p_value(each) for each in apart]
        for (a, b), each, p, corrected in zip(pairs, apart, p_values, holm(p_values), strict=True):
            estimate = repeated_cv_difference(each, lowest=-1.0, highest=1.0).to_json()
            if score in few:
                estimate |= {"low": None, "high": None}
            words = score.replace("_", " ").replace("auc", "AUC")
            found.append(
                {
                    "name": f"{a} − {b}: {words}",
                    "a": a,
                    "b": b,
                    "score": score,
                    **estimate,
                    "p": None if math.isnan(p) else p,
                    "p_corrected": None if math.isnan(corrected) else corrected,
                    "too_few": score in few,
                    "differs": corrected < 1 - LEVEL,
                }
            )
    return found


def over_baselines(
    rows: pd.DataFrame, baselines: Mapping[str, Mapping[str, Any]], few: Collection[str] = ()
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by how much a recipe is above what needs no network, by baseline and score, paired by fold.

    Args:
        rows: Of the recipe, as `fold_scores` takes them.
        baselines: By name, with `by_fold`: rows of the same folds.
        few: Scores behind which too little stands to be judged: these are left out.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, one in baselines.items():
        beside = pd.DataFrame(one["by_fold"])
        found[name] = {
            score: repeated_cv_difference(
                by_fold(rows, score) - by_fold(beside, score), lowest=-1.0, highest=1.0
            ).to_json()
            for score in SCORES[:3]
            if score not in few
        }
    return found


def not_above(name: str, over: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str | None:
    """Return in a sentence that a recipe is not shown to be above what needs no network; None where it is above all.

    Args:
        name: Of the recipe.
        over: As `over_baselines` returns it.
    """
    for baseline, words in (
        (LARGEST, "saying the largest class always"),
        (COLOURS, "colours alone, without a network"),
    ):
        one = over.get(baseline, {}).get("balanced_accuracy")
        if one is None or one["value"] is None or (one["low"] is not None and one["low"] > 0):
            continue
        worse = one["high"] is not None and one["high"] < 0
        span = "" if one["low"] is None else f" ({one['low']:+.3f} to {one['high']:+.3f})"
        return (
            f"{name} is {'worse than' if worse else 'not shown to be better than'} {words}: balanced accuracy "
            f"{one['value']:+.3f}{span}, paired by fold."
        )
    return None


def within_source(
    risk: Array,
    melanoma: Array,
    folds: Array,
    sources: Sequence[Any] | Array,
    groups: Sequence[Any] | Array | None = None,
) -> dict[str, Any] | None:
    """Return the melanoma AUC over pairs of one source: a source can tell the diagnosis, whatever the lesion shows.

    In each fold it is the mean of the AUCs within each source, weighted by their pairs of a melanoma and another
    lesion. The interval is that of `fold_scores`.

    Args:
        risk: `(repeats, n)` of melanoma, out of fold.
        melanoma: `(n,)` bool.
        folds: `(repeats, n)`.
        sources: `(n,)` names; what is not known is left out.
        groups: `(n,)` lesions or patients, that what is too little to judge is told; each photograph by default.

    Returns:
        `auc` (an estimate), `sources` (names of those that have both), `left_out` photographs of other or unknown
        sources, `too_few`: fewer than ten groups of either kind, and no interval. None where fewer than two sources
        are known.
    """
    found = within_source_by_fold(risk, melanoma, folds, sources)
    if found is None:
        return None
    values, used = found
    counted = pd.Series(sources, dtype="string").str.strip().isin(used).to_numpy(dtype=bool)
    estimate = repeated_cv_difference(values, lowest=0.0, highest=1.0).to_json()
    names = np.arange(len(melanoma)) if groups is None else np.array([str(name) for name in groups], dtype=object)
    few = min(len(set(names[counted & kind].tolist())) for kind in (melanoma, ~melanoma)) < FEW
    if few:
        estimate |= {"low": None, "high": None}
    return {"auc": estimate, "sources": used, "left_out": int((~counted).sum()), "too_few": few}


def within_source_by_fold(
    risk: Array, melanoma: Array, folds: Array, sources: Sequence[Any] | Array
) -> tuple[Array, list[str]] | None:
    """Return the melanoma AUC over pairs of one source in each fold; arguments are those of `within_source`.

    Returns:
        `(repeats, folds)`, NaN where no source of a fold has both, and the names of the sources that have both. None
        where fewer than two sources are known.
    """
    known = pd.Series(sources, dtype="string").str.strip()
    names = sorted(name for name in known.dropna().unique() if name)
    if len(names) < 2:
        return None
    source = known.fillna("").to_numpy(dtype=object).astype(str)
    values, used = np.full((len(folds), int(folds.max()) + 1), np.nan), set()
    for repeat, fold in itertools.product(range(len(folds)), range(values.shape[1])):
        own = folds[repeat] == fold
        both = with_both(melanoma[own], source[own])
        rows = own & np.isin(source, both)
        values[repeat, fold] = auc_within(risk[repeat, rows], melanoma[rows], source[rows])
        used.update(both)
    return values, sorted(used)


def pooled(
    probabilities: Array, labels: Array, groups: Sequence[Any] | Array, classes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return what all folds together say of each diagnosis.

    Each photograph is judged in each repeat, by the network that saw nothing of its group. Risks of different
    networks are not on one scale, so that nothing that ranks (AUC) is pooled.

    Args:
        probabilities: `(repeats, n, c)`, out of fold.
        labels: `(n,)` indices into `classes`.
        groups: `(n,)` lesions or patients: what the intervals resample.
        classes: Codes.
        seed: Of the bootstrap.

    Returns:
        `confusion`: `(c, c)` counts over all repeats. `per_class`: code to `sensitivity` (of the first choice, averaged
        over repeats, with its interval), `n` photographs, `groups`, and `too_few`: fewer than ten groups are not
        judged, however many photographs they have. No precision: it depends on how frequent a diagnosis is, and here
        that is how the set was collected.
    """
    choices = probabilities.argmax(axis=2)
    matrix = sum(confusion(labels, choice, len(classes)) for choice in choices)
    per_class = {}
    for code, name in enumerate(classes):
        of_class = labels == code
        hits = (choices[:, of_class] == code).mean(axis=0)
        within = np.asarray(groups, dtype=object)[of_class]
        number = len(set(within.tolist()))
        per_class[name] = {
            "sensitivity": proportion(hits, within, seed=seed).to_json(),
            "n": int(of_class.sum()),
            "groups": number,
            "too_few": number < FEW,
        }
    return {"confusion": np.asarray(matrix).astype(int).tolist(), "per_class": per_class}


def baselines(labels: Array, folds: Array, classes: int, images: Array) -> dict[str, Array]:
    """Return what needs no network, on the same folds: probabilities `(repeats, n, c)` out of fold, by name.

    `LARGEST` says the shares of the classes in training, so that its first choice is the largest; `COLOURS` is the
    logistic regression of `evaluation.baselines`. It is left out where a fold leaves one class only.

    Args:
        labels: `(n,)` indices of the classes.
        folds: `(repeats, n)`.
        classes: How many.
        images: `(n, h, w, 3)` uint8; may be a memory map.
    """
    step = max(1, max(images.shape[1:3]) // _SIDE)
    starts = range(0, len(images), _CHUNK)
    features = np.concatenate([colours(images[start : start + _CHUNK, ::step, ::step]) for start in starts])
    largest, by_colour = (np.zeros((*folds.shape, classes)) for _ in range(2))
    taught = True
    for repeat, assigned in enumerate(folds):
        for fold in np.unique(assigned):
            held = assigned == fold
            shares = np.bincount(labels[~held], minlength=classes) / (~held).sum()
            largest[repeat, held] = shares
            if (shares > 0).sum() < 2:
                taught = False
            if taught:
                model = colour_model().fit(features[~held], labels[~held])
                by_colour[repeat][np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return {LARGEST: largest, **({COLOURS: by_colour} if taught else {})}


def grouping(told: Mapping[str, Any]) -> list[str]:
    """Return what keeps the photographs of a fold apart from those trained on, and what does not, a sentence each.

    Args:
        told: `optimistic`, `protocol`, `grouped`, `closed`, `limited`; `audited`, `by_group`, `torn`, `fixed_folds`
            and `lesions` where they are known.
    """
    found = []
    if told.get("fixed_folds"):
        found.append(f"The folds are those of {told['fixed_folds']}; --folds has no say.")
    torn = told.get("torn", 0)
    if torn:
        found.append(
            f"{plural(torn, 'photograph, lesion or patient', 'photographs, lesions or patients')} "
            f"{'stands' if torn == 1 else 'stand'} in several of these folds (--unaudited): networks are scored on "
            "what they were trained on, and every number here is optimistic."
        )
    elif not told["grouped"]:
        found.append(
            f'The protocol "{told["protocol"]}" divides single photographs: copies and other photographs of a lesion '
            "stand on both sides, and every number here is optimistic."
        )
    elif told.get("audited", True):
        found.append("Photographs of one lesion or patient, and copies of one photograph, stand in one fold.")
    else:
        found.append(
            "Photographs of one lesion or patient stand in one fold where their ids say so. The data are unaudited: "
            "copies of one photograph may not have been searched for, and may stand on both sides."
        )
    lesions = told.get("lesions")
    if lesions and lesions["assumed"]:
        found.append(
            f"{plural(lesions['known'], 'lesion')} {'is' if lesions['known'] == 1 else 'are'} known by id, "
            f"{lesions['assumed']:,} assumed (one photograph, one lesion): of these another photograph may stand in "
            "another fold, so that no number here is lesion-disjoint for certain."
        )
    elif lesions:
        found.append(f"All lesions ({lesions['known']:,}) are known by id.")
    return found


def of_sources(told: Mapping[str, Any]) -> list[str]:
    """Return what a melanoma AUC over several sources may owe to the source, in a sentence.

    Args:
        told: `sources`, how many are known of the photographs.
    """
    number = told.get("sources", 0)
    if number == 1:
        return []
    if number:
        return [
            "The melanoma AUC joins several sources, and a source can tell the diagnosis: read it beside that within a "
            "source."
        ]
    return ["Sources are not recorded, so it cannot be shown that the source does not tell the diagnosis."]


def notes(recipes: Sequence[str], folds: int, repeats: int, told: Mapping[str, Any]) -> list[str]:
    """Return what limits the numbers, a sentence each.

    Args:
        recipes: Names.
        folds: How many.
        repeats: How many.
        told: As `grouping` takes it.
    """
    found = [
        "A score is the mean over folds; its interval is the corrected resampled t, wider than that of independent "
        "folds, since they share most of their training photographs.",
        *grouping(told),
    ]
    found += of_sources(told)
    if told["closed"]:
        found.append(f"The test part ({told['closed']:,} photographs) was left closed: nothing here was seen from it.")
    if told.get("limited"):
        found.append(f"Only {told['limited']:,} photographs were drawn (--limit): a try, not a result.")
    if len(recipes) > 1:
        found.append(
            f"{len(recipes)} recipes were tried on these folds: the score of the best of them is optimistic, the "
            "more so the more were tried. An interval of a difference is that of one pair alone, and one that contains "
            "zero shows no difference; whether a pair differs is decided by its p value, corrected for the number of "
            "pairs (Holm)."
        )
        found.append(
            "If one of them is chosen by these numbers, then by photographs of which `melascope run` on the same data "
            "takes those that it sets thresholds and prediction sets with: they are then a little too good."
        )
    if folds * repeats < 6:
        found.append(f"{folds * repeats} trainings are few: the intervals are wide because they must be.")
    return found
