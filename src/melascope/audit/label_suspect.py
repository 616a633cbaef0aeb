"""Labels that the photographs contradict: likely errors, ranked.

Confident learning (Northcutt, Jiang and Chuang 2021, J Artif Intell Res 70:1373): a class' threshold is the mean
probability of that class among the photographs filed under it; a photograph is suspected where another class than the
filed one reaches its own threshold and is more probable than the filed one. Suspects are ranked by the probability of
the filed class, least first, as the paper prunes by class. Ranked so, the first 102 suspects of the nine-class set hold
32 of the authority's 102 corrections (25 to 36 over five seeds of the folds), and the first 300 of HAM10000 178 of 300
labels changed at random; ranked by the margin between the two probabilities, 24 (22 to 26) and 143. cleanlab
(Apache-2.0 since its version 2.9) has the same rule; it is ten lines, so no dependency is taken for it.

A suspect is a question to a dermatologist, never an answer: a melanoma that looks like a nevus is suspected too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from melascope import diagnosis
from melascope.audit import label_agreement, out_of_fold
from melascope.audit.embeddings import embed
from melascope.audit.problems import Found, none, problems, readable
from melascope.counted import plural
from melascope.datasets import ambiguous_names, folds, groups
from melascope.errors import DataError
from melascope.progress import Progress, silent
from melascope.statistics import balanced_accuracy, bootstrap, interval
from melascope.statistics.intervals import units

KIND = "label_suspect"
FOLDS = 5
FEWEST_LESIONS = 10
"""A diagnosis with fewer lesions is neither suspected nor suggested: nothing can be learnt of it."""
SHOWN = 24
"""Suspects named in the details, for pictures."""


@dataclass
class _Told:
    """What is judged: rows of the table, their groups, labels as class numbers, and the probabilities `(n, c)`."""

    rows: pd.DataFrame
    group: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray
    p: np.ndarray
    details: dict[str, Any] = field(default_factory=dict)


def find(
    table: pd.DataFrame,
    embeddings: np.ndarray | None = None,
    predictions: pd.DataFrame | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
) -> Found:
    """Return the photographs whose filed diagnosis is probably wrong, the most suspicious first; a group for each.

    Args:
        table: A scanned table. `diagnosis` is the filed label, coarsened to the eight diagnoses of ISIC 2019 (the seven
            of ISIC 2018 where some photograph is only known as AKIEC). An `official_diagnosis` is not looked at,
            except to measure how well the suspects agree with it.
        embeddings: `(n, d)`, as `embeddings.embed` returns them; computed without a model where None.
        predictions: A model's own instead: `p_<CODE>` and `path` or `image_id`. Where there is a `part`, rows of
            `train` and of their lesions and patients are left out: the model has learnt their labels.
        seed: Of the folds.
        threads: Photographs, then folds, looked at at a time; None for one per core.
        progress: Called with the stages `describing photographs` and `looking for label errors`.

    Returns:
        Problems, and details: `method`, `judged` and `flagged` (photographs), `left_out` (by reason),
        `balanced_accuracy` (of what the suspicion rests on, against the filed labels; choices corrected for how common
        each class is), `chance`, `thresholds` (per class), `matrix` (filed, then suggested, then suspects), `suspects`
        (the first 24: `rank`, `image_id`, `path`, `filed`, `suggested`, `p_filed`, `p_suggested`), `agreement` (with
        the authority, as `label_agreement.measure` gives it), and `notes`, a sentence each.

    Raises:
        DataError: When embeddings or predictions do not fit the table.
    """
    rows = readable(table)
    if embeddings is not None and len(embeddings) != len(rows):
        raise DataError(
            f"{plural(len(embeddings), 'embedding was', 'embeddings were')} given for "
            f"{plural(len(rows), 'readable photograph')}; "
            "embeddings.embed makes one for each row that could be read."
        )
    classes, labels = _filed(rows)
    if predictions is not None:
        told = _from_predictions(rows, classes, labels, predictions)
    else:
        told = _from_embeddings(rows, classes, labels, embeddings, seed, threads, progress)
    if not len(told.rows):
        return Found(none(), told.details)
    suggested, flagged, limits = confident(told.p, told.labels)
    n = np.arange(len(told.labels))
    own, other = told.p[n, told.labels], told.p[n, suggested]
    order = np.flatnonzero(flagged)[np.argsort(own[flagged], kind="stable")]
    evidence = [
        f"filed as {diagnosis.name(filed)}; looks like {diagnosis.name(told.classes[suggested[row]])} "
        f"({_share(other[row])} against {_share(own[row])}), rank {rank:,} of {len(n):,}"
        for rank, (row, filed) in enumerate(zip(order, told.rows["diagnosis"].iloc[order], strict=True), 1)
    ]
    width = len(str(len(n)))
    keys = np.array([f"{rank:0{width}d}" for rank in range(1, len(order) + 1)], dtype=object)
    suspects = told.rows.iloc[order]
    details = told.details | {
        "judged": len(n),
        "flagged": len(order),
        "balanced_accuracy": _balanced_accuracy(told),
        "chance": 1 / len(told.classes),
        "thresholds": {code: float(limit) for code, limit in zip(told.classes, limits, strict=True)},
        "matrix": _matrix(told, order, suggested),
        "suspects": [
            {
                "rank": rank,
                "image_id": str(row.image_id),
                "path": str(row.path),
                "filed": str(row.diagnosis),
                "suggested": told.classes[suggested[at]],
                "p_filed": float(own[at]),
                "p_suggested": float(other[at]),
            }
            for rank, (at, row) in enumerate(zip(order[:SHOWN], suspects[:SHOWN].itertuples(), strict=True), 1)
        ],
    }
    details["agreement"] = label_agreement.measure(told.rows, told.classes, told.labels, 1 - own, flagged, told.group)
    return Found(problems(KIND, suspects, keys, pd.Series(evidence, dtype="string")), details)


def confident(p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's most probable other class `(n,)`, whether its label is suspected `(n,)`, and thresholds `(c,)`.

    Source: Northcutt, Jiang and Chuang 2021, the confident joint's cells off the diagonal.

    Args:
        p: `(n, c)` probabilities from models that did not learn from the row.
        labels: `(n,)` class numbers.
    """
    n, c = p.shape
    limits = np.array([p[labels == code, code].mean() if (labels == code).any() else np.inf for code in range(c)])
    confident_of = np.where(p >= limits, p, -1)
    choice = confident_of.argmax(axis=1)
    rows = np.arange(n)
    flagged = (confident_of[rows, choice] > p[rows, labels]) & (choice != labels)
    others = p.copy()
    others[rows, labels] = -1
    return np.where(flagged, choice, others.argmax(axis=1)), flagged, limits


