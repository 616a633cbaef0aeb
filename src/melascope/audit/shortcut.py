"""Shortcuts: whether the diagnosis is told by something that is not the lesion.

Each trait of a photograph (`images.traits`), its size, format and source, and
the number in its name are tried alone and together: how much of the diagnosis'
entropy a trait holds, and which balanced accuracy a decision tree (together: a
tree and a small forest) reaches from it in cross-validation by groups. A
network trained on such a set may learn the same. What the archive's number
tells is the source: no network sees the number, but it sees the camera. A large lesion reaches into the rim on
which its surroundings are measured, so that a little of what they tell is its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.audit.problems import PROBLEM_COLUMNS, Found, none, readable
from melascope.audit.shortcut_features import Feature, features
from melascope.datasets.groups import groups
from melascope.datasets.split import folds
from melascope.statistics import Estimate, interval, resamples

FOLDS = 5
FEWEST = 20
"""Groups that a diagnosis needs to take part: four in each fold."""
STRONG = 0.1
"""The share of the way from chance to certainty that the interval's lower end must exceed to be called a shortcut."""
MOST_ROWS = 20_000
DRAWS = 1000
_ALONE_DEPTH, _TOGETHER_DEPTH = 4, 8
_TREES = 40
_BINS = 16


@dataclass(frozen=True)
class _Data:
    """What the trees are tried on.

    Attributes:
        label: Which of `codes` each row has `(n,)`.
        codes: The diagnoses.
        group: Of each row `(n,)`.
        fold: Of each row `(n,)`.
    """

    label: np.ndarray
    codes: tuple[str, ...]
    group: np.ndarray
    fold: np.ndarray


def find(table: pd.DataFrame, seed: int = 0) -> Found:
    """Return a row for each trait that tells the diagnosis, and one for all together; none names a photograph.

    The diagnosis is the authority's, or the filed one where there is none, as
    coarse as the coarsest in use. Rows of one photograph, lesion or patient
    stand in one fold. Of more than 20,000 rows as many are drawn.

    Args:
        table: A scanned table.
        seed: Of the folds, the draws and the trees.

    Returns:
        Problems, and details: `photographs`, `groups`, `classes`, `chance` (1 / classes), `folds`, `sentence`,
        `left_out` (diagnoses with too few groups), `constant` (traits with one value), `traits` (the strongest first:
        `name`, `label`, `family`, `of_lesion`, `information` (share of the diagnosis' entropy, 0 to 1), `accuracy`
        (balanced: `{value, low, high, n}`), `strong`, `tells` (the diagnoses told best)), and `together`: under
        `everything`, `picture` (what pixels show) and `file` (what they do not) the `traits` used, `tree` and
        `accuracy` (balanced, of one tree and of a forest), `strong`, `sensitivity` and `specificity` per diagnosis,
        `tells`.
    """
    rows = _labelled(table)
    data, rows, sentences, left_out = _prepare(rows, seed)
    details: dict[str, Any] = {
        "photographs": len(rows),
        "classes": list(data.codes) if data else [],
        "folds": FOLDS,
        "left_out": left_out,
    }
    if data is None:
        return Found(none(), {**details, "sentence": " ".join(sentences), "traits": [], "together": {}})
    tried, constant = features(rows)
    sets = {
        "everything": [one for one in tried if not one.of_lesion],
        "picture": [one for one in tried if not one.of_lesion and one.in_picture],
        "file": [one for one in tried if not one.of_lesion and not one.in_picture],
    }
    sets = {name: chosen for name, chosen in sets.items() if chosen}
    guesses = [_guess([one], data, _tree(_ALONE_DEPTH, seed)) for one in tried]
    guesses += [_guess(chosen, data, _tree(_TOGETHER_DEPTH, seed)) for chosen in sets.values()]
    guesses += [_guess(chosen, data, _forest(seed)) for chosen in sets.values()]
    accuracies = _balanced(guesses, data, seed) if guesses else []
    chance = 1 / len(data.codes)
    alone = [
        {
            "name": one.name,
            "label": one.label,
            "family": one.family,
            "of_lesion": one.of_lesion,
            "information": _information(one.values, data.label, len(data.codes)),
            "accuracy": accuracy.to_json(),
            "strong": not one.of_lesion and _is_strong(accuracy, chance),
            "tells": _told_best(guess, data),
        }
        for one, guess, accuracy in zip(tried, guesses, accuracies, strict=False)
    ]
    alone.sort(key=_accuracy, reverse=True)
    trees, forests = len(tried), len(tried) + len(sets)
    together = {
        name: {
            "traits": [one.name for one in chosen],
            "tree": accuracies[trees + place].to_json(),
            "accuracy": accuracies[forests + place].to_json(),
            "strong": _is_strong(accuracies[forests + place], chance),
            **_by_diagnosis(guesses[forests + place], data),
            "tells": _told_best(guesses[forests + place], data),
        }
        for place, (name, chosen) in enumerate(sets.items())
    }
    details |= {
        "groups": len(np.unique(data.group)),
        "chance": chance,
        "constant": constant,
        "traits": alone,
        "together": together,
        "sentence": " ".join([*sentences, _summary(together, data)]).strip(),
    }
    return Found(_problems(alone, together, data), details)


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return the readable rows with a diagnosis: official where there is one, made as coarse as the coarsest in use."""
    rows = readable(table)
    label = rows["diagnosis"].astype("string")
    if "official_diagnosis" in rows.columns:
        label = rows["official_diagnosis"].astype("string").fillna(label)
    used = tuple(label.dropna().unique())
    coarser = {}
    for code in used:
        others = tuple(other for other in used if other != code)
        coarser[code] = diagnosis.coarsen_label(code, others) or code
    return rows.assign(diagnosis=label.map(coarser).astype("string")).loc[label.notna().to_numpy()]


def _prepare(rows: pd.DataFrame, seed: int) -> tuple[_Data | None, pd.DataFrame, list[str], list[str]]:
    """Return what the trees are tried on (None where there is too little), its rows, remarks, and what was left out."""
    sentences = []
    rows = rows.reset_index(drop=True)
    group = np.unique(groups(rows).astype(str), return_inverse=True)[1] if len(rows) else np.empty(0, dtype=np.intp)
    if len(rows) > MOST_ROWS:
        # Whole groups, in an order drawn once, until there are enough rows.
        order = np.random.default_rng(seed).permutation(int(group.max()) + 1)[group]
        chosen = np.sort(np.argsort(order, kind="stable")[:MOST_ROWS])
        sentences.append(f"Tried on {MOST_ROWS:,} of {len(rows):,} photographs, drawn by groups.")
        rows, group = rows.iloc[chosen].reset_index(drop=True), group[chosen]
    counts = pd.Series(group).groupby(rows["diagnosis"].to_numpy(dtype=object)).nunique()
    codes = diagnosis.ordered(counts.index[counts >= FEWEST])
    left_out = list(diagnosis.ordered(counts.index[counts < FEWEST]))
    if len(codes) < 2:
        have = "diagnosis has" if len(codes) == 1 else "diagnoses have"
        sentences = [f"Too few to tell: {len(codes)} {have} at least {FEWEST} independent photographs."]
        return None, rows, sentences, left_out
    if left_out:
        sentences.append(f"Left out, with fewer than {FEWEST} independent photographs: {', '.join(left_out)}.")
    kept = rows["diagnosis"].isin(codes).to_numpy()
    rows, group = rows[kept].reset_index(drop=True), group[kept]
    label = pd.Categorical(rows["diagnosis"], categories=list(codes)).codes.astype(np.intp)
    dealt = folds(pd.DataFrame({"diagnosis": rows["diagnosis"], "group": group.astype(str)}), FOLDS, seed)
    return _Data(label, codes, group, dealt.to_numpy()), rows, sentences, left_out


def _tree(depth: int, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, min_samples_leaf=5, class_weight="balanced", random_state=seed)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        _TREES, max_depth=10, min_samples_leaf=5, class_weight="balanced", random_state=seed, n_jobs=1
    )


def _guess(chosen: Sequence[Feature], data: _Data, model: Any) -> np.ndarray:
    """Return the diagnosis `(n,)` that a model gives each row, fitted on the other folds."""
    values = np.column_stack([one.values for one in chosen]).astype(np.float32)
    guessed = np.zeros(len(values), dtype=np.intp)
    for fold in range(FOLDS):
        inside = data.fold == fold
        if inside.any():
            model.fit(values[~inside], data.label[~inside])
            guessed[inside] = model.predict(values[inside])
    return guessed


def _balanced(guesses: Sequence[np.ndarray], data: _Data, seed: int) -> list[Estimate]:
    """Return the balanced accuracy of each of several guesses, with the interval of a bootstrap over groups."""
    right = np.stack([guess == data.label for guess in guesses]).astype(np.float32)
    of_class = np.eye(len(data.codes), dtype=np.float32)[data.label]
    values = ((right @ of_class).astype(float) / of_class.sum(axis=0)).mean(axis=1)
    chunks = []
    for weights in resamples(data.group, data.label, len(data.label), DRAWS, seed):
        sums = of_class.T @ weights
        recalls = [(right[:, data.label == k] @ weights[data.label == k]) / sums[k] for k in range(len(data.codes))]
        chunks.append(np.mean(recalls, axis=0))
    samples = np.concatenate(chunks, axis=1)
    units = len(np.unique(data.group))
    return [interval(one, float(value), len(data.label), units) for one, value in zip(samples, values, strict=True)]


def _is_strong(accuracy: Estimate, chance: float) -> bool:
    return bool(math.isfinite(accuracy.low) and (accuracy.low - chance) / (1 - chance) >= STRONG)


def _by_diagnosis(guess: np.ndarray, data: _Data) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {"sensitivity": {}, "specificity": {}}
    for k, code in enumerate(data.codes):
        found["sensitivity"][code] = float((guess[data.label == k] == k).mean())
        found["specificity"][code] = float((guess[data.label != k] != k).mean())
    return found


def _told_best(guess: np.ndarray, data: _Data) -> list[str]:
    """Return up to three diagnoses by Youden's index, those at .25 or more."""
    rates = _by_diagnosis(guess, data)
    youden = {code: rates["sensitivity"][code] + rates["specificity"][code] - 1 for code in data.codes}
    best = sorted((code for code in data.codes if youden[code] >= 0.25), key=lambda code: -youden[code])
    return best[:3]