def _filed(rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the classes, and each row's coarse filed label; None where it has none."""
    known = set(rows["diagnosis"].dropna())
    if "official_diagnosis" in rows.columns:
        known |= set(rows["official_diagnosis"].dropna())
    classes = diagnosis.ISIC_2018 if "AKIEC" in known else diagnosis.ISIC_2019
    coarse = {code: diagnosis.coarsen_label(code, classes) for code in known}
    labels = [None if pd.isna(code) else coarse[code] for code in rows["diagnosis"]]
    return classes, np.array(labels, dtype=object)


def _from_embeddings(
    rows: pd.DataFrame,
    classes: tuple[str, ...],
    labels: np.ndarray,
    vectors: np.ndarray | None,
    seed: int,
    threads: int | None,
    progress: Progress,
) -> _Told:
    method = "Logistic regression on embeddings; a photograph is judged by a model that has seen none of its lesion."
    used = pd.Series(labels, dtype="object").notna().to_numpy()
    left_out = {"no diagnosis": int((~used).sum())}
    group = groups(rows) if "group" not in rows.columns else rows["group"].to_numpy(dtype=object)
    if vectors is not None:
        finite = np.isfinite(vectors).all(axis=1)
        left_out["embedding not finite"] = int((used & ~finite).sum())
        used = used & finite
    used, classes, few = _learnable(used, group, classes, labels)
    left_out |= few
    details: dict[str, Any] = {
        "method": method,
        "left_out": {why: count for why, count in left_out.items() if count},
        "notes": [],
    }
    if len(classes) < 2:
        return _nothing(rows, details, f"{len(classes) or 'no'} diagnosis has {FEWEST_LESIONS} lesions or more")
    if vectors is None:
        vectors = embed(rows, threads=threads, progress=progress)
    rows, group, numbers = rows[used], group[used], _numbers(labels[used], classes)
    named = rows.assign(diagnosis=labels[used], group=group)
    fold = folds(named, FOLDS, seed).to_numpy()
    p, strength = out_of_fold.probabilities(vectors[used], numbers, fold, threads, progress)
    details |= {"folds": FOLDS, "penalty_c": strength}
    return _Told(rows, group, classes, numbers, p, details)


def _from_predictions(
    rows: pd.DataFrame, classes: tuple[str, ...], labels: np.ndarray, predictions: pd.DataFrame
) -> _Told:
    codes = [name[2:] for name in predictions.columns if name.startswith("p_") and name[2:] in diagnosis.DIAGNOSES]
    if len(codes) < 2 or not {"image_id", "path"} & set(predictions.columns):
        raise DataError("Predictions need p_<CODE> of two diagnoses at least, and image_id or path to be joined by.")
    details: dict[str, Any] = {"method": "The given predictions.", "notes": []}
    at = _joined(rows, predictions)
    group = groups(rows) if "group" not in rows.columns else rows["group"].to_numpy(dtype=object)
    told = diagnosis.coarsen_probabilities(predictions[[f"p_{code}" for code in codes]].to_numpy(float), codes, classes)
    p = np.where(at[:, None] >= 0, told[at], np.nan)
    reasons = {
        "no diagnosis": pd.Series(labels, dtype="object").notna().to_numpy(),
        "not predicted": ~np.isnan(p[:, 0]),
    }
    if "part" in predictions.columns:
        part = predictions["part"].astype("string").fillna("").to_numpy(dtype=object)[at]
        learnt = set(group[(at >= 0) & (part == "train")])
        reasons["the model has trained on the photograph or its lesion"] = ~pd.Series(group).isin(learnt).to_numpy()
    else:
        details["notes"].append("The predictions do not say what the model was trained on; all are taken for honest.")
    named = {diagnosis.coarsen_label(code, classes) for code in codes}
    classes_told = tuple(code for code in classes if code in named)
    used = np.ones(len(rows), dtype=bool)
    left_out = {}
    for why, fits in reasons.items():
        left_out[why] = int((used & ~fits).sum())
        used = used & fits
    used, kept, few = _learnable(used, group, classes_told, labels)
    details["left_out"] = {why: count for why, count in (left_out | few).items() if count}
    if len(kept) < 2:
        return _nothing(
            rows, details, f"{len(kept) or 'no'} diagnosis has honest predictions for {FEWEST_LESIONS} lesions"
        )
    chosen = p[used][:, [classes.index(code) for code in kept]]
    chosen = chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1e-12)
    return _Told(rows[used], group[used], kept, _numbers(labels[used], kept), chosen, details)