def _information(values: np.ndarray, label: np.ndarray, classes: int) -> float:
    """Return the share of the diagnosis' entropy that a trait holds, 0 to 1.

    Mutual information over up to 16 bins of equal mass, less its bias for
    independent variables (Miller 1955), over the entropy of the diagnosis.
    """
    n = len(label)
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, _BINS + 1)[1:-1])) if known.any() else np.empty(0)
    place = np.where(known, np.searchsorted(edges, np.where(known, values, 0), side="right") + 1, 0)
    counts = np.zeros((len(edges) + 2, classes))
    np.add.at(counts, (place, label), 1)
    counts = counts[counts.sum(axis=1) > 0]
    joint = counts / n
    by_bin, by_class = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / (by_bin * by_class)), 0.0)
        entropy = -float(np.where(by_class > 0, by_class * np.log(by_class), 0.0).sum())
    bias = (len(counts) - 1) * (classes - 1) / (2 * n)
    return float(np.clip((terms.sum() - bias) / entropy, 0, 1)) if entropy > 0 else 0.0


def _accuracy(trait: dict[str, Any]) -> float:
    return float(trait["accuracy"]["value"])


_TOGETHER = {
    "everything": "everything that is not the lesion",
    "picture": "what the picture shows beside the lesion",
}


def _problems(alone: list[dict[str, Any]], together: dict[str, Any], data: _Data) -> pd.DataFrame:
    said = [(what, name, together[name]) for name, what in _TOGETHER.items() if name in together]
    said += [(f"{trait['label']} alone", trait["name"], trait) for trait in alone]
    found = [
        {"kind": "shortcut", "group": f"shortcut: {name}", "evidence": f"{what} {_tells(one, data)}"}
        for what, name, one in said
        if one["strong"]
    ]
    return pd.DataFrame(found, columns=list(PROBLEM_COLUMNS), dtype="string") if found else none()


def _tells(one: dict[str, Any], data: _Data) -> str:
    best = f"; best {', '.join(one['tells'])}" if one["tells"] else ""
    reached = one["accuracy"]
    return (
        f"tells {len(data.codes)} diagnoses with balanced accuracy {_short(reached['value'])} "
        f"({_short(reached['low'])} to {_short(reached['high'])}; chance {_short(1 / len(data.codes))}){best}"
    )


def _summary(together: dict[str, Any], data: _Data) -> str:
    if "everything" not in together:
        return "No trait differs between the photographs."
    return f"Together, all that is not the lesion {_tells(together['everything'], data)}."


def _short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")