def _learnable(
    used: np.ndarray, group: np.ndarray, classes: tuple[str, ...], labels: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...], dict[str, int]]:
    lesions = pd.Series(group[used]).groupby(pd.Series(labels[used], dtype="object")).nunique()
    kept = tuple(code for code in classes if lesions.get(code, 0) >= FEWEST_LESIONS)
    fits = pd.Series(labels, dtype="object").isin(kept).to_numpy()
    return used & fits, kept, {f"a diagnosis with fewer than {FEWEST_LESIONS} lesions": int((used & ~fits).sum())}


def _joined(rows: pd.DataFrame, predictions: pd.DataFrame) -> np.ndarray:
    """Return each row's place `(n,)` among the predictions, by path, else by an unambiguous id; or -1."""
    at = np.full(len(rows), -1)
    for column in ("path", "image_id"):
        if column not in predictions.columns:
            continue
        keys = predictions[column].astype("string")
        place = pd.Series(np.arange(len(keys)), index=keys)
        place = place[place.index.notna() & ~place.index.duplicated()]
        found = np.array(rows[column].astype("string").map(place).fillna(-1), dtype=np.int64)
        if column == "image_id":
            found[rows["image_id"].isin(ambiguous_names(rows)).to_numpy(dtype=bool)] = -1
        at = np.where(at >= 0, at, found)
    return at


def _numbers(labels: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    return np.array([classes.index(code) for code in labels], dtype=np.int64)


def _nothing(rows: pd.DataFrame, details: dict[str, Any], why: str) -> _Told:
    details["notes"].append(f"Label errors were not looked for: {why}; two diagnoses are needed.")
    empty = {"judged": 0, "flagged": 0, "suspects": [], "matrix": {}, "agreement": None, "balanced_accuracy": None}
    return _Told(rows.iloc[:0], np.empty(0), (), np.empty(0, np.int64), np.empty((0, 0)), details | empty)


def _balanced_accuracy(told: _Told) -> dict[str, Any]:
    share = np.bincount(told.labels, minlength=len(told.classes)) / len(told.labels)
    choice = (told.p / share).argmax(axis=1)
    value = float(balanced_accuracy(told.labels, choice))
    group = units(told.group, len(told.labels))
    samples = bootstrap(lambda w: balanced_accuracy(told.labels, choice, w), group, told.labels, draws=500)
    return interval(samples, value, len(told.labels), len(np.unique(group))).to_json()


def _matrix(told: _Told, order: np.ndarray, suggested: np.ndarray) -> dict[str, dict[str, int]]:
    c = len(told.classes)
    counts = np.bincount(told.labels[order] * c + suggested[order], minlength=c * c).reshape(c, c)
    return {
        filed: {other: int(count) for other, count in zip(told.classes, row, strict=True) if count}
        for filed, row in zip(told.classes, counts, strict=True)
        if row.any()
    }


def _share(p: float) -> str:
    return f"{p:.2f}".removeprefix("0")
